// The views of a gateway.

import { events } from "./events.js";
import { fleet } from "./fleet.js";
import { images } from "./images.js";
import { node } from "./node.js";
import { security } from "./security.js";
import { task } from "./task.js";
import { tasks } from "./tasks.js";

export const home = "fleet";
export const views = { fleet, tasks, images, security, events, node, task };
