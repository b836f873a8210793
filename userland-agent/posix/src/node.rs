//! The node's one loop.

use crate::board::Board;
use crate::link::{Link, LinkConfig, Traffic};
use crate::os::PosixOs;
use crate::storage::Storage;
use agent_core::{Agent, Config, Os, StorageError};
use lowpan::Eui64;
use node_oscore::Credential;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for a frame, so that stopping is noticed and the medium greeted.
const PATIENCE_MS: u64 = 100;
/// How often the medium is greeted, milliseconds.
const GREETING_MS: u64 = 2_000;

/// Settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its identity.
    pub eui64: Eui64,
    /// What it is.
    pub board: Board,
    /// The way to the gateway.
    pub link: LinkConfig,
    /// Directory that its records and images survive in.
    pub state: PathBuf,
    /// CoAP ACK_TIMEOUT, milliseconds.
    pub ack_timeout_ms: u32,
    /// Size exponent of image blocks: 2^(szx+4) bytes.
    pub block_szx: u8,
    /// Ed25519 keys of the only publishers whose images it starts; any if there are none. See
    /// [`agent_core::PUBLISHERS_MAX`].
    pub publishers: Vec<[u8; 32]>,
    /// What it was provisioned with; see [`agent_core::Config::credential`].
    pub credential: Option<Credential>,
    /// Where those who read what it tells of itself find it, on UDP; any port if it does not matter.
    pub listen: Option<SocketAddr>,
}

/// The node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its directory.
    #[error("state directory {0}: {1}")]
    State(PathBuf, io::Error),
    /// Its records.
    #[error("records in {0} cannot be read or written: {1:?}")]
    Records(PathBuf, StorageError),
    /// Its socket.
    #[error("link {0:?}: {1}")]
    Link(LinkConfig, io::Error),
}

/// What a node can tell of itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Registered with the gateway.
    pub registered: bool,
    /// Tasks in slots.
    pub tasks: usize,
    /// What passed its link.
    pub traffic: Traffic,
    /// How often an LED changed.
    pub led_changes: u64,
}

/// Bytes of the agent's own state, storage, executor and tasks not counted: what a port has to find room for.
pub const AGENT_STATE_BYTES: usize = size_of::<Agent<PosixOs>>() - size_of::<PosixOs>();

/// A node.
pub struct Node {
    agent: Agent<PosixOs>,
    greeted_ms: u64,
}

impl Node {
    /// Starts a node on what its directory remembers.
    pub fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let state = |error| NodeError::State(config.state.clone(), error);
        let storage = Storage::open(&config.state).map_err(state)?;
        let link = Link::open(&config.link, config.eui64, config.listen)
            .map_err(|error| NodeError::Link(config.link.clone(), error))?;
        let os = PosixOs::new(config.board, config.eui64, config.block_szx, storage, link);
        let agent = Config {
            ack_timeout_ms: config.ack_timeout_ms,
            publishers: config.publishers.iter().copied().take(agent_core::PUBLISHERS_MAX).collect(),
            credential: config.credential,
            ..Config::default()
        };
        let agent = Agent::new(os, agent, rand::random())
            .map_err(|error| NodeError::Records(config.state.clone(), error))?;
        Ok(Self { agent, greeted_ms: 0 })
    }

    /// One turn: lets the tasks run, does what is due, waits for a frame or for what is due next.
    pub fn turn(&mut self) {
        let begun = Instant::now();
        let task_wake = self.agent.os_mut().run_tasks();
        let agent_wake = self.agent.step();
        let now_ms = self.agent.os().now_ms();
        if now_ms >= self.greeted_ms + GREETING_MS {
            self.greeted_ms = now_ms;
            self.agent.os().link.greet();
        }
        // What a task said while the agent was busy with something else does not wait.
        let wake = task_wake.unwrap_or(u64::MAX).min(agent_wake).min(now_ms + PATIENCE_MS);
        let wait = Duration::from_millis(wake.saturating_sub(now_ms));
        self.agent.os_mut().busy += begun.elapsed();
        if let Some((from, datagram)) = self.agent.os_mut().link.receive(wait, now_ms) {
            self.agent.datagram(from, &datagram);
        }
    }

    /// Turns until told to stop.
    pub fn run(&mut self, stop: impl Fn() -> bool) {
        while !stop() {
            self.turn();
        }
    }

    /// What the node can tell of itself.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            registered: matches!(self.agent.link(), agent_core::Link::Up { .. }),
            tasks: self.agent.tasks(),
            traffic: self.agent.os().link.traffic(),
            led_changes: self.agent.os().devices.led_changes,
        }
    }
}
