//! Exchanges under way: sent, repeated, ended, one at a time with each peer.

use super::peer::{Outgoing, Peer, Purpose, RoundTrip, answers};
use super::{Endpoint, Error, Event};
use crate::message::Response;
use crate::packet;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coap_lite::MessageType;

impl<P: Copy + Ord> Endpoint<P> {
    pub(super) fn wake(&mut self, peer: P, now_ms: u64) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.wake_ms = u64::MAX;
        known.seen.retain(|seen| seen.expires_ms > now_ms);
        known.round_trip.take_if(|held| held.expires_ms <= now_ms);
        let mut acks = Vec::new();
        for seen in &mut known.seen {
            if seen.confirmable && seen.reply.is_none() && seen.ack_due_ms <= now_ms {
                let ack = packet::write_empty(MessageType::Acknowledgement, seen.mid);
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
            self.given_up(peer, out.purpose, out.retransmits);
        }
        self.advance(peer, now_ms);
    }

    pub(super) fn acknowledged(&mut self, peer: P, mid: u16, now_ms: u64) {
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

    pub(super) fn reset(&mut self, peer: P, mid: u16, now_ms: u64) {
        let active = self.peers.get(&peer).and_then(|known| known.active.as_ref());
        match active.filter(|out| out.mid == mid) {
            None => self.counters.unmatched += 1,
            Some(out) => {
                let (purpose, again) = (out.purpose, out.retransmits);
                self.given_up(peer, purpose, again);
                self.finish_active(peer, now_ms);
            }
        }
    }

    pub(super) fn given_up(&mut self, peer: P, purpose: Purpose, again: u8) {
        self.events.push_back(match purpose {
            Purpose::Request(exchange) => Event::Failed { peer, exchange, again },
            Purpose::Response(id) => Event::Undelivered { peer, id },
        });
    }

    pub(super) fn complete(
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
        let again = out.retransmits;
        // Only of what was sent once: else nobody knows which of them was answered (RFC 6298 §3).
        if measures && out.confirmable && out.retransmits == 0 && !out.acknowledged {
            let sample_ms = now_ms.saturating_sub(out.sent_ms) as u32;
            known.round_trip = Some(RoundTrip::after(known.round_trip, sample_ms, now_ms));
        }
        self.events.push_back(Event::Response { peer, exchange, response, again });
        self.finish_active(peer, now_ms);
        true
    }

    pub(super) fn finish_active(&mut self, peer: P, now_ms: u64) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.active = None;
        }
        self.advance(peer, now_ms);
    }

    /// Sends the next queued message of a peer if none is under way; forgets a peer with nothing left.
    pub(super) fn advance(&mut self, peer: P, now_ms: u64) {
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
    pub(super) fn enqueue(
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
    pub(super) fn name(&mut self, peer: P, now_ms: u64) -> Result<(u16, u16), Error> {
        let life = u64::from(self.params.exchange_lifetime_ms);
        let known = self.peer(peer, now_ms)?;
        known.named_until_ms = now_ms + life;
        known.next_mid = known.next_mid.wrapping_add(1);
        known.next_token = known.next_token.wrapping_add(1);
        Ok((known.next_mid, known.next_token))
    }

    pub(super) fn peer(&mut self, peer: P, now_ms: u64) -> Result<&mut Peer, Error> {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.params.peers_max {
            // The one whose next wake-up is farthest off only remembers message ids; one with an exchange under
            // way wakes sooner.
            let idle = self.wakes.last().map(|(_, peer)| *peer).filter(|peer| {
                self.peers.get(peer).is_some_and(|known| known.active.is_none() && known.queue.is_empty())
            });
            self.forget(idle.ok_or(Error::TooManyPeers)?);
        }
        let names = self.next_random();
        let life = u64::from(self.params.exchange_lifetime_ms);
        if !self.peers.contains_key(&peer) {
            let wake_ms = now_ms + life;
            self.wakes.insert((wake_ms, peer));
            let known = Peer {
                next_mid: names as u16,
                next_token: (names >> 16) as u16,
                active: None,
                queue: VecDeque::new(),
                seen: VecDeque::new(),
                round_trip: None,
                named_until_ms: now_ms,
                wake_ms,
            };
            self.peers.insert(peer, known);
        }
        self.peers.get_mut(&peer).ok_or(Error::TooManyPeers)
    }

    pub(super) fn rearm(&mut self, peer: P) {
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

    pub(super) fn push(&mut self, peer: P, bytes: Vec<u8>) {
        self.transmit.push_back((peer, bytes));
    }

    /// Between 1 and ACK_RANDOM_FACTOR, in thousandths.
    pub(super) fn jitter(&mut self) -> u64 {
        let span = u64::from(self.params.ack_random_permille.saturating_sub(1000)) + 1;
        1000 + self.next_random() % span
    }

    /// xorshift64*: spreads back-off and ids; no secret hangs on it.
    pub(super) fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}
