//! What a task was granted, what it used, and what follows from that.
//!
//! The same policy holds in the Tock capsule, in the wasm executor and on the posix port: this crate is pure
//! arithmetic and state, without allocation, dependencies or unsafe code.
//!
//! - [`Grant`]: what one task may use.
//! - [`Ledger`]: grants against what the node has; never oversubscribed.
//! - [`Budget`]: CPU time per window with bounded carry-over.
//! - [`Slot`]: the life of a place that a task runs in.
//! - [`native`]: how an image comes to run in any native slot.
//! - [`syscall`]: the numbers of the capsule's system calls and how their arguments decode.
#![no_std]
#![forbid(unsafe_code)]

mod budget;
mod ledger;
pub mod native;
mod slot;
pub mod syscall;

pub use budget::Budget;
pub use ledger::{Capacity, Ledger, Leds, Refusal};
pub use slot::{Cause, Impossible, Slot, SlotEvent};

/// What a task may call, as a bit set. The values are on the wire: `node_proto::Capabilities`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }
}

/// What one task may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Share of the core, thousandths.
    pub cpu_permille: u16,
    /// Memory, bytes.
    pub mem_bytes: u32,
    /// Image storage, bytes.
    pub flash_bytes: u32,
    /// LEDs (or whatever else a board switches), for nobody else as long as it holds them.
    pub leds: u8,
    /// What it may call.
    pub capabilities: Capabilities,
    /// True: the CPU share is a ceiling. False: what nobody else uses may be had on top.
    pub strict: bool,
}
