//! The virtual agents: one Mesos agent per node, all in one state machine.
//!
//! Towards the master each node is the actor `slave(N)`, N for ever the same, with an agent id, resources and
//! attributes of its own. What a real agent keeps on its disk is in the records named here; a status update is
//! written before the node or the master hears of it, and sent again with the same UUID until it is acknowledged
//! (src/slave/task_status_update_manager.cpp).
//!
//! Nothing is sent for an agent that a real master would abort on: updates carry their pid and both UUIDs, a
//! re-registration its agent id, tasks their allocation, each task once.

mod info;
mod launch;
mod registration;
mod task;
mod updates;
mod view;

pub use launch::CAPABILITY_LABEL;
pub use view::{AgentView, TaskView};

use crate::bridge::{FromNode, NodeId, ToNode};
use crate::store::{Table, Write};
use libprocess::{Message as WireMessage, Upid};
use mesos_proto::{internal, mesos};
use node_proto::{ImageHandle, Kind, Register, TaskHandle, Usage};
use prost::{Message, Name};
use registration::Registration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use task::{LogRing, Task, TaskRecord};

/// Logs of tasks kept per node, those that run included.
const LOGS_MAX: usize = 16;

/// Settings of the virtual agents.
#[derive(Clone, Debug)]
pub struct Config {
    /// Version stated to the master; it refuses what it cannot parse or is below 1.0.0.
    pub version: String,
    /// Put after a node's EUI-64 to make its hostname, which is unique so that maintenance hits one node.
    pub domain: String,
    /// Port stated in `SlaveInfo`; informational.
    pub port: u16,
}

/// What a step produced.
#[derive(Debug)]
pub enum Output {
    /// To be committed before anything is sent.
    Write(Write),
    /// A message for the master, or a framework.
    Send {
        /// The actor it comes from.
        from: String,
        /// Whom it is for.
        to: Upid,
        /// Its name.
        name: String,
        /// Its bytes.
        body: Vec<u8>,
    },
    /// For the session of a node.
    ToNode(NodeId, ToNode),
    /// Get an image; the answer is [`Agents::image`].
    Fetch(String),
}

/// An image in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its short name.
    pub handle: ImageHandle,
    /// Its length, bytes.
    pub len: u32,
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// What it is.
    pub kind: Kind,
}

/// What of an agent is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AgentRecord {
    actor: u32,
    slave_id: Option<String>,
    next_task: TaskHandle,
    register: Register,
}

/// What of a framework on a node is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FrameworkRecord {
    /// An encoded `FrameworkInfo`.
    info: Vec<u8>,
    pid: Option<String>,
}

/// One virtual agent.
struct Agent {
    record: AgentRecord,
    registration: Registration,
    /// The node's lease is live: pings are answered.
    live: bool,
    power: node_proto::Power,
    frameworks: BTreeMap<String, FrameworkRecord>,
    tasks: BTreeMap<TaskHandle, Task>,
    logs: VecDeque<LogRing>,
    wake_ms: u64,
}

impl Agent {
    fn actor(&self) -> String {
        actor_name(self.record.actor)
    }

    fn find(&self, framework: &str, task_id: &str) -> Option<TaskHandle> {
        let found = self.tasks.iter().find(|(_, task)| task.is(framework, task_id));
        found.map(|(handle, _)| *handle)
    }
}

fn actor_name(number: u32) -> String {
    format!("slave({number})")
}

/// All virtual agents.
pub struct Agents {
    config: Config,
    master: Option<Upid>,
    advertised: std::net::SocketAddrV4,
    nodes: HashMap<NodeId, Agent>,
    by_actor: HashMap<u32, NodeId>,
    next_actor: u32,
    wakes: BTreeSet<(u64, NodeId)>,
    outputs: VecDeque<Output>,
    random: u64,
}

impl Agents {
    /// Virtual agents as the records have them. Each registers when its node is heard again.
    pub fn new(
        config: Config,
        advertised: std::net::SocketAddrV4,
        records: &[(Table, Vec<u8>, Vec<u8>)],
        seed: u64,
        now_ms: u64,
    ) -> Self {
        let mut agents = Self {
            config,
            master: None,
            advertised,
            nodes: HashMap::new(),
            by_actor: HashMap::new(),
            next_actor: 1,
            wakes: BTreeSet::new(),
            outputs: VecDeque::new(),
            random: seed | 1,
        };
        for (_, key, value) in records.iter().filter(|(table, ..)| *table == Table::Agent) {
            match (<[u8; 8]>::try_from(&key[..]), postcard::from_bytes::<AgentRecord>(value)) {
                (Ok(id), Ok(record)) => agents.insert(NodeId(id), record),
                _ => tracing::warn!("skipping an unreadable agent record"),
            }
        }
        for (table, key, value) in records {
            let Some((id, rest)) = key.split_at_checked(8) else { continue };
            let Some(agent) = id.try_into().ok().and_then(|id| agents.nodes.get_mut(&NodeId(id))) else {
                continue;
            };
            match table {
                Table::Framework => {
                    if let (Ok(id), Ok(record)) = (std::str::from_utf8(rest), postcard::from_bytes(value)) {
                        agent.frameworks.insert(id.to_owned(), record);
                    }
                }
                Table::Task => {
                    let handle = <[u8; 2]>::try_from(rest).map(TaskHandle::from_be_bytes);
                    match (handle, postcard::from_bytes::<TaskRecord>(value)) {
                        (Ok(handle), Ok(record)) => {
                            if let Some(uri) = record.waits_for() {
                                agents.outputs.push_back(Output::Fetch(uri.to_owned()));
                            }
                            agent.tasks.insert(handle, Task::new(record, now_ms));
                        }
                        _ => tracing::warn!("skipping an unreadable task record"),
                    }
                }
                _ => {}
            }
        }
        agents
    }

    fn insert(&mut self, id: NodeId, record: AgentRecord) {
        self.by_actor.insert(record.actor, id);
        self.next_actor = self.next_actor.max(record.actor + 1);
        let power = record.register.inventory.power;
        let agent = Agent {
            record,
            registration: Registration::Away,
            live: false,
            power,
            frameworks: BTreeMap::new(),
            tasks: BTreeMap::new(),
            logs: VecDeque::new(),
            wake_ms: u64::MAX,
        };
        self.nodes.insert(id, agent);
    }

    /// True if there is such an actor; a message to another is answered 404.
    pub fn is_hosted(&self, actor: &str) -> bool {
        self.by_name(actor).is_some()
    }

    /// The names of all actors, for the transport.
    pub fn actors(&self) -> impl Iterator<Item = String> + '_ {
        self.by_actor.keys().map(|number| actor_name(*number))
    }

    fn by_name(&self, actor: &str) -> Option<NodeId> {
        let number = actor.strip_prefix("slave(")?.strip_suffix(')')?.parse().ok()?;
        self.by_actor.get(&number).copied()
    }

    /// A master was found, lost or changed: every agent whose node is alive registers with it.
    pub fn master_detected(&mut self, master: Option<Upid>, now_ms: u64) {
        self.master = master;
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.start_registration(id, now_ms);
            self.rearm(id);
        }
    }

    /// The next output of the last step.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Agents::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<u64> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Registers and resends what is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        while let Some((at, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.wakes.remove(&(at, id));
            if let Some(agent) = self.nodes.get_mut(&id) {
                agent.wake_ms = u64::MAX;
            }
            self.registration_due(id, now_ms);
            self.resend_due(id, now_ms);
            self.rearm(id);
        }
    }

    fn rearm(&mut self, id: NodeId) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let registered = matches!(agent.registration, Registration::Registered { .. });
        let resend = agent.tasks.values().filter_map(Task::resend_at).min().filter(|_| registered);
        let wake = agent.registration.next_ms().min(resend.unwrap_or(u64::MAX));
        if wake != agent.wake_ms {
            self.wakes.remove(&(agent.wake_ms, id));
            agent.wake_ms = wake;
            if wake != u64::MAX {
                self.wakes.insert((wake, id));
            }
        }
    }

    // --- from the nodes ---

    /// Takes an event of a node's session.
    pub fn from_node(&mut self, id: NodeId, event: FromNode, now_ms: u64) {
        match event {
            FromNode::Online(register) => self.online(id, register, now_ms),
            FromNode::Alive { power, usage } => {
                if let Some(agent) = self.nodes.get_mut(&id) {
                    agent.live = true;
                    agent.power = power;
                    usage.into_iter().for_each(|usage: Usage| {
                        if let Some(task) = agent.tasks.get_mut(&usage.task) {
                            task.usage = Some(usage);
                        }
                    });
                    self.start_registration_if_away(id, now_ms);
                }
            }
            FromNode::Lapsed => {
                if let Some(agent) = self.nodes.get_mut(&id) {
                    tracing::info!(node = %id, "lease lapsed: pings are no longer answered");
                    agent.live = false;
                }
            }
            FromNode::Forgot => self.node_forgot(id, now_ms),
            FromNode::Status { task, state, note, .. } => self.node_status(id, task, state, &note, now_ms),
            FromNode::Message { task, data } => self.executor_message(id, task, data),
            FromNode::Log { task, data } => {
                if let Some(agent) = self.nodes.get_mut(&id)
                    && let Some(held) = agent.tasks.get(&task)
                {
                    let key = (held.framework_id().to_owned(), held.task_id().to_owned());
                    LogRing::append(&mut agent.logs, key, &data, LOGS_MAX);
                }
            }
        }
        self.rearm(id);
    }

    fn online(&mut self, id: NodeId, register: Register, now_ms: u64) {
        match self.nodes.get_mut(&id) {
            None => {
                let actor = self.next_actor;
                tracing::info!(node = %id, actor, "new node");
                self.insert(id, AgentRecord { actor, slave_id: None, next_task: 1, register });
            }
            Some(agent) => {
                if agent.record.register.inventory != register.inventory {
                    // Resources of a registered agent cannot shrink in the master's book: it has to meet it anew.
                    agent.registration = Registration::Away;
                }
                agent.record.register = register;
            }
        }
        if let Some(agent) = self.nodes.get_mut(&id) {
            agent.live = true;
            agent.power = agent.record.register.inventory.power;
        }
        self.save_agent(id);
        self.start_registration_if_away(id, now_ms);
    }

    fn executor_message(&mut self, id: NodeId, task: TaskHandle, data: Vec<u8>) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let (Some(task), Some(slave_id)) = (agent.tasks.get(&task), &agent.record.slave_id) else { return };
        let framework = task.framework_id().to_owned();
        let message = internal::ExecutorToFrameworkMessage {
            slave_id: mesos::SlaveId { value: slave_id.clone() },
            framework_id: mesos::FrameworkId { value: framework.clone() },
            executor_id: mesos::ExecutorId { value: task.executor_id().to_owned() },
            data,
        };
        // A v0 scheduler is reached directly; a v1 one has no actor and is reached through the master.
        let pid = agent.frameworks.get(&framework).and_then(|held| held.pid.as_deref()?.parse::<Upid>().ok());
        match pid {
            Some(to) => self.send_to(id, to, &message),
            None => self.send(id, &message),
        }
    }

    // --- from the master ---

    /// Takes a message for one of the actors. What cannot be read is dropped with a log line, as libprocess does.
    pub fn from_master(&mut self, message: &WireMessage, now_ms: u64) {
        let Some(id) = self.by_name(&message.to) else { return };
        if let Err(error) = self.dispatch(id, message, now_ms) {
            tracing::warn!(actor = message.to, name = message.name, %error, "dropping a malformed message");
        }
        self.rearm(id);
    }

    fn dispatch(&mut self, id: NodeId, message: &WireMessage, now_ms: u64) -> Result<(), prost::DecodeError> {
        use internal::*;
        let body = message.body.clone();
        let Some(name) = message.name.strip_prefix("mesos.internal.") else { return Ok(()) };
        match name {
            PingSlaveMessage::NAME => {
                self.pinged(id, message.from.as_ref(), PingSlaveMessage::decode(body)?, now_ms);
            }
            SlaveRegisteredMessage::NAME => {
                let registered = SlaveRegisteredMessage::decode(body)?;
                self.registered(id, registered.slave_id.value, registered.connection, &[], now_ms);
            }
            SlaveReregisteredMessage::NAME => {
                let registered = SlaveReregisteredMessage::decode(body)?;
                let (slave_id, connection) = (registered.slave_id.value, registered.connection);
                self.registered(id, slave_id, connection, &registered.reconciliations, now_ms);
            }
            RunTaskMessage::NAME => self.run_task(id, RunTaskMessage::decode(body)?, now_ms),
            RunTaskGroupMessage::NAME => self.run_task_group(id, RunTaskGroupMessage::decode(body)?, now_ms),
            KillTaskMessage::NAME => self.kill_task(id, &KillTaskMessage::decode(body)?, now_ms),
            StatusUpdateAcknowledgementMessage::NAME => {
                self.acknowledged(id, &StatusUpdateAcknowledgementMessage::decode(body)?, now_ms);
            }
            FrameworkToExecutorMessage::NAME => {
                self.framework_message(id, FrameworkToExecutorMessage::decode(body)?);
            }
            ShutdownFrameworkMessage::NAME => {
                self.shutdown_framework(id, &ShutdownFrameworkMessage::decode(body)?.framework_id.value);
            }
            ShutdownExecutorMessage::NAME => {
                self.shutdown_executor(id, &ShutdownExecutorMessage::decode(body)?, now_ms);
            }
            UpdateFrameworkMessage::NAME => {
                self.update_framework(id, UpdateFrameworkMessage::decode(body)?, now_ms);
            }
            ShutdownMessage::NAME => {
                let why = ShutdownMessage::decode(body)?.message.unwrap_or_default();
                self.shutdown(id, &why);
            }
            other => tracing::debug!(other, "no use for this message"),
        }
        Ok(())
    }

    fn framework_message(&mut self, id: NodeId, message: internal::FrameworkToExecutorMessage) {
        let Some(agent) = self.nodes.get(&id) else { return };
        // A command task's executor has the task's id.
        let found = agent.find(&message.framework_id.value, &message.executor_id.value);
        let Some(task) = found else { return };
        if message.data.len() > node_proto::limits::MESSAGE_DATA_MAX {
            tracing::warn!(node = %id, bytes = message.data.len(), "framework message is too long for the radio");
            return;
        }
        self.outputs.push_back(Output::ToNode(id, ToNode::Message { task, data: message.data }));
    }

    fn update_framework(&mut self, id: NodeId, message: internal::UpdateFrameworkMessage, now_ms: u64) {
        let framework = message.framework_id.value;
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let Some(record) = agent.frameworks.get_mut(&framework) else { return };
        record.pid = message.pid;
        if let Some(info) = message.framework_info {
            record.info = info.encode_to_vec();
        }
        let record = record.clone();
        self.put_framework(id, &framework, &record);
        // The scheduler may be a new one that has seen nothing: heads of its streams go out again at once.
        self.resend_framework(id, &framework, now_ms);
    }

    // --- small things ---

    fn send<M: Message + Name>(&mut self, id: NodeId, message: &M) {
        if let Some(master) = self.master.clone() {
            self.send_to(id, master, message);
        }
    }

    fn send_to<M: Message + Name>(&mut self, id: NodeId, to: Upid, message: &M) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let from = agent.actor();
        self.outputs.push_back(Output::Send {
            from,
            to,
            name: M::full_name(),
            body: message.encode_to_vec(),
        });
    }

    fn save_agent(&mut self, id: NodeId) {
        if let Some(agent) = self.nodes.get(&id) {
            let value = bytes_of(&agent.record);
            self.outputs.push_back(Output::Write(Write::Put(Table::Agent, id.0.to_vec(), value)));
        }
    }

    fn put_framework(&mut self, id: NodeId, framework: &str, record: &FrameworkRecord) {
        let key = [&id.0[..], framework.as_bytes()].concat();
        self.outputs.push_back(Output::Write(Write::Put(Table::Framework, key, bytes_of(record))));
    }

    fn delete_framework(&mut self, id: NodeId, framework: &str) {
        let key = [&id.0[..], framework.as_bytes()].concat();
        self.outputs.push_back(Output::Write(Write::Delete(Table::Framework, key)));
    }

    /// xorshift64*: back-off and UUIDs; an update's UUID has to be unique, not secret.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn new_uuid(&mut self) -> Vec<u8> {
        let high = u128::from(self.next_random()) << 64;
        let bytes = (high | u128::from(self.next_random())).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid().as_bytes().to_vec()
    }
}

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    // Integers, strings and byte strings: postcard has no way to fail on them.
    postcard::to_allocvec(value).unwrap_or_default()
}

fn task_key(id: NodeId, task: TaskHandle) -> Vec<u8> {
    [&id.0[..], &task.to_be_bytes()].concat()
}
