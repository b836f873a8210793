//! Message layer and request/response layer of RFC 7252 for many peers, driven from outside.

mod exchange;
mod kinds;
mod peer;

use crate::map::{Map, Set};
use crate::message::{Request, Response};
use crate::packet::{self, Content, Incoming};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coap_lite::MessageType;
pub use kinds::{Counters, Error, Event, ExchangeId, Params, RequestId, Sort};
use peer::{Outgoing, Peer, Purpose, Seen, answers};

/// CoAP towards any number of peers. A peer with nothing under way and nothing to remember costs no memory.
#[derive(Debug)]
pub struct Endpoint<P> {
    params: Params,
    peers: Map<P, Peer>,
    wakes: Set<(u64, P)>,
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
            peers: Map::new(),
            wakes: Set::new(),
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
        let bytes = packet::write_request(request, mid, &token.to_be_bytes()).ok_or(Error::TooLong)?;
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
                let bytes = packet::write_response(MessageType::Acknowledgement, response, id.mid, token)
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
                let bytes = packet::write_response(kind, response, mid, token).ok_or(Error::TooLong)?;
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
        match packet::read(datagram) {
            Ok(incoming) => Some(incoming),
            Err(reject) => {
                self.counters.malformed += 1;
                if let Some(mid) = reject {
                    self.push(peer, packet::write_empty(MessageType::Reset, mid));
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
            Content::Refused(_) => Sort::Refused,
            Content::Empty => Sort::Other,
        }
    }

    /// Takes a message that was read.
    pub fn take(&mut self, peer: P, incoming: Incoming, now_ms: u64) {
        let (kind, mid) = (incoming.kind, incoming.mid);
        match (kind, incoming.content) {
            (MessageType::Confirmable, Content::Empty) => {
                // A ping (RFC 7252 §4.3).
                self.push(peer, packet::write_empty(MessageType::Reset, mid));
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
                    self.push(peer, packet::write_empty(kind, mid));
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
            Content::Refused(code) => {
                let _ = self.respond(peer, id, &Response::new(code, &[]), now_ms);
            }
            Content::Response(_) | Content::Empty => {} // taken elsewhere
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
            self.wakes.remove(&(at, peer));
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
}
