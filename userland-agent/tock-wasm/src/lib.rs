//! The WebAssembly executor as a Tock app: every hosted slot's task in one process, ordered and heard through the kernel's
//! executor capsule ([`grants::syscall`]), where this app is the *host*.
//!
//! ```text
//!   capsule --START, STOP, KILL, MESSAGE--> [orders] --> agent_wasm::Executor --events--> [mouth] --> capsule
//!                                                          | sensor, LED, values
//!                                                          +--> [Board] --> capsule
//! ```
//!
//! [`App::turn`] takes what was ordered, gives every module its turn and says what they say; [`App::wait`] sleeps until
//! an order comes or something is due. Neither waits for a single slot: what the kernel has no room for stays with the
//! slot that says it. Nothing here may panic, wait without an end, or grow with what a task or its framework does.
//!
//! What can not be kept from the others: a start reads, validates and translates the whole image in one go, and a write
//! of values waits for storage; meanwhile no other module runs.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod app;
mod board;
pub mod calibrate;
mod clock;
mod kernel;
mod mouth;
mod start;
pub mod values;

pub use app::{App, Config, with};
pub use clock::Clock;
pub use kernel::{Kernel, Upcalls};
