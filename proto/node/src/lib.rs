//! The node messages: what a micro node and its gateway say to each other.
//!
//! ```text
//!   node (CoAP client)                         gateway (CoAP server)
//!     POST /r  Register    ------------------>   who I am, what I have
//!              Registered  <------------------   2.01: lease, poll interval
//!     POST /p  Poll        ------------------>   usage, newest command seen
//!              Command     <------------------   2.05: one command, or 2.04: none
//!     POST /s  Status      ------------------>   one task's new state
//!                          <------------------   2.04: it is on disk, forget it
//!     POST /m  Message     ------------------>   bytes for the task's framework
//!     POST /m/N            ------------------>   the same, too long for a frame: task N's, Block1
//!     POST /l  Log         ------------------>   bytes for the task's stdout
//!     GET  /i/N            ------------------>   image N, Block2
//!     GET  /d/N            ------------------>   document of task N, Block2
//!     GET  /b/N            ------------------>   what command N is about, Block2
//!
//!   node (CoAP server)                         gateway (CoAP client)
//!     POST /c  Command     <------------------   only to a node that listens
//!              2.04        ------------------>   CommandDone: taken, never to be sent again
//! ```
//!
//! Payloads are [postcard](https://postcard.jamesmunns.com/wire-format): no field names, variable-length
//! integers. Each is preceded by nothing; the version is agreed in [`Register`] and a gateway refuses another
//! one with 4.06. Every message but a block of an image or a document fits one IEEE 802.15.4 frame, with
//! 6LoWPAN, CoAP and OSCORE around it: see [`limits`] for the sum, and the property tests for its proof. A framework's
//! or a task's message that would not goes in blocks.
//!
//! Long Mesos ids never come here. The gateway keeps the map; a node knows 16-bit [`TaskHandle`]s.
//!
//! This crate must never do I/O, allocate or know what Mesos looks like on the wire.
#![no_std]
#![forbid(unsafe_code)]

mod codec;
pub mod limits;
mod manifest;
mod messages;
mod orders;
pub mod paths;

pub use codec::{CodecError, Payload, decode, encode};
#[cfg(feature = "ed25519")]
pub use manifest::verify;
pub use manifest::{Manifest, ManifestError, SIGNATURE_LEN, Sealed};
pub use messages::*;
pub use orders::*;
