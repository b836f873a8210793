//! System calls of the executor capsule: their numbers and how their arguments decode.
//!
//! A Tock command carries a number and two words. The agent and the tasks use one driver; which calls one may make
//! is decided by who it is, never by the call.

/// Driver number, outside the range of Tock's own drivers (`capsules/core/src/driver.rs`).
pub const DRIVER: usize = 0xA0_001;

/// A call by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentCall {
    /// 0: is the driver there?
    Exists,
    /// 1: capacity of the node.
    Capacity,
    /// 2: reserve the grant in the read-only buffer for a slot.
    Reserve {
        /// The slot.
        slot: u8,
    },
    /// 3: release a slot's grant.
    Release {
        /// The slot.
        slot: u8,
    },
    /// 4: append the read-only buffer to the slot's image.
    Stage {
        /// The slot.
        slot: u8,
        /// Where it belongs, bytes.
        offset: u32,
    },
    /// 5: check digest and signature.
    Verify {
        /// The slot.
        slot: u8,
    },
    /// 6: start.
    Start {
        /// The slot.
        slot: u8,
    },
    /// 7: stop, with a grace period.
    Stop {
        /// The slot.
        slot: u8,
        /// Milliseconds.
        grace_ms: u32,
    },
    /// 8: usage of a slot into the read-write buffer.
    Usage {
        /// The slot.
        slot: u8,
    },
}

/// A call by a task about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskCall {
    /// 0: is the driver there?
    Exists,
    /// 64: own grant into the read-write buffer.
    Grant,
    /// 65: append the read-only buffer to the log.
    Log,
    /// 66: send the read-only buffer to the framework.
    Message,
    /// 67: report a status.
    Status {
        /// The task's own code.
        code: u32,
    },
}

/// Why a call does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No such command.
    Unknown,
    /// The slot is not below the number of slots.
    Slot,
}

impl AgentCall {
    /// Decodes a command and its two arguments.
    pub fn decode(command: usize, arg1: usize, arg2: usize, slots: u8) -> Result<Self, DecodeError> {
        let slot = || u8::try_from(arg1).ok().filter(|slot| *slot < slots).ok_or(DecodeError::Slot);
        let word = arg2 as u32;
        Ok(match command {
            0 => Self::Exists,
            1 => Self::Capacity,
            2 => Self::Reserve { slot: slot()? },
            3 => Self::Release { slot: slot()? },
            4 => Self::Stage { slot: slot()?, offset: word },
            5 => Self::Verify { slot: slot()? },
            6 => Self::Start { slot: slot()? },
            7 => Self::Stop { slot: slot()?, grace_ms: word },
            8 => Self::Usage { slot: slot()? },
            _ => return Err(DecodeError::Unknown),
        })
    }
}

impl TaskCall {
    /// Decodes a command and its first argument.
    pub fn decode(command: usize, arg1: usize) -> Result<Self, DecodeError> {
        Ok(match command {
            0 => Self::Exists,
            64 => Self::Grant,
            65 => Self::Log,
            66 => Self::Message,
            67 => Self::Status { code: arg1 as u32 },
            _ => return Err(DecodeError::Unknown),
        })
    }
}
