//! Scheduler bindings for the Mesos v1 HTTP API.
//!
//! [`Client::subscribe`] gives a [`Client`] for calls and a stream of [`Event`]s. Messages go as protobuf. An event
//! stream that ends is the end of the subscription: subscribe again with the framework id in
//! [`Client::framework_id`] to go on where it was.

mod client;
pub mod recordio;

pub use client::{Client, Error};
pub use mesos_proto::v1;
pub use mesos_proto::v1::scheduler::{Call, Event};
