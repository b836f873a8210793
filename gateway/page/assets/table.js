// Tables: sorted by the server or here, in pages, every row a link to what it shows, cards on a narrow screen.
//
// Roles are spelled out because the style sheet turns rows into cards there, and a table drawn otherwise would be none to
// a screen reader.

import { h } from "./dom.js";
import { count, number } from "./format.js";
import { read, requery } from "./router.js";

/**
 * A table. `columns`: `{ label, cell(row), numeric, wide, sort }`, where `sort` is the name that the server sorts by; the first
 * column names its row. `sort`: `{ by, directions: { name: "ascending" | "descending" } }`, the order that the server gives
 * to each. `href(row)` is where a row leads.
 */
export function table({ caption, hidden = false, columns, rows, key, href = null, sort = null, small = false }) {
  return h("div", { class: "table-box" }, h("table", { role: "table", class: small ? "small" : null },
    h("caption", { class: hidden ? "unseen" : null }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => head(column, sort)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { key: String(key(row)), role: "row", class: href ? "linked" : null },
      columns.map((column, at) => cell(column, row, at === 0, href)))))));
}

function head(column, sort) {
  const classes = column.numeric ? "numeric" : null;
  if (!column.sort || !sort) return h("th", { scope: "col", role: "columnheader", class: classes }, column.label);
  const chosen = sort.by === column.sort;
  const order = sort.directions[column.sort];
  return h("th", {
    scope: "col", role: "columnheader", class: classes, "aria-sort": chosen ? order : "none",
  }, h("button", {
    type: "button", class: "sort", title: `Sort by ${column.label.toLowerCase()}`,
    on: { click: () => requery({ sort: column.sort, offset: "" }) },
  }, column.label, h("span", { class: "arrow", "aria-hidden": "true" }, chosen ? (order === "ascending" ? "\u25b2" : "\u25bc") : "\u2195")));
}

function cell(column, row, first, href) {
  const content = column.cell(row);
  const classes = [column.numeric ? "numeric" : "", column.wide ? "wide" : ""].join(" ").trim() || null;
  if (!first) return h("td", { role: "cell", class: classes, "data-label": column.label }, content);
  return h("th", { scope: "row", role: "rowheader", class: classes, "data-label": column.label },
    href ? h("a", { class: "row-link", href: href(row) }, content) : content);
}

/** What to choose from: a form of labelled fields whose values live in the address. */
export function filters({ query, find, choices, orders = null, noun }) {
  const narrowed = [find ? "q" : null, ...choices.map((choice) => choice.name)].some((field) => field && query.get(field));
  return h("form", {
    class: "filters", role: "search", "aria-label": `Filter ${noun}`, on: { submit: (event) => event.preventDefault() },
  },
  find ? h("label", { class: "find" }, h("span", null, "Find"), h("input", {
    type: "search", name: "q", placeholder: find, value: query.get("q") ?? "", autocomplete: "off", spellcheck: "false",
    maxlength: 200, on: { input: (event) => typed(event.target.value) },
  })) : null,
  choices.map((choice) => pick({ ...choice, value: query.get(choice.name) ?? "", any: choice.any ?? "any" })),
  orders ? h("div", { class: "narrow-only" },
    pick({ name: "sort", label: "Sort by", options: orders, value: query.get("sort") ?? orders[0][0], any: null })) : null,
  narrowed ? h("button", {
    type: "button", class: "quiet",
    on: { click: () => requery(Object.fromEntries([["q", ""], ["offset", ""], ...choices.map(({ name }) => [name, ""])])) },
  }, "Clear filters") : null);
}

function pick({ name, label, options, value, any }) {
  // A value that came by the address is shown, even if it is none of those known.
  const unknown = value && !options.some(([one]) => one === value) ? [[value, value]] : [];
  return h("label", { key: name }, h("span", null, label), h("select", {
    name, value, on: { change: (event) => requery({ [name]: event.target.value, offset: "" }) },
  }, any === null ? null : h("option", { key: "", value: "" }, any),
  [...options, ...unknown].map(([one, text]) => h("option", { key: one, value: one }, text))));
}

/** After so long without a key what was typed is asked for. */
const TYPING_MS = 200;
let typing = 0;

function typed(text) {
  const { name } = read();
  clearTimeout(typing);
  // Unless another view was chosen in the meantime.
  typing = setTimeout(() => read().name === name && requery({ q: text, offset: "" }, { replace: true }), TYPING_MS);
}

/** Which page this is, and the way to the others. */
export function pager({ offset, shown, matching, total, limit, noun }) {
  const page = (label, at, possible) => h("button", {
    type: "button", class: "quiet", disabled: !possible, on: { click: () => requery({ offset: at > 0 ? String(at) : "" }) },
  }, label);
  const range = shown === 0 ? `No ${noun}s` : `${number(offset + 1)}\u2013${number(offset + shown)} of ${count(matching, noun)}`;
  return h("div", { class: "pager" },
    h("p", null, range, matching < total ? `, out of ${number(total)}` : ""),
    matching > limit || offset > 0 ? h("nav", { "aria-label": "Pages" },
      page("First", 0, offset > 0), page("Previous", Math.max(0, offset - limit), offset > 0),
      page("Next", offset + limit, offset + shown < matching)) : null);
}

/** The paging in an address: what to ask the server for. */
export function paging(query, limit) {
  const offset = Number.parseInt(query.get("offset") ?? "0", 10);
  return { offset: Number.isFinite(offset) && offset > 0 ? offset : 0, limit };
}

/** A query for the server of those fields of the address that are set. */
export function asked(query, fields, more = {}) {
  const asked = new URLSearchParams();
  for (const field of fields) if (query.get(field)) asked.set(field, query.get(field));
  for (const [field, value] of Object.entries(more)) if (value) asked.set(field, value);
  const text = asked.toString();
  return text ? `?${text}` : "";
}
