// Tasks of all nodes (gateway) or of all agents (master), to search in; and the table of tasks that other views use.

import { h } from "../dom.js";
import { bytes, cpus, percent, resources, UNKNOWN } from "../format.js";
import { code, empty, link, meter, name, state, tag, time } from "../parts.js";
import { to } from "../router.js";
import { asked, filters, pager, paging, table } from "../table.js";

const LIMIT = 100;
const FIELDS = ["q", "state", "role", "node"];
const STATES = ["staging", "starting", "running", "killing", "finished", "failed", "killed", "lost", "error", "dropped", "unreachable", "gone"];

export const tasks = {
  label: "Tasks",
  needs: "tasks",
  title: () => "Tasks",
  source: ({ query }) => `/view/tasks${asked(query, FIELDS, paging(query, LIMIT))}`,
  render: (doc, { query, about }) => {
    if (doc.total === 0) return noTasks();
    const page = pager({ offset: doc.offset ?? 0, shown: doc.tasks.length, matching: doc.matching, total: doc.total, limit: LIMIT, noun: "task" });
    return [
      filters({ query, find: "task, framework, node", noun: "tasks", choices: [
        { name: "state", label: "State", options: STATES.map((one) => [`TASK_${one.toUpperCase()}`, one]) },
      ] }),
      doc.tasks.length === 0 ? h("p", { class: "quiet-text" }, "No task is like that. Clear a filter to see more.")
        : taskTable("Tasks", doc.tasks, { master: about.kind === "master" }),
      page,
    ];
  },
};

/** What to do where nothing runs. */
export function noTasks() {
  return empty("No task has run here yet. The task SDK has images to try:",
    ["micro run tools/task-sdk/images/hello.wasm --name greeter -- there", "micro run tools/task-sdk/images/spin.wasm --name whirl --cpus 0.25 --detach"]);
}

/** A task's address in this page. */
export function taskAddress({ framework_id: framework, task_id: task }) {
  return to("task", [framework, task]);
}

/** Tasks in a table; those of a master have no usage, but resources and agents. `place` false leaves out where they run. */
export function taskTable(caption, rows, { master = false, place = true, hidden = true } = {}) {
  const where = master
    ? { label: "Agent", cell: ({ agent_id: agent, hostname }) => agent ? link(to("agent", [agent]), name(hostname ?? agent)) : UNKNOWN }
    : { label: "Node", cell: ({ node }) => node ? link(to("node", [node]), code(node)) : UNKNOWN };
  const amounts = master
    ? [{ label: "Resources", wide: true, cell: ({ resources: held }) => resources(held) }]
    : [{ label: "CPU used of granted", wide: true, cell: cpuOf }, { label: "Memory used of granted", wide: true, cell: memOf }];
  return table({
    caption, hidden, rows, key: ({ framework_id: framework, task_id: task }) => `${framework}/${task}`, href: taskAddress,
    columns: [
      { label: "Task", cell: (task) => [h("span", { class: "strong" }, name(task.name || task.task_id)),
        task.name && task.name !== task.task_id ? h("span", { class: "under" }, h("bdi", null, task.task_id)) : null] },
      { label: "State", cell: (task) => [state(task.state), loading(task), task.updates_waiting > 0 ? [" ", tag(`${task.updates_waiting} not acknowledged`)] : null] },
      { label: "Role", cell: ({ role }) => name(role) },
      { label: "Framework", cell: ({ framework, framework_id: id }) => name(framework || id) },
      ...(place ? [where] : []),
      ...amounts,
      { label: "Since", cell: ({ since_ms: since }) => time(since) },
    ],
  });
}

/** How much of the image is there, as long as it is on its way. */
export function loading({ received_bytes: received, total_bytes: total }) {
  if (!total || received === null || received === undefined || received >= total) return null;
  return [" ", tag(`${percent(received / total * 100)} of ${bytes(total)} there`)];
}

function cpuOf({ cpu }) {
  return cpu ? meter(`${cpus(cpu.used_permille)} of ${cpus(cpu.granted_permille)}`, { used: cpu.used_permille, granted: cpu.granted_permille }) : UNKNOWN;
}

function memOf({ mem }) {
  return mem ? meter(`${bytes(mem.used_bytes)} of ${bytes(mem.granted_bytes)}`, { used: mem.used_bytes, granted: mem.granted_bytes }) : UNKNOWN;
}
