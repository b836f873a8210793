// All nodes of a gateway: what they amount to, who has how much of it, and the list to search in.

import { h } from "../dom.js";
import { age, ago, bytes, count, cpus, number, percent, UNKNOWN } from "../format.js";
import { code, empty, figures, meter, section, state, stateName, tag } from "../parts.js";
import { to } from "../router.js";
import { asked, filters, pager, paging, table } from "../table.js";

const LIMIT = 100;
/** So many tenants are shown at first. */
const TENANTS_SHOWN = 8;
const FIELDS = ["q", "state", "power", "role", "sort"];
/** The order that the server gives to each field. */
const DIRECTIONS = { node: "ascending", battery: "ascending", heard: "descending", tasks: "descending", quality: "ascending" };

export const fleet = {
  ages: true,
  label: "Fleet",
  needs: "fleet",
  title: () => "Fleet",
  source: ({ query }) => `/view/fleet${asked(query, FIELDS, paging(query, LIMIT))}`,
  render: (doc, context) => {
    if (doc.total === 0) return [summary(doc), noNodes(context.about)];
    return [
      summary(doc),
      tenants(doc.tenants ?? [], context),
      section("Nodes", nodeFilters(doc, context.query), nodes(doc, context.query)),
    ];
  },
};

function noNodes(about) {
  return section("Nodes", empty(
    "No node has spoken to this gateway yet. Give one a key, then start it where its radio, or a UDP port of this gateway, is in reach:",
    ["micro commission 020000000000000a --out node.key", "micro node --gateway 127.0.0.1:5683 --key node.key"],
    about.master ? null : "This gateway has found no master yet either: nodes are known without one, but offered to nobody. Start one with `micro master`.",
  ));
}

function summary({ summary }) {
  const { nodes, live, registered, away, draining, battery_low: low, tasks = {}, cpu, mem, mailbox } = summary;
  const others = Object.entries(tasks).filter(([name, value]) => name !== "running" && value > 0)
    .map(([name, value]) => `${number(value)} ${stateName(name)}`);
  return figures("Summary", [
    ["Nodes", number(nodes), [`${number(live)} live`, `${number(registered)} registered`].join(", ")],
    ["Away", number(away), draining > 0 ? `${number(draining)} draining` : "lease lapsed"],
    ["Battery low", number(low), low > 0 ? h("a", { href: to("fleet", [], new URLSearchParams({ power: "battery", sort: "battery" })) }, "show them") : "of those that have one"],
    ["Tasks running", number(tasks.running ?? 0), others.join(", ") || "no others"],
    cpu ? ["CPU used", cpus(cpu.used_permille), meter(`of ${cpus(cpu.granted_permille)} granted, ${cpus(cpu.total_permille)} there`,
      { used: cpu.used_permille, granted: cpu.granted_permille, total: cpu.total_permille })] : null,
    mem ? ["Memory used", bytes(mem.used_bytes), meter(`of ${bytes(mem.granted_bytes)} granted, ${bytes(mem.total_bytes)} there`,
      { used: mem.used_bytes, granted: mem.granted_bytes, total: mem.total_bytes })] : null,
    mailbox ? ["Commands waiting", number(mailbox.commands), mailbox.commands > 0 ? `oldest ${age(mailbox.oldest_ms)}` : "none for sleeping nodes"] : null,
  ]);
}

function tenants(all, { local, redraw }) {
  if (all.length === 0) return section("Tenants", h("p", { class: "quiet-text" }, "No tenant has anything granted here. Run something: ",
    h("code", null, "micro run tools/task-sdk/images/hello.wasm --name greeter")));
  const listed = [...all].sort((a, b) => (b.cpu?.granted_permille ?? 0) - (a.cpu?.granted_permille ?? 0));
  const few = local.allTenants ? listed : listed.slice(0, TENANTS_SHOWN);
  const most = Math.max(...listed.map(({ cpu }) => cpu?.granted_permille ?? 0));
  const mostMem = Math.max(...listed.map(({ mem }) => mem?.granted_bytes ?? 0));
  return section("Tenants", tenantTable("What each role was granted and uses", few, { most, mostMem }),
    listed.length > few.length ? h("button", {
      type: "button", class: "quiet", on: { click: () => { local.allTenants = true; redraw(); } },
    }, `Show all ${count(listed.length, "tenant")}`) : null);
}

/** Roles with what they were granted and what they use of it, drawn against the one that was granted most. */
export function tenantTable(caption, tenants, { most, mostMem, linked = true }) {
  return table({
    caption, hidden: true, small: true, rows: tenants, key: ({ role }) => role,
    href: linked ? ({ role }) => to("fleet", [], new URLSearchParams({ role })) : null,
    columns: [
      { label: "Role", cell: ({ role }) => h("bdi", null, role) },
      { label: "Frameworks", numeric: true, cell: ({ frameworks }) => number(frameworks) },
      { label: "Tasks", numeric: true, cell: ({ tasks }) => number(tasks) },
      { label: "CPU used of granted", wide: true, cell: ({ cpu }) => cpu && meter(`${cpus(cpu.used_permille)} of ${cpus(cpu.granted_permille)} cpus`,
        { used: cpu.used_permille, granted: cpu.granted_permille, total: most }) },
      { label: "Memory used of granted", wide: true, cell: ({ mem }) => mem && meter(`${bytes(mem.used_bytes)} of ${bytes(mem.granted_bytes)}`,
        { used: mem.used_bytes, granted: mem.granted_bytes, total: mostMem }) },
    ],
  });
}

function nodeFilters({ tenants = [] }, query) {
  return filters({
    query, find: "EUI-64, host, board, agent", noun: "nodes",
    choices: [
      { name: "state", label: "State", options: ["registered", "registering", "away", "draining"].map((one) => [one, one]) },
      { name: "power", label: "Power", options: [["mains", "mains"], ["battery", "battery"]] },
      { name: "role", label: "Role", options: tenants.map(({ role }) => [role, role]) },
    ],
    orders: [["node", "node"], ["battery", "lowest battery"], ["heard", "longest silent"], ["tasks", "most tasks"], ["quality", "worst radio"]],
  });
}

function nodes(doc, query) {
  const { limit } = paging(query, LIMIT);
  const page = pager({ offset: doc.offset, shown: doc.nodes.length, matching: doc.matching, total: doc.total, limit, noun: "node" });
  if (doc.nodes.length === 0) return [page, h("p", { class: "quiet-text" }, "No node is like that. Clear a filter to see more.")];
  return [table({
    caption: "Nodes", hidden: true, rows: doc.nodes, key: ({ node }) => node, href: ({ node }) => to("node", [node]),
    sort: { by: query.get("sort") || "node", directions: DIRECTIONS },
    columns: [
      { label: "Node", sort: "node", cell: ({ node, board, hostname }) => [code(node), h("span", { class: "under" }, h("bdi", null, board ?? hostname ?? ""))] },
      { label: "State", cell: nodeState },
      { label: "Heard", sort: "heard", numeric: true, cell: ({ heard_ms: heard }) => ago(heard) },
      { label: "Power", sort: "battery", cell: power },
      { label: "CPU", wide: true, cell: ({ cpu }) => cpuMeter(cpu) },
      { label: "Memory", wide: true, cell: ({ mem }) => memMeter(mem) },
      { label: "Radio", sort: "quality", numeric: true, cell: ({ link }) => percent(link?.quality_percent) },
      { label: "Tasks", sort: "tasks", numeric: true, cell: ({ tasks }) => number(tasks) },
      { label: "Waiting", numeric: true, cell: ({ mailbox }) => mailbox?.commands ? `${number(mailbox.commands)}, ${age(mailbox.oldest_ms)}` : number(mailbox?.commands) },
    ],
  }), page];
}

/** Whether a node is there, and what is to become of it. */
export function nodeState({ state: name, live, draining }) {
  return [state(name), name === "registered" && live === false ? [" ", tag("not live", "warn")] : null,
    draining ? [" ", tag("draining", "warn")] : null];
}

/** What a node lives by. */
export function power({ power: supply, life_days: life }) {
  if (!supply) return UNKNOWN;
  if (supply.source !== "battery") return supply.source;
  const low = supply.percent !== null && supply.percent <= 20;
  return meter(`${percent(supply.percent)}${low ? " low" : ""}${typeof life === "number" ? `, ${number(life)} d` : ""}`, { used: supply.percent, granted: 100 });
}

export function cpuMeter(cpu) {
  return cpu ? meter(`${cpus(cpu.used_permille)} / ${cpus(cpu.granted_permille)} of ${cpus(cpu.total_permille)}`,
    { used: cpu.used_permille, granted: cpu.granted_permille, total: cpu.total_permille }) : UNKNOWN;
}

export function memMeter(mem) {
  return mem ? meter(`${bytes(mem.used_bytes)} / ${bytes(mem.granted_bytes)} of ${bytes(mem.total_bytes)}`,
    { used: mem.used_bytes, granted: mem.granted_bytes, total: mem.total_bytes }) : UNKNOWN;
}
