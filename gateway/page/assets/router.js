// Which view the address names: `#/node/02000000000000aa?limit=50` is the view `node` with one argument and a query.
// Filters, order and page of a table are in the query, so that a link says all of it and "back" leads back.

/** The address as `{ name, args, query }`. */
export function read(hash = location.hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?", 2);
  const [name, ...args] = path.split("/").map(decoded);
  return { name: name || null, args, query: new URLSearchParams(query ?? "") };
}

/** The address of a view. */
export function to(name, args = [], query = null) {
  const path = [name, ...args].map((part) => encodeURIComponent(part)).join("/");
  const text = query ? new URLSearchParams([...query].filter(([, value]) => value !== "")).toString() : "";
  return text ? `#/${path}?${text}` : `#/${path}`;
}

/** Changes the query of the address: a new entry of the history, or, for what is still being typed, the same. */
export function requery(changes, { replace = false } = {}) {
  const { name, args, query } = read();
  for (const [key, value] of Object.entries(changes)) {
    if (value === "" || value === null) query.delete(key);
    else query.set(key, value);
  }
  const address = to(name, args, query);
  if (address === location.hash) return;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  dispatchEvent(new Event("requery"));
}

/** Calls `changed` whenever the address names something else. */
export function watch(changed) {
  addEventListener("hashchange", changed);
  addEventListener("popstate", changed);
  addEventListener("requery", changed);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // typed by hand
  }
}
