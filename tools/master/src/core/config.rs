//! Settings of the core.

use mesos_proto::cram::Credential;
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
