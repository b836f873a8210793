//! A scripted master and a scripted node around the virtual agents, with a disk and virtual time.

use gateway::agent::{Agents, Config, Image, Output};
use gateway::bridge::{FromNode, NodeId, ToNode};
use gateway::store::{Records, Table, Write};
use libprocess::{Message as WireMessage, Upid};
use mesos_proto::internal::*;
use mesos_proto::mesos::{self, CommandInfo};
use mesos_proto::resources::scalar;
use node_proto::{Arch, Inventory, Kind, Power, Register, Runtimes, State, TaskHandle};
use prost::{Message, Name};
use std::collections::BTreeMap;

pub const NODE: NodeId = NodeId([2, 0, 0, 0, 0, 0, 0, 1]);
pub const URI: &str = "http://images/blink.wasm";

/// Agents with a disk; what they sent and ordered is kept until it is taken.
pub struct Rig {
    pub agents: Agents,
    pub disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub now: u64,
    pub sent: Vec<(String, Upid, String, Vec<u8>)>,
    pub orders: Vec<ToNode>,
    pub fetches: Vec<String>,
    seed: u64,
}

pub fn master() -> Upid {
    "master@10.0.0.1:5050".parse().unwrap()
}

pub fn boot(records: &Records, seed: u64, now: u64) -> Agents {
    let config = Config {
        version: "1.11.0".into(),
        domain: "micro".into(),
        port: 5051,
        epoch_ms: 0,
        credential: None,
        offers: Default::default(),
        trust: Default::default(),
    };
    Agents::new(config, "10.0.0.5:5051".parse().unwrap(), records, seed, now)
}

pub fn online() -> Register {
    let inventory = Inventory {
        cpu_permille: 1000,
        mem_bytes: 64 << 10,
        flash_bytes: 1 << 20,
        sensors: 1,
        leds: 1,
        power: Power::Mains,
        arch: Arch::Host,
        runtimes: Runtimes(Runtimes::WASM),
        block_szx: 2,
        board: "test".try_into().unwrap(),
    };
    Register { version: 2, eui64: NODE.0, boot: 1, epoch: 1, seen: 0, inventory }
}

pub fn framework(id: &str, aware: bool) -> mesos::FrameworkInfo {
    let kind = mesos::framework_info::capability::Type::PartitionAware as i32;
    let capability = mesos::framework_info::Capability { r#type: Some(kind) };
    mesos::FrameworkInfo {
        id: Some(mesos::FrameworkId { value: id.into() }),
        capabilities: aware.then_some(capability).into_iter().collect(),
        ..Default::default()
    }
}

pub fn task(id: &str) -> mesos::TaskInfo {
    let uri = mesos::command_info::Uri { value: URI.into(), ..Default::default() };
    mesos::TaskInfo {
        name: id.into(),
        task_id: mesos::TaskId { value: id.into() },
        slave_id: mesos::SlaveId { value: "S0".into() },
        resources: vec![scalar("cpus", 0.1), scalar("mem", 0.01)],
        command: Some(CommandInfo { uris: vec![uri], ..Default::default() }),
        ..Default::default()
    }
}

impl Rig {
    pub fn new() -> Self {
        let mut rig = Self {
            agents: boot(&Vec::new(), 7, 0),
            disk: BTreeMap::new(),
            now: 0,
            sent: Vec::new(),
            orders: Vec::new(),
            fetches: Vec::new(),
            seed: 7,
        };
        rig.agents.master_detected(Some(master()), 0);
        rig.node(FromNode::Online(online()));
        rig
    }

    /// With the agent registered as S0.
    pub fn registered() -> Self {
        let mut rig = Self::new();
        let (name, body) = rig.await_registration();
        assert_eq!(name, RegisterSlaveMessage::full_name());
        let slave = RegisterSlaveMessage::decode(&*body).unwrap().slave;
        assert!(slave.id.is_none());
        rig.master(&SlaveRegisteredMessage { slave_id: "S0".into_id(), connection: None });
        rig
    }

    /// Commits, checks every update that leaves, and keeps the rest.
    pub fn drain(&mut self) {
        while let Some(output) = self.agents.poll_output() {
            match output {
                Output::Write(Write::Put(table, key, value)) => {
                    self.disk.insert((table, key), value);
                }
                Output::Write(Write::Delete(table, key)) => drop(self.disk.remove(&(table, key))),
                Output::Send { from, to, name, body } => {
                    aborts_no_master(&from, &name, &body);
                    self.sent.push((from, to, name, body));
                }
                Output::ToNode(node, order) => {
                    assert_eq!(node, NODE);
                    self.orders.push(order);
                }
                Output::Fetch(uri) => self.fetches.push(uri),
            }
        }
    }

    pub fn node(&mut self, event: FromNode) {
        self.agents.from_node(NODE, event, self.now);
        self.drain();
    }

    pub fn status(&mut self, task: TaskHandle, seq: u16, state: State) {
        self.node(FromNode::Status { task, seq, state, note: String::new() });
    }

    pub fn master<M: Message + Name>(&mut self, message: &M) {
        self.wire(master(), &M::full_name(), message.encode_to_vec());
    }

    pub fn wire(&mut self, from: Upid, name: &str, body: Vec<u8>) {
        let (to, name) = ("slave(1)".to_owned(), name.to_owned());
        self.agents.from_master(&WireMessage { from: Some(from), to, name, body: body.into() }, self.now);
        self.drain();
    }

    pub fn run_until(&mut self, end: u64) {
        while let Some(at) = self.agents.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.agents.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub fn await_registration(&mut self) -> (String, Vec<u8>) {
        self.sent.clear();
        for _ in 0..10 {
            if let Some((_, to, name, body)) = self.sent.iter().find(|(.., name, _)| name.contains("egister"))
            {
                assert_eq!(*to, master());
                return (name.clone(), body.clone());
            }
            self.run_until(self.agents.next_timeout().expect("nothing is tried"));
        }
        panic!("no registration");
    }

    pub fn taken<M: Message + Name + Default>(&mut self) -> Vec<M> {
        let sent = std::mem::take(&mut self.sent);
        let mine = sent.into_iter().filter(|(.., name, _)| *name == M::full_name());
        mine.map(|(.., body)| M::decode(&*body).unwrap()).collect()
    }

    pub fn updates(&mut self) -> Vec<StatusUpdate> {
        self.taken::<StatusUpdateMessage>().into_iter().map(|message| message.update).collect()
    }

    /// The only update that was sent since the last look.
    pub fn update(&mut self) -> StatusUpdate {
        let mut updates = self.updates();
        assert_eq!(updates.len(), 1, "{updates:?}");
        updates.remove(0)
    }

    pub fn run(&mut self, task: mesos::TaskInfo) {
        self.master(&RunTaskMessage { framework: framework("F", false), task, ..Default::default() });
    }

    pub fn image(&mut self) {
        let image = Image { handle: 3, len: 100, digest: [9; 32], kind: Kind::Wasm, manifest: None };
        self.agents.image(URI, Ok(image), self.now);
        self.drain();
    }

    pub fn launched(id: &str) -> Self {
        let mut rig = Self::registered();
        rig.run(task(id));
        assert_eq!(rig.fetches, [URI]);
        rig.image();
        assert!(matches!(rig.orders.remove(0), ToNode::Launch { task: 1, image: 3, .. }));
        rig
    }

    pub fn acknowledge(&mut self, update: &StatusUpdate) {
        self.master(&StatusUpdateAcknowledgementMessage {
            slave_id: "S0".into_id(),
            framework_id: update.framework_id.clone(),
            task_id: update.status.task_id.clone(),
            uuid: update.uuid.clone().unwrap(),
        });
    }

    /// `kill -9`, and the node is heard again.
    pub fn restart(&mut self) {
        let records: Records = self.disk.iter().map(|((t, k), v)| (*t, k.clone(), v.clone())).collect();
        self.seed += 1;
        self.agents = boot(&records, self.seed, self.now);
        self.sent.clear();
        self.drain();
        self.agents.master_detected(Some(master()), self.now);
        self.node(FromNode::Online(online()));
    }

    pub fn reregistered(&mut self) -> ReregisterSlaveMessage {
        let (name, body) = self.await_registration();
        assert_eq!(name, ReregisterSlaveMessage::full_name());
        let message = ReregisterSlaveMessage::decode(&*body).unwrap();
        assert_eq!(message.slave.id.as_ref().unwrap().value, "S0");
        self.sent.clear();
        self.master(&SlaveReregisteredMessage { slave_id: "S0".into_id(), ..Default::default() });
        message
    }

    pub fn kill(&mut self, id: &str, nanoseconds: Option<i64>) {
        let grace = nanoseconds.map(|nanoseconds| mesos::DurationInfo { nanoseconds });
        self.master(&KillTaskMessage {
            framework_id: mesos::FrameworkId { value: "F".into() },
            task_id: mesos::TaskId { value: id.into() },
            kill_policy: grace.map(|grace| mesos::KillPolicy { grace_period: Some(grace) }),
        });
    }
}

/// What a real master would abort on (CHECKs and LOG(FATAL)s of src/master/master.cpp) is never sent.
fn aborts_no_master(from: &str, name: &str, body: &[u8]) {
    if name == StatusUpdateMessage::full_name() {
        let message = StatusUpdateMessage::decode(body).unwrap();
        let pid: Upid = message.pid.unwrap().parse().unwrap();
        assert_eq!(pid.id, from, "without a pid");
        assert_eq!(message.update.uuid.as_ref().unwrap().len(), 16);
        assert_eq!(message.update.uuid, message.update.status.uuid);
    } else if name == UpdateOperationStatusMessage::full_name() {
        let message = UpdateOperationStatusMessage::decode(body).unwrap();
        assert!(message.slave_id.is_some_and(|id| !id.value.is_empty()), "without an agent id");
    } else if name == RegisterSlaveMessage::full_name() {
        let message = RegisterSlaveMessage::decode(body).unwrap();
        assert!(message.resource_version_uuid.is_some(), "RESOURCE_PROVIDER without a version");
    } else if name == ReregisterSlaveMessage::full_name() {
        let message = ReregisterSlaveMessage::decode(body).unwrap();
        assert!(message.slave.id.is_some_and(|id| !id.value.is_empty()), "without an agent id");
        assert!(message.resource_version_uuid.is_some(), "RESOURCE_PROVIDER without a version");
        let is_allocated = |resource: &mesos::Resource| {
            resource.allocation_info.as_ref().is_some_and(|allocation| allocation.role.is_some())
        };
        let mut known = std::collections::BTreeSet::new();
        for task in &message.tasks {
            assert!(known.insert((&task.framework_id.value, &task.task_id.value)), "a task twice");
            assert!(task.resources.iter().all(is_allocated), "a resource without a role");
            assert_eq!(task.status_update_state.is_some(), task.status_update_uuid.is_some());
            assert_ne!(task.state, mesos::TaskState::TaskUnreachable as i32);
        }
        let mut known = std::collections::BTreeSet::new();
        for executor in &message.executor_infos {
            let framework = &executor.framework_id.as_ref().expect("an executor without its framework").value;
            assert!(known.insert((framework, &executor.executor_id.value)), "an executor twice");
            assert!(executor.resources.iter().all(is_allocated), "a resource without a role");
        }
        assert!(
            message.frameworks.iter().all(|framework| framework.id.is_some()),
            "a framework without its id"
        );
        let total = mesos_proto::resources::Scalars::of(&message.slave.resources);
        let reserved = mesos_proto::resources::Scalars::of(&message.checkpointed_resources);
        assert!(total.contains(&reserved), "reservations that do not apply");
    }
}

pub trait IntoId {
    fn into_id(self) -> mesos::SlaveId;
}

impl IntoId for &str {
    fn into_id(self) -> mesos::SlaveId {
        mesos::SlaveId { value: self.into() }
    }
}
