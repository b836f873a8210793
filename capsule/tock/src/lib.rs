//! The executor capsule: grants enforced by a Tock kernel.
//!
//! A node's slots are either *hosted* (a wasm module in the process of the host) or *native* (a Tock process of its own).
//! Three parts hold their grants, each where it cannot be got around:
//!
//! - [`Capsule`]: the driver that agent, host and tasks call (the table is in [`grants::syscall`]), and who starts and ends
//!   the processes of native slots;
//! - [`BudgetScheduler`]: CPU time per window;
//! - [`SlotFilter`]: which other drivers a task may call.
//!
//! See `README.md` for how a board puts them together. Without a line of unsafe code: what the kernel allows only to a few
//! comes as capabilities from the board.
#![no_std]
#![forbid(unsafe_code)]

mod board;
mod calls;
mod capsule;
mod core;
mod filter;
mod processes;
mod ring;
mod scheduler;
mod shares;
mod signatures;
mod slots;
mod transfers;
mod verify;
mod work;

#[cfg(test)]
mod tests;

pub use board::{Board, DOCUMENT_BYTES, Devices, Layout, NativeSlot, Place, Region, VALUES_BYTES, Who};
pub use capsule::{Capsule, Parts, SCRATCH_MIN};
pub use filter::{ALARM, RANDOM, SlotFilter};
pub use grants::native::Addresses;
pub use scheduler::{BudgetScheduler, SLICE_US, Watch};
pub use shares::{CARRY_US, Share, Shares, WINDOW_US};
pub use signatures::{Dalek, Signatures};
