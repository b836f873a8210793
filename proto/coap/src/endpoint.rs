//! Message layer and request/response layer of RFC 7252 for many peers, driven from outside.

use crate::message::{self, Code, Content, Incoming, Request, Response};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use coap_lite::MessageType;

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
pub struct ExchangeId(u64);

/// Names a request received here, for [`Endpoint::respond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    mid: u16,
    token: u64,
    token_len: u8,
    confirmable: bool,
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
    },
    /// No answer came, or the peer rejected the message.
    Failed {
        /// From whom.
        peer: P,
        /// Which request.
        exchange: ExchangeId,
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

/// What a message of ours is.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Request(ExchangeId),
    /// A separate response.
    Response(RequestId),
}

/// A confirmable or awaited message of ours.
#[derive(Debug)]
struct Outgoing {
    purpose: Purpose,
    mid: u16,
    token: u16,
    bytes: Vec<u8>,
    confirmable: bool,
    acknowledged: bool,
    retransmits: u8,
    timeout_ms: u32,
    sent_ms: u64,
    due_ms: u64,
}

/// True if a response with this kind, message id and token answers the request that has these. A piggy-backed response
/// has the message id too (RFC 7252 §5.3.2).
fn answers(kind: MessageType, mid: u16, token: &[u8], (asked_mid, asked_token): (u16, u16)) -> bool {
    asked_token.to_be_bytes() == token && (kind != MessageType::Acknowledgement || asked_mid == mid)
}

/// What a message is to the end that read it.
#[derive(Debug, PartialEq, Eq)]
pub enum Sort<'a> {
    /// A request that was not seen yet.
    Request(&'a Request),
    /// The answer to the exchange under way.
    Response(ExchangeId, &'a Response),
    /// A request with a critical option that is not understood; taken, it is answered with 4.02.
    BadOption,
    /// A repetition, an acknowledgement, a rejection, or what belongs to nothing: taken, it makes nothing be remembered.
    Other,
}

/// The round trip to a peer as RFC 6298 §2 estimates it.
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    smoothed_ms: u32,
    variation_ms: u32,
    /// Forgotten then: the way to a peer that was silent for long may be another.
    expires_ms: u64,
}

impl RoundTrip {
    /// How long an estimate holds, milliseconds.
    const LIFETIME_MS: u64 = 60_000;

    fn after(before: Option<Self>, sample_ms: u32, now_ms: u64) -> Self {
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

    fn timeout_ms(self) -> u32 {
        self.smoothed_ms.saturating_add(self.variation_ms.saturating_mul(4))
    }
}

/// A request of the peer's that was seen.
#[derive(Debug)]
struct Seen {
    mid: u16,
    confirmable: bool,
    /// The acknowledgement that went out, repeated if the request is.
    reply: Option<Vec<u8>>,
    answered: bool,
    /// When an empty acknowledgement is due.
    ack_due_ms: u64,
    expires_ms: u64,
}

#[derive(Debug)]
struct Peer {
    next_mid: u16,
    next_token: u16,
    active: Option<Outgoing>,
    queue: VecDeque<Outgoing>,
    seen: VecDeque<Seen>,
    round_trip: Option<RoundTrip>,
    /// Until then the peer may remember a message id of ours: a number drawn anew could be one of those, and the
    /// peer would take the message for a repetition (RFC 7252 §4.4).
    named_until_ms: u64,
    wake_ms: u64,
}

impl Peer {
    fn is_idle(&self, now_ms: u64) -> bool {
        self.active.is_none()
            && self.queue.is_empty()
            && self.seen.is_empty()
            && self.round_trip.is_none()
            && self.named_until_ms <= now_ms
    }

    fn next_wake(&self) -> u64 {
        let active = self.active.as_ref().map_or(u64::MAX, |out| out.due_ms);
        let seen = self.seen.iter().map(|seen| {
            if seen.reply.is_none() && seen.confirmable { seen.ack_due_ms } else { seen.expires_ms }
        });
        let round_trip = self.round_trip.map_or(u64::MAX, |held| held.expires_ms);
        let soonest = seen.min().unwrap_or(u64::MAX).min(active).min(round_trip);
        if soonest == u64::MAX { self.named_until_ms } else { soonest }
    }
}

/// CoAP towards any number of peers. A peer with nothing under way and nothing to remember costs no memory.
#[derive(Debug)]
pub struct Endpoint<P> {
    params: Params,
    peers: BTreeMap<P, Peer>,
    wakes: BTreeSet<(u64, P)>,
    transmit: VecDeque<(P, Vec<u8>)>,
    events: VecDeque<Event<P>>,
    next_exchange: u64,
    random: u64,
    counters: Counters,
}

impl<P: Copy + Ord> Endpoint<P> {
    /// `seed` sets message ids, tokens and back-off: unpredictable in the field, fixed in a test.
    pub fn new(params: Params, seed: u64) -> Self {
        Self {
            params,
            peers: BTreeMap::new(),
            wakes: BTreeSet::new(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            next_exchange: 1,
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            counters: Counters::default(),
        }
    }

    /// What happened on the wire so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sends a request, now or when those before it to the same peer are done.
    pub fn request(&mut self, peer: P, request: &Request, now_ms: u64) -> Result<ExchangeId, Error> {
        let exchange = ExchangeId(self.next_exchange);
        let (mid, token) = self.name(peer, now_ms)?;
        let bytes = message::write_request(request, mid, &token.to_be_bytes()).ok_or(Error::TooLong)?;
        self.next_exchange += 1;
        self.enqueue(peer, Purpose::Request(exchange), mid, token, bytes, request.confirmable, now_ms)?;
        Ok(exchange)
    }

    /// Answers a request: on its acknowledgement if that is not out yet, else as a message of its own.
    pub fn respond(&mut self, peer: P, id: RequestId, response: &Response, now_ms: u64) -> Result<(), Error> {
        let token = id.token.to_be_bytes();
        let token = &token[8 - usize::from(id.token_len)..];
        let pending = self
            .peers
            .get_mut(&peer)
            .and_then(|known| known.seen.iter_mut().find(|seen| seen.mid == id.mid && !seen.answered));
        match pending {
            Some(seen) if id.confirmable && seen.reply.is_none() => {
                let bytes = message::write_response(MessageType::Acknowledgement, response, id.mid, token)
                    .ok_or(Error::TooLong)?;
                seen.reply = Some(bytes.clone());
                seen.answered = true;
                self.push(peer, bytes);
                self.rearm(peer);
                Ok(())
            }
            pending => {
                if let Some(seen) = pending {
                    seen.answered = true;
                }
                let kind =
                    if id.confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
                let (mid, own_token) = self.name(peer, now_ms)?;
                let bytes = message::write_response(kind, response, mid, token).ok_or(Error::TooLong)?;
                if id.confirmable {
                    self.enqueue(peer, Purpose::Response(id), mid, own_token, bytes, true, now_ms)
                } else {
                    self.push(peer, bytes);
                    Ok(())
                }
            }
        }
    }

    /// Takes a datagram. Nothing in it can make this panic or remember more than [`Params`] allows.
    pub fn handle(&mut self, peer: P, datagram: &[u8], now_ms: u64) {
        if let Some(incoming) = self.read(peer, datagram) {
            self.take(peer, incoming, now_ms);
        }
    }

    /// Reads a datagram and remembers nothing of it; one that is malformed is rejected. What comes of it is for
    /// [`Endpoint::take`], once [`Endpoint::sort`] has told what it is and whoever calls is content with it.
    pub fn read(&mut self, peer: P, datagram: &[u8]) -> Option<Incoming> {
        self.counters.received += 1;
        match message::read(datagram) {
            Ok(incoming) => Some(incoming),
            Err(reject) => {
                self.counters.malformed += 1;
                if let Some(mid) = reject {
                    self.push(peer, message::write_empty(MessageType::Reset, mid));
                }
                None
            }
        }
    }

    /// What a message is to this end.
    pub fn sort<'a>(&self, peer: P, incoming: &'a Incoming) -> Sort<'a> {
        let known = self.peers.get(&peer);
        match &incoming.content {
            Content::Request(request) => {
                let mut seen = known.iter().flat_map(|known| &known.seen);
                match seen.any(|seen| seen.mid == incoming.mid) {
                    true => Sort::Other,
                    false => Sort::Request(request),
                }
            }
            Content::Response(response) => match known.and_then(|known| known.active.as_ref()) {
                Some(Outgoing { purpose: Purpose::Request(exchange), mid, token, .. })
                    if answers(incoming.kind, incoming.mid, &incoming.token, (*mid, *token)) =>
                {
                    Sort::Response(*exchange, response)
                }
                _ => Sort::Other,
            },
            Content::BadOption => Sort::BadOption,
            Content::Empty => Sort::Other,
        }
    }

    /// Takes a message that was read.
    pub fn take(&mut self, peer: P, incoming: Incoming, now_ms: u64) {
        let (kind, mid) = (incoming.kind, incoming.mid);
        match (kind, incoming.content) {
            (MessageType::Confirmable, Content::Empty) => {
                // A ping (RFC 7252 §4.3).
                self.push(peer, message::write_empty(MessageType::Reset, mid));
            }
            (MessageType::NonConfirmable, Content::Empty) => self.counters.malformed += 1,
            (MessageType::Acknowledgement, Content::Empty) => self.acknowledged(peer, mid, now_ms),
            (MessageType::Reset, _) => self.reset(peer, mid, now_ms),
            (MessageType::Acknowledgement, Content::Response(response)) => {
                let matched = self.complete(peer, (kind, mid, &incoming.token), response, now_ms);
                self.counters.unmatched += u64::from(!matched);
            }
            (MessageType::Acknowledgement, _) => self.counters.malformed += 1,
            (_, Content::Response(response)) => {
                let matched = self.complete(peer, (kind, mid, &incoming.token), response, now_ms);
                self.counters.unmatched += u64::from(!matched);
                if kind == MessageType::Confirmable {
                    // An answer that came again is acknowledged again: its first acknowledgement may be lost.
                    let kind = if matched || incoming.token.len() == 2 {
                        MessageType::Acknowledgement
                    } else {
                        MessageType::Reset
                    };
                    self.push(peer, message::write_empty(kind, mid));
                }
            }
            (_, content) => self.requested(peer, kind, mid, &incoming.token, content, now_ms),
        }
    }

    fn requested(
        &mut self,
        peer: P,
        kind: MessageType,
        mid: u16,
        token: &[u8],
        content: Content,
        now_ms: u64,
    ) {
        let params = self.params;
        let confirmable = kind == MessageType::Confirmable;
        let Ok(known) = self.peer(peer, now_ms) else {
            self.counters.refused += 1;
            return;
        };
        known.seen.retain(|seen| seen.expires_ms > now_ms);
        if let Some(seen) = known.seen.iter().find(|seen| seen.mid == mid) {
            let reply = seen.reply.clone();
            self.counters.duplicates += 1;
            if let Some(reply) = reply {
                self.push(peer, reply);
            }
            return;
        }
        if known.seen.len() >= params.dedup_per_peer {
            // Forget the oldest one that is answered; if none is, the application is behind and this one waits
            // for its retransmission.
            match known.seen.iter().position(|seen| seen.answered || !seen.confirmable) {
                Some(at) => drop(known.seen.remove(at)),
                None => {
                    self.counters.refused += 1;
                    return;
                }
            }
        }
        known.seen.push_back(Seen {
            mid,
            confirmable,
            reply: None,
            answered: false,
            ack_due_ms: now_ms + u64::from(params.ack_delay_ms),
            expires_ms: now_ms + u64::from(params.exchange_lifetime_ms),
        });
        let mut padded = [0; 8];
        padded[8 - token.len().min(8)..].copy_from_slice(&token[..token.len().min(8)]);
        let id = RequestId {
            mid,
            token: u64::from_be_bytes(padded),
            token_len: token.len().min(8) as u8,
            confirmable,
        };
        self.rearm(peer);
        match content {
            Content::Request(request) => self.events.push_back(Event::Request { peer, id, request }),
            _ => {
                let _ = self.respond(peer, id, &Response::new(Code::BAD_OPTION, &[]), now_ms);
            }
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(P, Vec<u8>)> {
        let next = self.transmit.pop_front();
        self.counters.sent += u64::from(next.is_some());
        next
    }

    /// The next thing to tell the application.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        self.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<u64> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Retransmits, acknowledges and forgets what is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        while let Some((at, peer)) = self.wakes.first().copied() {
            if at > now_ms {
                break;
            }
            self.wakes.pop_first();
            self.wake(peer, now_ms);
        }
    }

    /// Drops everything about a peer; requests to it end without an event.
    pub fn forget(&mut self, peer: P) {
        if let Some(known) = self.peers.remove(&peer) {
            self.wakes.remove(&(known.wake_ms, peer));
        }
    }

    /// Drops the requests to a peer that are under way or wait; they end without an event.
    pub fn cancel(&mut self, peer: P) {
        let is_request = |out: &Outgoing| matches!(out.purpose, Purpose::Request(_));
        if let Some(known) = self.peers.get_mut(&peer) {
            known.active.take_if(|out| is_request(out));
            known.queue.retain(|out| !is_request(out));
            self.rearm(peer);
        }
    }

    fn wake(&mut self, peer: P, now_ms: u64) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.wake_ms = u64::MAX;
        known.seen.retain(|seen| seen.expires_ms > now_ms);
        known.round_trip.take_if(|held| held.expires_ms <= now_ms);
        let mut acks = Vec::new();
        for seen in &mut known.seen {
            if seen.confirmable && seen.reply.is_none() && seen.ack_due_ms <= now_ms {
                let ack = message::write_empty(MessageType::Acknowledgement, seen.mid);
                seen.reply = Some(ack.clone());
                acks.push(ack);
            }
        }
        let mut again = None;
        let mut failed = None;
        if let Some(out) = known.active.as_mut().filter(|out| out.due_ms <= now_ms) {
            if out.confirmable && !out.acknowledged && out.retransmits < self.params.max_retransmit {
                out.retransmits += 1;
                out.timeout_ms = out.timeout_ms.saturating_mul(2);
                out.due_ms = now_ms + u64::from(out.timeout_ms);
                again = Some(out.bytes.clone());
            } else {
                failed = known.active.take();
            }
        }
        for ack in acks {
            self.push(peer, ack);
        }
        if let Some(bytes) = again {
            self.counters.retransmitted += 1;
            self.push(peer, bytes);
        }
        if let Some(out) = failed {
            self.given_up(peer, out.purpose);
        }
        self.advance(peer, now_ms);
    }

    fn acknowledged(&mut self, peer: P, mid: u16, now_ms: u64) {
        let wait = u64::from(self.params.response_wait_ms);
        let active = self.peers.get_mut(&peer).and_then(|known| known.active.as_mut());
        match active.filter(|out| out.mid == mid && out.confirmable) {
            None => self.counters.unmatched += 1,
            Some(Outgoing { purpose: Purpose::Response(_), .. }) => {
                // Our separate response has arrived.
                self.finish_active(peer, now_ms);
            }
            Some(out) => {
                if !out.acknowledged {
                    out.acknowledged = true;
                    out.due_ms = now_ms + wait;
                }
                self.rearm(peer);
            }
        }
    }

    fn reset(&mut self, peer: P, mid: u16, now_ms: u64) {
        let active = self.peers.get(&peer).and_then(|known| known.active.as_ref());
        match active.filter(|out| out.mid == mid) {
            None => self.counters.unmatched += 1,
            Some(out) => {
                let purpose = out.purpose;
                self.given_up(peer, purpose);
                self.finish_active(peer, now_ms);
            }
        }
    }

    fn given_up(&mut self, peer: P, purpose: Purpose) {
        self.events.push_back(match purpose {
            Purpose::Request(exchange) => Event::Failed { peer, exchange },
            Purpose::Response(id) => Event::Undelivered { peer, id },
        });
    }

    fn complete(
        &mut self,
        peer: P,
        (kind, mid, token): (MessageType, u16, &[u8]),
        response: Response,
        now_ms: u64,
    ) -> bool {
        let measures = self.params.min_timeout_ms < self.params.ack_timeout_ms;
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let Some(out) = known.active.as_ref() else { return false };
        let Purpose::Request(exchange) = out.purpose else { return false };
        if !answers(kind, mid, token, (out.mid, out.token)) {
            return false;
        }
        // Only of what was sent once: else nobody knows which of them was answered (RFC 6298 §3).
        if measures && out.confirmable && out.retransmits == 0 && !out.acknowledged {
            let sample_ms = now_ms.saturating_sub(out.sent_ms) as u32;
            known.round_trip = Some(RoundTrip::after(known.round_trip, sample_ms, now_ms));
        }
        self.events.push_back(Event::Response { peer, exchange, response });
        self.finish_active(peer, now_ms);
        true
    }

    fn finish_active(&mut self, peer: P, now_ms: u64) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.active = None;
        }
        self.advance(peer, now_ms);
    }

    /// Sends the next queued message of a peer if none is under way; forgets a peer with nothing left.
    fn advance(&mut self, peer: P, now_ms: u64) {
        let factor = self.jitter();
        let params = self.params;
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let mut bytes = None;
        if known.active.is_none()
            && let Some(mut out) = known.queue.pop_front()
        {
            let measured = known.round_trip.map_or(params.ack_timeout_ms, RoundTrip::timeout_ms);
            out.timeout_ms = if out.confirmable {
                let timeout_ms = measured.max(params.min_timeout_ms).min(params.ack_timeout_ms);
                (u64::from(timeout_ms) * factor / 1000) as u32
            } else {
                params.response_wait_ms
            };
            out.sent_ms = now_ms;
            out.due_ms = now_ms + u64::from(out.timeout_ms);
            bytes = Some(out.bytes.clone());
            known.active = Some(out);
        }
        if known.is_idle(now_ms) {
            self.forget(peer);
        } else {
            self.rearm(peer);
        }
        if let Some(bytes) = bytes {
            self.push(peer, bytes);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one private struct")]
    fn enqueue(
        &mut self,
        peer: P,
        purpose: Purpose,
        mid: u16,
        token: u16,
        bytes: Vec<u8>,
        confirmable: bool,
        now_ms: u64,
    ) -> Result<(), Error> {
        let limit = self.params.queue_per_peer;
        let known = self.peer(peer, now_ms)?;
        if known.queue.len() >= limit {
            self.counters.refused += 1;
            return Err(Error::QueueFull);
        }
        known.queue.push_back(Outgoing {
            purpose,
            mid,
            token,
            bytes,
            confirmable,
            acknowledged: false,
            retransmits: 0,
            timeout_ms: 0,
            sent_ms: 0,
            due_ms: 0,
        });
        self.advance(peer, now_ms);
        Ok(())
    }

    /// A message id and a token for the next message to a peer.
    fn name(&mut self, peer: P, now_ms: u64) -> Result<(u16, u16), Error> {
        let life = u64::from(self.params.exchange_lifetime_ms);
        let known = self.peer(peer, now_ms)?;
        known.named_until_ms = now_ms + life;
        known.next_mid = known.next_mid.wrapping_add(1);
        known.next_token = known.next_token.wrapping_add(1);
        Ok((known.next_mid, known.next_token))
    }

    fn peer(&mut self, peer: P, now_ms: u64) -> Result<&mut Peer, Error> {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.params.peers_max {
            // The one whose next wake-up is farthest off only remembers message ids; one with an exchange under
            // way wakes sooner.
            let idle = self.wakes.iter().next_back().map(|(_, peer)| *peer).filter(|peer| {
                self.peers.get(peer).is_some_and(|known| known.active.is_none() && known.queue.is_empty())
            });
            self.forget(idle.ok_or(Error::TooManyPeers)?);
        }
        let names = self.next_random();
        let life = u64::from(self.params.exchange_lifetime_ms);
        let wakes = &mut self.wakes;
        Ok(self.peers.entry(peer).or_insert_with(|| {
            let wake_ms = now_ms + life;
            wakes.insert((wake_ms, peer));
            Peer {
                next_mid: names as u16,
                next_token: (names >> 16) as u16,
                active: None,
                queue: VecDeque::new(),
                seen: VecDeque::new(),
                round_trip: None,
                named_until_ms: now_ms,
                wake_ms,
            }
        }))
    }

    fn rearm(&mut self, peer: P) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let wake_ms = known.next_wake();
        if wake_ms != known.wake_ms {
            self.wakes.remove(&(known.wake_ms, peer));
            known.wake_ms = wake_ms;
            if wake_ms != u64::MAX {
                self.wakes.insert((wake_ms, peer));
            }
        }
    }

    fn push(&mut self, peer: P, bytes: Vec<u8>) {
        self.transmit.push_back((peer, bytes));
    }

    /// Between 1 and ACK_RANDOM_FACTOR, in thousandths.
    fn jitter(&mut self) -> u64 {
        let span = u64::from(self.params.ack_random_permille.saturating_sub(1000)) + 1;
        1000 + self.next_random() % span
    }

    /// xorshift64*: spreads back-off and ids; no secret hangs on it.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}
