//! The CoAP exchange layer shared by node and gateway, without I/O.
//!
//! [`Endpoint`] is client and server at once towards any number of peers (RFC 7252 §4): confirmable messages are
//! retransmitted with back-off, repeated ones recognised and answered with the cached reply, one exchange per peer
//! is under way at a time (NSTART = 1). Blocks of an answer (RFC 7959, Block2) are an option on a message here, not a
//! state: [`Block`], [`serve_block`]. Those of a request's body (Block1) are put together by an [`Assembler`] and sent
//! by an [`Upload`], which [`Endpoint`] knows nothing of either.
//!
//! A small request costs 4 bytes of header, 2 of token, 2 for a one-letter path and 1 payload marker; its
//! piggy-backed answer 4 + 2 + 1.
//!
//! The packet format is `coap-lite`'s. What OSCORE protects is the inner message that [`Request`] and [`Response`]
//! describe; [`Endpoint::read`], [`Endpoint::sort`] and [`Endpoint::take`] let it look at a message before the
//! endpoint remembers anything of it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod assemble;
mod block;
mod endpoint;
mod map;
pub mod message;
mod packet;
mod upload;

pub use assemble::{Assembler, Limits, Taken};
pub use block::{Block, serve_block};
pub use endpoint::{Counters, Endpoint, Error, Event, ExchangeId, Params, RequestId, Sort};
pub use message::{Code, Method, Request, Response};
pub use packet::Incoming;
pub use upload::{Next, Upload};
