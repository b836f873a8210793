//! What goes into a step of the core, and what comes out of it.

use crate::store::Write;
use libprocess::Upid;
use mesos_proto::v1::master as operator;
use mesos_proto::v1::scheduler::{Call, Event};
use std::net::SocketAddrV4;

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// A libprocess message for an actor here.
    Message(libprocess::Message),
    /// The connection to an address is gone, and all actors there.
    Exited(SocketAddrV4),
    /// A scheduler's call that parsed. Answered by [`Output::Reply`] or [`Output::Subscribed`].
    Call {
        /// Returned with the answer.
        request: u64,
        /// The header `Mesos-Stream-Id`.
        stream: Option<String>,
        /// A new id, used if this call subscribes.
        fresh: String,
        /// The call.
        call: Box<Call>,
    },
    /// A call of the operator API that parsed. Answered by [`Output::Reply`], [`Output::Answer`] or
    /// [`Output::Subscribed`].
    Operator {
        /// Returned with the answer.
        request: u64,
        /// A new id, used if this call subscribes.
        fresh: String,
        /// The call.
        call: Box<operator::Call>,
    },
    /// A subscriber's stream is gone, or did not keep up.
    Closed {
        /// The stream.
        stream: String,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done outside, in order.
#[derive(Debug)]
pub enum Output {
    /// Keep, or keep no more. All writes of a step are committed, in order, before anything else of it is done.
    Write(Write),
    /// Send a libprocess message.
    Send {
        /// From which actor here.
        from: String,
        /// To whom.
        to: Upid,
        /// Its name.
        name: String,
        /// Its bytes.
        body: Vec<u8>,
    },
    /// Watch an address.
    Link(SocketAddrV4),
    /// Answer a call.
    Reply {
        /// Which.
        request: u64,
        /// HTTP status.
        status: u16,
        /// Text for a refusal.
        reason: String,
    },
    /// Answer an operator's call with 200 and a document.
    Answer {
        /// Which.
        request: u64,
        /// The document.
        response: Box<operator::Response>,
    },
    /// Answer a SUBSCRIBE with 200 and an open stream; its events follow.
    Subscribed {
        /// Which call.
        request: u64,
        /// The stream's id.
        stream: String,
    },
    /// An event for a subscriber.
    Event {
        /// Its stream.
        stream: String,
        /// The event.
        event: Box<Event>,
    },
    /// The same event for subscribers of the operator API.
    OperatorEvent {
        /// Their streams.
        streams: Vec<String>,
        /// The event.
        event: Box<operator::Event>,
    },
    /// End a subscriber's stream after what was sent.
    Close {
        /// Which.
        stream: String,
    },
}
