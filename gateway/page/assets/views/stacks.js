// A resource as one bar: what each role was granted, and what is left. The figures stand below it, in the bar's order.

import { h } from "../dom.js";
import { amount } from "../format.js";

/** `resources`: `{ name, total, granted: { role: amount } }`. */
export function stacks(resources) {
  if (resources.length === 0) return h("p", { class: "quiet-text" }, "This node has not said yet what it has.");
  const roles = [...new Set(resources.flatMap(({ granted }) => Object.keys(granted ?? {})))].sort();
  return h("div", { class: "stacks" }, resources.map((resource) => stack(resource, roles)));
}

function stack({ name, total, granted = {} }, roles) {
  const whole = Math.max(total ?? 0, Object.values(granted).reduce((sum, held) => sum + held, 0));
  const left = whole - Object.values(granted).reduce((sum, held) => sum + held, 0);
  let from = 0;
  const parts = roles.filter((role) => granted[role] > 0).map((role) => {
    const share = whole > 0 ? granted[role] / whole * 100 : 0;
    const part = { role, from, share, tone: roles.indexOf(role) % TONES };
    from += share;
    return part;
  });
  return h("div", { key: name, class: "stack" },
    h("p", { class: "stack-name" }, h("bdi", null, name), h("span", null, `${amount(name, total)} there`)),
    h("svg", { class: "stack-bar", width: "100%", height: 14, "aria-hidden": "true" },
      h("rect", { class: "track", width: "100%", height: 14, rx: 3 }),
      parts.map(({ role, from, share, tone }) => h("rect", {
        key: role, class: `tone-${tone}`, x: `${from.toFixed(2)}%`, width: `${share.toFixed(2)}%`, height: 14,
      }))),
    h("ul", { class: "stack-parts" }, parts.map(({ role, tone }) => h("li", { key: role },
      h("svg", { width: 10, height: 10, "aria-hidden": "true" }, h("rect", { class: `tone-${tone}`, width: 10, height: 10, rx: 2 })),
      h("bdi", null, role), " ", h("strong", null, amount(name, granted[role])))),
    h("li", { key: "", class: "free" }, "free ", h("strong", null, amount(name, left)))));
}

/** So many tones are told apart; more roles than that share them, and are told apart by their order. */
const TONES = 5;
