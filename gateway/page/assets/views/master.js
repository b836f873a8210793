// The views of the embedded master.

import { agent, agents } from "./agents.js";
import { events } from "./events.js";
import { frameworks } from "./frameworks.js";
import { job, jobs } from "./jobs.js";
import { overview } from "./overview.js";
import { task } from "./task.js";
import { tasks } from "./tasks.js";

export const home = "overview";
export const views = { overview, agents, frameworks, tasks, jobs, events, agent, task, job };
