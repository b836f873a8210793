//! Apache Mesos' messages as a master, an agent and a framework exchange them.
//!
//! [`mesos`] holds what is common, [`internal`] what goes over libprocess between master and agent, [`v1`] the same
//! as `mesos` in the words of the v1 API, [`v1::scheduler`] and [`v1::executor`] its calls and events. v0 and v1
//! messages have the same bytes: [`recast`] turns one into the other; [`scheduler`] is what the call of schedulers over
//! libprocess has otherwise. [`cram`] is how agents prove who they are. [`json`] is the v1 API's JSON, [`whole`] reads what must be complete. [`resources`] is
//! Mesos' arithmetic of scalars, in thousandths; [`reservations`] are its two formats of what is reserved; [`text`] is
//! how people write them.

pub mod cram;
pub mod json;
pub mod pool;
pub mod reservations;
pub mod resources;
pub mod text;
pub mod whole;

#[allow(missing_docs, clippy::all, reason = "generated; what a field means is in the .proto files")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

pub use generated::mesos;
pub use generated::mesos::{internal, scheduler, v1};

use prost::{DecodeError, Message, Name};

/// The name of a message on the wire, such as `mesos.internal.PingSlaveMessage`.
pub fn name<M: Name>() -> String {
    M::full_name()
}

/// The same message in the words of the other API: v0 and v1 differ in names, not in bytes.
pub fn recast<A: Message, B: Message + Default>(message: &A) -> Result<B, DecodeError> {
    B::decode(message.encode_to_vec().as_slice())
}
