//! Settings of a master, and why one does not start.

use crate::allocator::Rules;
use crate::logging::LogLevel;
use crate::store::{StoreError, Unreadable};
use mesos_proto::cram::Credential;
use mesos_proto::resources::Scalars;
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a master.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The address peers are told, if they reach this one by another.
    pub advertise: Option<SocketAddrV4>,
    /// The name peers are told; the address if none.
    pub hostname: Option<String>,
    /// Name of the cluster, for `/state`.
    pub cluster: Option<String>,
    /// Between pings to an agent.
    pub ping_interval: Duration,
    /// Pings without an answer after which an agent is unreachable.
    pub max_missed_pings: u32,
    /// How long agents that are disconnected, or that have not been heard of since a restart, have to come back.
    pub agent_reregister_timeout: Duration,
    /// Which part of the agents may be given up together because they did not come back after a restart, from 0 to 1.
    pub recovery_agent_removal_limit: f64,
    /// At least between two agents that are given up; zero is no limit.
    pub agent_removal_interval: Duration,
    /// Between HEARTBEAT events to subscribers.
    pub heartbeat_interval: Duration,
    /// Between allocations that nothing in particular calls for.
    pub allocation_interval: Duration,
    /// `drf` or `priority`.
    pub policy: String,
    /// Weight by role; 1 if absent.
    pub weights: BTreeMap<String, f64>,
    /// Priority by role; 0 if absent.
    pub priorities: BTreeMap<String, i64>,
    /// What must be free on an agent to be offered: all of any of these; anything if empty.
    pub min_allocatable: Vec<Scalars>,
    /// Who may prove to be somebody; nobody can if it is empty.
    pub credentials: Vec<Credential>,
    /// Agents that have proved nothing are not taken in.
    pub authenticate_agents: bool,
    /// The log of this process, for operators to change how much it says; fixed if none.
    pub logging: Option<LogLevel>,
    /// Directory of what survives a restart; without it the master starts empty each time.
    pub state: Option<PathBuf>,
    /// File of the token that opens the page's documents and the jobs; made if it is not there. Without one a token is
    /// asked for only if others than this machine reach the port, and is in `token` in [`Config::state`].
    pub token_file: Option<PathBuf>,
}

impl Default for Config {
    /// Mesos' defaults, on its port of the loopback address; keeps nothing.
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5050)),
            advertise: None,
            hostname: None,
            cluster: None,
            ping_interval: Duration::from_secs(15),
            max_missed_pings: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            recovery_agent_removal_limit: 1.0,
            agent_removal_interval: Duration::ZERO,
            heartbeat_interval: Duration::from_secs(15),
            allocation_interval: Duration::from_secs(1),
            policy: "drf".into(),
            weights: rules.weights,
            priorities: rules.priorities,
            min_allocatable: rules.min_allocatable,
            credentials: Vec::new(),
            authenticate_agents: false,
            logging: None,
            state: None,
            token_file: None,
        }
    }
}

/// Why a master does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is in use, or the address is not this machine's.
    #[error("master: {0}; is another master running there? choose another listen address")]
    Bind(#[from] libprocess::BindError),
    /// What it keeps cannot be read, or not be written any more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator's token.
    #[error(transparent)]
    Token(#[from] page::TokenError),
    /// A record is none of this master's.
    #[error(transparent)]
    Record(#[from] Unreadable),
    /// No such policy.
    #[error("unknown allocation policy '{0}': choose 'drf' or 'priority'")]
    Policy(String),
    /// A weight that is no positive number.
    #[error("weight {weight} of role '{role}': must be a positive number")]
    Weight {
        /// Whose.
        role: String,
        /// What it is.
        weight: f64,
    },
}
