//! The virtual agents: one Mesos agent per node, all in one state machine.
//!
//! Towards the master each node is the actor `slave(N)`, N for ever the same, with an agent id, resources and
//! attributes of its own. What a real agent keeps on its disk is in the records named here; a status update is
//! written before the node or the master hears of it, and sent again with the same UUID until it is acknowledged
//! (src/slave/task_status_update_manager.cpp).
//!
//! Nothing is sent for an agent that a real master would abort on: updates carry their pid and both UUIDs, a
//! re-registration its agent id, tasks their allocation, each task once.

mod auth;
mod checks;
mod executors;
mod glance;
mod inbox;
mod info;
mod launch;
mod nodes;
mod notices;
mod operations;
mod orders;
mod registration;
mod reports;
mod reservations;
mod restore;
mod streams;
mod task;
mod view;

pub use checks::LEASE;
pub use glance::{Glance, TaskGlance, Total};
pub(crate) use info::bytes_of_milli_mb;
pub use info::{capabilities, container_id};
pub use launch::{CAPABILITY_LABEL, MANIFEST_LABEL, RESUME_LABEL};
pub use notices::Notice;
pub use view::{AgentView, Completed, Snapshot, TaskSnapshot, TaskView, Totals, Who};

use crate::bridge::{FromNode, NodeId, ToNode};
use crate::images::Trust;
use crate::offers::Offers;
use crate::store::{Table, Write};
use auth::Auth;
use executors::ExecutorKey;
use libprocess::Upid;
use mesos_proto::cram::Credential;
use mesos_proto::{internal, mesos};
use node_proto::{ImageHandle, Kind, Register, TaskHandle};
use notices::Notices;
use operations::Operation;
use prost::{Message, Name};
use registration::Registration;
use reservations::Reserved;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use streams::Said;
use task::{LogRing, Progress, Task, TaskRecord};

/// States that a task can have, numbered from 0.
pub const TASK_STATES: usize = 14;
/// Ended tasks remembered per node, for operators.
const COMPLETED_MAX: usize = 16;
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
    /// Unix time, milliseconds, of moment 0 of the clock that all calls are given.
    pub epoch_ms: u64,
    /// What to prove to the master before registering, if anything.
    pub credential: Option<Credential>,
    /// What the operator says of nodes' resources and attributes.
    pub offers: Offers,
    /// Whose images are launched.
    pub trust: Trust,
}

/// What was done and what was refused, over all agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Registrations that a master answered.
    pub registrations: u64,
    /// Attempts to authenticate that came to nothing.
    pub authentications_failed: u64,
    /// Status updates made.
    pub updates: u64,
    /// Status updates sent, those sent again included.
    pub updates_sent: u64,
    /// Messages whose body could not be read.
    pub malformed: u64,
    /// Messages of names that no agent knows.
    pub unknown: u64,
    /// Orders from somebody who is not the master.
    pub not_master: u64,
    /// Orders for another agent id than the actor has.
    pub wrong_agent: u64,
    /// Orders for frameworks that are not here.
    pub unknown_framework: u64,
    /// Framework messages for nobody, or too long for the radio.
    pub messages_dropped: u64,
    /// Tasks not taken in because too many wait for acknowledgements.
    pub tasks_ignored: u64,
    /// Operations on resources that a node cannot do.
    pub operations_refused: u64,
    /// Images that nobody trusted here has signed for the task.
    pub images_refused: u64,
    /// Tasks that ended, by the number of their last state.
    pub ended: [u64; TASK_STATES],
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its short name.
    pub handle: ImageHandle,
    /// Its length, bytes.
    pub len: u32,
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// What it is.
    pub kind: Kind,
    /// The publisher's signed manifest, if there is one.
    pub manifest: Option<Vec<u8>>,
}

/// What of an agent is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AgentRecord {
    actor: u32,
    slave_id: Option<String>,
    next_task: TaskHandle,
    register: Register,
    /// The operator empties this agent.
    drain: Option<Drain>,
    /// The start of the node in which the master shut the agent down: it stays away until the next.
    shut_down_at_boot: Option<u32>,
}

/// How an agent is drained.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Drain {
    /// Its tasks are reported as gone.
    mark_gone: bool,
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
    auth: Auth,
    /// The node's lease is live: pings are answered.
    live: bool,
    /// It lapsed and was not heard since: whoever was told of that is told when it is.
    lapsed: bool,
    power: node_proto::Power,
    /// What it offers, for sums over all.
    total: Total,
    /// What the node itself used, as it said last.
    vitals: Option<node_proto::Vitals>,
    frameworks: BTreeMap<String, FrameworkRecord>,
    /// Encoded `ExecutorInfo`s of those that frameworks named.
    executors: BTreeMap<ExecutorKey, Vec<u8>>,
    /// Executors that are shut down, and until when they may end by themselves.
    stopping: BTreeMap<ExecutorKey, u64>,
    tasks: BTreeMap<TaskHandle, Task>,
    reserved: Reserved,
    /// By UUID.
    operations: BTreeMap<Vec<u8>, Operation>,
    logs: VecDeque<LogRing>,
    /// Tasks that are over and acknowledged, since the gateway started.
    completed: VecDeque<view::Completed>,
    wake_ms: u64,
}

impl Agent {
    fn actor(&self) -> String {
        actor_name(self.record.actor)
    }

    fn is_registered(&self) -> bool {
        matches!(self.registration, Registration::Registered { .. })
    }

    fn is_shut_down(&self) -> bool {
        self.record.shut_down_at_boot == Some(self.record.register.boot)
    }

    fn find(&self, framework: &str, task_id: &str) -> Option<TaskHandle> {
        let found = self.tasks.iter().find(|(_, task)| task.is(framework, task_id));
        found.map(|(handle, _)| *handle)
    }

    /// The task whose oldest unacknowledged update has this UUID.
    fn find_head(&mut self, framework: &str, task_id: &str, uuid: &[u8]) -> Option<(TaskHandle, &mut Task)> {
        let found = self.tasks.iter_mut().find(|(_, task)| {
            task.progress.updates.front().is_some_and(|head| head.uuid == uuid) && task.is(framework, task_id)
        });
        found.map(|(handle, task)| (*handle, task))
    }

    /// The resources, each allocated to a role: a master aborts on one that is not. Old masters leave it to the
    /// agent, for frameworks of one role (src/slave/slave.cpp, `run`).
    fn allocated(&self, framework: &str, mut resources: Vec<mesos::Resource>) -> Vec<mesos::Resource> {
        let missing = resources.iter_mut().filter(|resource| {
            resource.allocation_info.as_ref().is_none_or(|allocation| allocation.role.is_none())
        });
        let role = || {
            let record = self.frameworks.get(framework)?;
            let info = mesos::FrameworkInfo::decode(record.info.as_slice()).ok()?;
            info.roles.into_iter().next().or(info.role)
        };
        let mut known: Option<String> = None;
        for resource in missing {
            let role = known.get_or_insert_with(|| role().unwrap_or_else(|| "*".into())).clone();
            resource.allocation_info = Some(mesos::resource::AllocationInfo { role: Some(role) });
        }
        resources
    }
}

fn actor_name(number: u32) -> String {
    format!("slave({number})")
}

/// The number of the agent that an actor belongs to: its own name, or that of its authenticatee.
pub fn actor_number(actor: &str) -> Option<u32> {
    let name = actor.strip_suffix(')')?;
    let number = name.strip_prefix("slave(").or_else(|| name.strip_prefix(auth::AUTHENTICATEE))?;
    // As it is written here, and no other way.
    number.parse().ok().filter(|parsed: &u32| parsed.to_string() == number)
}

/// All virtual agents.
pub struct Agents {
    config: Config,
    master: Option<Upid>,
    advertised: std::net::SocketAddrV4,
    // Boxed, for the places of a table that nobody has.
    nodes: HashMap<NodeId, Box<Agent>>,
    by_actor: HashMap<u32, NodeId>,
    next_actor: u32,
    wakes: BTreeSet<(u64, NodeId)>,
    /// Tasks that wait for an image, by its URI.
    waiting: HashMap<String, BTreeSet<(NodeId, TaskHandle)>>,
    outputs: VecDeque<Output>,
    counters: Counters,
    notices: Notices,
    /// All agents have been unregistered, and none is to come back.
    retired: bool,
    /// Tells this run of the gateway from others.
    run: u64,
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
            waiting: HashMap::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            notices: Notices::default(),
            retired: false,
            run: seed,
            random: seed | 1,
        };
        for (_, key, value) in records.iter().filter(|(table, ..)| *table == Table::Agent) {
            match (<[u8; 8]>::try_from(&key[..]), postcard::from_bytes::<AgentRecord>(value)) {
                (Ok(id), Ok(record)) => agents.insert(NodeId(id), record),
                _ => tracing::warn!("skipping an unreadable agent record"),
            }
        }
        let mut progress: HashMap<&[u8], Progress> = HashMap::new();
        for (_, key, value) in records.iter().filter(|(table, ..)| *table == Table::Progress) {
            match postcard::from_bytes(value) {
                Ok(read) => drop(progress.insert(key, read)),
                Err(_) => tracing::warn!("skipping an unreadable record of a task's progress"),
            }
        }
        for (table, key, value) in records {
            if agents.restore(*table, key, value, &mut progress, now_ms).is_none() {
                tracing::warn!(?table, "skipping an unreadable record");
            }
        }
        agents
    }

    fn insert(&mut self, id: NodeId, record: AgentRecord) {
        self.by_actor.insert(record.actor, id);
        self.next_actor = self.next_actor.max(record.actor + 1);
        let power = record.register.inventory.power;
        let total = Total::of(&self.config, id, &record.register.inventory);
        let agent = Agent {
            total,
            record,
            registration: Registration::Away,
            auth: Auth::Unproved,
            live: false,
            lapsed: false,
            power,
            vitals: None,
            frameworks: BTreeMap::new(),
            executors: BTreeMap::new(),
            stopping: BTreeMap::new(),
            tasks: BTreeMap::new(),
            reserved: Reserved::default(),
            operations: BTreeMap::new(),
            logs: VecDeque::new(),
            completed: VecDeque::new(),
            wake_ms: u64::MAX,
        };
        self.nodes.insert(id, Box::new(agent));
    }

    /// Numbers of actors that have been given out: all from 1 to below this.
    pub fn next_actor(&self) -> u32 {
        self.next_actor
    }

    fn by_name(&self, actor: &str) -> Option<NodeId> {
        self.by_actor.get(&actor_number(actor)?).copied()
    }

    /// A master was found, lost or changed: every agent whose node is alive registers with it.
    pub fn master_detected(&mut self, master: Option<Upid>, now_ms: u64) {
        self.master = master;
        // In an order that is always the same: each draws its pause from one source of chance.
        for id in self.node_ids() {
            self.start_registration(id, now_ms);
            self.rearm(id);
        }
    }

    /// The next output of the last step.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next thing worth telling people that the last steps brought.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.next()
    }

    /// When [`Agents::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<u64> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Registers and resends what is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        while let Some((at, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.wakes.remove(&(at, id));
            if let Some(agent) = self.nodes.get_mut(&id) {
                agent.wake_ms = u64::MAX;
            }
            self.registration_due(id, now_ms);
            self.shutdowns_due(id, now_ms);
            self.resend_due(id, now_ms);
            self.operations_due(id, now_ms);
            self.rearm(id);
        }
    }

    fn rearm(&mut self, id: NodeId) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let mut wake = agent.registration.next_ms();
        wake = agent.stopping.values().copied().fold(wake, u64::min);
        if agent.is_registered() {
            wake = agent.tasks.values().filter_map(Task::resend_at).fold(wake, u64::min);
            wake = agent.operations.values().map(|held| held.resend_ms).fold(wake, u64::min);
        }
        if wake != agent.wake_ms {
            self.wakes.remove(&(agent.wake_ms, id));
            agent.wake_ms = wake;
            if wake != u64::MAX {
                self.wakes.insert((wake, id));
            }
        }
    }

    fn send<M: Message + Name>(&mut self, id: NodeId, message: &M) {
        if let Some(master) = self.master.clone() {
            self.send_to(id, master, message);
        }
    }

    fn send_to<M: Message + Name>(&mut self, id: NodeId, to: Upid, message: &M) {
        if let Some(agent) = self.nodes.get(&id) {
            let from = agent.actor();
            self.send_as(from, to, message);
        }
    }

    fn send_as<M: Message + Name>(&mut self, from: String, to: Upid, message: &M) {
        let (name, body) = (M::full_name(), message.encode_to_vec());
        self.outputs.push_back(Output::Send { from, to, name, body });
    }

    fn framework_can(
        &self,
        id: NodeId,
        framework: &str,
        wanted: mesos::framework_info::capability::Type,
    ) -> bool {
        let held = self.nodes.get(&id).and_then(|agent| agent.frameworks.get(framework));
        held.and_then(|held| mesos::FrameworkInfo::decode(held.info.as_slice()).ok())
            .is_some_and(|info| info.capabilities.iter().any(|held| held.r#type == Some(wanted as i32)))
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

    fn forget_framework(&mut self, id: NodeId, framework: &str) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let executors: Vec<String> =
            agent.executors.keys().filter(|key| key.0 == framework).map(|key| key.1.clone()).collect();
        agent.frameworks.remove(framework);
        for executor in executors {
            self.executor_idle(id, framework, &executor, 0);
        }
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
