//! The calls: what they are, and how they travel as a command and two words.

use super::{End, Part};
use crate::Capabilities;

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
