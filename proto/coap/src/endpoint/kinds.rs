//! What an endpoint is set by, is asked with and tells.

use crate::message::{Request, Response};

#[cfg(doc)]
use crate::{Endpoint, message};

/// Transmission parameters (RFC 7252 §4.8) and limits.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// ACK_TIMEOUT, milliseconds.
    pub ack_timeout_ms: u32,
    /// Least time before a retransmission once the round trip has been measured, milliseconds. Equal to
    /// `ack_timeout_ms` nothing is measured; below it the timeout follows RFC 6298 between the two, which RFC 7252
    /// §4.8.1 asks of those who go below 1 s.
    pub min_timeout_ms: u32,
    /// ACK_RANDOM_FACTOR in thousandths.
    pub ack_random_permille: u32,
    /// MAX_RETRANSMIT.
    pub max_retransmit: u8,
    /// How long an acknowledged request waits for its separate response, milliseconds.
    pub response_wait_ms: u32,
    /// How long a request may go unanswered by the application before it is acknowledged without an answer.
    pub ack_delay_ms: u32,
    /// How long a message id is remembered, milliseconds (EXCHANGE_LIFETIME is 247 s with the defaults).
    pub exchange_lifetime_ms: u32,
    /// Message ids remembered per peer.
    pub dedup_per_peer: usize,
    /// Exchanges waiting for the one under way, per peer.
    pub queue_per_peer: usize,
    /// Peers with anything to remember.
    pub peers_max: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            ack_timeout_ms: 2_000,
            min_timeout_ms: 2_000,
            ack_random_permille: 1_500,
            max_retransmit: 4,
            response_wait_ms: 60_000,
            ack_delay_ms: 200,
            exchange_lifetime_ms: 247_000,
            dedup_per_peer: 8,
            queue_per_peer: 16,
            peers_max: 1 << 17,
        }
    }
}

/// Names a request sent from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExchangeId(pub(super) u64);

/// Names a request received here, for [`Endpoint::respond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    pub(super) mid: u16,
    pub(super) token: u64,
    pub(super) token_len: u8,
    pub(super) confirmable: bool,
}

impl RequestId {
    /// True if both requests have the same token, as one that ends an observation has (RFC 7641 §3.6).
    pub fn has_token_of(&self, other: &Self) -> bool {
        (self.token, self.token_len) == (other.token, other.token_len)
    }
}

/// Why a request or response was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// [`Params::queue_per_peer`] exchanges wait already.
    QueueFull,
    /// [`Params::peers_max`] peers are known, all of them busy.
    TooManyPeers,
    /// Longer than [`message::DATAGRAM_MAX`].
    TooLong,
}

/// What the application is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// A request, each once within the lifetime of its message id.
    Request {
        /// From whom.
        peer: P,
        /// To answer it by.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// The answer to a request of ours.
    Response {
        /// From whom.
        peer: P,
        /// Which request.
        exchange: ExchangeId,
        /// The answer.
        response: Response,
        /// How often the request was sent again.
        again: u8,
    },
    /// No answer came, or the peer rejected the message.
    Failed {
        /// From whom.
        peer: P,
        /// Which request.
        exchange: ExchangeId,
        /// How often it was sent again.
        again: u8,
    },
    /// A separate response was rejected or not acknowledged: whoever asked does not want to hear more.
    Undelivered {
        /// To whom.
        peer: P,
        /// The request that it answered.
        id: RequestId,
    },
}

/// What happened on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams taken.
    pub received: u64,
    /// Datagrams made.
    pub sent: u64,
    /// Of these, repetitions of an unanswered message.
    pub retransmitted: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Datagrams that are no CoAP.
    pub malformed: u64,
    /// Requests or responses for which there was no room.
    pub refused: u64,
    /// Responses and resets that belong to nothing.
    pub unmatched: u64,
}
/// What a message is to the end that read it.
#[derive(Debug, PartialEq, Eq)]
pub enum Sort<'a> {
    /// A request that was not seen yet.
    Request(&'a Request),
    /// The answer to the exchange under way.
    Response(ExchangeId, &'a Response),
    /// A request with a critical option that is not understood, or a block of a reserved size; taken, it is answered
    /// with 4.02 or 4.00.
    Refused,
    /// A repetition, an acknowledgement, a rejection, or what belongs to nothing: taken, it makes nothing be remembered.
    Other,
}
