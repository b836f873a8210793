//! The way to the gateway, and who else asks.

use crate::udp::{Endpoint, RECEIVE_MAX, Udp};
use agent_core::Peer;
use heapless::Vec;
use libtock_platform::Syscalls;
use node_proto::paths::COAP_PORT;

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent.
    pub sent: u32,
    /// Their bytes.
    pub bytes_sent: u32,
    /// Datagrams received.
    pub received: u32,
    /// Their bytes.
    pub bytes_received: u32,
}

/// A way to the gateway.
pub trait Link {
    /// Sends one datagram; what cannot be sent is lost, as on any radio.
    fn send(&mut self, to: Peer, bytes: &[u8]);
    /// The oldest datagram that came, and from whom.
    fn receive(&mut self) -> Option<(Peer, Vec<u8, RECEIVE_MAX>)>;
    /// True if a datagram waits.
    fn is_waiting(&self) -> bool;
    /// Does what is due; gives when there is more to do.
    fn tend(&mut self, now_ms: u64) -> u64;
    /// What passed so far.
    fn traffic(&self) -> Traffic;
}

/// UDP on the kernel's 6LoWPAN.
pub struct UdpLink<S: Syscalls + 'static> {
    udp: Udp<S>,
    gateway: Endpoint,
    visitors: Visitors,
    traffic: Traffic,
}

impl<S: Syscalls + 'static> UdpLink<S> {
    /// The link to the gateway with this EUI-64.
    pub fn new(udp: Udp<S>, gateway: [u8; 8]) -> Self {
        let gateway = Endpoint { address: link_local(gateway), port: COAP_PORT };
        Self { udp, gateway, visitors: Visitors::default(), traffic: Traffic::default() }
    }
}

impl<S: Syscalls + 'static> Link for UdpLink<S> {
    fn send(&mut self, to: Peer, bytes: &[u8]) {
        let to = match to {
            Peer::Gateway => Some(self.gateway),
            Peer::Visitor(number) => self.visitors.address(number),
        };
        if to.is_some_and(|to| self.udp.send(to, bytes)) {
            self.traffic.sent = self.traffic.sent.wrapping_add(1);
            self.traffic.bytes_sent = self.traffic.bytes_sent.wrapping_add(bytes.len() as u32);
        }
    }

    fn receive(&mut self) -> Option<(Peer, Vec<u8, RECEIVE_MAX>)> {
        let datagram = self.udp.receive()?;
        self.traffic.received = self.traffic.received.wrapping_add(1);
        self.traffic.bytes_received = self.traffic.bytes_received.wrapping_add(datagram.bytes.len() as u32);
        let from = datagram.from;
        let is_gateway = from.port == self.gateway.port && same_host(&from.address, &self.gateway.address);
        let peer = if is_gateway { Peer::Gateway } else { self.visitors.number(from) };
        Some((peer, datagram.bytes))
    }

    fn is_waiting(&self) -> bool {
        self.udp.is_waiting()
    }

    fn tend(&mut self, _now_ms: u64) -> u64 {
        u64::MAX
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

/// The link-local address made of an EUI-64 (RFC 4291, appendix A).
pub fn link_local(eui64: [u8; 8]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&[0xfe, 0x80]);
    address[8..].copy_from_slice(&eui64);
    address[8] ^= UNIVERSAL;
    address
}

/// The bit of an EUI-64 that is inverted in an interface identifier.
const UNIVERSAL: u8 = 0x02;

/// Whether two addresses are one host's. The kernel gives a sender whose address was left out of the frame the one made
/// of its long MAC address, with that bit inverted; a sender that wrote out an address made of a short one
/// (fe80::ff:fe00:1) has the same with the bit as in the EUI-64. Who it really is, OSCORE says.
fn same_host(one: &[u8; 16], other: &[u8; 16]) -> bool {
    one[..8] == other[..8] && (one[8] ^ other[8]) & !UNIVERSAL == 0 && one[9..] == other[9..]
}

/// Addresses of those who read what the node tells of itself; the one that has not asked for longest makes room.
#[derive(Default)]
struct Visitors {
    /// By number, with the time of the last question.
    held: Vec<(Endpoint, u32), { Peer::VISITORS_MAX as usize }>,
    clock: u32,
}

impl Visitors {
    fn address(&self, number: u8) -> Option<Endpoint> {
        self.held.get(usize::from(number)).map(|(address, _)| *address)
    }

    fn number(&mut self, address: Endpoint) -> Peer {
        self.clock = self.clock.wrapping_add(1);
        let at = match self.held.iter().position(|(held, _)| *held == address) {
            Some(at) => at,
            None if self.held.push((address, 0)).is_ok() => self.held.len() - 1,
            None => {
                let age = |used: u32| self.clock.wrapping_sub(used);
                let oldest = self.held.iter().enumerate().max_by_key(|(_, (_, used))| age(*used));
                oldest.map_or(0, |(at, _)| at)
            }
        };
        if let Some(held) = self.held.get_mut(at) {
            *held = (address, self.clock);
        }
        Peer::Visitor(at as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visitor_that_was_silent_for_longest_makes_room() {
        let address = |port| Endpoint { address: link_local([port as u8; 8]), port };
        let mut visitors = Visitors::default();
        for port in 1..=4 {
            assert_eq!(visitors.number(address(port)), Peer::Visitor(port as u8 - 1));
        }
        assert_eq!(visitors.number(address(1)), Peer::Visitor(0));
        assert_eq!(visitors.number(address(5)), Peer::Visitor(1));
        assert_eq!((visitors.address(1), visitors.address(9)), (Some(address(5)), None));
    }

    #[test]
    fn the_gateway_is_known_in_both_forms_and_nobody_else_is() {
        let gateway = link_local([0x02, 0, 0, 0xff, 0xfe, 0, 0, 1]);
        let mut short = [0; 16];
        short[..2].copy_from_slice(&[0xfe, 0x80]);
        short[11..13].copy_from_slice(&[0xff, 0xfe]);
        short[15] = 1;
        assert_eq!(gateway, short);
        short[8] = UNIVERSAL;
        assert!(same_host(&gateway, &short));
        for bit in (0..128).filter(|bit| *bit != 8 * 8 + 1) {
            let mut other = gateway;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same_host(&gateway, &other), "bit {bit}");
        }
    }
}
