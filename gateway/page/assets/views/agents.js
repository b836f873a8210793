// The master's agents: the list to search in, and one of them.

import { h } from "../dom.js";
import { amount, number, resources } from "../format.js";
import { code, empty, facts, figures, meter, name, section, state, tag, time } from "../parts.js";
import { to } from "../router.js";
import { asked, filters, pager, paging, table } from "../table.js";
import { resourceTable } from "./overview.js";
import { taskTable } from "./tasks.js";

const LIMIT = 100;

export const agents = {
  label: "Agents",
  needs: "agents",
  title: () => "Agents",
  source: ({ query }) => `/view/agents${asked(query, ["q", "state"], paging(query, LIMIT))}`,
  render: (doc, { query }) => {
    if (doc.total === 0) {
      return empty("No agent has registered. Each node of a gateway is one:", [`micro gateway --master ${location.host} --udp 127.0.0.1:5683`]);
    }
    const page = pager({ offset: doc.offset ?? 0, shown: doc.agents.length, matching: doc.matching, total: doc.total, limit: LIMIT, noun: "agent" });
    return [
      filters({ query, find: "host, id, attribute", noun: "agents", choices: [
        { name: "state", label: "State", options: ["active", "inactive", "unreachable", "draining"].map((one) => [one, one]) },
      ] }),
      doc.agents.length === 0 ? h("p", { class: "quiet-text" }, "No agent is like that. Clear a filter to see more.") : list(doc.agents),
      page,
    ];
  },
};

function list(rows) {
  const share = (wanted) => ({ resources: held }) => {
    const found = held?.find((one) => one.name === wanted);
    return found ? meter(`${amount(wanted, found.used ?? 0)} of ${amount(wanted, found.total)}`,
      { used: found.used, granted: (found.used ?? 0) + (found.offered ?? 0), total: found.total }) : "\u2013";
  };
  return table({
    caption: "Agents", hidden: true, rows, key: ({ agent_id: id }) => id, href: ({ agent_id: id }) => to("agent", [id]),
    columns: [
      { label: "Agent", cell: ({ hostname, agent_id: id }) => [h("span", { class: "strong" }, name(hostname)), h("span", { class: "under" }, code(id))] },
      { label: "State", cell: agentState },
      { label: "CPU used", wide: true, cell: share("cpus") },
      { label: "Memory used", wide: true, cell: share("mem") },
      { label: "Tasks", numeric: true, cell: ({ tasks }) => number(Array.isArray(tasks) ? tasks.length : tasks) },
      { label: "Registered", cell: ({ registered_ms: at }) => time(at) },
    ],
  });
}

function agentState({ state: held, drain }) {
  return [state(held), drain && drain !== held ? [" ", tag(drain, "warn")] : null];
}

export const agent = {
  within: "agents",
  needs: "agents",
  title: ({ args, doc }) => `Agent ${doc?.hostname ?? doc?.agent?.hostname ?? args[0] ?? ""}`,
  missing: "The master does not know this agent: it may have been removed.",
  source: ({ args }) => `/view/agent/${encodeURIComponent(args[0] ?? "")}`,
  render: (doc) => {
    const agent = doc.agent ?? doc;
    const tasks = Array.isArray(doc.tasks) ? doc.tasks : [];
    return [
      figures("State", [
        ["State", agentState(agent), agent.registered_ms ? ["registered ", time(agent.registered_ms)] : null],
        ["Tasks", number(tasks.length), null],
      ]),
      section("Resources", resourceTable(agent.resources ?? [])),
      section("Tasks", tasks.length === 0 ? h("p", { class: "quiet-text" }, "Nothing runs on this agent.")
        : taskTable("Tasks of this agent", tasks, { master: true, place: false })),
      doc.executors?.length > 0 ? section("Executors", table({
        caption: "Executors", hidden: true, small: true, rows: doc.executors, key: (one) => `${one.framework_id}/${one.executor_id}`,
        columns: [
          { label: "Executor", cell: (one) => name(one.name || one.executor_id) },
          { label: "Framework", cell: (one) => name(one.framework ?? one.framework_id) },
          { label: "Resources", wide: true, cell: (one) => resources(one.resources) },
        ],
      })) : null,
      section("Identity", facts([
        ["Agent", code(agent.agent_id)], ["Process", code(agent.pid)], ["Version", agent.version ?? null],
        ...Object.entries(agent.attributes ?? {}).map(([key, value]) => [key, name(String(value))]),
      ])),
    ];
  },
};
