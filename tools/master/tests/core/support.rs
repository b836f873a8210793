//! A scripted agent and a scripted framework around the core, and what they say.

use libprocess::{Message as Libprocess, Upid};
use master::allocator::Rules;
use master::core::{CoreConfig, Input, MasterCore, Output};
use master::policy::Drf;
use master::store::{Records, Unreadable, Write};
use master::view::{TaskQuery, View};
use mesos_proto::internal::*;
use mesos_proto::mesos::{
    self, CommandInfo, FrameworkId, FrameworkInfo, SlaveId, SlaveInfo, Task, TaskId, TaskInfo, TaskState,
    TaskStatus, framework_info, slave_info, task_status,
};
use mesos_proto::recast;
use mesos_proto::resources::scalar;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{Call, Event, call, event};
use prost::{Message, Name};

pub const PING: u64 = 15_000;

pub struct World {
    pub core: MasterCore,
    pub now: u64,
    /// What is committed.
    pub records: Records,
    /// Changes the settings at the next start.
    pub tune: fn(&mut CoreConfig),
    /// Messages to agents: (from, to, name, body).
    pub sent: Vec<(String, Upid, String, Vec<u8>)>,
    pub events: Vec<(String, Event)>,
    pub closed: Vec<String>,
    pub replies: Vec<(u64, u16, String)>,
    /// Documents for operators, and what they are told: (streams, event).
    pub documents: Vec<v1::master::Response>,
    pub told: Vec<(Vec<String>, v1::master::Event)>,
    pub requests: u64,
}

pub fn pid(number: u32) -> Upid {
    format!("slave({number})@10.0.0.5:5051").parse().unwrap()
}

/// A master on these records.
pub fn core_on(records: &Records, now: u64, tune: fn(&mut CoreConfig)) -> Result<MasterCore, Unreadable> {
    let id = if records.is_empty() { "m" } else { "not-used" };
    let mut config = CoreConfig {
        hostname: "m.test".into(),
        ping_interval_ms: PING,
        seed: 3,
        ..CoreConfig::new(id, "10.0.0.1:5050".parse().unwrap())
    };
    tune(&mut config);
    MasterCore::restore(config, Box::new(Drf), Rules::default(), records, now)
}

impl World {
    pub fn new() -> Self {
        Self::restored(Records::new(), 1_000_000, |_| {})
    }

    /// A master started at `now` on these records, with its own settings.
    pub fn restored(records: Records, now: u64, tune: fn(&mut CoreConfig)) -> Self {
        let core = core_on(&records, now, tune).unwrap();
        Self {
            core,
            now,
            records,
            tune,
            sent: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            documents: Vec::new(),
            told: Vec::new(),
            requests: 0,
        }
    }

    /// Time passes, and of the agents these answer pings.
    pub fn pass_with_pongs(&mut self, ms: u64, there: &[u32]) {
        let end = self.now + ms;
        while self.now < end {
            let step = self.core.next_wakeup_ms().clamp(self.now + 1, end) - self.now;
            self.pass(step);
            for (observer, to, ..) in std::mem::take(&mut self.sent) {
                if observer.starts_with("slave-observer(") && there.iter().any(|number| pid(*number) == to) {
                    self.send_to(&to, &observer, &PongSlaveMessage {});
                }
            }
        }
    }

    /// What `GET_AGENTS` says.
    pub fn agents(&mut self) -> Vec<v1::master::response::get_agents::Agent> {
        self.document(v1::master::call::Type::GetAgents).get_agents.unwrap().agents
    }

    pub fn input(&mut self, input: Input) {
        for output in self.core.handle(input, self.now) {
            match output {
                Output::Send { from, to, name, body } => self.sent.push((from, to, name, body)),
                Output::Event { stream, event } => self.events.push((stream, *event)),
                Output::Close { stream } => self.closed.push(stream),
                Output::Reply { request, status, reason } => self.replies.push((request, status, reason)),
                Output::Write(write) => self.commit(write),
                Output::Answer { response, .. } => self.documents.push(*response),
                Output::OperatorEvent { streams, event } => self.told.push((streams, *event)),
                Output::Link(_) | Output::Subscribed { .. } => {}
            }
        }
    }

    fn commit(&mut self, write: Write) {
        let (table, key) = match &write {
            Write::Put(table, key, _) | Write::Delete(table, key) => (*table, key.clone()),
        };
        self.records.retain(|record| (record.0, &record.1) != (table, &key));
        if let Write::Put(table, key, value) = write {
            self.records.push((table, key, value));
        }
    }

    /// The master is killed and started again on what was committed. Nobody is connected any more.
    pub fn restart(&mut self) {
        let records = std::mem::take(&mut self.records);
        *self = Self { requests: self.requests, ..Self::restored(records, self.now, self.tune) };
        self.input(Input::Tick);
    }

    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.core.next_wakeup_ms() <= end {
            self.now = self.core.next_wakeup_ms().max(self.now);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    pub fn agent_sends<M: Message + Name>(&mut self, from: &Upid, message: &M) {
        self.send_to(from, "master", message);
    }

    pub fn send_to<M: Message + Name>(&mut self, from: &Upid, to: &str, message: &M) {
        self.input(Input::Message(Libprocess {
            from: Some(from.clone()),
            to: to.into(),
            name: M::full_name(),
            body: message.encode_to_vec().into(),
        }));
    }

    pub fn take<M: Message + Name + Default>(&mut self, to: &Upid) -> Option<M> {
        let at = self.sent.iter().position(|(_, t, name, _)| t == to && *name == M::full_name())?;
        Some(M::decode(self.sent.remove(at).3.as_slice()).unwrap())
    }

    /// Like `take`, but it has to be there.
    pub fn got<M: Message + Name + Default>(&mut self, to: &Upid) -> M {
        let name = M::full_name();
        self.take(to).unwrap_or_else(|| panic!("no {name} to {to}"))
    }

    pub fn next_event(&mut self, kind: event::Type) -> Option<Event> {
        let at = self.events.iter().position(|(_, event)| event.r#type() == kind)?;
        Some(self.events.remove(at).1)
    }

    pub fn offer(&mut self) -> v1::Offer {
        let mut offers = self.next_event(event::Type::Offers).expect("an offer").offers.unwrap().offers;
        assert_eq!(offers.len(), 1);
        offers.remove(0)
    }

    pub fn update(&mut self) -> v1::TaskStatus {
        self.next_event(event::Type::Update).expect("an update").update.unwrap().status
    }

    pub fn call(&mut self, stream: Option<&str>, call: Call) -> u16 {
        self.requests += 1;
        let (request, fresh) = (self.requests, format!("stream-{}", self.requests));
        let stream = stream.map(str::to_owned);
        self.input(Input::Call { request, stream, fresh, call: Box::new(call) });
        self.replies.iter().find(|(number, ..)| *number == request).map_or(200, |(_, status, _)| *status)
    }

    pub fn register(&mut self, number: u32) -> String {
        let message = RegisterSlaveMessage {
            slave: slave(number, 2.0, 64.0),
            version: Some("1.11.0".into()),
            agent_capabilities: capabilities(),
            ..Default::default()
        };
        self.agent_sends(&pid(number), &message);
        self.got::<SlaveRegisteredMessage>(&pid(number)).slave_id.value
    }

    pub fn subscribe(&mut self, info: FrameworkInfo) -> (String, String) {
        let id = info.id.clone();
        let call = Call {
            r#type: Some(call::Type::Subscribe as i32),
            framework_id: id.map(|id| v1::FrameworkId { value: id.value }),
            subscribe: Some(call::Subscribe { framework_info: recast(&info).unwrap(), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(self.call(None, call), 200);
        let id =
            self.next_event(event::Type::Subscribed).expect("SUBSCRIBED").subscribed.unwrap().framework_id;
        (id.value, format!("stream-{}", self.requests))
    }

    pub fn launch(&mut self, fw: &(String, String), offer: &v1::Offer, tasks: Vec<TaskInfo>) {
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

    pub fn framework_call(
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

    pub fn status(&mut self, number: u32, agent: &str, fw: &str, task: &str, state: TaskState, uuid: u8) {
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

    pub fn acknowledge(&mut self, fw: &(String, String), agent: &str, task: &str, uuid: u8) {
        let acknowledge = call::Acknowledge {
            agent_id: v1::AgentId { value: agent.into() },
            task_id: v1::TaskId { value: task.into() },
            uuid: vec![uuid; 16],
        };
        let status = self.framework_call(fw, call::Type::Acknowledge, |c| c.acknowledge = Some(acknowledge));
        assert_eq!(status, 202);
    }

    pub fn states(&self) -> Vec<(String, String)> {
        let view = self.core.view(View::Tasks(TaskQuery { ascending: true, ..TaskQuery::default() }));
        let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
        view["tasks"].as_array().unwrap().iter().map(|t| (text(&t["id"]), text(&t["state"]))).collect()
    }
}

pub fn slave(number: u32, cpus: f64, mem: f64) -> SlaveInfo {
    SlaveInfo {
        hostname: format!("node-{number}.test"),
        resources: vec![scalar("cpus", cpus), scalar("mem", mem)],
        checkpoint: Some(true),
        ..Default::default()
    }
}

pub fn capabilities() -> Vec<slave_info::Capability> {
    use slave_info::capability::Type::{AgentDraining, HierarchicalRole, MultiRole, ReservationRefinement};
    [MultiRole, HierarchicalRole, ReservationRefinement, AgentDraining]
        .map(|c| slave_info::Capability { r#type: Some(c as i32) })
        .to_vec()
}

pub fn framework() -> FrameworkInfo {
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

pub fn task(id: &str, agent: &str, cpus: f64, mem: f64) -> TaskInfo {
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
pub fn ready() -> (World, String, (String, String), v1::Offer) {
    let mut world = World::new();
    let agent = world.register(1);
    let fw = world.subscribe(framework());
    let offer = world.offer();
    (world, agent, fw, offer)
}

/// The same with a task running.
pub fn running() -> (World, String, (String, String)) {
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

pub fn known(id: &str, fw: &str, agent: &str, state: TaskState) -> Task {
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

pub fn reregister(
    world: &mut World,
    number: u32,
    agent: &str,
    tasks: Vec<Task>,
    frameworks: Vec<FrameworkInfo>,
) {
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
