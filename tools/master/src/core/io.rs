//! What goes into the core and what comes out of it, and its settings.

use crate::store::Write;
use libprocess::Upid;
use mesos_proto::cram::Credential;
use mesos_proto::v1::master as operator;
use mesos_proto::v1::scheduler::{Call, Event};
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
