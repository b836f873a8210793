// The cluster at a glance: what there is, what is given, and to whom.

import { h } from "../dom.js";
import { amount, number, percent, resources } from "../format.js";
import { empty, figures, link, meter, name, section, stateName } from "../parts.js";
import { to } from "../router.js";
import { table } from "../table.js";

export const overview = {
  label: "Overview",
  needs: "overview",
  title: () => "Overview",
  source: () => "/view/overview",
  render: ({ summary, roles = [] }, { about }) => [
    counts(summary),
    summary.agents === 0 ? section("Agents", empty("No agent has registered. A gateway brings its nodes along as agents; so does the demo, all at once:",
      [`micro gateway --master ${location.host} --udp 127.0.0.1:5683`, "micro demo"])) : null,
    section("Resources", resourceTable(summary.resources ?? [])),
    section("Roles", roles.length === 0 ? h("p", { class: "quiet-text" }, "No framework has subscribed, so no role has a share.") : roleTable(roles, about)),
  ],
};

function counts({ agents, active, unreachable, gone, draining, frameworks, tasks = {} }) {
  const others = Object.entries(tasks).filter(([key, value]) => key !== "running" && value > 0)
    .map(([key, value]) => `${number(value)} ${stateName(key)}`);
  return figures("Summary", [
    ["Agents", link(to("agents"), number(agents)), `${number(active)} active`],
    ["Unreachable", number(unreachable), gone > 0 ? `${number(gone)} gone` : null],
    ["Draining", number(draining), null],
    ["Frameworks", link(to("frameworks"), number(frameworks)), null],
    ["Tasks running", number(tasks.running ?? 0), others.join(", ") || "no others"],
  ]);
}

/** Resources with what is used and offered of each. */
export function resourceTable(held) {
  return table({
    caption: "Resources", hidden: true, small: true, rows: held, key: ({ name }) => name,
    columns: [
      { label: "Resource", cell: ({ name: label }) => name(label) },
      { label: "Used, offered, there", wide: true, cell: ({ name: label, total, used, offered }) => meter(
        `${amount(label, used ?? 0)} used, ${amount(label, offered ?? 0)} offered, ${amount(label, total)} there`,
        { used, granted: (used ?? 0) + (offered ?? 0), total }) },
    ],
  });
}

function roleTable(roles, about) {
  const prioritised = roles.some(({ priority }) => typeof priority === "number" && priority !== 0);
  return table({
    caption: "Roles", hidden: true, rows: [...roles].sort((a, b) => (b.dominant_share_permille ?? 0) - (a.dominant_share_permille ?? 0)), key: ({ role }) => role,
    columns: [
      { label: "Role", cell: ({ role }) => name(role) },
      { label: "Dominant share", wide: true, cell: ({ dominant_share_permille: share }) => meter(percent(share / 10, 1), { used: share, granted: 1000 }) },
      { label: "Weight", numeric: true, cell: ({ weight }) => number(weight, 3) },
      ...(prioritised || about.policy === "priority" ? [{ label: "Priority", numeric: true, cell: ({ priority }) => number(priority) }] : []),
      { label: "Frameworks", numeric: true, cell: ({ frameworks }) => number(Array.isArray(frameworks) ? frameworks.length : frameworks) },
      { label: "Allocated", wide: true, cell: ({ allocated }) => resources(allocated) },
    ],
  });
}
