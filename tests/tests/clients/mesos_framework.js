// A scheduler with mesos-framework as it comes from npm: runs a task to its end, kills another, reconciles, tears down.
//
// What it sees goes to standard output, a line each: a word and what belongs to it.
"use strict";

const { Scheduler, Mesos } = require("mesos-framework");
const mesos = Mesos.getMesos();

const [master, ends, runs, logs] = process.argv.slice(2);
const [host, port] = master.split(":");
const say = (...words) => console.log(...words);

// The library counts a task's instances into its name.
const task = (image) => ({
  priority: 1,
  instances: 1,
  commandInfo: new mesos.CommandInfo(
    [new mesos.CommandInfo.URI(image, false, false)], null, false, null, [], null,
  ),
  resources: { cpus: 0.2, mem: 0.064, ports: 0, disk: 0.064 },
});

const scheduler = new Scheduler({
  masterUrl: host,
  port,
  user: "test",
  frameworkName: "mesos-framework",
  tasks: { ends: task(ends) },
  masterConnectionTimeout: 60, // longer than between heartbeats
  logging: { path: logs, fileName: "log", level: "error" },
});

const kindOf = (status) => (status.task_id.value.includes(".ends-") ? "ends" : "runs");
let killed = false;

scheduler.on("ready", () => scheduler.subscribe());
scheduler.on("subscribed", ({ frameworkId }) => say("registered", frameworkId));
scheduler.on("offers", ({ offers }) => say("offer", offers[0].hostname));
scheduler.on("update", ({ status }) => {
  const [name, state, reason] = [kindOf(status), status.state, status.reason || ""];
  say("update", name, state, reason);
  if (reason === "REASON_RECONCILIATION") {
    if (state === "TASK_RUNNING" && !killed) {
      killed = true;
      scheduler.kill(status.task_id.value, status.agent_id.value);
    } else if (state !== "TASK_RUNNING") {
      ending = true;
      scheduler.teardown();
    }
  } else if (name === "runs" && state === "TASK_RUNNING") {
    scheduler.reconcile();
  } else if (state === "TASK_FINISHED") {
    scheduler.pendingTasks.push(Object.assign(task(runs), { name: "runs-1", isSubmitted: false }));
    scheduler.revive();
  } else if (state === "TASK_KILLED") {
    scheduler.reconcile("nobody", status.agent_id.value);
  } else if (!["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"].includes(state)) {
    say("failed", JSON.stringify(status));
    process.exit(1);
  }
});
scheduler.on("sent_teardown", () => {
  say("stopped");
  process.exit(0);
});
// After the teardown the master ends the stream.
let ending = false;
scheduler.on("error", (error) => ending || say("error", error.message || JSON.stringify(error)));
setTimeout(() => {
  say("nothing happens");
  process.exit(1);
}, 80_000);
