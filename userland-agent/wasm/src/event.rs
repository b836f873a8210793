//! What is said of a module: what happens to it, why it was not started, what it used.
//!
//! Texts are for people. A node's status has room for 32 bytes of them, so each begins with what matters.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

#[cfg(doc)]
use crate::abi;

/// What happened to a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes of log, at most [`abi::LOG_PIECE`].
    Log(Vec<u8>),
    /// A message, at most [`abi::MESSAGE_MAX`] bytes.
    Message(Vec<u8>),
    /// The entry returned.
    Exited(i32),
    /// Ended on request.
    Killed,
    /// Its health check changed its mind.
    Health(bool),
    /// Its check returned another value.
    Checked(i32),
    /// Its health check failed too often: it was ended.
    Unhealthy,
    /// It trapped.
    Trapped(Trap),
    /// It asked for more memory than granted.
    OverMemory {
        /// Bytes it would have had.
        asked: usize,
        /// Bytes granted.
        granted: u32,
    },
}

impl Event {
    /// True for an end: nothing follows.
    pub fn is_last(&self) -> bool {
        match self {
            Self::Log(_) | Self::Message(_) | Self::Health(_) | Self::Checked(_) => false,
            Self::Exited(_) | Self::Killed | Self::Unhealthy | Self::Trapped(_) | Self::OverMemory { .. } => {
                true
            }
        }
    }
}

/// How a module trapped. The same module with the same input traps in the same way on every node, unless it looks at
/// the bits of a NaN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    /// It came to an `unreachable`, as a panic in Rust does.
    Unreachable,
    /// It used memory that it does not have.
    MemoryBounds,
    /// It used an element of a table that is not there.
    TableBounds,
    /// It called through an element that is null.
    NullCall,
    /// It called through an element of another type.
    CallType,
    /// It divided an integer by zero.
    DivideByZero,
    /// A division's result does not fit.
    Overflow,
    /// A float that is no integer, or too large for one.
    Conversion,
    /// Too many nested calls ([`crate::limits::CALLS_MAX`]), or too many values in them
    /// ([`crate::limits::STACK_VALUES_MAX`]).
    StackOverflow,
    /// Something else; the text says what.
    Other(String),
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable code reached",
            Self::MemoryBounds => "memory access out of bounds",
            Self::TableBounds => "table access out of bounds",
            Self::NullCall => "indirect call to null",
            Self::CallType => "indirect call of another type",
            Self::DivideByZero => "integer divide by zero",
            Self::Overflow => "integer overflow",
            Self::Conversion => "invalid conversion to integer",
            Self::StackOverflow => "stack overflow",
            Self::Other(how) => how,
        })
    }
}

/// Why a module was not started. Nothing of it has run, but for a start section that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Not a valid module, or one with features that are off.
    Invalid {
        /// The section that the fault is in, where that is known.
        section: Option<&'static str>,
        /// Where in the image, bytes from its start.
        offset: Option<usize>,
        /// What is wrong.
        why: String,
    },
    /// It has more of something than [`crate::limits`] allow.
    Limit {
        /// Of what.
        what: &'static str,
        /// How many it has.
        has: u64,
        /// How many it may have.
        max: u64,
    },
    /// It imports what this host does not have.
    UnknownImport(String),
    /// It imports a function of this host as one of another type.
    WrongImport(String),
    /// It imports what its grant does not name.
    NotGranted(String),
    /// No exported function of this name.
    NoEntry(String),
    /// The exported function of this name is not of type `() -> i32`.
    WrongEntry(String),
    /// Its memory is larger than granted before it runs.
    Memory {
        /// Bytes it declares.
        asked: usize,
        /// Bytes granted.
        granted: u32,
    },
    /// The node's heap is too full to load it, whatever its grant.
    NoRoom {
        /// Bytes that it takes to load it, about.
        needs: usize,
    },
    /// Every place is taken, or the task runs already.
    NoSlot,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { section, offset, why } => {
                f.write_str("not a valid module: ")?;
                if let Some(section) = section {
                    write!(f, "{section} ")?;
                }
                match offset {
                    Some(offset) => write!(f, "at {offset:#x}: {why}"),
                    None => f.write_str(why),
                }
            }
            Self::Limit { what, has, max } => write!(f, "too many {what}: {has}, limit {max}"),
            Self::UnknownImport(name) => write!(f, "unknown import {name}"),
            Self::WrongImport(name) => write!(f, "wrong type: import {name}"),
            Self::NotGranted(name) => write!(f, "not granted: {name}"),
            Self::NoEntry(name) => write!(f, "no entry {name}() -> i32"),
            Self::WrongEntry(name) => write!(f, "not () -> i32: {name}"),
            Self::Memory { asked, granted } => write!(f, "needs {asked} B, granted {granted}"),
            Self::NoRoom { needs } => write!(f, "node is full: needs {needs} B"),
            Self::NoSlot => f.write_str("no slot free"),
        }
    }
}

impl core::error::Error for StartError {}

/// What a module has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, milliseconds.
    pub cpu_ms: u64,
    /// CPU time granted so far, milliseconds.
    pub granted_ms: u64,
    /// Linear memory and tables now, bytes.
    pub mem_bytes: usize,
    /// The most it had, bytes. The same as now while WebAssembly knows no way to give memory back.
    pub mem_peak_bytes: usize,
    /// Messages to the framework that were taken.
    pub messages: u64,
    /// Bytes of those messages.
    pub message_bytes: u64,
    /// Bytes of log that were taken.
    pub log_bytes: u64,
}
