"""A scheduler with pymesos as it comes from PyPI: runs a task to its end, kills another, reconciles, tears down.

What it sees goes to standard output, a line each: a word and what belongs to it.
"""

import sys
import threading

import pymesos

MASTER, IMAGES = sys.argv[1], {"ends": sys.argv[2], "runs": sys.argv[3]}
ORDER = ["ends", "runs"]


def say(*words):
    print(*words, flush=True)


class Follower(pymesos.Scheduler):
    def __init__(self):
        self.over = threading.Event()
        self.waiting = list(ORDER)
        self.running = None

    def registered(self, driver, framework_id, master_info):
        say("registered", framework_id["value"], master_info["version"])

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if not self.waiting or self.running:
                driver.declineOffer(offer["id"], filters={"refuse_seconds": 0.5})
                continue
            name = self.running = self.waiting.pop(0)
            scalar = lambda name, amount: {"name": name, "type": "SCALAR", "scalar": {"value": amount}}
            task = {
                "name": name,
                "task_id": {"value": name},
                "agent_id": offer["agent_id"],
                "resources": [scalar("cpus", 0.2), scalar("mem", 0.064), scalar("disk", 0.064)],
                "command": {"shell": False, "uris": [{"value": IMAGES[name]}], "arguments": []},
            }
            say("offer", offer["hostname"])
            driver.launchTasks(offer["id"], [task])

    def statusUpdate(self, driver, status):
        name, state = status["task_id"]["value"], status["state"]
        reason = status.get("reason", "")
        say("update", name, state, reason)
        if reason == "REASON_RECONCILIATION":
            if state == "TASK_RUNNING":
                driver.killTask(status["task_id"])
            else:
                self.over.set()
        elif (name, state) == ("runs", "TASK_RUNNING"):
            operator = pymesos.MesosOperatorMasterDriver(MASTER)
            tasks = operator.getTasks()["get_tasks"]["tasks"]
            say("operator", operator.getVersion()["get_version"]["version_info"]["version"], tasks[0]["name"])
            driver.reconcileTasks([])
        elif state in ("TASK_FINISHED", "TASK_KILLED"):
            self.running = None
            if self.waiting:
                driver.reviveOffers()
            else:
                driver.suppressOffers()
                driver.reconcileTasks([{"task_id": {"value": "nobody"}}])
        elif state not in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"):
            say("failed", status)
            self.over.set()

    def error(self, driver, message):
        say("error", message)
        self.over.set()


follower = Follower()
driver = pymesos.MesosSchedulerDriver(follower, {"user": "test", "name": "pymesos"}, MASTER)
driver.start()
over = follower.over.wait(80)
driver.stop()  # tears the framework down
driver.join()
say("stopped" if over else "nothing happens")
