//! The bridge: every micro node behind it is an agent of its own to the Mesos master.
//!
//! ```text
//!   master <-libprocess-> driver <-> agent   (virtual agents: one Mesos agent per node)
//!                           |          | bridge::{FromNode, ToNode}
//!   nodes  <---- CoAP ----> driver <-> session (registration, lease, mailbox, blocks)
//!                           |
//!                         store (redb), images (content-addressed cache)
//! ```
//!
//! `agent` and `session` are state machines without I/O: `handle(input, now) -> outputs`. The driver owns every
//! socket, file and clock. It commits the [`store::Write`]s of a step in one transaction before it sends
//! anything that the same step produced: durable before acknowledged.

pub mod agent;
pub mod bridge;
mod driver;
pub mod energy;
mod file;
mod http;
pub mod images;
pub mod keys;
mod link;
pub mod offers;
pub mod session;
pub mod store;
mod view;

pub use driver::{BATTERY_MAH, Config, Error, Handle, run};
pub use file::FileError;
pub use link::{Datagram, LinkConfig, MemoryLink};
