// What was refused and why: counters with their meaning, those that grew since the page was opened marked as such.

import { h } from "../dom.js";
import { count, moment, number } from "../format.js";
import { code, figures, name, section, tag } from "../parts.js";
import { table } from "../table.js";

/** What the counters were when they were first seen here, and when each last grew. */
const seen = { since: null, first: new Map(), last: new Map(), grew: new Map() };

export const security = {
  label: "Security",
  needs: "security",
  title: () => "Security",
  source: () => "/view/security",
  render: ({ at, insecure, keys, counters, trust }) => {
    note(counters, at);
    const grown = counters.filter((counter) => growth(counter) > 0);
    return [
      figures("Keys", [
        ["Protection", insecure ? tag("off", "bad") : tag("OSCORE", "good"), insecure ? "anyone may speak as any node" : "each node with its own key"],
        keys ? ["Nodes with a key", number(keys.commissioned), "commissioned"] : null,
        keys ? ["Keys revoked", number(keys.revoked), "taken no more"] : null,
        ["Counters that grew", number(grown.length), `since ${moment(seen.since)}`],
      ]),
      section("What was refused", h("p", { class: "quiet-text" },
        "Counted since the gateway started. Those that grow while you look are marked; a few of them are ordinary after a node's restart."),
      table({
        caption: "Security counters", hidden: true, rows: counters, key: ({ name }) => name,
        columns: [
          { label: "Counter", cell: ({ name: label }) => code(label) },
          { label: "Count", numeric: true, cell: ({ value }) => number(value) },
          { label: "Since you look", cell: (counter) => growth(counter) > 0
            ? tag(`+${number(growth(counter))} at ${moment(seen.grew.get(counter.name))}`, "warn") : h("span", { class: "quiet-text" }, "no change") },
          { label: "What it means", wide: true, cell: ({ text }) => text },
        ],
      })),
      section("Publishers", publishers(trust)),
    ];
  },
};

function note(counters, at) {
  seen.since ??= at;
  for (const { name: counter, value } of counters) {
    // A gateway that was started anew counts from zero.
    if (!seen.first.has(counter) || value < seen.last.get(counter)) seen.first.set(counter, value);
    else if (value > seen.last.get(counter)) seen.grew.set(counter, at);
    seen.last.set(counter, value);
  }
}

function growth({ name: counter, value }) {
  return value - (seen.first.get(counter) ?? value);
}

function publishers(trust) {
  if (!trust) {
    return h("p", { class: "quiet-text" }, "No list of publishers is set: images are checked by their digest alone. Start the gateway with ",
      h("code", null, "--trust FILE"), " to run only what a known publisher has signed.");
  }
  if (trust.publishers.length === 0) return h("p", null, "The list of publishers is empty: no image is run.");
  return table({
    caption: count(trust.publishers.length, "publisher"), hidden: true, small: true, rows: trust.publishers, key: ({ name }) => name,
    columns: [
      { label: "Publisher", cell: ({ name: label }) => name(label) },
      { label: "Roles it publishes for", cell: ({ roles }) => roles?.length ? h("bdi", null, roles.join(", ")) : "all" },
    ],
  });
}
