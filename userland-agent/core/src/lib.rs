//! The node agent: registers with the gateway, takes its orders, fetches and checks images, runs tasks under
//! their grants and reports what became of them.
//!
//! ```text
//!   Agent::datagram(..) -----+                        +--> Os::send(..)
//!                            v                        |
//!   Agent::step() ---> [ link | tasks | images ] -----+--> Os::start / kill   (executor)
//!                            ^                        +--> Os::put / image_write (storage)
//!   Os::next_event(task) ----+
//! ```
//!
//! Everything outside is behind [`Os`]: a Linux process and a Tock app run the same agent. The agent
//!
//! - writes a record before it acts on an order, so that no order is acted on twice;
//! - keeps a status until the gateway has it on disk;
//! - has one request under way at a time (RFC 7252 §4.7, NSTART = 1) and picks the next by what matters most;
//! - never runs a byte of an image whose SHA-256 it has not checked, nor, where it knows publishers, one that none of
//!   them signed for it or that is older than what it has run.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod agent;
pub mod crc;
mod images;
mod intake;
mod manifest;
mod os;
pub mod provision;
mod record;
mod task;
mod wire;

pub use agent::{Agent, Config, Counters, Link};
pub use manifest::{PUBLISHERS_MAX, RELEASES_MAX};
pub use os::{
    Digest, Event, ImageLimits, Intake, NodeUsage, Os, Peer, Record, Start, StartError, StorageError,
    TaskUsage,
};
pub use wire::Refused;
