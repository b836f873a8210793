//! The CoAP exchange layer shared by node and gateway, without I/O.
//!
//! [`Endpoint`] is client and server at once towards any number of peers (RFC 7252 §4): confirmable messages are
//! retransmitted with back-off, repeated ones recognised and answered with the cached reply, one exchange per peer
//! is under way at a time (NSTART = 1). Blocks (RFC 7959) are an option on a message here, not a state:
//! [`Block`], [`serve_block`].
//!
//! A small request costs 4 bytes of header, 2 of token, 2 for a one-letter path and 1 payload marker; its
//! piggy-backed answer 4 + 2 + 1.
//!
//! The packet format is `coap-lite`'s. OSCORE has its seam in [`message`]: what is protected is the inner message
//! that [`message::Request`] and [`message::Response`] describe.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod endpoint;
pub mod message;

pub use endpoint::{Counters, Endpoint, Error, Event, ExchangeId, Params, RequestId};
pub use message::{Block, Code, Method, Request, Response, serve_block};
