// Who asks the master for resources, and who did.

import { h } from "../dom.js";
import { number, resources, span } from "../format.js";
import { code, empty, name, section, state, tag, time } from "../parts.js";
import { table } from "../table.js";

export const frameworks = {
  label: "Frameworks",
  needs: "frameworks",
  title: () => "Frameworks",
  source: () => "/view/frameworks",
  render: ({ frameworks = [], completed = [] }) => [
    frameworks.length === 0 ? empty("No framework has subscribed. `micro run` is one for a single task; one of your own subscribes at /api/v1/scheduler:",
      [`micro run --master ${location.host} tools/task-sdk/images/hello.wasm --name greeter`]) : list("Frameworks", frameworks),
    completed.length > 0 ? section("Completed", list("Completed frameworks", completed)) : null,
  ],
};

function list(caption, rows) {
  return table({
    caption, hidden: true, rows, key: ({ framework_id: id }) => id,
    columns: [
      { label: "Framework", cell: ({ name: label, framework_id: id }) => [h("span", { class: "strong" }, name(label)), h("span", { class: "under" }, code(id))] },
      { label: "State", cell: ({ active, connected }) => [state(active ? "active" : "inactive"), connected === false ? [" ", tag("disconnected", "warn")] : null] },
      { label: "Roles", cell: ({ roles }) => name((roles ?? []).join(", ")) },
      { label: "User", cell: ({ user, principal }) => [name(user), principal ? h("span", { class: "under" }, h("bdi", null, principal)) : null] },
      { label: "Tasks", numeric: true, cell: ({ tasks }) => number(tasks) },
      { label: "Offers", numeric: true, cell: ({ offers }) => number(offers) },
      { label: "Allocated", wide: true, cell: ({ allocated }) => resources(allocated) },
      { label: "Waits for its return", numeric: true, cell: ({ failover_timeout_s: seconds }) => typeof seconds === "number" ? span(seconds * 1000) : "\u2013" },
      { label: "Registered", cell: ({ registered_ms: at }) => time(at) },
    ],
  });
}
