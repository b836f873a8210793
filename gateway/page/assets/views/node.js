// One node: who it is, how it does, whom it serves, what runs on it, and how that went over time.

import { h } from "../dom.js";
import { age, ago, bytes, count, cpus, number, percent, span } from "../format.js";
import { code, facts, figures, meter, name, section } from "../parts.js";
import { column, Plot, rate } from "../plot.js";
import { nodeState, power, tenantTable } from "./fleet.js";
import { stacks } from "./stacks.js";
import { noTasks, taskTable } from "./tasks.js";

export const node = {
  ages: true,
  within: "fleet",
  needs: "fleet",
  title: ({ args }) => `Node ${args[0] ?? ""}`,
  lead: ({ doc: { node: { board, hostname } } }) => [board, hostname].filter(Boolean).map((text) => h("bdi", { key: text }, text))
    .flatMap((part, at) => at ? [" \u00b7 ", part] : [part]),
  missing: "No node of this EUI-64 has spoken to this gateway. `micro nodes` lists those that have.",
  source: ({ args }) => `/view/node/${encodeURIComponent(args[0] ?? "")}`,
  render: (doc) => {
    const { node, tasks = [], completed = [], tenants = [] } = doc;
    return [
      overview(node),
      section("Resources by tenant", stacks(doc.resources ?? []),
        tenants.length > 0 ? tenantTable("What each role was granted here and uses", tenants, {
          most: node.cpu?.total_permille, mostMem: node.mem?.total_bytes,
        }) : null),
      section("Tasks", tasks.length === 0 ? noTasks() : taskTable("Tasks on this node", tasks, { place: false })),
      section("Over time", h("div", { class: "plots" }, plots(doc))),
      energy(doc.energy),
      completed.length > 0 ? section("Completed tasks", taskTable("Completed tasks", completed, { place: false })) : null,
      section("Identity", identity(doc)),
    ];
  },
};

function overview(node) {
  const { link, mailbox, cpu, mem } = node;
  return figures("State", [
    ["State", nodeState(node), `heard ${ago(node.heard_ms)}`],
    ["Next poll", node.next_poll_s === null || node.next_poll_s === undefined ? "listens" : span(node.next_poll_s * 1000), "at the latest"],
    ["Power", power(node), null],
    link ? ["Radio quality", percent(link.quality_percent), [
      typeof link.uplink_lost_permille === "number" ? `${percent(link.uplink_lost_permille / 10, 1)} lost on the way up` : null,
      typeof link.resent === "number" ? `${number(link.resent)} sent again` : null,
    ].filter(Boolean).join(", ")] : null,
    cpu ? ["CPU used", cpus(cpu.used_permille), meter(`of ${cpus(cpu.granted_permille)} granted, ${cpus(cpu.total_permille)} there`,
      { used: cpu.used_permille, granted: cpu.granted_permille, total: cpu.total_permille })] : null,
    mem ? ["Memory used", bytes(mem.used_bytes), meter(`of ${bytes(mem.granted_bytes)} granted, ${bytes(mem.total_bytes)} there`,
      { used: mem.used_bytes, granted: mem.granted_bytes, total: mem.total_bytes })] : null,
    mailbox ? ["Commands waiting", number(mailbox.commands), mailbox.commands > 0 ? `oldest ${age(mailbox.oldest_ms)}` : "mailbox empty"] : null,
  ]);
}

function plots({ node, history }) {
  const points = history?.points ?? [];
  const times = points.map(({ at }) => at);
  const plot = (key, props) => h("div", { key, class: "plot-box", island: Plot, props: { times, ...props } });
  return [
    plot("quality", { title: "Radio quality", series: [{ name: "quality", values: column(points, "quality_percent") }],
      format: (value) => percent(value), high: 100, top: 100 }),
    plot("frames", { title: "Frames per minute", series: [
      { name: "received", values: rate(points, "frames_in") }, { name: "sent", values: rate(points, "frames_out") },
    ], format: (value) => number(value, 1), high: 4 }),
    plot("cpu", { title: "CPU used by tasks", series: [{ name: "cpus", values: column(points, "cpu_permille") }],
      format: cpus, high: 100, mark: node.cpu?.granted_permille ? { value: node.cpu.granted_permille, label: "granted" } : null }),
    plot("mem", { title: "Memory used by tasks", series: [{ name: "memory", values: column(points, "mem_bytes") }],
      format: bytes, base: 1024, high: 4096, mark: node.mem?.granted_bytes ? { value: node.mem.granted_bytes, label: "granted" } : null }),
    node.power?.source === "battery" ? plot("battery", { title: "Battery", series: [{ name: "charge", values: column(points, "battery_percent") }],
      format: (value) => percent(value), high: 100, top: 100 }) : null,
  ];
}

function energy(used) {
  if (!used) return section("Energy", h("p", { class: "quiet-text" }, "This node has not said yet what it uses."));
  const parts = [["listening", used.listen_mah], ["sending", used.transmit_mah], ["computing", used.cpu_mah], ["sleeping", used.sleep_mah]];
  const total = used.mah ?? parts.reduce((sum, [, value]) => sum + (value ?? 0), 0);
  const milliampereHours = (value) => `${number(value, value < 1 ? 4 : 1)} mAh`;
  return section("Energy",
    h("p", null, `${milliampereHours(total)} since its start ${span((used.uptime_s ?? 0) * 1000)} ago, reckoned for ${used.chip ?? "its chip"}`,
      typeof used.battery_mah === "number" ? ` and a battery of ${number(used.battery_mah)} mAh` : "", ".",
      typeof used.life_days === "number" ? h("strong", null, ` It lasts ${count(Math.round(used.life_days), "day")} at this rate.`) : ""),
    h("div", { class: "bars" }, parts.filter(([, value]) => typeof value === "number").map(([label, value]) => h("div", { key: label },
      meter([h("span", null, label), " ", h("span", { class: "figure-text" }, `${milliampereHours(value)}, ${percent(total > 0 ? value / total * 100 : 0, 1)}`)],
        { used: value, granted: total })))),
    facts([
      ["Frames sent", number(used.frames_out)], ["Frames received", number(used.frames_in)],
      ["Listened", span(used.listened_ms)], ["Computed", span(used.cpu_ms)],
    ]));
}

function identity({ node, attributes = {} }) {
  return facts([
    ["EUI-64", code(node.node)], ["Agent", code(node.agent_id)], ["Actor", code(node.actor)], ["Host name", name(node.hostname)],
    ...Object.entries(attributes).map(([key, value]) => [key, name(typeof value === "object" ? JSON.stringify(value) : String(value))]),
  ]);
}
