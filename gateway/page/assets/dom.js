// A small virtual DOM: views describe what there is to see with `h`, `render` changes the page to it.
//
// What stays is patched in place, so that focus, selection, scroll positions and open <details> outlive the next second's
// data. Children with a `key` are recognised by it. Everything that is shown is a text node: there is no way to hand in
// markup, and attributes that could run code are refused, because names, logs and labels come from strangers.

const SVG = "http://www.w3.org/2000/svg";
/** What `h` said last of an element, kept at the element. */
const SAID = Symbol("said");
/** Attributes that are set as properties, for what the user changed must be seen. */
const PROPERTIES = new Set(["value", "checked", "open"]);
/** Characters that draw nothing, or turn the order of those after them around. */
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/gu;

/**
 * An element as it should be. Attributes that are null, undefined or false are left out; `on` holds listeners, `key`
 * recognises it among its siblings, `island` is a class that takes care of what is inside (see `render`), with `props`.
 */
export function h(tag, attributes, ...children) {
  const { key, on, island, props, ...rest } = attributes ?? {};
  return { tag, key, on, island, props, attributes: rest, children: children.flat(Infinity).filter(present) };
}

/** Makes the children of `element` what `content` says. */
export function render(element, ...content) {
  const focused = document.activeElement;
  patchChildren(element, content.flat(Infinity).filter(present), element.namespaceURI);
  // An element that changed its place among its siblings lost the focus by that.
  if (focused !== document.activeElement && focused?.isConnected && element.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

/** Text with its unseen characters made visible. */
export function shown(text) {
  return String(text).replace(UNSEEN, (one) => {
    const code = one.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return code === 0x7f ? "\u2421" : `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

const present = (child) => child !== null && child !== undefined && child !== false && child !== true && child !== "";

function patchChildren(parent, children, namespace) {
  const keyed = new Map();
  const loose = [];
  for (const node of parent.childNodes) {
    const key = node[SAID]?.key;
    if (key === undefined) loose.push(node);
    else keyed.set(key, node);
  }
  let place = parent.firstChild;
  for (const child of children) {
    let node;
    if (typeof child === "object") {
      const candidate = child.key === undefined ? loose.find((old) => fits(old, child)) : keyed.get(child.key);
      if (candidate && fits(candidate, child)) node = candidate;
      node = patchElement(node ?? null, child, namespace);
      if (child.key === undefined) drop(loose, node);
      else keyed.delete(child.key);
    } else {
      node = loose.find((old) => old.nodeType === Node.TEXT_NODE);
      const text = shown(child);
      if (!node) node = document.createTextNode(text);
      else if (node.data !== text) node.data = text;
      drop(loose, node);
    }
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  while (place) {
    const next = place.nextSibling;
    dispose(place);
    place.remove();
    place = next;
  }
}

function fits(node, child) {
  return node.nodeType === Node.ELEMENT_NODE && node.localName === child.tag && node[SAID]?.island === child.island
    && node[SAID]?.key === child.key;
}

function drop(list, node) {
  const at = list.indexOf(node);
  if (at >= 0) list.splice(at, 1);
}

function patchElement(old, child, parentNamespace) {
  const namespace = child.tag === "svg" ? SVG : parentNamespace;
  const element = old ?? document.createElementNS(namespace, child.tag);
  const before = element[SAID];
  element[SAID] = child;
  for (const name of Object.keys(before?.attributes ?? {})) {
    if (!(name in child.attributes)) set(element, name, null);
  }
  for (const [name, value] of Object.entries(child.attributes)) {
    if (name !== "value") set(element, name, value);
  }
  for (const type of Object.keys(child.on ?? {})) {
    if (!before?.on?.[type]) element.addEventListener(type, heard);
  }
  if (child.island) {
    if (element.island) element.island.update(child.props);
    else element.island = new child.island(element, child.props);
  } else {
    patchChildren(element, child.children, namespace);
  }
  // After the children, for the value of a <select> must be among them.
  if ("value" in child.attributes) set(element, "value", child.attributes.value);
  return element;
}

/** One listener for all: it calls what was said last. */
function heard(event) {
  this[SAID].on?.[event.type]?.(event);
}

function set(element, name, value) {
  if (/^(on|style$|srcdoc$)/i.test(name)) throw new Error(`no attribute ${name} here`);
  if (PROPERTIES.has(name)) {
    // What is being typed is the user's.
    if (name === "value" && element === document.activeElement && element.localName === "input") return;
    if (element[name] !== (value ?? "")) element[name] = value ?? "";
    return;
  }
  if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
    return;
  }
  if (name === "href" && !harmless(String(value))) throw new Error("a link that could run code");
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

function harmless(address) {
  return address.startsWith("#") || /^https?:\/\//.test(address);
}

/** Tells islands that they are gone. */
function dispose(node) {
  node.island?.destroy?.();
  for (const child of node.childNodes) dispose(child);
}
