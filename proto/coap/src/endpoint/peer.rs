//! What an endpoint holds of one peer.

use super::kinds::{ExchangeId, RequestId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coap_lite::MessageType;

/// What a message of ours is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Request(ExchangeId),
    /// A separate response.
    Response(RequestId),
}

/// A confirmable or awaited message of ours.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub purpose: Purpose,
    pub mid: u16,
    pub token: u16,
    pub bytes: Vec<u8>,
    pub confirmable: bool,
    pub acknowledged: bool,
    pub retransmits: u8,
    pub timeout_ms: u32,
    pub sent_ms: u64,
    pub due_ms: u64,
}

/// True if a response with this kind, message id and token answers the request that has these. A piggy-backed response
/// has the message id too (RFC 7252 §5.3.2).
pub(super) fn answers(
    kind: MessageType,
    mid: u16,
    token: &[u8],
    (asked_mid, asked_token): (u16, u16),
) -> bool {
    asked_token.to_be_bytes() == token && (kind != MessageType::Acknowledgement || asked_mid == mid)
}

/// The round trip to a peer as RFC 6298 §2 estimates it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrip {
    pub smoothed_ms: u32,
    pub variation_ms: u32,
    /// Forgotten then: the way to a peer that was silent for long may be another.
    pub expires_ms: u64,
}

impl RoundTrip {
    /// How long an estimate holds, milliseconds.
    const LIFETIME_MS: u64 = 60_000;

    pub fn after(before: Option<Self>, sample_ms: u32, now_ms: u64) -> Self {
        let expires_ms = now_ms + Self::LIFETIME_MS;
        match before {
            None => Self { smoothed_ms: sample_ms, variation_ms: sample_ms / 2, expires_ms },
            Some(old) => Self {
                variation_ms: old.variation_ms / 4 * 3 + old.smoothed_ms.abs_diff(sample_ms) / 4,
                smoothed_ms: old.smoothed_ms / 8 * 7 + sample_ms / 8,
                expires_ms,
            },
        }
    }

    pub fn timeout_ms(self) -> u32 {
        self.smoothed_ms.saturating_add(self.variation_ms.saturating_mul(4))
    }
}

/// A request of the peer's that was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub mid: u16,
    pub confirmable: bool,
    /// The acknowledgement that went out, repeated if the request is.
    pub reply: Option<Vec<u8>>,
    pub answered: bool,
    /// When an empty acknowledgement is due.
    pub ack_due_ms: u64,
    pub expires_ms: u64,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub next_mid: u16,
    pub next_token: u16,
    pub active: Option<Outgoing>,
    pub queue: VecDeque<Outgoing>,
    pub seen: VecDeque<Seen>,
    pub round_trip: Option<RoundTrip>,
    /// Until then the peer may remember a message id of ours: a number drawn anew could be one of those, and the
    /// peer would take the message for a repetition (RFC 7252 §4.4).
    pub named_until_ms: u64,
    pub wake_ms: u64,
}

impl Peer {
    pub fn is_idle(&self, now_ms: u64) -> bool {
        self.active.is_none()
            && self.queue.is_empty()
            && self.seen.is_empty()
            && self.round_trip.is_none()
            && self.named_until_ms <= now_ms
    }

    pub fn next_wake(&self) -> u64 {
        let active = self.active.as_ref().map_or(u64::MAX, |out| out.due_ms);
        let seen = self.seen.iter().map(|seen| {
            if seen.reply.is_none() && seen.confirmable { seen.ack_due_ms } else { seen.expires_ms }
        });
        let round_trip = self.round_trip.map_or(u64::MAX, |held| held.expires_ms);
        let soonest = seen.min().unwrap_or(u64::MAX).min(active).min(round_trip);
        if soonest == u64::MAX { self.named_until_ms } else { soonest }
    }
}
