//! How a task ends.

use crate::Cause;

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
