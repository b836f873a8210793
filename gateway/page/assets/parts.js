// Pieces that several views are made of: states, meters, figures, empty states, tables' companions.

import { h } from "./dom.js";
import { iso, moment, UNKNOWN } from "./format.js";

// How a state is drawn: a shape and a tone, so that it can be told without colours too.
const LOOKS = {
  running: ["disc", "good"], registered: ["disc", "good"], active: ["disc", "good"], connected: ["disc", "good"],
  finished: ["check", "good"], drained: ["check", "plain"], done: ["check", "good"],
  staging: ["half", "plain"], starting: ["half", "plain"], registering: ["half", "warn"], killing: ["half", "warn"],
  draining: ["half", "warn"], waiting: ["half", "plain"], pending: ["half", "plain"],
  killed: ["square", "plain"], gone: ["square", "plain"], inactive: ["ring", "plain"], disconnected: ["ring", "warn"],
  away: ["ring", "bad"], unreachable: ["ring", "bad"], "gone by operator": ["square", "plain"],
  failed: ["cross", "bad"], error: ["cross", "bad"], lost: ["cross", "bad"], dropped: ["cross", "bad"],
  info: ["disc", "plain"], warning: ["triangle", "warn"],
};

const SHAPES = {
  disc: () => h("circle", { cx: 6, cy: 6, r: 4.5, class: "fill" }),
  ring: () => h("circle", { cx: 6, cy: 6, r: 4, class: "line" }),
  half: () => [h("circle", { cx: 6, cy: 6, r: 4, class: "line" }), h("path", { d: "M6 2a4 4 0 0 1 0 8z", class: "fill" })],
  square: () => h("rect", { x: 2, y: 2, width: 8, height: 8, rx: 1, class: "fill" }),
  check: () => h("path", { d: "M2 6.500 5 9.500 10.500 3", class: "line" }),
  cross: () => h("path", { d: "M2.500 2.500l7 7m0-7l-7 7", class: "line" }),
  triangle: () => h("path", { d: "M6 1.500 11 10.500H1z", class: "fill" }),
};

/** A state's name as it is read: `TASK_GONE_BY_OPERATOR` is "gone by operator". */
export function stateName(state) {
  return String(state).replace(/^TASK_/, "").toLowerCase().replaceAll("_", " ");
}

/** A state: shape, tone and name. */
export function state(name, label = null) {
  if (name === null || name === undefined) return UNKNOWN;
  const text = stateName(name);
  const [shape, tone] = LOOKS[text] ?? ["disc", "plain"];
  return h("span", { class: `state ${tone}` },
    h("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, SHAPES[shape]()),
    " ", label ?? text);
}

/** A note beside a state. */
export function tag(text, tone = "plain") {
  return h("span", { class: `tag ${tone}` }, text);
}

/** A point in time. */
export function time(ms) {
  return ms === null || ms === undefined ? UNKNOWN : h("time", { datetime: iso(ms), title: iso(ms) }, moment(ms));
}

/** Text of strangers, which may be written from right to left. */
export function name(text) {
  return text === null || text === undefined || text === "" ? UNKNOWN : h("bdi", null, text);
}

/** An identifier, which is compared rather than read. */
export function code(text) {
  return text === null || text === undefined || text === "" ? UNKNOWN : h("code", null, h("bdi", null, text));
}

/**
 * What is used of what is granted of what there is, drawn under `text`, which says it all. Without `total` the grant is
 * the whole.
 */
export function meter(text, { used = 0, granted = 0, total = null }) {
  const whole = total ?? granted;
  const share = (value) => `${whole > 0 ? Math.min(100, Math.max(0, (value ?? 0) / whole * 100)).toFixed(2) : 0}%`;
  return h("span", { class: "meter" },
    h("span", { class: "meter-text" }, text),
    h("svg", { class: "meter-bar", height: 6, width: "100%", "aria-hidden": "true" },
      h("rect", { class: "track", width: "100%", height: 6, rx: 3 }),
      total === null ? null : h("rect", { class: "granted", width: share(granted), height: 6, rx: 3 }),
      h("rect", { class: "used", width: share(used), height: 6, rx: 3 })));
}

/** Figures with what they count: `[label, value, note]`. */
export function figures(label, entries) {
  return h("section", { key: label, "aria-label": label }, h("dl", { class: "figures" },
    entries.filter(Boolean).map(([term, value, note]) => h("div", { key: term, class: "figure" }, h("dt", null, term),
      h("dd", null, h("span", { class: "value" }, value), note ? h("span", { class: "note" }, note) : null)))));
}

/** Facts about one thing: `[term, value]`; those unknown are left out. */
export function facts(entries) {
  return h("dl", { class: "facts" }, entries.filter((entry) => entry && entry[1] !== null && entry[1] !== undefined)
    .map(([term, value]) => h("div", { key: term }, h("dt", null, term), h("dd", null, value))));
}

/** What to do where there is nothing yet: a sentence, then commands. */
export function empty(text, commands = [], after = null) {
  return h("div", { class: "empty" }, h("p", null, text),
    commands.length > 0 ? h("pre", { tabindex: 0, "aria-label": "Commands" }, commands.join("\n")) : null,
    after ? h("p", null, after) : null);
}

/** A part of a view, under its own heading. */
export function section(title, ...content) {
  const id = `s-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return h("section", { key: id, "aria-labelledby": id }, h("h2", { id }, title), ...content);
}

/** A link to a view of this page. */
export function link(address, ...content) {
  return h("a", { href: address }, ...content);
}
