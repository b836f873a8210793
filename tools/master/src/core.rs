//! The master as a state machine: [`MasterCore::handle`] takes one input and the time and returns what is to be sent.
//! It owns no socket, clock or randomness; the same inputs give the same outputs. It never trusts a peer: what is
//! malformed, unknown or too much is dropped and counted.

mod accept;
mod agents;
pub(crate) mod authentication;
mod by_operator;
mod calls;
mod config;
mod connection;
mod conversion;
mod counted;
mod drain;
pub(crate) mod drivers;
mod frameworks;
mod inverse;
mod launch;
mod loss;
mod maintenance;
mod offers;
pub(crate) mod operations;
mod pings;
mod reconcile;
mod recovery;
mod steps;
mod takeover;
mod tasks;
mod validation;
mod weights;
mod wishes;

pub use config::CoreConfig;
pub use steps::{Input, Output};
pub(crate) use validation::valid_role;

use crate::allocator::{Allocator, Rules};
use crate::policy::Policy;
use crate::records::{AgentRecord, DrainRecord};
use crate::state::{Agent, Bygone, Framework, OfferRecord, Pair};
use crate::store::{Records, Unreadable, Write};
use libprocess::Upid;
use mesos_proto::mesos::{FrameworkInfo, Task, TaskState, task_status};
use prost::{Message, Name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddrV4;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Allocate,
    Ping(u64),
    Heartbeat(String),
    /// A heartbeat for a subscriber of the operator API.
    Watch(String),
    Failover(String),
    /// Agents of an earlier run have had their time to come back.
    Recovered,
    /// It is this agent's turn to be given up.
    GiveUp(String),
}

/// An ended framework, for `/state`.
pub(crate) struct Completed {
    pub id: String,
    /// Of one that ended before this master started, its name and user alone.
    pub info: FrameworkInfo,
    pub registered_ms: u64,
    pub unregistered_ms: u64,
    /// How its last tasks ended; of the newest few frameworks only.
    pub tasks: VecDeque<Task>,
}

/// The master.
pub struct MasterCore {
    pub(crate) config: CoreConfig,
    pub(crate) started_ms: u64,
    pub(crate) now_ms: u64,
    pub(crate) agents: BTreeMap<String, Agent>,
    /// Agents admitted before a restart that have not come back yet.
    pub(crate) recovered: BTreeMap<String, AgentRecord>,
    /// How many they were.
    recovered_first: usize,
    pub(crate) unreachable: Bygone,
    /// Agents that may never come back.
    pub(crate) gone: Bygone,
    /// Agents that are not offered, by the operator's word.
    pub(crate) drains: BTreeMap<String, DrainRecord>,
    pub(crate) maintenance: maintenance::Maintenance,
    inverse: inverse::Inverse,
    /// Agents of these on which something has ended in this step.
    emptied: BTreeSet<String>,
    pub(crate) frameworks: BTreeMap<String, Framework>,
    pub(crate) completed: VecDeque<Completed>,
    pub(crate) offers: BTreeMap<String, OfferRecord>,
    pub(crate) allocator: Allocator,
    pub(crate) counters: BTreeMap<&'static str, u64>,
    /// What happened, for people.
    pub(crate) events: crate::console::Events,
    pub(crate) allocation_runs: u64,
    /// How often tasks ended how, who said so, and for what reason.
    pub(crate) ends: BTreeMap<(TaskState, task_status::Source, task_status::Reason), u64>,
    by_pid: BTreeMap<Upid, String>,
    sessions: BTreeMap<u64, authentication::Session>,
    /// Agents and the principals they proved to be.
    authenticated: BTreeMap<Upid, String>,
    next_session: u64,
    by_address: BTreeMap<SocketAddrV4, BTreeSet<String>>,
    by_observer: BTreeMap<u64, String>,
    by_stream: BTreeMap<String, String>,
    /// Streams of operators, the oldest first.
    pub(crate) watchers: VecDeque<String>,
    /// Frameworks by the actor of their driver, here or not.
    by_driver: BTreeMap<Upid, String>,
    /// (framework, its operation's id) -> the agent, and the uuid that the agent knows the operation by.
    by_operation: BTreeMap<Pair, (String, Vec<u8>)>,
    next_uuid: u64,
    timers: BTreeSet<(u64, Timer)>,
    /// Agents whose free resources have changed and are to be offered before this input is done.
    dirty: BTreeSet<String>,
    next_agent: u64,
    next_observer: u64,
    next_framework: u64,
    next_offer: u64,
    /// Offers' numbers below this one count as used after a restart.
    offers_kept: u64,
    /// When the next agent may be given up.
    next_removal_ms: u64,
    pub(crate) outputs: Vec<Output>,
}

impl MasterCore {
    /// A master that takes up what its records say. With none it is a new one. An error means that a record is none of
    /// this master's.
    pub fn restore(
        config: CoreConfig,
        policy: Box<dyn Policy>,
        rules: Rules,
        records: &Records,
        now_ms: u64,
    ) -> Result<Self, Unreadable> {
        let mut core = Self::new(config, policy, rules, now_ms);
        core.recover(records)?;
        Ok(core)
    }

    /// A new master: it knows nobody.
    pub fn new(config: CoreConfig, policy: Box<dyn Policy>, rules: Rules, now_ms: u64) -> Self {
        let allocator = Allocator::new(policy, rules, config.seed);
        let timers = BTreeSet::from([(now_ms + config.allocation_ms, Timer::Allocate)]);
        Self {
            config,
            started_ms: now_ms,
            now_ms,
            agents: BTreeMap::new(),
            recovered: BTreeMap::new(),
            recovered_first: 0,
            unreachable: Bygone::default(),
            gone: Bygone::default(),
            drains: BTreeMap::new(),
            maintenance: maintenance::Maintenance::default(),
            inverse: inverse::Inverse::default(),
            emptied: BTreeSet::new(),
            frameworks: BTreeMap::new(),
            completed: VecDeque::new(),
            offers: BTreeMap::new(),
            allocator,
            counters: BTreeMap::new(),
            events: crate::console::Events::new(now_ms),
            allocation_runs: 0,
            ends: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            sessions: BTreeMap::new(),
            authenticated: BTreeMap::new(),
            next_session: 1,
            by_address: BTreeMap::new(),
            by_observer: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            watchers: VecDeque::new(),
            by_driver: BTreeMap::new(),
            by_operation: BTreeMap::new(),
            next_uuid: 0,
            timers,
            dirty: BTreeSet::new(),
            next_agent: 0,
            next_observer: 1,
            next_framework: 0,
            next_offer: 0,
            offers_kept: 0,
            next_removal_ms: 0,
            outputs: Vec::new(),
        }
    }

    /// Takes one input at `now_ms` (milliseconds since the epoch, never going back) and says what is to be done.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Output> {
        self.now_ms = self.now_ms.max(now_ms);
        self.run_timers();
        match input {
            Input::Message(message) => self.message(message),
            Input::Exited(address) => self.exited(address),
            Input::Call { request, stream, fresh, call } => self.call(request, stream, fresh, *call),
            Input::Operator { request, fresh, call } => self.operator(request, fresh, *call),
            Input::Closed { stream } => {
                self.unwatch(&stream);
                self.stream_closed(&stream);
            }
            Input::Tick => {}
        }
        self.settle_drains();
        self.allocate_dirty();
        std::mem::take(&mut self.outputs)
    }

    /// The master's id, first part of all ids it gives.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// When [`Input::Tick`] is next needed.
    pub fn next_wakeup_ms(&self) -> u64 {
        self.timers.first().map_or(u64::MAX, |(at, _)| *at)
    }

    /// How often something named happened.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    fn run_timers(&mut self) {
        while let Some((at, _)) = self.timers.first().filter(|(at, _)| *at <= self.now_ms) {
            let late = *at;
            let Some((_, timer)) = self.timers.pop_first() else { return };
            match timer {
                Timer::Allocate => {
                    self.allocator.expire_filters(self.now_ms);
                    self.dirty.extend(self.agents.keys().cloned());
                    self.timers.insert((self.now_ms + self.config.allocation_ms.max(1), Timer::Allocate));
                }
                Timer::Ping(observer) => self.ping(observer),
                Timer::Heartbeat(stream) => self.heartbeat(stream),
                Timer::Watch(stream) => self.watch_heartbeat(stream),
                Timer::Recovered => self.recovered_timeout(),
                Timer::GiveUp(agent) => self.give_up(&agent),
                Timer::Failover(framework) => {
                    let due = self.frameworks.get(&framework).and_then(|framework| framework.failover_ms);
                    if due == Some(late) {
                        tracing::info!(framework, "failover timeout");
                        self.remove_framework(&framework);
                    }
                }
            }
        }
    }

    fn message(&mut self, message: libprocess::Message) {
        let Some(from) = message.from.clone() else { return self.count("messages_without_sender") };
        if let Some(number) =
            message.to.strip_prefix("slave-observer(").and_then(|rest| rest.strip_suffix(')'))
        {
            return self.pong(number.parse().ok(), &from);
        }
        if message.to.starts_with(authentication::SESSION) {
            if self.session(&from, &message).is_err() {
                self.count("messages_malformed");
            }
            return;
        }
        if message.to != "master" {
            return self.count("messages_for_nobody");
        }
        let body = message.body.as_ref();
        let name = message.name.as_str();
        let short = match name.strip_prefix("mesos.internal.") {
            Some(short) => short,
            None if name == "mesos.scheduler.Call" => name,
            None => return self.count("messages_unknown"),
        };
        if let Some(counter) = counted::message(short) {
            self.count(counter);
        }
        let done = match short {
            "mesos.scheduler.Call" => self.driver_calls(&from, body),
            "RegisterSlaveMessage" => decode(body).map(|m| self.register_agent(from.clone(), m)),
            "ReregisterSlaveMessage" => decode(body).map(|m| self.reregister_agent(from.clone(), m)),
            "AuthenticateMessage" => decode(body).map(|m| self.authenticate(&from, &m)),
            "UnregisterSlaveMessage" => decode(body).map(|m| self.unregister_agent(&from, m)),
            "UpdateSlaveMessage" => decode(body).map(|m| self.update_agent(&from, m)),
            "StatusUpdateMessage" => decode(body).map(|m| self.status_update(&from, m)),
            "UpdateOperationStatusMessage" => decode(body).map(|m| self.operation_status(&from, m)),
            "ExitedExecutorMessage" => decode(body).map(|m| self.exited_executor(&from, m)),
            "ExecutorToFrameworkMessage" => decode(body).map(|m| self.executor_message(&from, m)),
            other => match self.driver_message(&from, other, body) {
                Some(done) => done,
                None => {
                    tracing::debug!(%from, name, "message that this master does not know");
                    return self.count("messages_unknown");
                }
            },
        };
        if let Err(error) = done {
            tracing::warn!(%from, name, %error, "malformed message");
            self.count("messages_malformed");
        }
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    /// Keeps something, before anything else that this step asks for.
    fn keep(&mut self, write: Write) {
        self.outputs.push(Output::Write(write));
    }

    pub(crate) fn heartbeat_watcher_later(&mut self, stream: String) {
        self.timers.insert((self.now_ms + self.config.heartbeat_ms.max(1), Timer::Watch(stream)));
    }

    pub(crate) fn reply(&mut self, request: u64, status: u16, reason: &str) {
        self.outputs.push(Output::Reply { request, status, reason: reason.to_owned() });
    }

    fn send<M: Message + Name>(&mut self, to: &Upid, message: &M) {
        self.send_from("master".into(), to, message);
    }

    fn send_from<M: Message + Name>(&mut self, from: String, to: &Upid, message: &M) {
        let body = message.encode_to_vec();
        self.outputs.push(Output::Send { from, to: to.clone(), name: M::full_name(), body });
    }
}

fn decode<M: Message + Default>(body: &[u8]) -> Result<M, prost::DecodeError> {
    M::decode(body)
}

/// Whether an id may be used (src/common/validation.cpp, `validateID`).
pub(crate) fn valid_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= crate::limits::MAX_ID
        && id != "."
        && id != ".."
        && !id.chars().any(|c| c.is_control() || c == '/' || c == '\\')
}
