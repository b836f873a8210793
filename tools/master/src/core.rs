//! The master as a state machine: [`MasterCore::handle`] takes one input and the time and returns what is to be sent.
//! It owns no socket, clock or randomness; the same inputs give the same outputs. It never trusts a peer: what is
//! malformed, unknown or too much is dropped and counted.

mod accept;
mod agents;
pub(crate) mod authentication;
mod by_operator;
mod calls;
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
mod takeover;
mod tasks;
mod validation;
mod weights;
mod wishes;

pub(crate) use validation::valid_role;

use crate::allocator::{Allocator, Rules};
use crate::policy::Policy;
use crate::records::{AgentRecord, DrainRecord};
use crate::state::{Agent, Bygone, Framework, OfferRecord, Pair};
use crate::store::{Records, Unreadable, Write};
use libprocess::Upid;
use mesos_proto::cram::Credential;
use mesos_proto::mesos::{FrameworkInfo, Task, TaskState, task_status};
use mesos_proto::v1::master as operator;
use mesos_proto::v1::scheduler::{Call, Event};
use prost::{Message, Name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddrV4;

/// Settings of the core.
pub struct CoreConfig {
    /// The master's id, a UUID as text: first part of all ids it gives. Only for a master that is new; one that has
    /// records keeps its id.
    pub id: String,
    /// The address that peers are told.
    pub address: SocketAddrV4,
    /// The name that peers are told.
    pub hostname: String,
    /// Name of the cluster, for `/state`.
    pub cluster: Option<String>,
    /// Between pings to an agent, milliseconds (`--agent_ping_timeout`).
    pub ping_interval_ms: u64,
    /// Pings without an answer after which an agent is unreachable (`--max_agent_ping_timeouts`).
    pub max_missed_pings: u32,
    /// How long agents that are disconnected, or that have not been heard of since a restart, have to come back,
    /// milliseconds (`--agent_reregister_timeout`).
    pub agent_reregister_timeout_ms: u64,
    /// Which part of the agents may be given up together because they did not come back after a restart, from 0 to 1
    /// (`--recovery_agent_removal_limit`).
    pub recovery_agent_removal_limit: f64,
    /// At least between two agents that are given up, milliseconds (`--agent_removal_rate_limit`); 0 is no limit.
    pub agent_removal_interval_ms: u64,
    /// Between HEARTBEAT events, milliseconds.
    pub heartbeat_ms: u64,
    /// Between allocations that nothing in particular calls for, milliseconds (`--allocation_interval`).
    pub allocation_ms: u64,
    /// Seed of the order in which agents are visited, and of challenges.
    pub seed: u64,
    /// Who may prove to be somebody.
    pub credentials: Vec<Credential>,
    /// Agents that have proved nothing are not taken in (`--authenticate_agents`).
    pub authenticate_agents: bool,
}

impl CoreConfig {
    /// Mesos' defaults, for a master of this id and address.
    pub fn new(id: &str, address: SocketAddrV4) -> Self {
        Self {
            id: id.to_owned(),
            address,
            hostname: address.ip().to_string(),
            cluster: None,
            ping_interval_ms: 15_000,
            max_missed_pings: 5,
            agent_reregister_timeout_ms: 600_000,
            recovery_agent_removal_limit: 1.0,
            agent_removal_interval_ms: 0,
            heartbeat_ms: 15_000,
            allocation_ms: 1000,
            seed: 1,
            credentials: Vec::new(),
            authenticate_agents: false,
        }
    }
}

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// A libprocess message for an actor here.
    Message(libprocess::Message),
    /// The connection to an address is gone, and all actors there.
    Exited(SocketAddrV4),
    /// A scheduler's call that parsed. Answered by [`Output::Reply`] or [`Output::Subscribed`].
    Call {
        /// Returned with the answer.
        request: u64,
        /// The header `Mesos-Stream-Id`.
        stream: Option<String>,
        /// A new id, used if this call subscribes.
        fresh: String,
        /// The call.
        call: Box<Call>,
    },
    /// A call of the operator API that parsed. Answered by [`Output::Reply`], [`Output::Answer`] or
    /// [`Output::Subscribed`].
    Operator {
        /// Returned with the answer.
        request: u64,
        /// A new id, used if this call subscribes.
        fresh: String,
        /// The call.
        call: Box<operator::Call>,
    },
    /// A subscriber's stream is gone, or did not keep up.
    Closed {
        /// The stream.
        stream: String,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done outside, in order.
#[derive(Debug)]
pub enum Output {
    /// Keep, or keep no more. All writes of a step are committed, in order, before anything else of it is done.
    Write(Write),
    /// Send a libprocess message.
    Send {
        /// From which actor here.
        from: String,
        /// To whom.
        to: Upid,
        /// Its name.
        name: String,
        /// Its bytes.
        body: Vec<u8>,
    },
    /// Watch an address.
    Link(SocketAddrV4),
    /// Answer a call.
    Reply {
        /// Which.
        request: u64,
        /// HTTP status.
        status: u16,
        /// Text for a refusal.
        reason: String,
    },
    /// Answer an operator's call with 200 and a document.
    Answer {
        /// Which.
        request: u64,
        /// The document.
        response: Box<operator::Response>,
    },
    /// Answer a SUBSCRIBE with 200 and an open stream; its events follow.
    Subscribed {
        /// Which call.
        request: u64,
        /// The stream's id.
        stream: String,
    },
    /// An event for a subscriber.
    Event {
        /// Its stream.
        stream: String,
        /// The event.
        event: Box<Event>,
    },
    /// The same event for subscribers of the operator API.
    OperatorEvent {
        /// Their streams.
        streams: Vec<String>,
        /// The event.
        event: Box<operator::Event>,
    },
    /// End a subscriber's stream after what was sent.
    Close {
        /// Which.
        stream: String,
    },
}

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
