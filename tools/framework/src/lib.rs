//! Bindings for Mesos schedulers and executors, on the v1 HTTP APIs.
//!
//! A scheduler implements [`Scheduler`] and is run by a [`SchedulerDriver`], which finds the leading master, subscribes
//! and stays subscribed; its [`Handle`] makes the calls. An executor implements [`Executor`] and is run by an
//! [`ExecutorDriver`], on what its agent says in the [`Environment`]. [`Resources`] is what offers hold and tasks need. [`Client`] is the layer below: one subscription, its events
//! and calls, and no more.

mod backoff;
mod calls;
mod client;
mod error;
mod executor;
pub mod operation;
mod reader;
pub mod recordio;
mod resources;
mod scheduler;
mod store;
mod wire;

pub use backoff::Backoff;
pub use client::Client;
pub use detect::MasterSpec;
pub use error::{Error, Remedy};
pub use executor::{Environment, Executor, ExecutorDriver, ExecutorEnd, ExecutorHandle, is_terminal};
pub use libprocess::{TlsClient, TlsClientConfig, TlsError, Verify};
pub use mesos_proto::v1;
pub use mesos_proto::v1::scheduler::{Call, Event};
pub use resources::{Resources, ResourcesError};
pub use scheduler::{Acknowledge, End, Handle, Outcome, Scheduler, SchedulerDriver};
pub use store::{FileStore, FrameworkIdStore, MemoryStore};
pub use wire::Format;
