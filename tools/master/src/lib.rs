//! A single-node Mesos master: scheduler API, agent protocol, allocation policies.
//!
//! [`core`] is the master as a state machine without I/O; [`allocator`] and [`policy`] decide who is offered what;
//! [`store`] is what it keeps over a restart; [`run`] puts it on a port, where agents speak libprocess and schedulers, operators and browsers HTTP.

pub mod allocator;
mod build;
mod config;
mod console;
pub mod core;
mod driver;
mod http_api;
pub mod jobs;
pub mod limits;
mod local;
mod logging;
mod meters;
mod operator;
pub mod policy;
pub mod records;
pub mod state;
pub mod store;
mod stream;
mod sums;
mod system;
pub mod view;

pub use crate::logging::LogLevel;
pub use driver::{Config, Error, Handle, run};

/// The Mesos version whose behaviour this master has.
pub const MESOS_VERSION: &str = "1.11.0";
