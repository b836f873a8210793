//! libprocess' HTTP message transport: many actors on one address.
//!
//! A message is a POST to `/ACTOR/NAME` whose sender is in `Libprocess-From`; the answer only says whether it was
//! delivered. [`wire`] reads and writes that, without I/O. [`Transport`] owns the listener, which serves ordinary
//! HTTP requests on the same port, and one persistent connection to each peer's address.
//!
//! What libprocess calls a link is that connection: when it closes, every actor there has exited
//! (3rdparty/libprocess/src/process.cpp, `SocketManager`).

pub mod reply;
mod tls;
mod transport;
pub mod wire;

pub use tls::{Tls, TlsClient, TlsClientConfig, TlsConfig, TlsError, Verify};
pub use transport::{
    BindError, Body, Config, Counters, Ending, Event, HttpHandler, Transport, full, serve_stream,
};
pub use wire::{Message, Upid, percent_decode};
