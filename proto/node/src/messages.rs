//! The messages themselves. Field order is the wire order: a change needs a new [`crate::limits::VERSION`].

use crate::codec::CodecError;
use crate::limits::*;
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// The node's short name of a task: given by the gateway, never used twice while the node is registered.
pub type TaskHandle = u16;
/// The gateway's short name of an image in its cache.
pub type ImageHandle = u16;
/// Numbers the commands to one node from 1. The node acts on each at most once, in order.
pub type CommandSeq = u32;

/// Bit set of what a task may call, and of what a node has to offer.
///
/// The values are those of `grants::Capabilities`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(pub u16);

impl Capabilities {
    /// Write to the task's log.
    pub const LOG: u16 = 1 << 0;
    /// Send messages to the framework.
    pub const MESSAGE: u16 = 1 << 1;
    /// Sleep.
    pub const SLEEP: u16 = 1 << 2;
    /// Read the clock.
    pub const TIME: u16 = 1 << 3;
    /// Read sensors.
    pub const SENSOR: u16 = 1 << 4;
    /// Drive LEDs.
    pub const LED: u16 = 1 << 5;
    /// Keep a few hundred bytes by key.
    pub const KV: u16 = 1 << 6;

    /// True if all of `bits` are in the set.
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }
}

/// What feeds the node; decides how often it polls and whether it listens in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// Always listening: commands may be pushed to it.
    Mains,
    /// Listens only right after it has sent something. Holds the charge in percent.
    Battery(u8),
}

/// What can run on the node, as a bit set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtimes(pub u8);

impl Runtimes {
    /// WebAssembly modules with host interface version 1.
    pub const WASM: u8 = 1 << 0;
    /// Native Tock processes in slots.
    pub const NATIVE: u8 = 1 << 1;
}

/// The processor's instruction set, for the agent's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// A Linux process on any machine.
    Host,
    /// ARMv7E-M.
    Thumbv7em,
    /// RV32IMAC.
    Riscv32imac,
}

/// `POST /r`. Sent at start, and whenever the gateway answers 4.01.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// [`VERSION`] of the sender.
    pub version: u8,
    /// The radio's EUI-64; the node's identity for ever.
    pub eui64: [u8; 8],
    /// Goes up by one at each start of the node.
    pub boot: u32,
    /// A random number drawn when the node's storage was made: another one tells that what it remembered is gone.
    pub epoch: u16,
    /// Newest command that the node has acted on, over all its starts.
    pub seen: CommandSeq,
    /// What it has to offer.
    pub inventory: Inventory,
}

/// What a node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Share of the core for tasks, in thousandths.
    pub cpu_permille: u16,
    /// Memory for tasks, bytes.
    pub mem_bytes: u32,
    /// Image storage, bytes.
    pub flash_bytes: u32,
    /// Sensors, numbered from 0.
    pub sensors: u8,
    /// LEDs, numbered from 0.
    pub leds: u8,
    /// Supply.
    pub power: Power,
    /// Instruction set.
    pub arch: Arch,
    /// What can run.
    pub runtimes: Runtimes,
    /// Largest 2^(szx+4) block it wants, 16 to 1024 bytes (RFC 7959 §2.2).
    pub block_szx: u8,
    /// The board's name.
    pub board: String<BOARD_NAME_MAX>,
}

/// Answer to [`Register`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Seconds without a sign of the node after which it counts as dead.
    pub lease_s: u16,
    /// Longest pause between polls, seconds. A node may want to be heard more often: see [`Poll::next_s`].
    pub poll_s: u16,
    /// Newest command the gateway knows to be done. A node that has seen more than this and than any command of
    /// the gateway's (whose store was lost) starts again from here.
    pub done: CommandSeq,
    /// The first registration of this node with this store: tasks that the node remembers are unknown here and
    /// are to be stopped and forgotten.
    pub fresh: bool,
    /// The gateway's own OSCORE numbers from here on are new: a node that has forgotten what it took takes requests
    /// from here. 0 where nothing is protected.
    pub number: u64,
}

/// `POST /p`. Renews the lease; the answer is 2.05 with a [`crate::Command`], or 2.04.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Newest command acted on: the gateway forgets it and those before.
    pub seen: CommandSeq,
    /// Current supply.
    pub power: Power,
    /// Longest pause before the next poll, seconds: what the lease is reckoned from.
    pub next_s: u16,
    /// Figures, in turns.
    pub news: News,
}

/// What a poll tells besides that the node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// Nothing.
    Nothing,
    /// What one of its tasks used.
    Usage(Usage),
    /// What the node itself used.
    Vitals(Vitals),
}

/// What a node used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// Since its start, seconds.
    pub uptime_s: u32,
    /// Frames sent.
    pub frames_out: u32,
    /// Their bytes.
    pub bytes_out: u32,
    /// Frames received.
    pub frames_in: u32,
    /// Their bytes.
    pub bytes_in: u32,
    /// Time that the radio listened, milliseconds.
    pub listened_ms: u64,
    /// Time that the processor worked, milliseconds.
    pub cpu_ms: u64,
}

/// What a task used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Which task.
    pub task: TaskHandle,
    /// CPU time, milliseconds.
    pub cpu_ms: u32,
    /// CPU time that the grant would have allowed in the same span, milliseconds.
    pub granted_ms: u32,
    /// Memory now, bytes.
    pub mem_bytes: u32,
    /// The most memory it had at once, bytes.
    pub mem_peak_bytes: u32,
    /// Bytes of image and document received so far; the total once it runs.
    pub received: u32,
    /// Messages to its framework.
    pub messages: u32,
    /// Bytes of its log.
    pub log_bytes: u32,
    /// Bytes that went over the radio for it, both ways: image, document, messages, log.
    pub radio_bytes: u32,
}

/// `POST /s`. Kept by the node until the gateway answers 2.04, which means that it is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which task.
    pub task: TaskHandle,
    /// Numbers this task's statuses from 1; the gateway takes each once.
    pub seq: u16,
    /// Its new state.
    pub state: State,
    /// For people, cut to [`STATUS_NOTE_MAX`] bytes.
    pub note: String<STATUS_NOTE_MAX>,
}

/// States of a task that a node reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The order was taken; image and document are being fetched.
    Starting,
    /// It runs.
    Running,
    /// The entry returned; 0 is success.
    Exited(i32),
    /// It was stopped by a kill order.
    Killed,
    /// It ended without wanting to.
    Failed(Failure),
    /// It runs, and its health check changed its mind: true if it is well.
    Health(bool),
    /// It runs, and its check returned another value than before.
    Checked(i32),
}

impl State {
    /// True for the last state of a task.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Exited(_) | Self::Killed | Self::Failed(_))
    }
}

/// Why a task failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// It trapped or faulted.
    Trap,
    /// It took more memory than granted.
    Memory,
    /// The image is not what the digest says.
    Digest,
    /// The image is not valid, or has no such entry.
    Image,
    /// It calls something its grant does not name.
    Capability,
    /// The node has less free than the grant asks for.
    Resources,
    /// The node restarted while it ran.
    Restarted,
    /// The image or document could not be fetched.
    Fetch,
    /// The node cannot run this kind of image.
    Unsupported,
    /// The node's storage failed or is full.
    Storage,
    /// Its health check failed too often.
    Unhealthy,
    /// It ran for longer than it may.
    Timeout,
    /// The image is not signed by a publisher that the node trusts, or for another image or node.
    Signature,
    /// The node has run a newer release of the image.
    Rollback,
}

/// `POST /m`: bytes from a task to its framework. Confirmed, so that the next waits for this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Which task.
    pub task: TaskHandle,
    /// Numbers this task's messages from 1; the gateway passes each on once.
    pub seq: u32,
    /// The bytes.
    pub data: Vec<u8, MESSAGE_DATA_MAX>,
}

/// A [`Message`] that is too long for a frame: what the blocks of `POST /m/N` make, N being the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongMessage<'a> {
    /// Which task.
    pub task: TaskHandle,
    /// Its number among this task's messages, long or not.
    pub seq: u32,
    /// The bytes, at most [`MESSAGE_LONG_MAX`].
    pub data: &'a [u8],
}

impl<'a> LongMessage<'a> {
    /// Encodes it; what is too long is refused.
    pub fn encode(&self) -> Result<Vec<u8, MESSAGE_BODY_MAX>, CodecError> {
        if self.data.len() > MESSAGE_LONG_MAX {
            return Err(CodecError::TooLong);
        }
        let mut buffer = [0; MESSAGE_BODY_MAX];
        let used = postcard::to_slice(self, &mut buffer).map_err(|_| CodecError::TooLong)?;
        Vec::from_slice(used).map_err(|_| CodecError::TooLong)
    }

    /// Decodes one that fills `body` exactly.
    pub fn decode(body: &'a [u8]) -> Result<Self, CodecError> {
        match postcard::take_from_bytes::<Self>(body) {
            Ok((message, _)) if message.data.len() > MESSAGE_LONG_MAX => Err(CodecError::TooLong),
            Ok((message, [])) => Ok(message),
            Ok(_) => Err(CodecError::Trailing),
            Err(_) => Err(CodecError::Malformed),
        }
    }

    /// What tells a message's blocks from those of the task's messages before it (Request-Tag, RFC 9175 §3).
    pub fn tag(seq: u32) -> [u8; 1] {
        [seq as u8]
    }
}

/// `POST /l`: bytes of a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Which task.
    pub task: TaskHandle,
    /// Where these bytes start in the task's whole log; a jump tells of lost bytes, an overlap of a repetition.
    pub offset: u32,
    /// The bytes.
    pub data: Vec<u8, LOG_DATA_MAX>,
}
