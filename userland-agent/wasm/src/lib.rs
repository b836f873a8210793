//! The WebAssembly executor: several modules at once, each under its grant, with fuel as CPU time.
//!
//! [`Executor::step`] gives every module at most what its budget holds for the present window and comes back: a
//! module that never returns costs its share and nothing more. Memory and tables are limited by the grant; taking
//! more ends that module alone. What a module may call is what its grant names; an import beyond that is refused
//! before it starts. See [`abi`] for the functions.
//!
//! A call that has to wait or to touch a device (`sleep_ms`, `sensor_read`, `led_set`) suspends the module and is
//! finished by the executor: no module ever blocks another, and devices are touched in one place.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod abi;
mod check;
mod executor;
mod module;

pub use executor::{Config, Executor, Host, HostError, Launch};
pub use module::{Event, StartError, Usage};
