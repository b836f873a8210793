// One task: where it is in its life, what it says, and what it uses of its grant.

import { h } from "../dom.js";
import { bytes, count, cpus, percent, resources, span } from "../format.js";
import { Log } from "../log.js";
import { code, facts, figures, link, meter, name, section, state, tag, time } from "../parts.js";
import { column, Plot } from "../plot.js";
import { to } from "../router.js";
import { loading } from "./tasks.js";

export const task = {
  within: "tasks",
  needs: "tasks",
  title: ({ args, doc }) => `Task ${doc?.task.name || args[1] || ""}`,
  missing: "It is neither running nor among those that ended lately. `micro tasks` lists what the master knows.",
  source: ({ args }) => `/view/task/${encodeURIComponent(args[0] ?? "")}/${encodeURIComponent(args[1] ?? "")}`,
  render: (doc, { about }) => about.kind === "master" ? ofMaster(doc) : ofGateway(doc),
};

function ofGateway(doc) {
  const { task, log } = doc;
  const path = `/view/log/${encodeURIComponent(task.framework_id)}/${encodeURIComponent(task.task_id)}`;
  return [
    overview(task),
    section("States", timeline(doc.statuses ?? [])),
    section("Log", h("div", { class: "log", island: Log, props: { path, begin: log?.begin ?? 0, end: log?.end ?? 0 } })),
    section("Usage against the grant", h("div", { class: "plots" }, plots(doc))),
    image(doc.image),
    section("Identity", identity(task, doc.labels)),
  ];
}

function ofMaster(doc) {
  const page = gatewayPage(doc.log_at, doc.task);
  return [
    figures("State", [["State", state(doc.task.state), doc.task.since_ms ? ["since ", time(doc.task.since_ms)] : null]]),
    section("States", timeline(doc.statuses ?? [])),
    page ? section("Log and usage", h("p", null, h("a", { href: page, rel: "noreferrer" }, "This task at its gateway"),
      ", which has its log and what it uses of its grant.")) : null,
    section("Identity", identity(doc.task, doc.labels)),
  ];
}

/** The page of the gateway whose log this is, if the address is one that may be linked to. */
function gatewayPage(logAt, { framework_id: framework, task_id: task }) {
  if (!logAt || !URL.canParse(logAt)) return null;
  const { protocol, origin } = new URL(logAt);
  return protocol === "http:" || protocol === "https:" ? `${origin}/page/${to("task", [framework, task])}` : null;
}

function overview(task) {
  const { cpu, mem } = task;
  return figures("State", [
    ["State", [state(task.state), loading(task)], task.since_ms ? ["since ", time(task.since_ms)] : null],
    ["Node", task.node ? link(to("node", [task.node]), code(task.node)) : "none yet", task.source_kind ? `runs as ${task.source_kind}` : null],
    cpu ? ["CPU used", cpus(cpu.used_permille), meter(`of ${cpus(cpu.granted_permille)} cpus granted`,
      { used: cpu.used_permille, granted: cpu.granted_permille })] : null,
    mem ? ["Memory used", bytes(mem.used_bytes), meter(`of ${bytes(mem.granted_bytes)} granted, at most ${bytes(mem.peak_bytes)} so far`,
      { used: mem.used_bytes, granted: mem.granted_bytes })] : null,
    task.total_bytes ? ["Image", bytes(task.total_bytes), `${percent(task.received_bytes / task.total_bytes * 100)} at the node`] : null,
    task.updates_waiting > 0 ? ["Not acknowledged", task.updates_waiting, "status updates that the framework has not taken"] : null,
  ]);
}

function timeline(statuses) {
  if (statuses.length === 0) return h("p", { class: "quiet-text" }, "No status yet: the task is on its way to the node.");
  return h("ol", { class: "timeline" }, statuses.map((status, at) => {
    const before = statuses[at - 1]?.at_ms;
    return h("li", { key: `${at}` },
      h("p", { class: "timeline-head" }, state(status.state), time(status.at_ms),
        typeof before === "number" && typeof status.at_ms === "number" ? h("span", { class: "quiet-text" }, `after ${span(status.at_ms - before)}`) : null,
        status.healthy === true ? tag("healthy", "good") : status.healthy === false ? tag("unhealthy", "bad") : null,
        status.acknowledged === false ? tag("not acknowledged", "warn") : null),
      h("p", { class: "timeline-body" }, status.message ? h("span", { class: "message" }, name(status.message)) : null,
        h("span", { class: "quiet-text" }, [status.state, status.reason, status.source].filter(Boolean).join(" \u00b7 "))));
  }));
}

function plots({ task, history }) {
  const points = history?.points ?? [];
  const times = points.map(({ at }) => at);
  const plot = (key, props) => h("div", { key, class: "plot-box", island: Plot, props: { times, ...props } });
  return [
    plot("cpu", { title: "CPU", series: [{ name: "cpus", values: column(points, "cpu_permille") }], format: cpus,
      mark: task.cpu?.granted_permille ? { value: task.cpu.granted_permille, label: "granted" } : null }),
    plot("mem", { title: "Memory", series: [{ name: "memory", values: column(points, "mem_bytes") }], format: bytes, base: 1024,
      mark: task.mem?.granted_bytes ? { value: task.mem.granted_bytes, label: "granted" } : null }),
  ];
}

function image(image) {
  if (!image) return null;
  return section("Image", facts([
    ["Kind", image.kind], ["Size", bytes(image.bytes)], ["From", name(image.uri)], ["SHA-256", code(image.digest)],
    ["Publisher", image.publisher ? name(image.publisher) : "not signed by one that this gateway knows"],
  ]));
}

function identity(task, labels) {
  const entries = Array.isArray(labels) ? labels.map(({ key, value }) => [key, value]) : Object.entries(labels ?? {});
  return [facts([
    ["Task", code(task.task_id)], ["Framework", [name(task.framework), " ", code(task.framework_id)]], ["Role", name(task.role)],
    task.agent_id ? ["Agent", link(to("agent", [task.agent_id]), name(task.hostname ?? task.agent_id))] : null,
    task.resources ? ["Resources", resources(task.resources)] : null,
    entries.length > 0 ? [count(entries.length, "label"), h("ul", { class: "labels" }, entries.map(([key, value], at) => h("li", { key: `${at}` }, code(key), " ", name(value))))] : null,
  ])];
}
