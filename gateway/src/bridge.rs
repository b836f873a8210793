//! What the two cores of the gateway say to each other: the session core (towards a node) and the virtual agent
//! core (towards the master).

use node_proto::{ImageHandle, Kind, News, Power, Register, State, TaskHandle};

/// A node's identity: the EUI-64 of its radio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct NodeId(pub [u8; 8]);

impl NodeId {
    /// Reads 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(|number| Self(number.to_be_bytes()))
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// From the session core to the virtual agent core.
#[derive(Clone, Debug, PartialEq)]
pub enum FromNode {
    /// The node registered, for the first time or again. Its inventory may have changed.
    Online(Register),
    /// The lease was renewed by a poll.
    Alive {
        /// Current supply.
        power: Power,
        /// Figures that came with the poll.
        news: News,
    },
    /// The node has lost its storage: what ran there before is gone.
    Forgot,
    /// Nothing was heard for the whole lease: no pong may be sent for this node until it is `Online` or `Alive`.
    Lapsed,
    /// A task's new state, each `seq` of a task once and in order. The node is answered when the writes of the
    /// step that handles this are committed.
    Status {
        /// Which task.
        task: TaskHandle,
        /// Number of this status within the task, from 1.
        seq: u16,
        /// The new state.
        state: State,
        /// The node's note for people.
        note: String,
    },
    /// Bytes for the task's framework, each once.
    Message {
        /// Which task.
        task: TaskHandle,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Bytes of the task's log, in order; lost bytes are marked in the text.
    Log {
        /// Which task.
        task: TaskHandle,
        /// The bytes.
        data: Vec<u8>,
    },
}

/// From the virtual agent core to the session core.
#[derive(Clone, Debug, PartialEq)]
pub enum ToNode {
    /// Run a task whose image is in the cache.
    Launch {
        /// The task's name on the node.
        task: TaskHandle,
        /// The image's short name.
        image: ImageHandle,
        /// Its length, bytes.
        image_len: u32,
        /// Its SHA-256.
        digest: [u8; 32],
        /// Wasm or native.
        kind: Kind,
        /// The encoded [`node_proto::Document`]; empty for none.
        document: Vec<u8>,
        /// Share of the core, thousandths.
        cpu_permille: u16,
        /// Memory, bytes.
        mem_bytes: u32,
        /// LEDs that it is to have for itself.
        leds: u8,
        /// What it may call, a [`node_proto::Capabilities`] set.
        capabilities: u16,
        /// How long it may run, seconds; 0 for as long as it likes.
        max_run_s: u32,
        /// It may be started again by a node that restarts while it runs.
        resume: bool,
    },
    /// Stop a task.
    Kill {
        /// Which task.
        task: TaskHandle,
        /// How long it may still run, milliseconds.
        grace_ms: u32,
    },
    /// Hand bytes to a task.
    Message {
        /// Which task.
        task: TaskHandle,
        /// The bytes, at most [`node_proto::limits::MESSAGE_LONG_MAX`].
        data: Vec<u8>,
    },
    /// The task's terminal update is acknowledged: its document and counters can go.
    Forget {
        /// Which task.
        task: TaskHandle,
    },
}
