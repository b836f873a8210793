//! The WebAssembly executor: several modules at once, each under its grant, with fuel as CPU time.
//!
//! [`Executor::step`] gives every module at most what its budget holds for the present window and comes back: a
//! module that never returns costs its share and nothing more. Memory and tables are limited by the grant; taking
//! more ends that module alone. Code, calls and stack, which cost memory of the interpreter, are bounded by [`limits`].
//! What a module may call is what its grant names; an import beyond that is refused before it starts. See [`abi`] for
//! the functions, [`inspect`] for what is looked at before anything of an image runs, and [`Screen`] for what of that can be
//! seen while the image still comes.
//!
//! A call that has to wait or to touch a device (`sleep_ms`, `sensor_read`, `led_set`, `kv_get` and its like) suspends
//! the module and is finished by the executor: no module ever blocks another, and devices are touched in one place.
#![no_std]
// An engine that asks for memory by its address is given it in one file: `engine/space_heap.rs`.
#![cfg_attr(feature = "wasmi", forbid(unsafe_code))]
#![deny(unsafe_code)]

extern crate alloc;

pub mod abi;
mod check;
mod engine;
mod event;
mod executor;
mod heap;
mod host;
mod imports;
pub mod inspect;
mod kv;
pub mod limits;
mod module;
mod screen;
mod state;
mod task;

pub use event::{Event, StartError, Trap, Usage};
pub use executor::{Config, Executor, Launch};
pub use host::{Host, HostError};
pub use kv::{Kv, KvError};
pub use screen::Screen;
