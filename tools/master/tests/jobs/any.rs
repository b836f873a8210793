//! Whatever offers come, tasks do, agents and processes break: never more instances than were asked for, constraints
//! hold, waits keep their bounds, and nothing that was accepted is lost.

use crate::world::{World, job};
use master::jobs::Request;
use mesos_proto::v1::TaskState::{self, *};
use mesos_proto::v1::task_status::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const AGENTS: [&str; 5] = ["A", "B", "C", "D", "E"];
/// Of an agent.
fn rack(hostname: &str) -> usize {
    hostname.bytes().next().map_or(0, |first| usize::from(first) % 2)
}

/// Kinds of job: what they ask for, and their instances.
fn kinds() -> [(&'static str, u32, Value); 6] {
    let retried = json!({"policy": "on-failure", "retries": 1000});
    let backoff = json!({"initial": "2s", "max": "8s", "jitter": 0.5});
    [
        ("once", 1, json!({"backoff": backoff})),
        (
            "unique",
            4,
            json!({"instances": 4, "constraints": ["unique=node"], "restart": retried, "backoff": backoff}),
        ),
        (
            "even",
            4,
            json!({"instances": 4, "constraints": ["group-by=rack:2"], "restart": retried, "backoff": backoff}),
        ),
        (
            "capped",
            6,
            json!({"instances": 6, "constraints": ["max-per=rack:2"], "restart": {"policy": "always"},
            "backoff": backoff}),
        ),
        (
            "tick",
            2,
            json!({"instances": 2, "schedule": {"every": "30s"}, "restart": retried, "backoff": backoff}),
        ),
        ("urgent", 2, json!({"instances": 2, "priority": 5, "restart": retried, "backoff": backoff})),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Submit(usize),
    Kill(usize, bool),
    Run(usize),
    /// These agents are offered.
    Offer(Vec<bool>),
    /// One of the tasks that run ends so.
    End(usize, usize),
    /// What is not acknowledged is sent, of every so-manieth task.
    Deliver(usize),
    Pass(u64),
    /// The process ends after so many outputs from now on.
    Fuse(usize),
    Start,
    /// An agent goes, or comes back.
    Flip(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6usize).prop_map(Step::Submit),
        1 => (0..6usize, any::<bool>()).prop_map(|(kind, purge)| Step::Kill(kind, purge)),
        1 => (0..6usize).prop_map(Step::Run),
        8 => prop::collection::vec(any::<bool>(), 5).prop_map(Step::Offer),
        6 => (0..20usize, 0..ENDS.len()).prop_map(|(task, end)| Step::End(task, end)),
        6 => (1..3usize).prop_map(Step::Deliver),
        6 => (1..40_000u64).prop_map(Step::Pass),
        3 => (0..12usize).prop_map(Step::Fuse),
        3 => Just(Step::Start),
        2 => (0..5usize).prop_map(Step::Flip),
    ]
}

const ENDS: [(TaskState, Option<Reason>); 6] = [
    (TaskFinished, None),
    (TaskFailed, None),
    (TaskKilled, None),
    (TaskLost, None),
    (TaskDropped, Some(Reason::InvalidOffers)),
    (TaskKilled, Some(Reason::AgentDraining)),
];

struct Case {
    world: World,
    /// What was promised.
    accepted: BTreeSet<&'static str>,
    /// Asked to be forgotten.
    purged: BTreeSet<&'static str>,
}

impl Case {
    fn new() -> Self {
        let mut world = World::new();
        for name in AGENTS {
            let number = rack(name).to_string();
            world.agent(name, &[("rack", &number)], &[("cpus", 0.5), ("mem", 0.1)]);
        }
        Self { world, accepted: BTreeSet::new(), purged: BTreeSet::new() }
    }

    fn step(&mut self, step: &Step) {
        let kinds = kinds();
        match step {
            Step::Submit(kind) => {
                let (id, _, more) = &kinds[*kind];
                let reply = self.world.submit(job(id, more.clone()));
                if reply.status == 201 {
                    self.accepted.insert(id);
                    self.purged.remove(id);
                }
                if reply.status == 0 {
                    // The process ended before it said anything: both would be right.
                    self.purged.insert(id);
                }
            }
            Step::Kill(kind, purge) => {
                let id = kinds[*kind].0;
                if *purge {
                    self.purged.insert(id);
                }
                self.world.ask(Request::Kill { id: id.into(), purge: *purge });
            }
            Step::Run(kind) => drop(self.world.ask(Request::Run(kinds[*kind].0.into()))),
            Step::Offer(which) => {
                let agents: Vec<String> = AGENTS
                    .iter()
                    .zip(which)
                    .filter(|(_, yes)| **yes)
                    .map(|(name, _)| name.to_string())
                    .collect();
                let before = self.placed("even");
                self.world.offer(&agents);
                self.check_even(before);
            }
            Step::End(task, end) => {
                let alive: Vec<String> = self
                    .world
                    .tasks
                    .iter()
                    .filter(|(_, task)| task.alive)
                    .map(|(id, _)| id.clone())
                    .collect();
                if let Some(id) = alive.get(task % alive.len().max(1)) {
                    let (state, reason) = ENDS[*end];
                    self.world.end(id, state, reason);
                }
            }
            Step::Deliver(each) => {
                let agents = &self.world.agents;
                let statuses: Vec<_> = self
                    .world
                    .tasks
                    .values()
                    .filter(|task| agents[&task.agent].connected)
                    .step_by(*each)
                    .filter_map(|task| task.statuses.front().cloned())
                    .collect();
                statuses.into_iter().for_each(|status| self.world.deliver(status));
            }
            Step::Pass(ms) => {
                self.world.now += ms;
                self.world.input(master::jobs::Input::Tick);
            }
            Step::Fuse(outputs) => self.world.fuse = Some(*outputs),
            Step::Start => {
                if self.world.jobs.is_none() {
                    self.world.start();
                }
            }
            Step::Flip(agent) => {
                let agent = self.world.agents.get_mut(AGENTS[*agent]).unwrap();
                agent.connected = !agent.connected;
            }
        }
    }

    /// What a job says of itself, without burning the fuse.
    fn said(&mut self, id: &str) -> Option<Value> {
        let fuse = self.world.fuse.take();
        let running = self.world.jobs.is_some();
        let reply = self.world.ask(Request::Show(id.into()));
        self.world.fuse = fuse;
        (running && reply.status == 200).then_some(reply.body)
    }

    /// Tasks that a job holds for running, by number, with the racks they are in.
    fn placed(&mut self, id: &str) -> BTreeMap<u64, usize> {
        let said = self.said(id).unwrap_or_default();
        let instances = said["instances"].as_array().cloned().unwrap_or_default();
        let placed = instances.iter().filter_map(|held| {
            let (_, number) = held["task_id"].as_str()?.rsplit_once('.')?;
            Some((number.parse().ok()?, rack(held["hostname"].as_str()?)))
        });
        placed.collect()
    }

    /// Each new instance went where the fewest were.
    fn check_even(&mut self, before: BTreeMap<u64, usize>) {
        if self.world.jobs.is_none() {
            return;
        }
        let after = self.placed("even");
        let mut counts = [0; 2];
        before.values().for_each(|rack| counts[*rack] += 1);
        for (number, rack) in after.iter().filter(|(number, _)| !before.contains_key(number)) {
            assert!(counts[*rack] <= counts[1 - rack], "task {number} makes it uneven: {before:?} {after:?}");
            counts[*rack] += 1;
        }
    }

    fn check(&mut self) {
        for (id, instances, _) in kinds() {
            let alive = self.world.alive(id);
            assert!(alive.len() <= instances as usize, "{id}: {} run", alive.len());
            let nodes: BTreeSet<&String> = alive.iter().map(|(_, task)| &task.agent).collect();
            assert!(id != "unique" || nodes.len() == alive.len(), "two on one node");
            for number in 0..2 {
                let here = alive.iter().filter(|(_, task)| rack(&task.agent) == number).count();
                assert!(id != "capped" || here <= 2, "{here} in one rack");
            }
        }
        if self.world.jobs.is_none() {
            return;
        }
        for (id, ..) in kinds() {
            let Some(said) = self.said(id) else {
                assert!(!self.accepted.contains(id) || self.purged.contains(id), "{id} is lost");
                continue;
            };
            for held in said["instances"].as_array().unwrap() {
                let mine = |past: &&Value| past["run"] == held["run"] && past["instance"] == held["instance"];
                let Some(last) = said["history"]["tasks"].as_array().unwrap().iter().rfind(mine) else {
                    continue;
                };
                let ended = last["ended_ms"].as_u64().unwrap();
                if let Some(until) = held["until_ms"].as_u64() {
                    assert!((1_000..=8_000).contains(&(until - ended)), "{id} waits for {}", until - ended);
                }
                if let Some(launched) = held["launched_ms"].as_u64() {
                    assert!(launched >= ended + 1_000, "{id} came back after {}", launched - ended);
                }
            }
        }
    }

    /// All that is broken is mended; then everything comes to its end.
    fn conclude(&mut self) {
        self.world.fuse = None;
        self.world.agents.values_mut().for_each(|agent| agent.connected = true);
        if self.world.jobs.is_none() {
            self.world.start();
        }
        for _ in 0..60 {
            self.world.pass(20_000);
            self.check();
            let alive: Vec<String> =
                self.world.tasks.iter().filter(|(_, task)| task.alive).map(|(id, _)| id.clone()).collect();
            for id in alive.iter().filter(|id| !id.starts_with("capped")) {
                self.world.end(id, TaskFinished, None);
            }
        }
        self.world.settle();
        for (id, ..) in kinds() {
            let Some(said) = self.said(id) else { continue };
            let state = said["state"].as_str().unwrap();
            let good = match id {
                "capped" => state == "killed" || said["launched"] == 4 && said["waiting"] == 2,
                "tick" => matches!(state, "killed" | "waiting" | "running"),
                "once" => matches!(state, "killed" | "finished" | "failed"),
                _ => matches!(state, "killed" | "finished"),
            };
            assert!(good, "{id} is {state} in the end: {said:#}");
        }
        // Nothing runs that belongs to nobody.
        let ids: BTreeSet<String> = self.world.tasks.values().map(|task| task.info.name.clone()).collect();
        assert!(ids.iter().all(|id| id == "capped" || id == "tick"), "{ids:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_jobs_are_what_was_asked_for(steps in prop::collection::vec(step(), 1..120)) {
        let mut case = Case::new();
        for step in &steps {
            case.step(step);
            case.check();
        }
        case.conclude();
    }
}
