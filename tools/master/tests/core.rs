//! The core against a scripted agent and a scripted framework: no sockets, no clock.

#![allow(deprecated, reason = "Mesos' peers still send the fields it deprecates")]

use libprocess::{Message as Libprocess, Upid};
use master::allocator::Rules;
use master::core::{CoreConfig, Input, MasterCore, Output};
use master::policy::Drf;
use master::view::View;
use mesos_proto::internal::*;
use mesos_proto::mesos::{
    self, CommandInfo, ExecutorId, FrameworkId, FrameworkInfo, SlaveId, SlaveInfo, Task, TaskId, TaskInfo,
    TaskState, TaskStatus, framework_info, slave_info, task_status,
};
use mesos_proto::recast;
use mesos_proto::resources::scalar;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{Call, Event, call, event};
use proptest::prelude::*;
use prost::{Message, Name};

const PING: u64 = 15_000;

struct World {
    core: MasterCore,
    now: u64,
    /// Messages to agents: (from, to, name, body).
    sent: Vec<(String, Upid, String, Vec<u8>)>,
    events: Vec<(String, Event)>,
    closed: Vec<String>,
    replies: Vec<(u64, u16, String)>,
    requests: u64,
}

fn pid(number: u32) -> Upid {
    format!("slave({number})@10.0.0.5:5051").parse().unwrap()
}

impl World {
    fn new() -> Self {
        let config = CoreConfig {
            id: "m".into(),
            address: "10.0.0.1:5050".parse().unwrap(),
            hostname: "m.test".into(),
            cluster: None,
            ping_interval_ms: PING,
            max_missed_pings: 5,
            heartbeat_ms: 15_000,
            allocation_ms: 1000,
            seed: 3,
            credentials: Vec::new(),
            authenticate_agents: false,
        };
        let core = MasterCore::new(config, Box::new(Drf), Rules::default(), 1_000_000);
        Self {
            core,
            now: 1_000_000,
            sent: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            requests: 0,
        }
    }

    fn input(&mut self, input: Input) {
        for output in self.core.handle(input, self.now) {
            match output {
                Output::Send { from, to, name, body } => self.sent.push((from, to, name, body)),
                Output::Event { stream, event } => self.events.push((stream, *event)),
                Output::Close { stream } => self.closed.push(stream),
                Output::Reply { request, status, reason } => self.replies.push((request, status, reason)),
                Output::Link(_) | Output::Subscribed { .. } => {}
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.core.next_wakeup_ms() <= end {
            self.now = self.core.next_wakeup_ms().max(self.now);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    fn agent_sends<M: Message + Name>(&mut self, from: &Upid, message: &M) {
        self.send_to(from, "master", message);
    }

    fn send_to<M: Message + Name>(&mut self, from: &Upid, to: &str, message: &M) {
        self.input(Input::Message(Libprocess {
            from: Some(from.clone()),
            to: to.into(),
            name: M::full_name(),
            body: message.encode_to_vec().into(),
        }));
    }

    fn take<M: Message + Name + Default>(&mut self, to: &Upid) -> Option<M> {
        let at = self.sent.iter().position(|(_, t, name, _)| t == to && *name == M::full_name())?;
        Some(M::decode(self.sent.remove(at).3.as_slice()).unwrap())
    }

    /// Like `take`, but it has to be there.
    fn got<M: Message + Name + Default>(&mut self, to: &Upid) -> M {
        let name = M::full_name();
        self.take(to).unwrap_or_else(|| panic!("no {name} to {to}"))
    }

    fn next_event(&mut self, kind: event::Type) -> Option<Event> {
        let at = self.events.iter().position(|(_, event)| event.r#type() == kind)?;
        Some(self.events.remove(at).1)
    }

    fn offer(&mut self) -> v1::Offer {
        let mut offers = self.next_event(event::Type::Offers).expect("an offer").offers.unwrap().offers;
        assert_eq!(offers.len(), 1);
        offers.remove(0)
    }

    fn update(&mut self) -> v1::TaskStatus {
        self.next_event(event::Type::Update).expect("an update").update.unwrap().status
    }

    fn call(&mut self, stream: Option<&str>, call: Call) -> u16 {
        self.requests += 1;
        let (request, fresh) = (self.requests, format!("stream-{}", self.requests));
        let stream = stream.map(str::to_owned);
        self.input(Input::Call { request, stream, fresh, call: Box::new(call) });
        self.replies.iter().find(|(number, ..)| *number == request).map_or(200, |(_, status, _)| *status)
    }

    fn register(&mut self, number: u32) -> String {
        let message = RegisterSlaveMessage {
            slave: slave(number, 2.0, 64.0),
            version: Some("1.11.0".into()),
            agent_capabilities: capabilities(),
            ..Default::default()
        };
        self.agent_sends(&pid(number), &message);
        self.got::<SlaveRegisteredMessage>(&pid(number)).slave_id.value
    }

    fn subscribe(&mut self, info: FrameworkInfo) -> (String, String) {
        let id = info.id.clone();
        let call = Call {
            r#type: Some(call::Type::Subscribe as i32),
            framework_id: id.map(|id| v1::FrameworkId { value: id.value }),
            subscribe: Some(call::Subscribe {
                framework_info: recast(&info).unwrap(),
                suppressed_roles: Vec::new(),
            }),
            ..Default::default()
        };
        assert_eq!(self.call(None, call), 200);
        let id =
            self.next_event(event::Type::Subscribed).expect("SUBSCRIBED").subscribed.unwrap().framework_id;
        (id.value, format!("stream-{}", self.requests))
    }

    fn launch(&mut self, fw: &(String, String), offer: &v1::Offer, tasks: Vec<TaskInfo>) {
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch as i32),
            launch: Some(v1::offer::operation::Launch {
                task_infos: tasks.iter().map(|task| recast(task).unwrap()).collect(),
            }),
            ..Default::default()
        };
        let accept =
            call::Accept { offer_ids: vec![offer.id.clone()], operations: vec![operation], filters: None };
        assert_eq!(self.framework_call(fw, call::Type::Accept, |call| call.accept = Some(accept)), 202);
    }

    fn framework_call(
        &mut self,
        fw: &(String, String),
        kind: call::Type,
        fill: impl FnOnce(&mut Call),
    ) -> u16 {
        let mut call = Call {
            r#type: Some(kind as i32),
            framework_id: Some(v1::FrameworkId { value: fw.0.clone() }),
            ..Default::default()
        };
        fill(&mut call);
        self.call(Some(&fw.1), call)
    }

    fn status(&mut self, number: u32, agent: &str, fw: &str, task: &str, state: TaskState, uuid: u8) {
        let message = StatusUpdateMessage {
            update: StatusUpdate {
                framework_id: FrameworkId { value: fw.into() },
                slave_id: Some(SlaveId { value: agent.into() }),
                status: TaskStatus {
                    task_id: TaskId { value: task.into() },
                    state: state as i32,
                    source: Some(task_status::Source::Executor as i32),
                    uuid: Some(vec![uuid; 16]),
                    ..Default::default()
                },
                timestamp: 1.0,
                uuid: Some(vec![uuid; 16]),
                latest_state: Some(state as i32),
                ..Default::default()
            },
            pid: Some(pid(number).to_string()),
        };
        self.agent_sends(&pid(number), &message);
    }

    fn acknowledge(&mut self, fw: &(String, String), agent: &str, task: &str, uuid: u8) {
        let acknowledge = call::Acknowledge {
            agent_id: v1::AgentId { value: agent.into() },
            task_id: v1::TaskId { value: task.into() },
            uuid: vec![uuid; 16],
        };
        let status = self.framework_call(fw, call::Type::Acknowledge, |c| c.acknowledge = Some(acknowledge));
        assert_eq!(status, 202);
    }

    fn states(&self) -> Vec<(String, String)> {
        let view = self.core.view(View::Tasks { limit: 100, offset: 0 });
        let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
        view["tasks"].as_array().unwrap().iter().map(|t| (text(&t["id"]), text(&t["state"]))).collect()
    }
}

fn slave(number: u32, cpus: f64, mem: f64) -> SlaveInfo {
    SlaveInfo {
        hostname: format!("node-{number}.test"),
        resources: vec![scalar("cpus", cpus), scalar("mem", mem)],
        checkpoint: Some(true),
        ..Default::default()
    }
}

fn capabilities() -> Vec<slave_info::Capability> {
    use slave_info::capability::Type::{HierarchicalRole, MultiRole, ReservationRefinement};
    [MultiRole, HierarchicalRole, ReservationRefinement]
        .map(|c| slave_info::Capability { r#type: Some(c as i32) })
        .to_vec()
}

fn framework() -> FrameworkInfo {
    use framework_info::capability::Type::{MultiRole, PartitionAware};
    FrameworkInfo {
        user: "u".into(),
        name: "test".into(),
        roles: vec!["ops".into()],
        checkpoint: Some(true),
        failover_timeout: Some(60.0),
        capabilities: [MultiRole, PartitionAware]
            .map(|c| framework_info::Capability { r#type: Some(c as i32) })
            .to_vec(),
        ..Default::default()
    }
}

fn task(id: &str, agent: &str, cpus: f64, mem: f64) -> TaskInfo {
    TaskInfo {
        name: id.into(),
        task_id: TaskId { value: id.into() },
        slave_id: SlaveId { value: agent.into() },
        resources: vec![scalar("cpus", cpus), scalar("mem", mem)],
        command: Some(CommandInfo { value: Some("run".into()), ..Default::default() }),
        ..Default::default()
    }
}

/// An agent, a framework and the first offer.
fn ready() -> (World, String, (String, String), v1::Offer) {
    let mut world = World::new();
    let agent = world.register(1);
    let fw = world.subscribe(framework());
    let offer = world.offer();
    (world, agent, fw, offer)
}

/// The same with a task running.
fn running() -> (World, String, (String, String)) {
    let (mut world, agent, fw, offer) = ready();
    world.launch(&fw, &offer, vec![task("t", &agent, 1.0, 32.0)]);
    world.got::<RunTaskMessage>(&pid(1));
    world.status(1, &agent, &fw.0, "t", TaskState::TaskRunning, 1);
    assert_eq!(world.update().state(), v1::TaskState::TaskRunning);
    world.acknowledge(&fw, &agent, "t", 1);
    world.got::<StatusUpdateAcknowledgementMessage>(&pid(1));
    world.events.clear();
    (world, agent, fw)
}

fn known(id: &str, fw: &str, agent: &str, state: TaskState) -> Task {
    Task {
        name: id.into(),
        task_id: TaskId { value: id.into() },
        framework_id: FrameworkId { value: fw.into() },
        slave_id: SlaveId { value: agent.into() },
        state: state as i32,
        resources: vec![scalar("cpus", 1.0), scalar("mem", 32.0)]
            .into_iter()
            .map(|resource| mesos::Resource {
                allocation_info: Some(mesos::resource::AllocationInfo { role: Some("ops".into()) }),
                ..resource
            })
            .collect(),
        ..Default::default()
    }
}

fn reregister(world: &mut World, number: u32, agent: &str, tasks: Vec<Task>, frameworks: Vec<FrameworkInfo>) {
    let mut slave = slave(number, 2.0, 64.0);
    slave.id = Some(SlaveId { value: agent.into() });
    let message = ReregisterSlaveMessage {
        slave,
        tasks,
        frameworks,
        version: Some("1.11.0".into()),
        agent_capabilities: capabilities(),
        ..Default::default()
    };
    world.agent_sends(&pid(number), &message);
}

#[test]
fn a_task_from_offer_to_its_acknowledged_end() {
    let (mut world, agent, fw, offer) = ready();
    assert_eq!((agent.as_str(), fw.0.as_str()), ("m-S0", "m-0000"));
    assert_eq!(offer.id.value, "m-O0");
    assert_eq!(offer.hostname, "node-1.test");
    assert_eq!(offer.allocation_info.unwrap().role(), "ops");
    let amounts: Vec<_> =
        offer.resources.iter().map(|r| (r.name.as_str(), r.scalar.unwrap().value)).collect();
    assert_eq!(amounts, [("cpus", 2.0), ("mem", 64.0)]);

    let offer = v1::Offer { allocation_info: None, ..offer };
    world.launch(&fw, &offer, vec![task("t", &agent, 0.5, 16.0)]);
    let run: RunTaskMessage = world.got(&pid(1));
    assert_eq!(run.pid(), "@0.0.0.0:0");
    assert!(run.launch_executor());
    assert_eq!(run.framework.id.unwrap().value, fw.0);
    assert_eq!(run.task.resources[0].allocation_info.as_ref().unwrap().role(), "ops");
    // The rest is filtered: no offer for five seconds, although the interval is one.
    world.pass(4900);
    assert!(world.next_event(event::Type::Offers).is_none());
    world.pass(1100);
    let rest = world.offer();
    assert_eq!(rest.resources[0].scalar.unwrap().value, 1.5);

    world.status(1, &agent, &fw.0, "t", TaskState::TaskRunning, 1);
    let update = world.update();
    assert_eq!((update.state(), update.uuid()), (v1::TaskState::TaskRunning, &[1; 16][..]));
    assert_eq!(update.agent_id.unwrap().value, agent);
    world.acknowledge(&fw, &agent, "t", 1);
    let ack: StatusUpdateAcknowledgementMessage = world.got(&pid(1));
    assert_eq!((ack.uuid, ack.task_id.value.as_str()), (vec![1; 16], "t"));
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);

    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    assert_eq!(world.update().state(), v1::TaskState::TaskFinished);
    // Its resources are free before the acknowledgement, and offered at once.
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 0.5);
    world.acknowledge(&fw, &agent, "t", 2);
    world.got::<StatusUpdateAcknowledgementMessage>(&pid(1));
    assert_eq!(world.states(), [("t".into(), "TASK_FINISHED".into())]);
    let metrics = world.core.view(View::Metrics);
    assert_eq!(metrics["master/tasks_finished"], 1.0);
    assert_eq!(metrics["master/cpus_used"], 2.0, "all of it is offered");
}

#[test]
fn registering_again_gives_the_same_id_only_while_connected() {
    let mut world = World::new();
    assert_eq!(world.register(1), "m-S0");
    assert_eq!(world.register(1), "m-S0");
    assert_eq!(world.register(2), "m-S1");
    world.input(Input::Exited(pid(1).addr));
    assert_eq!(world.register(1), "m-S2");
    let slaves = world.core.view(View::Slaves);
    let ids: Vec<_> =
        slaves["slaves"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["m-S1", "m-S2"]);
}

#[test]
fn old_versions_and_nonsense_resources_are_not_admitted() {
    let mut world = World::new();
    for (version, resource) in
        [("0.28.2", scalar("cpus", 1.0)), ("1.11.0", scalar("cpus", 0.0004)), ("x", scalar("cpus", 1.0))]
    {
        let slave = SlaveInfo { hostname: "h".into(), resources: vec![resource], ..Default::default() };
        let message = RegisterSlaveMessage { slave, version: Some(version.into()), ..Default::default() };
        world.agent_sends(&pid(1), &message);
    }
    assert!(world.sent.is_empty());
    assert_eq!(world.core.counter("slave_registrations_refused"), 3);
}

#[test]
fn a_silent_agent_is_unreachable_after_five_pings() {
    let (mut world, agent, fw) = running();
    let mut pings = 0;
    for _ in 0..5 {
        world.pass(PING);
        let ping: PingSlaveMessage = world.got(&pid(1));
        assert!(ping.connected);
        pings += 1;
    }
    assert_eq!(pings, 5);
    assert!(world.next_event(event::Type::Update).is_none());
    world.pass(PING);
    let update = world.update();
    assert_eq!(update.state(), v1::TaskState::TaskUnreachable);
    assert_eq!(update.reason(), v1::task_status::Reason::AgentRemoved);
    assert!(update.unreachable_time.is_some() && update.uuid.is_none());
    let failure = world.next_event(event::Type::Failure).unwrap().failure.unwrap();
    assert_eq!(failure.agent_id.unwrap().value, agent);
    assert!(world.next_event(event::Type::Rescind).is_some(), "its offers are withdrawn");

    // It comes back with the task: the framework hears that it runs after all.
    reregister(&mut world, 1, &agent, vec![known("t", &fw.0, &agent, TaskState::TaskRunning)], vec![]);
    let answer: SlaveReregisteredMessage = world.got(&pid(1));
    assert!(answer.reconciliations.is_empty());
    let update = world.update();
    assert_eq!(update.state(), v1::TaskState::TaskRunning);
    assert_eq!(update.reason(), v1::task_status::Reason::AgentReregistered);
    world.pass(1000);
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 1.0, "what the task holds is not offered");
}

#[test]
fn an_answered_ping_keeps_an_agent_for_ever() {
    let (mut world, agent, _) = running();
    for _ in 0..40 {
        world.pass(PING);
        let at = world.sent.iter().position(|(.., name, _)| name.ends_with("PingSlaveMessage")).unwrap();
        let (observer, ..) = world.sent.remove(at);
        // A stranger's pong counts for nothing.
        world.send_to(&pid(9), &observer, &PongSlaveMessage {});
        world.send_to(&pid(1), &observer, &PongSlaveMessage {});
    }
    assert_eq!(world.core.counter("messages_from_wrong_sender"), 40);
    assert_eq!(world.core.view(View::Slaves)["slaves"][0]["id"], agent.as_str());
}

#[test]
fn a_disconnected_agent_loses_its_offers_and_keeps_its_checkpointed_tasks() {
    let (mut world, agent, fw) = running();
    world.pass(6000);
    let offer = world.offer();
    world.input(Input::Exited(pid(1).addr));
    let rescinded = world.next_event(event::Type::Rescind).unwrap().rescind.unwrap().offer_id;
    assert_eq!(rescinded, offer.id);
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
    world.sent.clear();
    world.pass(PING);
    assert!(!world.got::<PingSlaveMessage>(&pid(1)).connected);
    // A kill for it waits until it is back.
    let kill = call::Kill { task_id: v1::TaskId { value: "t".into() }, ..Default::default() };
    assert_eq!(world.framework_call(&fw, call::Type::Kill, |call| call.kill = Some(kill)), 202);
    assert!(world.take::<KillTaskMessage>(&pid(1)).is_none());
    reregister(&mut world, 1, &agent, vec![known("t", &fw.0, &agent, TaskState::TaskRunning)], vec![]);
    assert_eq!(world.got::<SlaveReregisteredMessage>(&pid(1)).slave_id.value, agent);
    assert_eq!(world.got::<KillTaskMessage>(&pid(1)).task_id.value, "t");
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
}

#[test]
fn a_launch_that_the_agent_never_saw_is_reconciled() {
    let (mut world, agent, fw) = running();
    reregister(&mut world, 1, &agent, vec![], vec![]);
    let answer: SlaveReregisteredMessage = world.got(&pid(1));
    assert_eq!(answer.reconciliations.len(), 1);
    assert_eq!(answer.reconciliations[0].statuses[0].task_id.value, "t");
    world.status(1, &agent, &fw.0, "t", TaskState::TaskDropped, 7);
    assert_eq!(world.update().state(), v1::TaskState::TaskDropped);
}

#[test]
fn a_task_that_an_unreachable_agent_comes_back_without_is_gone() {
    let (mut world, agent, fw, offer) = ready();
    world.launch(&fw, &offer, vec![task("t", &agent, 1.0, 32.0)]);
    world.pass(7 * PING);
    assert_eq!(world.update().state(), v1::TaskState::TaskUnreachable);
    reregister(&mut world, 1, &agent, vec![], vec![]);
    let asked = call::reconcile::Task {
        task_id: v1::TaskId { value: "t".into() },
        agent_id: Some(v1::AgentId { value: agent }),
    };
    let reconcile = call::Reconcile { tasks: vec![asked] };
    world.framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
    assert_eq!(world.update().state(), v1::TaskState::TaskGone);
}

#[test]
fn an_acknowledged_end_is_not_taken_over_from_a_late_registration() {
    let (mut world, agent, fw) = running();
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    world.acknowledge(&fw, &agent, "t", 2);
    // Sent before the acknowledgement reached the agent.
    let tasks = vec![known("t", &fw.0, &agent, TaskState::TaskFinished)];
    reregister(&mut world, 1, &agent, tasks, vec![]);
    world.sent.clear();
    reregister(&mut world, 1, &agent, vec![], vec![]);
    let answer = world.got::<SlaveReregisteredMessage>(&pid(1));
    assert!(answer.reconciliations.is_empty(), "nobody asks for it again");
}

#[test]
fn an_end_that_was_not_acknowledged_comes_back_with_its_agent() {
    let (mut world, agent, fw) = running();
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    world.pass(7 * PING);
    let tasks = vec![known("t", &fw.0, &agent, TaskState::TaskFinished)];
    reregister(&mut world, 1, &agent, tasks, vec![]);
    world.events.clear();
    let asked = call::reconcile::Task { task_id: v1::TaskId { value: "t".into() }, agent_id: None };
    let reconcile = call::Reconcile { tasks: vec![asked] };
    world.framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
    assert_eq!(world.update().state(), v1::TaskState::TaskFinished);
}

#[test]
fn an_unknown_agent_brings_back_its_frameworks_and_tasks() {
    // As after a restart of the master.
    let mut world = World::new();
    let mut info = framework();
    info.id = Some(FrameworkId { value: "old-0000".into() });
    let tasks = vec![known("t", "old-0000", "old-S7", TaskState::TaskRunning)];
    reregister(&mut world, 1, "old-S7", tasks, vec![info.clone()]);
    assert_eq!(world.got::<SlaveReregisteredMessage>(&pid(1)).slave_id.value, "old-S7");
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
    // Its framework returns under its id and finds the task.
    let fw = world.subscribe(info);
    assert_eq!(fw.0, "old-0000");
    world.got::<UpdateFrameworkMessage>(&pid(1));
    world
        .framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(call::Reconcile::default()));
    assert_eq!(world.update().state(), v1::TaskState::TaskRunning);
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 1.0);
}

#[test]
fn another_host_under_the_same_id_is_told_to_shut_down() {
    let mut world = World::new();
    let agent = world.register(1);
    reregister(&mut world, 2, &agent, vec![], vec![]);
    assert!(world.got::<ShutdownMessage>(&pid(2)).message().contains("different IP or hostname"));
}

#[test]
fn what_may_not_be_launched_gets_an_error_and_nothing_is_lost() {
    let (mut world, agent, fw, offer) = ready();
    let mut both = task("both", &agent, 0.1, 1.0);
    both.executor = Some(mesos::ExecutorInfo::default());
    let mut empty = task("empty", &agent, 0.1, 1.0);
    empty.resources.clear();
    let good = task("good", &agent, 1.0, 32.0);
    let tasks = vec![
        task("big", &agent, 3.0, 1.0),
        empty,
        both,
        task("a/b", &agent, 0.1, 1.0),
        task("elsewhere", "m-S9", 0.1, 1.0),
        task("tiny", &agent, 0.0001, 1.0),
        good.clone(),
        good,
    ];
    world.launch(&fw, &offer, tasks);
    let mut errors = Vec::new();
    while let Some(event) = world.next_event(event::Type::Update) {
        let status = event.update.unwrap().status;
        assert_eq!(status.state(), v1::TaskState::TaskError);
        assert_eq!(status.reason(), v1::task_status::Reason::TaskInvalid);
        assert!(status.uuid.is_none());
        errors.push((status.task_id.value.clone(), status.message().to_owned()));
    }
    let ids: Vec<_> = errors.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["big", "empty", "both", "a/b", "elsewhere", "tiny", "good"]);
    assert!(errors[0].1.contains("more than available"), "{errors:?}");
    assert!(errors[6].1.contains("duplicate"), "{errors:?}");
    assert_eq!(world.got::<RunTaskMessage>(&pid(1)).task.task_id.value, "good");
    assert!(world.take::<RunTaskMessage>(&pid(1)).is_none());
    // The offer is spent: using it again is an error of another kind.
    world.launch(&fw, &offer, vec![task("late", &agent, 0.1, 1.0)]);
    let status = world.update();
    assert_eq!(status.state(), v1::TaskState::TaskDropped);
    assert_eq!(status.reason(), v1::task_status::Reason::InvalidOffers);
    world.pass(6000);
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 1.0);
}

#[test]
fn declined_is_filtered_and_revived_is_offered_at_once() {
    let (mut world, _, fw, offer) = ready();
    let decline = |world: &mut World, offer: &v1::Offer, seconds| {
        let filters = Some(v1::Filters { refuse_seconds: Some(seconds) });
        let decline = call::Decline { offer_ids: vec![offer.id.clone()], filters };
        assert_eq!(world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline)), 202);
    };
    decline(&mut world, &offer, 30.0);
    world.pass(29_500);
    assert!(world.next_event(event::Type::Offers).is_none());
    world.pass(1500);
    let offer = world.offer();
    decline(&mut world, &offer, 1e300);
    world.pass(40_000);
    assert!(world.next_event(event::Type::Offers).is_none());
    world.framework_call(&fw, call::Type::Revive, |_| {});
    let offer = world.offer();
    world.framework_call(&fw, call::Type::Suppress, |_| {});
    decline(&mut world, &offer, 0.0);
    world.pass(10_000);
    assert!(world.next_event(event::Type::Offers).is_none());
}

#[test]
fn a_decline_is_another_frameworks_chance() {
    let (mut world, _, fw, offer) = ready();
    let other = world.subscribe(framework());
    let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
    world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline));
    let (stream, event) = world.events.iter().find(|(_, e)| e.r#type() == event::Type::Offers).unwrap();
    assert_eq!(*stream, other.1);
    assert_eq!(event.offers.as_ref().unwrap().offers[0].framework_id.value, other.0);
}

#[test]
fn kill_reaches_the_agent_and_an_unknown_task_is_reconciled() {
    let (mut world, agent, fw) = running();
    let kill = |task: &str| call::Kill {
        task_id: v1::TaskId { value: task.into() },
        agent_id: Some(v1::AgentId { value: agent.clone() }),
        kill_policy: Some(v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds: 5 }) }),
    };
    world.framework_call(&fw, call::Type::Kill, |call| call.kill = Some(kill("t")));
    let message: KillTaskMessage = world.got(&pid(1));
    assert_eq!(message.kill_policy.unwrap().grace_period.unwrap().nanoseconds, 5);
    world.framework_call(&fw, call::Type::Kill, |call| call.kill = Some(kill("never")));
    let status = world.update();
    assert_eq!(status.state(), v1::TaskState::TaskGone);
    assert_eq!(status.reason(), v1::task_status::Reason::Reconciliation);
}

#[test]
fn reconciliation_says_what_is_known() {
    let (mut world, agent, fw) = running();
    let ask = |world: &mut World, task: &str, agent: Option<&str>| {
        let agent_id = agent.map(|agent| v1::AgentId { value: agent.into() });
        let task = call::reconcile::Task { task_id: v1::TaskId { value: task.into() }, agent_id };
        let reconcile = call::Reconcile { tasks: vec![task] };
        world.framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
        world.update().state()
    };
    assert_eq!(ask(&mut world, "t", None), v1::TaskState::TaskRunning);
    assert_eq!(ask(&mut world, "x", Some(&agent)), v1::TaskState::TaskGone);
    assert_eq!(ask(&mut world, "x", Some("m-S99")), v1::TaskState::TaskUnknown);
    world.pass(PING * 7);
    world.events.clear();
    assert_eq!(ask(&mut world, "t", None), v1::TaskState::TaskUnreachable);
    assert_eq!(ask(&mut world, "x", Some(&agent)), v1::TaskState::TaskUnreachable);
}

#[test]
fn failover_keeps_tasks_and_closes_the_old_stream() {
    let (mut world, agent, fw) = running();
    let mut info = framework();
    info.id = Some(FrameworkId { value: fw.0.clone() });
    let new = world.subscribe(info);
    assert_eq!(new.0, fw.0);
    assert_eq!(world.closed, [fw.1.as_str()]);
    let error = world.next_event(event::Type::Error).unwrap().error.unwrap();
    assert_eq!(error.message, "Framework failed over");
    world.got::<UpdateFrameworkMessage>(&pid(1));
    // The old instance is out, the new one is in.
    assert_eq!(world.framework_call(&fw, call::Type::Revive, |_| {}), 400);
    assert_eq!(world.framework_call(&new, call::Type::Revive, |_| {}), 202);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 3);
    let at = world.events.iter().position(|(_, e)| e.r#type() == event::Type::Update).unwrap();
    assert_eq!(world.events[at].0, new.1);
}

#[test]
fn a_framework_that_stays_away_is_removed_after_its_timeout() {
    let (mut world, _, fw) = running();
    world.input(Input::Closed { stream: fw.1.clone() });
    world.pass(59_000);
    assert_eq!(world.framework_call(&fw, call::Type::Revive, |_| {}), 403);
    assert!(world.take::<ShutdownFrameworkMessage>(&pid(1)).is_none());
    world.pass(2000);
    assert_eq!(world.got::<ShutdownFrameworkMessage>(&pid(1)).framework_id.value, fw.0);
    assert_eq!(world.framework_call(&fw, call::Type::Revive, |_| {}), 400);
    // The id does not come back.
    let mut info = framework();
    info.id = Some(FrameworkId { value: fw.0.clone() });
    let call = Call {
        r#type: Some(call::Type::Subscribe as i32),
        framework_id: Some(v1::FrameworkId { value: fw.0.clone() }),
        subscribe: Some(call::Subscribe { framework_info: recast(&info).unwrap(), suppressed_roles: vec![] }),
        ..Default::default()
    };
    world.call(None, call);
    let error = world.next_event(event::Type::Error).unwrap().error.unwrap();
    assert_eq!(error.message, "Framework has been removed");
}

#[test]
fn a_framework_that_comes_back_in_time_stays() {
    let (mut world, _, fw) = running();
    world.input(Input::Closed { stream: fw.1.clone() });
    world.pass(30_000);
    let mut info = framework();
    info.id = Some(FrameworkId { value: fw.0.clone() });
    world.subscribe(info);
    world.sent.retain(|(.., name, _)| !name.ends_with("PingSlaveMessage"));
    world.pass(40_000);
    assert!(world.take::<ShutdownFrameworkMessage>(&pid(1)).is_none());
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
}

#[test]
fn teardown_shuts_the_framework_down_everywhere() {
    let (mut world, _, fw) = running();
    assert_eq!(world.framework_call(&fw, call::Type::Teardown, |_| {}), 202);
    world.got::<ShutdownFrameworkMessage>(&pid(1));
    assert_eq!(world.closed, [fw.1]);
    let metrics = world.core.view(View::Metrics);
    assert_eq!(metrics["master/cpus_used"], 0.0);
    assert_eq!(metrics["master/tasks_running"], 0.0);
}

#[test]
fn messages_and_failures_of_executors() {
    let (mut world, agent, fw) = running();
    let message = ExecutorToFrameworkMessage {
        slave_id: SlaveId { value: agent.clone() },
        framework_id: FrameworkId { value: fw.0.clone() },
        executor_id: ExecutorId { value: "t".into() },
        data: b"21.5".to_vec(),
    };
    world.agent_sends(&pid(1), &message);
    assert_eq!(world.next_event(event::Type::Message).unwrap().message.unwrap().data, b"21.5");
    let exited = ExitedExecutorMessage {
        slave_id: SlaveId { value: agent.clone() },
        framework_id: FrameworkId { value: fw.0.clone() },
        executor_id: ExecutorId { value: "e".into() },
        status: 9,
    };
    world.agent_sends(&pid(1), &exited);
    let failure = world.next_event(event::Type::Failure).unwrap().failure.unwrap();
    assert_eq!((failure.status(), failure.executor_id.unwrap().value.as_str()), (9, "e"));
    let message = call::Message {
        agent_id: v1::AgentId { value: agent },
        executor_id: v1::ExecutorId { value: "t".into() },
        data: b"hello".to_vec(),
    };
    world.framework_call(&fw, call::Type::Message, |call| call.message = Some(message));
    assert_eq!(world.got::<FrameworkToExecutorMessage>(&pid(1)).data, b"hello");
}

#[test]
fn a_custom_executor_is_paid_for_once_and_launched_once() {
    let (mut world, agent, fw, offer) = ready();
    let executor = mesos::ExecutorInfo {
        executor_id: ExecutorId { value: "e".into() },
        resources: vec![scalar("cpus", 0.5)],
        ..Default::default()
    };
    let custom =
        |id: &str| TaskInfo { command: None, executor: Some(executor.clone()), ..task(id, &agent, 0.5, 8.0) };
    world.launch(&fw, &offer, vec![custom("a"), custom("b")]);
    assert!(world.got::<RunTaskMessage>(&pid(1)).launch_executor());
    assert!(!world.got::<RunTaskMessage>(&pid(1)).launch_executor());
    world.pass(6000);
    let rest = world.offer();
    assert_eq!(rest.resources[0].scalar.unwrap().value, 0.5);
    assert_eq!(rest.executor_ids.len(), 1);
}

#[test]
fn updates_of_strangers_and_late_states_change_nothing() {
    let (mut world, agent, fw) = running();
    world.status(9, &agent, &fw.0, "t", TaskState::TaskFailed, 5);
    assert!(world.next_event(event::Type::Update).is_none());
    assert_eq!(world.core.counter("invalid_status_updates"), 1);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 6);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskRunning, 7);
    assert_eq!(world.states(), [("t".into(), "TASK_FINISHED".into())]);
    // Only the acknowledgement of the terminal update removes the task.
    world.acknowledge(&fw, &agent, "t", 6);
    assert_eq!(world.core.view(View::State)["frameworks"][0]["completed_tasks"].as_array().unwrap().len(), 1);
}

#[test]
fn calls_are_refused_as_mesos_refuses_them() {
    let (mut world, _, fw, _) = ready();
    let revive = |id: Option<&str>| Call {
        r#type: Some(call::Type::Revive as i32),
        framework_id: id.map(|id| v1::FrameworkId { value: id.into() }),
        ..Default::default()
    };
    assert_eq!(world.call(Some(&fw.1), revive(None)), 400);
    assert_eq!(world.call(Some(&fw.1), revive(Some("nobody"))), 400);
    assert_eq!(world.call(None, revive(Some(&fw.0))), 400);
    assert_eq!(world.call(Some("other"), revive(Some(&fw.0))), 400);
    assert_eq!(world.call(Some(&fw.1), revive(Some(&fw.0))), 202);
    assert_eq!(world.framework_call(&fw, call::Type::Accept, |_| {}), 400);
}

#[test]
fn heartbeats_come_while_subscribed() {
    let (mut world, _, fw, _) = ready();
    world.pass(15_000);
    assert!(world.next_event(event::Type::Heartbeat).is_some());
    world.input(Input::Closed { stream: fw.1 });
    world.events.clear();
    world.pass(60_000);
    assert!(world.next_event(event::Type::Heartbeat).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever bytes come as whatever message, to whomever: no panic, and the agent that was there is still there.
    #[test]
    fn hostile_messages_disturb_nobody(
        inputs in proptest::collection::vec((0usize..12, proptest::collection::vec(any::<u8>(), 0..80), any::<bool>()), 1..30)
    ) {
        let (mut world, agent, _) = running();
        let names = ["RegisterSlaveMessage", "ReregisterSlaveMessage", "UnregisterSlaveMessage",
            "UpdateSlaveMessage", "StatusUpdateMessage", "ExitedExecutorMessage", "ExecutorToFrameworkMessage",
            "PongSlaveMessage", "Nonsense", "", "RunTaskMessage", "ShutdownMessage"];
        for (name, body, observer) in inputs {
            let to = if observer { "slave-observer(1)" } else { "master" };
            world.input(Input::Message(Libprocess {
                from: Some(pid(66)),
                to: to.into(),
                name: format!("mesos.internal.{}", names[name]),
                body: body.into(),
            }));
        }
        let slaves = world.core.view(View::Slaves);
        prop_assert!(slaves["slaves"].as_array().unwrap().iter().any(|s| s["id"] == agent.as_str()));
        prop_assert_eq!(world.states(), [("t".to_owned(), "TASK_RUNNING".to_owned())]);
    }
}

/// Something that can happen; the numbers pick among what there is.
#[derive(Clone, Debug)]
enum Step {
    Register(u32),
    Reregister(u32, bool),
    Exited,
    Subscribe,
    Failover(usize),
    Close(usize),
    Teardown(usize),
    Launch(usize, u8, bool),
    Decline(usize),
    Revive(usize),
    Status(usize, u8),
    Acknowledge(usize),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u32..4).prop_map(Step::Register),
        (1u32..4, any::<bool>()).prop_map(|(number, tasks)| Step::Reregister(number, tasks)),
        Just(Step::Exited),
        Just(Step::Subscribe),
        any::<usize>().prop_map(Step::Failover),
        any::<usize>().prop_map(Step::Close),
        any::<usize>().prop_map(Step::Teardown),
        (any::<usize>(), 1u8..25, any::<bool>()).prop_map(|(pick, cpus, own)| Step::Launch(pick, cpus, own)),
        (any::<usize>(), 1u8..25, any::<bool>()).prop_map(|(pick, cpus, own)| Step::Launch(pick, cpus, own)),
        any::<usize>().prop_map(Step::Decline),
        any::<usize>().prop_map(Step::Revive),
        (any::<usize>(), 0u8..6).prop_map(|(pick, state)| Step::Status(pick, state)),
        (any::<usize>(), 0u8..6).prop_map(|(pick, state)| Step::Status(pick, state)),
        any::<usize>().prop_map(Step::Acknowledge),
        (1u64..40_000).prop_map(Step::Pass),
    ]
}

/// What the frameworks and agents of a random run remember, stale or not.
#[derive(Default)]
struct Memory {
    frameworks: Vec<(String, String)>,
    offers: Vec<((String, String), v1::Offer)>,
    /// Agent number, agent, framework, task.
    tasks: Vec<(u32, String, (String, String), String)>,
    uuids: Vec<((String, String), String, String, u8)>,
    agents: std::collections::BTreeMap<u32, String>,
    /// An agent has claimed tasks that need not be what was launched: it may hold more than it has.
    claimed: bool,
}

fn pick<T: Clone>(from: &[T], at: usize) -> Option<T> {
    from.get(at.checked_rem(from.len())?).cloned()
}

fn take_step(world: &mut World, memory: &mut Memory, step: Step, count: usize) {
    match step {
        Step::Register(number) => {
            let id = world.register(number);
            memory.agents.insert(number, id);
        }
        Step::Reregister(number, with_tasks) => {
            let Some(agent) = memory.agents.get(&number).cloned() else { return };
            let mut tasks: Vec<_> = memory.tasks.iter().filter(|t| with_tasks && t.1 == agent).collect();
            tasks.truncate(2);
            memory.claimed |= !tasks.is_empty();
            let tasks = tasks.iter().map(|t| known(&t.3, &t.2.0, &agent, TaskState::TaskRunning)).collect();
            reregister(world, number, &agent, tasks, vec![]);
        }
        Step::Exited => world.input(Input::Exited(pid(1).addr)),
        Step::Subscribe => {
            let fw = world.subscribe(framework());
            memory.frameworks.push(fw);
        }
        Step::Failover(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            let known = world.core.view(View::Frameworks)["frameworks"].clone();
            if known.as_array().unwrap().iter().any(|f| f["id"] == fw.0.as_str()) {
                let mut info = framework();
                info.id = Some(FrameworkId { value: fw.0 });
                let fw = world.subscribe(info);
                memory.frameworks.push(fw);
            }
        }
        Step::Close(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            world.input(Input::Closed { stream: fw.1 });
        }
        Step::Teardown(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            world.framework_call(&fw, call::Type::Teardown, |_| {});
        }
        Step::Launch(at, cpus, own) => {
            let Some((fw, offer)) = pick(&memory.offers, at) else { return };
            let (agent, id) = (offer.agent_id.value.clone(), format!("t{}", count / 2));
            let mut wanted = task(&id, &agent, f64::from(cpus) / 10.0, 1.0);
            if own {
                wanted.command = None;
                wanted.executor = Some(mesos::ExecutorInfo {
                    executor_id: ExecutorId { value: format!("e{}", count % 3) },
                    resources: vec![scalar("cpus", 0.1)],
                    ..Default::default()
                });
            }
            let operation = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch as i32),
                launch: Some(v1::offer::operation::Launch { task_infos: vec![recast(&wanted).unwrap()] }),
                ..Default::default()
            };
            let offer_ids = vec![offer.id.clone()];
            let accept = call::Accept { offer_ids, operations: vec![operation], filters: None };
            world.framework_call(&fw, call::Type::Accept, |call| call.accept = Some(accept));
            let number = memory.agents.iter().find(|(_, id)| **id == agent).map(|(number, _)| *number);
            memory.tasks.push((number.unwrap_or(1), agent, fw, id));
        }
        Step::Decline(at) => {
            let Some((fw, offer)) = pick(&memory.offers, at) else { return };
            let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
            world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline));
        }
        Step::Revive(at) => {
            let Some(fw) = pick(&memory.frameworks, at) else { return };
            world.framework_call(&fw, call::Type::Revive, |_| {});
        }
        Step::Status(at, state) => {
            let Some((number, agent, fw, task)) = pick(&memory.tasks, at) else { return };
            let state = TaskState::try_from(i32::from(state)).unwrap();
            let uuid = (count % 250) as u8;
            world.status(number, &agent, &fw.0, &task, state, uuid);
            memory.uuids.push((fw, agent, task, uuid));
        }
        Step::Acknowledge(at) => {
            let Some((fw, agent, task, uuid)) = pick(&memory.uuids, at) else { return };
            let acknowledge = call::Acknowledge {
                agent_id: v1::AgentId { value: agent },
                task_id: v1::TaskId { value: task },
                uuid: vec![uuid; 16],
            };
            world.framework_call(&fw, call::Type::Acknowledge, |c| c.acknowledge = Some(acknowledge));
        }
        Step::Pass(ms) => world.pass(ms),
    }
    for (stream, event) in std::mem::take(&mut world.events) {
        for offer in event.offers.into_iter().flat_map(|offers| offers.offers) {
            memory.offers.push(((offer.framework_id.value.clone(), stream.clone()), offer));
        }
    }
    world.sent.clear();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// In whatever order agents, frameworks and tasks come and go: what is used, offered and free is exactly what
    /// there is, and no agent gives more than it has.
    #[test]
    fn the_books_balance(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut world = World::new();
        let mut memory = Memory::default();
        for (count, step) in steps.into_iter().enumerate() {
            take_step(&mut world, &mut memory, step, count);
            let milli = |value: &serde_json::Value| (value.as_f64().unwrap_or(0.0) * 1000.0).round() as i64;
            let mut sum = 0;
            for agent in world.core.view(View::Slaves)["slaves"].as_array().unwrap() {
                let held = milli(&agent["used_resources"]["cpus"]) + milli(&agent["offered_resources"]["cpus"]);
                prop_assert!(memory.claimed || held <= milli(&agent["resources"]["cpus"]), "{agent}");
                prop_assert!(agent["connected"] == true || milli(&agent["offered_resources"]["cpus"]) == 0);
                sum += held;
            }
            prop_assert_eq!(sum, milli(&world.core.view(View::Metrics)["master/cpus_used"]));
        }
    }
}
