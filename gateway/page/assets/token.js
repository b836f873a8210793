// The token that the server asks for beyond loopback: taken from the address (#token=HEX, and removed from it at once, so
// that it is neither kept in the history nor copied with the link) or from the form, kept for this tab alone.

const KEPT = "micro-token";

/** Takes the token out of the address, if there is one. */
export function fromAddress() {
  const found = /^#token=([^&]*)/.exec(location.hash);
  if (!found) return false;
  keep(decodeURIComponent(found[1]));
  history.replaceState(null, "", `${location.pathname}${location.search}#/`);
  return true;
}

export function keep(token) {
  sessionStorage.setItem(KEPT, token.trim());
}

export function forget() {
  sessionStorage.removeItem(KEPT);
}

export function isKept() {
  return sessionStorage.getItem(KEPT) !== null;
}

/** The headers of a request. */
export function headers(accept) {
  const token = sessionStorage.getItem(KEPT);
  // A header takes no more than these; what else was typed is wrong in any case, and the server is to say so.
  const sent = token?.replace(/[^\x21-\x7e]/g, "");
  return sent ? { Accept: accept, Authorization: `Bearer ${sent}` } : { Accept: accept };
}
