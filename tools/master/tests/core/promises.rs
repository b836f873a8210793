//! What the master promises, against a model: agents and frameworks that do anything, operators that drain agents and mark
//! them gone, and a master that is killed at any point, before what it wanted kept is committed or just after. No id is
//! given twice, nobody who is gone for ever is taken in, no task ends twice, and none that runs is lost.

use crate::support::*;
use mesos_proto::internal::*;
use mesos_proto::mesos::{FrameworkInfo, SlaveId, TaskState};
use mesos_proto::v1;
use mesos_proto::v1::master::call as operator;
use mesos_proto::v1::scheduler::{Call, call, event};
use proptest::prelude::*;
use prost::{Message, Name};
use std::collections::{BTreeMap, BTreeSet};

const NODES: u32 = 3;
const FRAMEWORKS: usize = 2;

/// When the master is killed in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Killed {
    Not,
    /// Before it could commit: nothing of the step has happened.
    Before,
    /// After the commit: nobody hears of it.
    After,
}

#[derive(Clone, Debug)]
enum Step {
    Register(u32),
    Exited,
    SendStatus(u32),
    Finish(u32),
    Gone(u32),
    Drain(u32, bool),
    Reactivate(u32),
    Subscribe(usize),
    Launch(usize),
    Teardown(usize),
    Close(usize),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = (Step, Killed)> {
    let node = 1..=NODES;
    let framework = 0..FRAMEWORKS;
    let step = prop_oneof![
        6 => node.clone().prop_map(Step::Register),
        1 => Just(Step::Exited),
        4 => node.clone().prop_map(Step::SendStatus),
        3 => node.clone().prop_map(Step::Finish),
        1 => node.clone().prop_map(Step::Gone),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, gone)| Step::Drain(node, gone)),
        1 => node.prop_map(Step::Reactivate),
        4 => framework.clone().prop_map(Step::Subscribe),
        6 => framework.clone().prop_map(Step::Launch),
        1 => framework.clone().prop_map(Step::Teardown),
        1 => framework.prop_map(Step::Close),
        3 => (1u64..700_000).prop_map(Step::Pass),
    ];
    let killed = prop_oneof![8 => Just(Killed::Not), 1 => Just(Killed::Before), 1 => Just(Killed::After)];
    (step, killed)
}

/// A task as its agent knows it.
#[derive(Debug)]
struct Running {
    framework: String,
    state: TaskState,
    /// The status that is not acknowledged.
    pending: Option<u8>,
}

#[derive(Debug, Default)]
struct Node {
    id: Option<String>,
    connected: bool,
    tasks: BTreeMap<String, Running>,
}

#[derive(Debug, Default)]
struct Framework {
    id: Option<String>,
    stream: Option<String>,
    offers: Vec<v1::Offer>,
}

struct Fleet {
    world: World,
    nodes: BTreeMap<u32, Node>,
    frameworks: Vec<Framework>,
    /// All ids that were ever heard, of whatever kind.
    ids: BTreeSet<String>,
    /// Agents that may never come back; those of a drain as soon as they are empty.
    gone: BTreeSet<String>,
    gone_when_empty: BTreeSet<String>,
    torn_down: BTreeSet<String>,
    /// How often each task was said to have ended, by the UUID of the status or by the master's own word.
    ends: BTreeMap<String, BTreeSet<Option<u8>>>,
    next_task: u32,
    next_uuid: u8,
}

impl Fleet {
    fn new() -> Self {
        Self {
            world: World::new(),
            nodes: (1..=NODES).map(|number| (number, Node::default())).collect(),
            frameworks: (0..FRAMEWORKS).map(|_| Framework::default()).collect(),
            ids: BTreeSet::new(),
            gone: BTreeSet::new(),
            gone_when_empty: BTreeSet::new(),
            torn_down: BTreeSet::new(),
            ends: BTreeMap::new(),
            next_task: 0,
            next_uuid: 1,
        }
    }

    fn step(&mut self, step: Step, killed: Killed) {
        let before = (killed == Killed::Before).then(|| self.world.records.clone());
        match step {
            Step::Register(node) => self.register(node),
            Step::Exited => {
                self.world.input(master::core::Input::Exited(pid(1).addr));
                self.nodes.values_mut().for_each(|node| node.connected = false);
            }
            Step::SendStatus(node) => self.send_status(node),
            Step::Finish(node) => {
                let uuid = self.uuid();
                let tasks = self.nodes.get_mut(&node).unwrap().tasks.values_mut();
                if let Some(task) = tasks.into_iter().find(|task| task.state == TaskState::TaskRunning) {
                    (task.state, task.pending) = (TaskState::TaskFinished, Some(uuid));
                }
            }
            Step::Gone(node) => {
                let Some(agent_id) = self.agent_id(node) else { return };
                let id = agent_id.value.clone();
                let field = operator::MarkAgentGone { agent_id };
                let said = self.world.operator(operator::Type::MarkAgentGone, |call| {
                    call.mark_agent_gone = Some(field);
                });
                if said.0 == 200 && killed != Killed::Before {
                    self.gone.insert(id);
                }
            }
            Step::Drain(node, gone) => {
                let Some(agent_id) = self.agent_id(node) else { return };
                let id = agent_id.value.clone();
                let field = operator::DrainAgent { agent_id, max_grace_period: None, mark_gone: Some(gone) };
                let said =
                    self.world.operator(operator::Type::DrainAgent, |call| call.drain_agent = Some(field));
                if said.0 == 200 && gone && killed != Killed::Before {
                    self.gone_when_empty.insert(id);
                }
            }
            Step::Reactivate(node) => {
                let Some(agent_id) = self.agent_id(node) else { return };
                let field = operator::ReactivateAgent { agent_id };
                self.world
                    .operator(operator::Type::ReactivateAgent, |call| call.reactivate_agent = Some(field));
            }
            Step::Subscribe(at) => self.subscribe(at),
            Step::Launch(at) => self.launch(at),
            Step::Teardown(at) => {
                let Some(fw) = self.connected(at) else { return };
                assert_eq!(self.world.framework_call(&fw, call::Type::Teardown, |_| {}), 202);
                if killed != Killed::Before {
                    self.torn_down.insert(fw.0);
                    self.frameworks[at] = Framework::default();
                }
            }
            Step::Close(at) => {
                let Some(stream) = self.frameworks[at].stream.take() else { return };
                self.frameworks[at].offers.clear();
                self.world.input(master::core::Input::Closed { stream });
            }
            Step::Pass(ms) => self.pass(ms),
        }
        if killed == Killed::Not {
            return self.hear();
        }
        if let Some(before) = before {
            self.world.records = before;
        }
        self.restart();
    }

    fn uuid(&mut self) -> u8 {
        self.next_uuid = self.next_uuid.wrapping_add(1);
        self.next_uuid
    }

    fn agent_id(&self, node: u32) -> Option<v1::AgentId> {
        self.nodes[&node].id.clone().map(|value| v1::AgentId { value })
    }

    fn connected(&self, at: usize) -> Option<(String, String)> {
        let framework = &self.frameworks[at];
        Some((framework.id.clone()?, framework.stream.clone()?))
    }

    /// The master is killed: what it had said and nobody had heard is lost, and all connections are.
    fn restart(&mut self) {
        self.world.restart();
        self.nodes.values_mut().for_each(|node| node.connected = false);
        for framework in &mut self.frameworks {
            framework.stream = None;
            framework.offers.clear();
        }
        self.hear();
    }

    /// An agent registers, or registers again with what it has.
    fn register(&mut self, number: u32) {
        let node = &self.nodes[&number];
        let mut slave = slave(number, 2.0, 64.0);
        let (version, agent_capabilities) = (Some("1.11.0".to_owned()), capabilities());
        let Some(id) = node.id.clone() else {
            let message = RegisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() };
            return self.world.agent_sends(&pid(number), &message);
        };
        slave.id = Some(SlaveId { value: id.clone() });
        let tasks = node.tasks.iter().map(|(name, task)| {
            let uuid = task.pending.map(|uuid| vec![uuid; 16]);
            mesos_proto::mesos::Task {
                status_update_state: uuid.is_some().then_some(task.state as i32),
                status_update_uuid: uuid,
                ..known(name, &task.framework, &id, task.state)
            }
        });
        let frameworks: BTreeSet<&String> = node.tasks.values().map(|task| &task.framework).collect();
        let message = ReregisterSlaveMessage {
            slave,
            tasks: tasks.collect(),
            frameworks: frameworks.into_iter().map(|id| info(Some(id))).collect(),
            version,
            agent_capabilities,
            ..Default::default()
        };
        self.world.agent_sends(&pid(number), &message);
    }

    fn send_status(&mut self, number: u32) {
        let node = &self.nodes[&number];
        let Some(id) = node.id.clone().filter(|_| node.connected) else { return };
        let pending = node.tasks.iter().find_map(|(name, task)| Some((name, task, task.pending?)));
        let Some((name, task, uuid)) = pending else { return };
        let (name, framework, state) = (name.clone(), task.framework.clone(), task.state);
        self.world.status(number, &id, &framework, &name, state, uuid);
    }

    fn subscribe(&mut self, at: usize) {
        let framework = &mut self.frameworks[at];
        let framework_id = framework.id.clone().map(|value| v1::FrameworkId { value });
        let framework_info = mesos_proto::recast(&info(framework.id.as_ref())).unwrap();
        let call = Call {
            r#type: Some(call::Type::Subscribe as i32),
            framework_id,
            subscribe: Some(call::Subscribe { framework_info, ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(self.world.call(None, call), 200);
        framework.stream = Some(format!("stream-{}", self.world.requests));
        framework.offers.clear();
    }

    fn launch(&mut self, at: usize) {
        let Some(fw) = self.connected(at) else { return };
        let Some(offer) = self.frameworks[at].offers.pop() else { return };
        self.next_task += 1;
        let name = format!("t{}", self.next_task);
        self.world.launch(&fw, &offer, vec![task(&name, &offer.agent_id.value, 0.1, 1.0)]);
    }

    fn pass(&mut self, ms: u64) {
        let there: Vec<u32> =
            self.nodes.iter().filter(|(_, node)| node.connected).map(|(number, _)| *number).collect();
        let end = self.world.now + ms;
        while self.world.now < end {
            let step = self.world.core.next_wakeup_ms().clamp(self.world.now + 1, end) - self.world.now;
            self.world.pass(step);
            let (pings, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.world.sent)
                .into_iter()
                .partition(|(observer, ..)| observer.starts_with("slave-observer("));
            self.world.sent = rest;
            for (observer, to, ..) in pings {
                if there.iter().any(|number| pid(*number) == to) {
                    self.world.send_to(&to, &observer, &PongSlaveMessage {});
                }
            }
        }
    }

    /// Agents and frameworks take in what they were sent, until nothing follows from it.
    fn hear(&mut self) {
        loop {
            let sent = std::mem::take(&mut self.world.sent);
            let events = std::mem::take(&mut self.world.events);
            if sent.is_empty() && events.is_empty() {
                return;
            }
            for (_, to, name, body) in sent {
                if let Some(number) = (1..=NODES).find(|number| pid(*number) == to) {
                    self.agent_hears(number, &name, &body);
                }
            }
            for (stream, event) in events {
                let at = self.frameworks.iter().position(|own| own.stream.as_ref() == Some(&stream));
                if let Some(at) = at {
                    self.framework_hears(at, event);
                }
            }
        }
    }

    fn agent_hears(&mut self, number: u32, name: &str, body: &[u8]) {
        let uuid = self.uuid();
        let node = self.nodes.get_mut(&number).unwrap();
        if let Some(answer) = read::<SlaveRegisteredMessage>(name, body) {
            let id = answer.slave_id.value;
            assert!(node.id.as_ref() == Some(&id) || self.ids.insert(id.clone()), "{id} was given before");
            node.id = Some(id);
            node.connected = true;
        } else if let Some(answer) = read::<SlaveReregisteredMessage>(name, body) {
            let id = answer.slave_id.value;
            assert_eq!(node.id.as_ref(), Some(&id));
            assert!(!self.gone.contains(&id), "{id} is gone, and was taken in");
            assert!(answer.reconciliations.is_empty(), "it has all that was launched there");
            node.connected = true;
        } else if read::<ShutdownMessage>(name, body).is_some() {
            let Some(id) = node.id.take() else { return };
            assert!(self.gone.contains(&id) || self.gone_when_empty.contains(&id), "{id} was shut down");
            self.gone.insert(id);
            *node = Node::default();
        } else if let Some(run) = read::<RunTaskMessage>(name, body) {
            let framework = run.framework.id.unwrap().value;
            let task = Running { framework, state: TaskState::TaskRunning, pending: Some(uuid) };
            assert!(node.tasks.insert(run.task.task_id.value, task).is_none());
        } else if let Some(ack) = read::<StatusUpdateAcknowledgementMessage>(name, body) {
            let Some(task) = node.tasks.get_mut(&ack.task_id.value) else { return };
            if task.pending.is_some_and(|uuid| ack.uuid == vec![uuid; 16]) {
                task.pending = None;
                if task.state != TaskState::TaskRunning {
                    node.tasks.remove(&ack.task_id.value);
                }
            }
        } else if let Some(shutdown) = read::<ShutdownFrameworkMessage>(name, body) {
            let id = shutdown.framework_id.value;
            assert!(self.torn_down.contains(&id), "{id} was ended");
            node.tasks.retain(|_, task| task.framework != id);
        } else if read::<DrainSlaveMessage>(name, body).is_some() {
            for task in node.tasks.values_mut().filter(|task| task.state == TaskState::TaskRunning) {
                (task.state, task.pending) = (TaskState::TaskKilled, Some(self.next_uuid));
                self.next_uuid = self.next_uuid.wrapping_add(1);
            }
        }
    }

    fn framework_hears(&mut self, at: usize, event: v1::scheduler::Event) {
        let own = &mut self.frameworks[at];
        match event.r#type() {
            event::Type::Subscribed => {
                let id = event.subscribed.unwrap().framework_id.value;
                assert!(!self.torn_down.contains(&id), "{id} was torn down");
                assert!(own.id.as_ref() == Some(&id) || self.ids.insert(id.clone()), "{id} was given before");
                own.id = Some(id);
            }
            event::Type::Offers => {
                for offer in event.offers.unwrap().offers {
                    assert!(self.ids.insert(offer.id.value.clone()), "{} was given before", offer.id.value);
                    assert!(!self.gone.contains(&offer.agent_id.value));
                    own.offers.push(offer);
                }
            }
            event::Type::Rescind => {
                let id = event.rescind.unwrap().offer_id;
                own.offers.retain(|offer| offer.id != id);
            }
            event::Type::Update => self.status_heard(at, event.update.unwrap().status),
            event::Type::Error => panic!("{:?}", event.error),
            _ => {}
        }
    }

    fn status_heard(&mut self, at: usize, status: v1::TaskStatus) {
        use v1::TaskState::*;
        let uuid = status.uuid.as_ref().map(|uuid| uuid[0]);
        let task = status.task_id.value.clone();
        let agent = status.agent_id.as_ref().unwrap().value.clone();
        if matches!(status.state(), TaskFinished | TaskKilled | TaskGone | TaskGoneByOperator) {
            let ends = self.ends.entry(task.clone()).or_default();
            ends.insert(uuid);
            assert_eq!(ends.len(), 1, "{task} ended twice");
        } else {
            assert!(matches!(status.state(), TaskRunning | TaskUnreachable), "{status:?}");
        }
        if status.state() == TaskGoneByOperator {
            assert!(self.gone.contains(&agent) || self.gone_when_empty.contains(&agent), "{agent} is there");
        }
        if let (Some(uuid), Some(fw)) = (uuid, self.connected(at)) {
            self.world.acknowledge(&fw, &agent, &task, uuid);
        }
    }

    /// All is well again: whoever may be there is back, and nothing is missing.
    fn heal(&mut self) {
        self.restart();
        for at in 0..FRAMEWORKS {
            self.subscribe(at);
            self.hear();
        }
        for number in 1..=NODES {
            self.register(number);
            self.hear();
        }
        for _ in 0..64 {
            for number in 1..=NODES {
                self.send_status(number);
                self.hear();
            }
        }
        let states: BTreeMap<String, String> = self.world.states().into_iter().collect();
        let agents: BTreeSet<String> =
            self.world.agents().into_iter().filter_map(|agent| Some(agent.agent_info.id?.value)).collect();
        for node in self.nodes.values().filter(|node| node.connected) {
            let id = node.id.as_ref().unwrap();
            assert!(agents.contains(id) && !self.gone.contains(id));
            for (name, task) in node.tasks.iter().filter(|(_, task)| task.pending.is_none()) {
                assert_eq!(states.get(name).map(String::as_str), Some("TASK_RUNNING"), "{name} {task:?}");
            }
        }
    }
}

/// A framework that is never given up.
fn info(id: Option<&String>) -> FrameworkInfo {
    FrameworkInfo {
        id: id.map(|id| mesos_proto::mesos::FrameworkId { value: id.clone() }),
        failover_timeout: Some(30_000_000.0),
        ..framework()
    }
}

fn read<M: Message + Name + Default>(name: &str, body: &[u8]) -> Option<M> {
    (name == M::full_name()).then(|| M::decode(body).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn what_the_master_promises_it_keeps(steps in proptest::collection::vec(any_step(), 1..90)) {
        let mut fleet = Fleet::new();
        for (step, killed) in steps {
            fleet.step(step, killed);
        }
        fleet.heal();
    }
}
