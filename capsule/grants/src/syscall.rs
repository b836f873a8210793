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
//! | 70 | host, task | [write](SlotCall::Write) | slot and [`Part::Values`], offset; bytes in `in` | *later* |
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

use crate::{Capabilities, Cause, Grant, Leds};

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

/// A call by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentCall {
    /// What the node has.
    Capacity,
    /// Reserves the grant in the buffer for a slot.
    Reserve {
        /// The slot.
        slot: u8,
    },
    /// Gives an ended, or never started, slot's grant back.
    Release {
        /// The slot.
        slot: u8,
    },
    /// Writes a piece of an image.
    Stage {
        /// The area.
        area: u8,
        /// Where it belongs, bytes.
        offset: u32,
    },
    /// Checks the image in an area against digest and signature, and makes it a slot's.
    Verify {
        /// The slot.
        slot: u8,
        /// The area.
        area: u8,
    },
    /// Starts a verified slot.
    Start {
        /// The slot.
        slot: u8,
        /// It ran before the node restarted, and has its values.
        resumed: bool,
    },
    /// Tells a task to stop.
    Stop {
        /// The slot.
        slot: u8,
        /// Milliseconds that it has left.
        grace_ms: u32,
    },
    /// Ends a task at once.
    Kill {
        /// The slot.
        slot: u8,
    },
    /// What a slot has used.
    Usage {
        /// The slot.
        slot: u8,
    },
    /// The oldest record of a slot.
    Take {
        /// The slot.
        slot: u8,
    },
    /// A piece of a message to a task.
    Deliver {
        /// The slot.
        slot: u8,
        /// Another piece follows.
        more: bool,
    },
    /// Writes a slot's document, or empties its values with 0 bytes.
    Put {
        /// The slot.
        slot: u8,
        /// [`Part::Document`] or [`Part::Values`].
        part: Part,
        /// Where, bytes.
        offset: u32,
    },
    /// Reads a piece of an image.
    Load {
        /// The area.
        area: u8,
        /// From where, bytes.
        offset: u32,
    },
    /// Writes to the agent's own storage.
    RecordsWrite {
        /// Where, bytes.
        offset: u32,
    },
    /// Reads the agent's own storage.
    RecordsRead {
        /// From where, bytes.
        offset: u32,
    },
    /// Whether a signature is a key's.
    Signature,
}

/// A call about a slot, by the host for one of its own, or by the task in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotCall {
    /// What it was granted.
    Grant,
    /// Appends to its log.
    Log,
    /// A piece of a message to the framework.
    Message {
        /// Another piece follows.
        more: bool,
    },
    /// Reports the task's own code.
    Status {
        /// The code.
        code: i32,
    },
    /// The oldest order for it.
    Take,
    /// Reads what it has in storage.
    Read {
        /// Of what.
        part: Part,
        /// From where, bytes.
        offset: u32,
    },
    /// Writes its values.
    Write {
        /// Where, bytes.
        offset: u32,
    },
    /// Switches one of its LEDs.
    Led {
        /// Which, as the task counts.
        index: u32,
        /// To what.
        on: bool,
    },
    /// Reads a sensor.
    Sensor {
        /// Which.
        index: u32,
    },
}

/// A call by the host alone, about one of its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// Whether the task is well.
    Health {
        /// It is.
        well: bool,
    },
    /// Text about the end that follows.
    Note,
    /// The task has ended.
    Ended(End),
    /// What it has used.
    Used,
}

/// How a task ended, as it crosses the system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its entry returned.
    Exited(i32),
    /// It was ended on request.
    Killed,
    /// It trapped or faulted.
    Fault,
    /// It took more memory than granted.
    OverMemory {
        /// Bytes that it would have had.
        asked: u32,
    },
    /// Not an image that can run.
    BadImage,
    /// It needs what was not granted.
    NotGranted,
    /// Its health check failed too often.
    Unhealthy,
    /// It started itself anew, which would be a second run.
    Restarted,
}

impl End {
    /// Class and code.
    pub const fn encode(self) -> (u8, u32) {
        match self {
            Self::Exited(code) => (0, code as u32),
            Self::Killed => (1, 0),
            Self::Fault => (2, 0),
            Self::OverMemory { asked } => (3, asked),
            Self::BadImage => (4, 0),
            Self::NotGranted => (5, 0),
            Self::Unhealthy => (6, 0),
            Self::Restarted => (7, 0),
        }
    }

    /// From class and code.
    pub const fn decode(class: u8, code: u32) -> Option<Self> {
        Some(match class {
            0 => Self::Exited(code as i32),
            1 => Self::Killed,
            2 => Self::Fault,
            3 => Self::OverMemory { asked: code },
            4 => Self::BadImage,
            5 => Self::NotGranted,
            6 => Self::Unhealthy,
            7 => Self::Restarted,
            _ => return None,
        })
    }

    /// What it is to the slot's state.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Exited(code) => Cause::Exited(code),
            Self::Killed | Self::Unhealthy => Cause::Stopped,
            Self::Fault | Self::Restarted => Cause::Fault,
            Self::OverMemory { .. } => Cause::OverMemory,
            Self::BadImage | Self::NotGranted => Cause::BadImage,
        }
    }
}

/// Why a call does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No such command.
    Unknown,
    /// The slot, area, part or another argument is out of range.
    Argument,
}

/// What the numbers of a call have to stay below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Slots.
    pub slots: u8,
    /// Areas of the image store.
    pub areas: u8,
}

/// Number of the first call about a slot.
const SLOT_CALLS: usize = 64;
/// Number of the first call of the host's own.
const HOST_CALLS: usize = 96;

impl AgentCall {
    /// Command and arguments.
    pub const fn encode(self) -> (usize, usize, usize) {
        match self {
            Self::Capacity => (1, 0, 0),
            Self::Reserve { slot } => (2, slot as usize, 0),
            Self::Release { slot } => (3, slot as usize, 0),
            Self::Stage { area, offset } => (4, area as usize, offset as usize),
            Self::Verify { slot, area } => (5, slot as usize, area as usize),
            Self::Start { slot, resumed } => (6, slot as usize, resumed as usize),
            Self::Stop { slot, grace_ms } => (7, slot as usize, grace_ms as usize),
            Self::Kill { slot } => (8, slot as usize, 0),
            Self::Usage { slot } => (9, slot as usize, 0),
            Self::Take { slot } => (10, slot as usize, 0),
            Self::Deliver { slot, more } => (11, slot as usize, more as usize),
            Self::Put { slot, part, offset } => (12, slot as usize | (part as usize) << 8, offset as usize),
            Self::Load { area, offset } => (13, area as usize, offset as usize),
            Self::RecordsWrite { offset } => (14, offset as usize, 0),
            Self::RecordsRead { offset } => (15, offset as usize, 0),
            Self::Signature => (16, 0, 0),
        }
    }

    /// Decodes a command and its two arguments.
    pub fn decode(command: usize, arg1: usize, arg2: usize, bounds: Bounds) -> Result<Self, DecodeError> {
        let below = |number: usize, bound: u8| {
            u8::try_from(number).ok().filter(|number| *number < bound).ok_or(DecodeError::Argument)
        };
        let slot = || below(arg1, bounds.slots);
        let area = || below(arg1, bounds.areas);
        let (offset, flag) = (arg2 as u32, flag(arg2));
        Ok(match command {
            1 => Self::Capacity,
            2 => Self::Reserve { slot: slot()? },
            3 => Self::Release { slot: slot()? },
            4 => Self::Stage { area: area()?, offset },
            5 => Self::Verify { slot: slot()?, area: below(arg2, bounds.areas)? },
            6 => Self::Start { slot: slot()?, resumed: flag? },
            7 => Self::Stop { slot: slot()?, grace_ms: offset },
            8 => Self::Kill { slot: slot()? },
            9 => Self::Usage { slot: slot()? },
            10 => Self::Take { slot: slot()? },
            11 => Self::Deliver { slot: slot()?, more: flag? },
            12 => match Part::of(arg1 >> 8) {
                Some(part @ (Part::Document | Part::Values)) => {
                    Self::Put { slot: below(arg1 & 0xff, bounds.slots)?, part, offset }
                }
                _ => return Err(DecodeError::Argument),
            },
            13 => Self::Load { area: area()?, offset },
            14 => Self::RecordsWrite { offset: arg1 as u32 },
            15 => Self::RecordsRead { offset: arg1 as u32 },
            16 => Self::Signature,
            _ => return Err(DecodeError::Unknown),
        })
    }
}

impl SlotCall {
    /// Command and arguments, for a slot as the host counts; a task gives 0.
    pub const fn encode(self, slot: u8) -> (usize, usize, usize) {
        let slot = slot as usize;
        match self {
            Self::Grant => (64, slot, 0),
            Self::Log => (65, slot, 0),
            Self::Message { more } => (66, slot, more as usize),
            Self::Status { code } => (67, slot, code as u32 as usize),
            Self::Take => (68, slot, 0),
            Self::Read { part, offset } => (69, slot | (part as usize) << 8, offset as usize),
            Self::Write { offset } => (70, slot | (Part::Values as usize) << 8, offset as usize),
            Self::Led { index, on } => (71, slot | (index as usize) << 8, on as usize),
            Self::Sensor { index } => (72, slot | (index as usize) << 8, 0),
        }
    }

    /// Decodes a command and its two arguments into the slot that it names and the call. Whether the caller speaks for that
    /// slot is not decided here.
    pub fn decode(command: usize, arg1: usize, arg2: usize) -> Result<(u8, Self), DecodeError> {
        let figure = arg1 >> 8;
        let part = || Part::of(figure).ok_or(DecodeError::Argument);
        let call = match command {
            64 => Self::Grant,
            65 => Self::Log,
            66 => Self::Message { more: flag(arg2)? },
            67 => Self::Status { code: arg2 as u32 as i32 },
            68 => Self::Take,
            69 => Self::Read { part: part()?, offset: arg2 as u32 },
            70 if figure == Part::Values as usize => Self::Write { offset: arg2 as u32 },
            70 => return Err(DecodeError::Argument),
            71 => Self::Led { index: figure as u32, on: flag(arg2)? },
            72 => Self::Sensor { index: figure as u32 },
            _ => return Err(DecodeError::Unknown),
        };
        Ok((arg1 as u8, call))
    }

    /// True if a command is one of these, whatever its arguments.
    pub const fn is(command: usize) -> bool {
        command >= SLOT_CALLS && command <= 72
    }

    /// The capability that a grant has to name for it; 0 for none.
    pub const fn capability(self) -> u16 {
        match self {
            Self::Log => Capabilities::LOG,
            Self::Message { .. } => Capabilities::MESSAGE,
            Self::Led { .. } => Capabilities::LED,
            Self::Sensor { .. } => Capabilities::SENSOR,
            Self::Write { .. } | Self::Read { part: Part::Values, .. } => Capabilities::KV,
            Self::Grant | Self::Status { .. } | Self::Take | Self::Read { .. } => 0,
        }
    }
}

impl HostCall {
    /// Command and arguments.
    pub const fn encode(self, slot: u8) -> (usize, usize, usize) {
        let slot = slot as usize;
        match self {
            Self::Health { well } => (96, slot, well as usize),
            Self::Note => (97, slot, 0),
            Self::Ended(end) => {
                let (class, code) = end.encode();
                (98, slot | (class as usize) << 8, code as usize)
            }
            Self::Used => (99, slot, 0),
        }
    }

    /// Decodes a command and its two arguments into the slot that it names and the call.
    pub fn decode(command: usize, arg1: usize, arg2: usize) -> Result<(u8, Self), DecodeError> {
        let call = match command {
            96 => Self::Health { well: flag(arg2)? },
            97 => Self::Note,
            98 => {
                let class = u8::try_from(arg1 >> 8).map_err(|_| DecodeError::Argument)?;
                Self::Ended(End::decode(class, arg2 as u32).ok_or(DecodeError::Argument)?)
            }
            99 => Self::Used,
            _ => return Err(DecodeError::Unknown),
        };
        Ok((arg1 as u8, call))
    }

    /// True if a command is one of these, whatever its arguments.
    pub const fn is(command: usize) -> bool {
        command >= HOST_CALLS && command <= 99
    }
}

fn flag(argument: usize) -> Result<bool, DecodeError> {
    match argument {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Argument),
    }
}

/// A number of a record, little-endian. A function of its own for each kind, because records have many.
trait Number: Sized {
    /// Takes it off the front; 0 if that is too short.
    fn take(rest: &mut &[u8]) -> Self;
    /// Puts it to the front; nothing if that is too short.
    fn put(self, rest: &mut &mut [u8]);
}

macro_rules! number {
    ($($kind:ty),*) => {
        $(
            impl Number for $kind {
                #[inline(never)]
                fn take(rest: &mut &[u8]) -> Self {
                    let Some((bytes, after)) = rest.split_first_chunk() else { return 0 };
                    *rest = after;
                    Self::from_le_bytes(*bytes)
                }

                #[inline(never)]
                fn put(self, rest: &mut &mut [u8]) {
                    if let Some((bytes, after)) = core::mem::take(rest).split_first_chunk_mut() {
                        *bytes = self.to_le_bytes();
                        *rest = after;
                    }
                }
            }
        )*
    };
}

number!(u8, u16, u32, u64, u128);

/// A record of fixed size in a buffer, all of its numbers little-endian.
macro_rules! record {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $field:ident : $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$what])* pub $field: $kind,)*
        }

        impl $name {
            /// Bytes of it.
            pub const LEN: usize = 0 $(+ size_of::<$kind>())*;

            /// As bytes.
            pub fn to_bytes(self) -> [u8; Self::LEN] {
                let mut bytes = [0; Self::LEN];
                let mut rest = &mut bytes[..];
                $(self.$field.put(&mut rest);)*
                bytes
            }

            /// From the first bytes of a buffer; `None` if it is too short.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                if bytes.len() < Self::LEN {
                    return None;
                }
                let mut rest = bytes;
                Some(Self { $($field: Number::take(&mut rest),)* })
            }
        }
    };
}

record!(
    /// A [`Grant`] as the agent gives it.
    GrantRecord {
        /// [`Grant::cpu_permille`].
        cpu_permille: u16,
        /// [`Grant::capabilities`].
        capabilities: u16,
        /// [`Grant::mem_bytes`].
        mem_bytes: u32,
        /// [`Grant::flash_bytes`].
        flash_bytes: u32,
        /// [`Grant::leds`].
        leds: u8,
        /// [`Grant::strict`].
        strict: u8,
    }
);

impl GrantRecord {
    /// Of a grant.
    pub fn of(grant: &Grant) -> Self {
        Self {
            cpu_permille: grant.cpu_permille,
            capabilities: grant.capabilities.0,
            mem_bytes: grant.mem_bytes,
            flash_bytes: grant.flash_bytes,
            leds: grant.leds,
            strict: grant.strict.into(),
        }
    }

    /// The grant.
    pub fn grant(&self) -> Grant {
        Grant {
            cpu_permille: self.cpu_permille,
            mem_bytes: self.mem_bytes,
            flash_bytes: self.flash_bytes,
            leds: self.leds,
            capabilities: Capabilities(self.capabilities),
            strict: self.strict != 0,
        }
    }
}

record!(
    /// What a slot is told of itself: its grant, and what the agent put there for it.
    TaskRecord {
        /// [`Grant::cpu_permille`].
        cpu_permille: u16,
        /// [`Grant::capabilities`].
        capabilities: u16,
        /// [`Grant::mem_bytes`].
        mem_bytes: u32,
        /// Bytes of the image.
        image_len: u32,
        /// Bytes of the document.
        document_len: u32,
        /// [`Leds`] of its own.
        leds: u32,
        /// Milliseconds that it has left if it was told to stop; otherwise `u32::MAX`.
        stop_ms: u32,
        /// 1 if it ran before the node restarted.
        resumed: u8,
    }
);

impl TaskRecord {
    /// Which LEDs are its own.
    pub fn own_leds(&self) -> Leds {
        Leds(self.leds)
    }
}

record!(
    /// What the node has.
    NodeRecord {
        /// The radio's EUI-64, as a number in network order.
        eui64: u64,
        /// Memory for all tasks, bytes.
        mem_bytes: u32,
        /// Bytes of one area of the image store.
        area_bytes: u32,
        /// Bytes of the agent's own storage.
        records_bytes: u32,
        /// Bytes of memory of the largest native slot.
        native_mem_bytes: u32,
        /// Bytes of image that the largest native slot takes.
        native_image_bytes: u32,
        /// Share of the core for all tasks, thousandths.
        cpu_permille: u16,
        /// Which slots are hosted, a bit for each; all others are native.
        hosted: u16,
        /// Slots.
        slots: u8,
        /// Areas of the image store.
        areas: u8,
        /// LEDs.
        leds: u8,
        /// Sensors.
        sensors: u8,
    }
);

record!(
    /// What an image has to be; its signed manifest follows, if there is one.
    VerifyRecord {
        /// Bytes of the image.
        len: u32,
        /// First half of its SHA-256.
        digest_high: u128,
        /// Second half of its SHA-256.
        digest_low: u128,
    }
);

impl VerifyRecord {
    /// Of an image.
    pub fn of(len: u32, digest: &[u8; 32]) -> Self {
        let (mut high, mut low) = ([0; 16], [0; 16]);
        high.copy_from_slice(&digest[..16]);
        low.copy_from_slice(&digest[16..]);
        Self { len, digest_high: u128::from_le_bytes(high), digest_low: u128::from_le_bytes(low) }
    }

    /// The image's SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&self.digest_high.to_le_bytes());
        digest[16..].copy_from_slice(&self.digest_low.to_le_bytes());
        digest
    }
}

record!(
    /// What a slot has used since it started.
    UsageRecord {
        /// CPU time, microseconds.
        cpu_us: u64,
        /// CPU time granted, microseconds.
        granted_us: u64,
        /// Memory now, bytes.
        mem_bytes: u32,
        /// The most memory it had, bytes.
        mem_peak_bytes: u32,
        /// Messages to its framework.
        messages: u32,
        /// Bytes of its log.
        log_bytes: u32,
        /// Calls that were refused because its grant does not name them.
        refused: u32,
    }
);

record!(
    /// How a task ended.
    EndRecord {
        /// [`End::encode`].
        class: u8,
        /// [`End::encode`].
        code: u32,
    }
);

impl EndRecord {
    /// Of an end.
    pub const fn of(end: End) -> Self {
        let (class, code) = end.encode();
        Self { class, code }
    }

    /// The end; `None` for a class of a later version.
    pub const fn end(&self) -> Option<End> {
        End::decode(self.class, self.code)
    }
}
