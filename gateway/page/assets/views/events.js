// What happened lately, newest first, as it happens.

import { h } from "../dom.js";
import { count } from "../format.js";
import { code, link, name, state, time } from "../parts.js";
import { to } from "../router.js";
import { filters, table } from "../table.js";

/** As many as the page keeps, and draws. */
const KEPT_MAX = 1000;
const SHOWN_MAX = 300;

const KINDS = {
  gateway: ["node", "task", "master", "security", "image"],
  master: ["agent", "framework", "task", "job"],
};

export const events = {
  label: "Events",
  needs: "events",
  title: () => "Events",
  source: () => "/view/events",
  /** Where to go on after a stream was cut: the newest kept events come first, else those after the last. */
  since: (source, id) => id === null ? `${source}?limit=${SHOWN_MAX}` : `${source}?since=${encodeURIComponent(id)}`,
  collect: (doc, { type, data }) => {
    const kept = doc ?? { events: [] };
    if (type === "event" && !(kept.events[0]?.seq >= data.seq)) kept.events = [data, ...kept.events].slice(0, KEPT_MAX);
    return kept;
  },
  render: ({ events }, { query, about, redraw, local }) => {
    const wanted = events.filter((event) => ["kind", "severity"].every((field) => !query.get(field) || query.get(field) === event[field])
      && matches(event, query.get("q")));
    const held = local.held ? wanted.filter(({ seq }) => seq <= local.held) : wanted;
    return [
      filters({ query, find: "text, node, task", noun: "events", choices: [
        { name: "kind", label: "About", options: KINDS[about.kind === "master" ? "master" : "gateway"].map((one) => [one, one]) },
        { name: "severity", label: "Severity", options: ["info", "warning", "error"].map((one) => [one, one]) },
      ] }),
      h("p", { class: "log-controls" }, h("button", {
        type: "button", class: "quiet", "aria-pressed": String(Boolean(local.held)),
        on: { click: () => { local.held = local.held ? null : events[0]?.seq ?? null; redraw(); } },
      }, "Pause"), h("span", { class: "quiet-text" }, local.held ? `paused, ${count(wanted.length - held.length, "new event")}` : "newest first, as they happen")),
      held.length === 0 ? h("p", { class: "quiet-text" }, events.length === 0 ? "Nothing has happened yet: nodes that come and go, tasks that start and end appear here."
        : "No event is like that. Clear a filter to see more.") : list(held.slice(0, SHOWN_MAX), about),
      held.length > SHOWN_MAX ? h("p", { class: "quiet-text" }, `The newest ${SHOWN_MAX} of ${count(held.length, "event")} are shown.`) : null,
    ];
  },
};

function matches(event, text) {
  if (!text) return true;
  const wanted = text.toLowerCase();
  return [event.text, event.node, event.task_id, event.agent_id, event.framework_id].some((field) => field?.toLowerCase().includes(wanted));
}

function list(rows, about) {
  return table({
    caption: "Events", hidden: true, rows, key: ({ seq }) => seq,
    columns: [
      { label: "When", cell: ({ at_ms: at }) => time(at) },
      { label: "Severity", cell: ({ severity }) => state(severity) },
      { label: "About", cell: ({ kind }) => kind },
      { label: "What", wide: true, cell: ({ text }) => name(text) },
      { label: "Where", cell: (event) => [
        event.node ? h("div", { class: "where-cell" }, link(to("node", [event.node]), code(event.node))) : null,
        event.agent_id && about.kind === "master" ? h("div", null, link(to("agent", [event.agent_id]), code(event.agent_id))) : null,
        event.task_id && event.framework_id ? h("div", null, link(to("task", [event.framework_id, event.task_id]), name(event.task_id))) : event.task_id ? name(event.task_id) : null,
      ] },
    ],
  });
}
