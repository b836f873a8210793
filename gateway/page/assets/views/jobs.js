// The master's jobs: the list to search in, and one of them with its instances and what became of earlier ones.

import { h } from "../dom.js";
import { ago, number, resources, UNKNOWN } from "../format.js";
import { code, empty, facts, figures, link, name, section, state, time } from "../parts.js";
import { to } from "../router.js";
import { asked, filters, pager, paging, table } from "../table.js";

const LIMIT = 100;
const STATES = ["pending", "placing", "running", "waiting", "killing", "finished", "failed", "killed"];

export const jobs = {
  label: "Jobs",
  needs: "jobs",
  ages: true,
  title: () => "Jobs",
  source: ({ query }) => `/view/jobs${asked(query, ["q", "state"], paging(query, LIMIT))}`,
  render: (doc, { query }) => {
    const rows = doc.jobs ?? [];
    if (rows.length === 0 && !query.get("q") && !query.get("state")) {
      return empty("No job has been given to this master. A job is run again when it fails, and periodic ones when they are due:",
        ["micro job run tools/task-sdk/images/hello.wasm --id greeter -- there", "micro job run tools/task-sdk/images/sense.wasm --id heat --every 15m -c on=temp-sensor --sensors 1"]);
    }
    const matching = doc.matching ?? rows.length;
    return [
      filters({ query, find: "id, name", noun: "jobs", choices: [
        { name: "state", label: "State", options: STATES.map((one) => [one, one]) },
      ] }),
      rows.length === 0 ? h("p", { class: "quiet-text" }, "No job is like that. Clear a filter to see more.") : list(rows),
      pager({ offset: doc.offset ?? 0, shown: rows.length, matching, total: doc.total ?? matching, limit: LIMIT, noun: "job" }),
    ];
  },
};

function list(rows) {
  return table({
    caption: "Jobs", hidden: true, rows, key: ({ id }) => id, href: ({ id }) => to("job", [id]),
    columns: [
      { label: "Job", cell: (job) => [h("span", { class: "strong" }, name(job.name || job.id)),
        job.name && job.name !== job.id ? h("span", { class: "under" }, h("bdi", null, job.id)) : null] },
      { label: "State", cell: (job) => state(job.state) },
      { label: "Running", numeric: true, cell: (job) => `${number(job.running)} of ${number(job.wanted)}` },
      { label: "Priority", numeric: true, cell: (job) => number(job.priority) },
      { label: "Next", cell: (job) => (job.next_ms ? ago(job.next_ms) : UNKNOWN) },
      { label: "Why it waits", wide: true, cell: (job) => name(job.why?.text) },
      { label: "Given", cell: (job) => time(job.created_ms) },
    ],
  });
}

export const job = {
  within: "jobs",
  needs: "job",
  ages: true,
  title: ({ args }) => `Job ${args[0] ?? ""}`,
  missing: "The master does not know this job: it may have been forgotten after its end.",
  source: ({ args }) => `/view/job/${encodeURIComponent(args[0] ?? "")}`,
  render: (doc) => [
    figures("State", [
      ["State", state(doc.state), doc.ended_ms ? ["ended ", time(doc.ended_ms)] : ["given ", time(doc.created_ms)]],
      ["Running", `${number(doc.running)} of ${number(doc.wanted)}`, `${number(doc.waiting)} to be placed`],
      ["Next", doc.next_ms ? ago(doc.next_ms) : UNKNOWN, doc.periodic ? "periodic" : null],
      ["Priority", number(doc.priority), ["role ", name(doc.role)]],
    ]),
    doc.why ? h("p", { key: "why", class: "notice" }, "Not placed: ", name(doc.why.text)) : null,
    section("Instances", instances(doc.instances ?? [])),
    (doc.history?.tasks ?? []).length > 0 ? section("What became of its tasks", past(doc.history.tasks)) : null,
    section("As it was given", facts(Object.entries(doc.spec ?? {}).map(([field, value]) => [field, said(field, value)]))),
  ],
};

function instances(rows) {
  if (rows.length === 0) return h("p", { class: "quiet-text" }, "None at the moment.");
  return table({
    caption: "Instances", hidden: true, small: true, rows, key: (one) => `${one.run}/${one.instance}`,
    columns: [
      { label: "Instance", cell: (one) => `${one.run}.${one.instance}` },
      { label: "State", cell: (one) => state(one.task_state ?? one.state) },
      { label: "Task", cell: (one) => code(one.task_id) },
      { label: "On", cell: (one) => (one.agent_id ? link(to("agent", [one.agent_id]), name(one.hostname ?? one.agent_id)) : UNKNOWN) },
      { label: "Launches", numeric: true, cell: (one) => number(one.launches) },
      { label: "Failures", numeric: true, cell: (one) => number(one.failures) },
    ],
  });
}

function past(rows) {
  return table({
    caption: "What became of its tasks", hidden: true, small: true, rows: [...rows].reverse(), key: (one) => one.task_id ?? one.id,
    columns: [
      { label: "Task", cell: (one) => code(one.task_id ?? one.id) },
      { label: "State", cell: (one) => state(one.state) },
      { label: "Reason", cell: (one) => name(one.reason) },
      { label: "Message", wide: true, cell: (one) => name(one.message) },
      { label: "Ended", cell: (one) => time(one.ended_ms) },
    ],
  });
}

function said(field, value) {
  if (value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) return null;
  if (field === "resources") return resources(value);
  return name(typeof value === "object" ? JSON.stringify(value) : String(value));
}
