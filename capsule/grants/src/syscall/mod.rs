//! System calls of the executor capsule: their numbers, how their arguments decode, and what is in their buffers.
//!
//! One Tock driver serves three kinds of process; which calls one may make is decided by who it is, never by the call:
//!
//! - the **agent** holds every slot: it reserves, stages, verifies, starts, stops, and takes what slots say;
//! - the **host** runs the tasks of hosted slots (wasm): it takes orders for them and speaks for them;
//! - a **task** in a native slot speaks for itself.
//!
//! # Commands
//!
//! `in` is read-only buffer 0, `out` is read-write buffer 0. A call marked *later* is done when upcall 0 says so; a process
//! has one such call at a time (`BUSY`). `slot` is argument 1. Where another figure shares argument 1, it stands above the
//! lowest 8 bits (`slot | figure << 8`). Sizes and times are little-endian.
//!
//! | number | who | call | argument 1, 2 | answer |
//! |---|---|---|---|---|
//! | 0 | all | exists | | success |
//! | 1 | agent | [capacity](AgentCall::Capacity) | | bytes of [`NodeRecord`] in `out` |
//! | 2 | agent | [reserve](AgentCall::Reserve) | slot; [`GrantRecord`] in `in` | success, or `NOMEM` and how much is missing |
//! | 3 | agent | [release](AgentCall::Release) | slot | success |
//! | 4 | agent | [stage](AgentCall::Stage) | area, offset; bytes in `in` | *later*; `OFF`: a slot that has not ended has the area |
//! | 5 | agent | [verify](AgentCall::Verify) | slot, area; [`VerifyRecord`] and manifest in `in` | *later*; `FAIL`: digest, `NOACK`: signature, `SIZE`: not for this slot, `INVAL`: not an image |
//! | 6 | agent | [start](AgentCall::Start) | slot, 1 if it resumes | success |
//! | 7 | agent | [stop](AgentCall::Stop) | slot, grace in ms | success, and 1 if the task can notice |
//! | 8 | agent | [kill](AgentCall::Kill) | slot | success |
//! | 9 | agent | [usage](AgentCall::Usage) | slot | bytes of [`UsageRecord`] in `out` |
//! | 10 | agent | [take](AgentCall::Take) | slot | [kind](up) and length of the record in `out`; 0 if there is none |
//! | 11 | agent | [deliver](AgentCall::Deliver) | slot, 1 if more follows; piece in `in` | success, or `BUSY` if there is no room |
//! | 12 | agent | [put](AgentCall::Put) | slot and [`Part`], offset; bytes in `in` | *later* |
//! | 13 | agent | [load](AgentCall::Load) | area, offset | *later*, with bytes in `out` |
//! | 14 | agent | [write records](AgentCall::RecordsWrite) | offset; bytes in `in` | *later* |
//! | 15 | agent | [read records](AgentCall::RecordsRead) | offset | *later*, with bytes in `out` |
//! | 16 | agent | [check a signature](AgentCall::Signature) | key 32, signature 64, message in `in` | *later* |
//! | 64 | host, task | [grant](SlotCall::Grant) | slot | bytes of [`TaskRecord`] in `out` |
//! | 65 | host, task | [log](SlotCall::Log) | slot; at most [`PIECE_MAX`] in `in` | success, or `BUSY` |
//! | 66 | host, task | [message](SlotCall::Message) | slot, 1 if more follows; piece in `in` | success, or `BUSY` |
//! | 67 | host, task | [status](SlotCall::Status) | slot, code | success, or `BUSY`: no room, or too soon after a task's last |
//! | 68 | host, task | [take](SlotCall::Take) | slot | [kind](down) and length of the order in `out`; 0 if there is none |
//! | 69 | host, task | [read](SlotCall::Read) | slot and [`Part`], offset | *later*, with bytes in `out` |
//! | 70 | host, task | [write](SlotCall::Write) | slot and [`Part::Values`], offset; bytes in `in` | *later*, or `NOMEM`: too often, 16 at once and one a second |
//! | 71 | host, task | [LED](SlotCall::Led) | slot and index, 0 or 1 | success, or `NODEVICE` |
//! | 72 | host, task | [sensor](SlotCall::Sensor) | slot and index | its value, or `NODEVICE` |
//! | 96 | host | [health](HostCall::Health) | slot, 0 or 1 | success, or `BUSY` |
//! | 97 | host | [note](HostCall::Note) | slot; text in `in` | success, or `BUSY` |
//! | 98 | host | [ended](HostCall::Ended) | slot and [class](End), code | success |
//! | 99 | host | [used](HostCall::Used) | slot; [`UsageRecord`] in `in` | success |
//!
//! A slot's image is an **area** of the image store: areas are of one size and belong to the agent, slots only refer to
//! them. Verifying a native slot copies the image from its area into the slot.
//!
//! # Upcalls
//!
//! | number | to | when | arguments |
//! |---|---|---|---|
//! | 0 | all | a call marked *later* is done | error code or 0, bytes moved, command |
//! | 1 | agent | slots have something to [take](AgentCall::Take) | a bit for each slot |
//! | 1 | host | hosted slots have an order to [take](SlotCall::Take) | a bit for each slot |
//! | 1 | task | it has an order to [take](SlotCall::Take) | 1 |
//!
//! # Errors
//!
//! `NOSUPPORT`: no such command, or not for this process (which is counted). `INVAL`: no such slot, area or part, or a
//! buffer that does not decode. `RESERVE`: a buffer was not allowed, or is too short. `ALREADY`, `OFF`: the slot's state does
//! not allow it. `NODEVICE`: not a device of this slot. `NOACK` to a task: its grant lacks the capability.

mod calls;
mod end;
mod records;

pub use calls::{AgentCall, Bounds, DecodeError, HostCall, SlotCall};
pub use end::End;
pub use records::{EndRecord, GrantRecord, NodeRecord, TaskRecord, UsageRecord, VerifyRecord};

/// Driver number, outside the range of Tock's own drivers (`capsules/core/src/driver.rs`).
pub const DRIVER: usize = 0xA0_001;

/// Number of the buffers, each of its own kind.
pub const BUFFER: usize = 0;
/// Upcall: a call is done.
pub const UPCALL_DONE: usize = 0;
/// Upcall: there is something to take.
pub const UPCALL_NEWS: usize = 1;

/// Bytes of a piece of log or message: what one record carries.
pub const PIECE_MAX: usize = 48;

/// Kinds of records that slots send up, to the agent.
pub mod up {
    /// Bytes of log.
    pub const LOG: u32 = 1;
    /// A piece of a message, and more follows.
    pub const MESSAGE_PART: u32 = 2;
    /// The last piece of a message.
    pub const MESSAGE: u32 = 3;
    /// The task's own code, 4 bytes.
    pub const STATUS: u32 = 4;
    /// Whether it is well, 1 byte.
    pub const HEALTH: u32 = 5;
    /// Text about the end that follows.
    pub const NOTE: u32 = 6;
    /// The end, nothing follows: an [`EndRecord`](super::EndRecord).
    pub const ENDED: u32 = 7;
}

/// Kinds of records that slots are sent, by the agent.
pub mod down {
    /// A piece of a message, and more follows.
    pub const MESSAGE_PART: u32 = 2;
    /// The last piece of a message.
    pub const MESSAGE: u32 = 3;
    /// Run it; for the host only. 1 byte: whether it resumes.
    pub const START: u32 = 8;
    /// It is to stop within so many milliseconds, 4 bytes.
    pub const STOP: u32 = 9;
    /// It is to end at once; for the host only, a native task does not live to see it.
    pub const KILL: u32 = 10;
}

/// What a slot has in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// The image, which the slot only reads.
    Image = 0,
    /// The task's document (`node_proto::Document`), which the slot only reads.
    Document = 1,
    /// What the task keeps by key.
    Values = 2,
}

impl Part {
    /// From its number.
    pub const fn of(number: usize) -> Option<Self> {
        match number {
            0 => Some(Self::Image),
            1 => Some(Self::Document),
            2 => Some(Self::Values),
            _ => None,
        }
    }
}
