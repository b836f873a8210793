//! A Thread network under the same UDP, joined by the kernel's own child (`capsules/extra/src/net/thread/driver.rs`).
//!
//! What this does: it makes the MLE and MAC keys of the network key, hands them to the driver, waits for its upcall, tries
//! again after a pause that doubles, and holds back datagrams until the node has joined.
//!
//! What cannot be tried without radios, and is known of the kernel from reading only: the driver joins as a child and
//! does no more. It sends no Child Update, so that a parent drops it when the child's timeout ends; it does not give the
//! MAC the keys, so that datagrams go out unsecured and a Thread router drops them; and it has no mesh-local address,
//! so that only a gateway in radio reach, on its link-local address, could answer. A second join is refused as `BUSY`
//! until the kernel restarts, which here counts as joined. Nodes that have to be in a Thread network today run
//! OpenThread; this link is where the kernel's support arrives when it is complete.

use crate::clock::Clock;
use crate::link::{Link, Traffic, UdpLink};
use crate::share;
use crate::udp::RECEIVE_MAX;
use agent_core::Peer;
use alloc::boxed::Box;
use core::cell::Cell;
use heapless::Vec;
use hmac::{Hmac, Mac};
use libtock_platform::subscribe::OneId;
use libtock_platform::{AllowRo, DefaultConfig, ErrorCode, Syscalls, Upcall, share as scoped};
use sha2::Sha256;

/// Tock's number of the driver.
pub const DRIVER: u32 = 0x30005;
const JOIN: u32 = 1;
const KEYS: u32 = 0;
const JOINED: u32 = 0;

/// Pause after the first attempt that failed, milliseconds; doubled after each.
const PAUSE_MS: u64 = 5_000;
/// Longest pause.
const PAUSE_MAX_MS: u64 = 320_000;
/// How long joining may take before it counts as failed, milliseconds.
const JOINING_MS: u64 = 15_000;

/// What the driver said last: a status code.
#[derive(Default)]
struct Said(Cell<Option<u32>>);

impl Upcall<OneId<DRIVER, JOINED>> for Said {
    fn upcall(&self, status: u32, _: u32, _: u32) {
        self.0.set(Some(status));
    }
}

/// Where the node is on its way into the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Out { next_ms: u64, pause_ms: u64 },
    Joining { until_ms: u64, pause_ms: u64 },
    In,
}

/// UDP in a Thread network.
pub struct ThreadLink<S: Syscalls + 'static> {
    under: UdpLink<S>,
    keys: [u8; 32],
    said: &'static Said,
    membership: Membership,
}

impl<S: Syscalls + 'static> ThreadLink<S> {
    /// A link that joins the network with this key before it sends.
    pub fn new(
        under: UdpLink<S>,
        clock: &Clock<S>,
        key: &[u8; 16],
        key_sequence: u32,
    ) -> Result<Self, ErrorCode> {
        let said: &'static Said = Box::leak(Box::default());
        share::subscribe::<S, _, DRIVER, JOINED>(said)?;
        let membership = Membership::Out { next_ms: clock.now_ms(), pause_ms: PAUSE_MS };
        Ok(Self { under, keys: keys(key, key_sequence), said, membership })
    }

    fn join(&self) -> Result<(), ErrorCode> {
        scoped::scope::<AllowRo<'_, S, DRIVER, KEYS>, _, _>(|handle| {
            S::allow_ro::<DefaultConfig, DRIVER, KEYS>(handle, &self.keys)?;
            S::command(DRIVER, JOIN, 0, 0).to_result()
        })
    }
}

/// The MLE key and the MAC key: Thread 1.3, §7.1.4.1.
fn keys(network_key: &[u8; 16], key_sequence: u32) -> [u8; 32] {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(network_key) else { return [0; 32] };
    mac.update(&key_sequence.to_be_bytes());
    mac.update(b"Thread");
    mac.finalize().into_bytes().into()
}

impl<S: Syscalls + 'static> Link for ThreadLink<S> {
    fn send(&mut self, to: Peer, bytes: &[u8]) {
        if self.membership == Membership::In {
            self.under.send(to, bytes);
        }
    }

    fn receive(&mut self) -> Option<(Peer, Vec<u8, RECEIVE_MAX>)> {
        self.under.receive()
    }

    fn is_waiting(&self) -> bool {
        self.under.is_waiting()
    }

    fn tend(&mut self, now_ms: u64) -> u64 {
        let out = |pause_ms: u64| Membership::Out {
            next_ms: now_ms + pause_ms,
            pause_ms: (2 * pause_ms).min(PAUSE_MAX_MS),
        };
        self.membership = match self.membership {
            Membership::Out { next_ms, pause_ms } if next_ms <= now_ms => {
                self.said.0.set(None);
                match self.join() {
                    Ok(()) => Membership::Joining { until_ms: now_ms + JOINING_MS, pause_ms },
                    // It has joined before this app restarted; the kernel takes keys once.
                    Err(ErrorCode::Busy | ErrorCode::Already) => Membership::In,
                    Err(_) => out(pause_ms),
                }
            }
            Membership::Joining { until_ms, pause_ms } => match self.said.0.take() {
                Some(0) => Membership::In,
                Some(_) => out(pause_ms),
                None if until_ms <= now_ms => out(pause_ms),
                None => self.membership,
            },
            held => held,
        };
        match self.membership {
            Membership::Out { next_ms, .. } => next_ms,
            Membership::Joining { until_ms, .. } => until_ms,
            Membership::In => self.under.tend(now_ms),
        }
    }

    fn traffic(&self) -> Traffic {
        self.under.traffic()
    }
}
