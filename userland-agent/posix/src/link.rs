//! The way to the gateway: a UDP socket, or the userspace 802.15.4 link to a medium.

use agent_core::Peer;
use lowpan::{Eui64, Stack, ether};
use node_proto::paths::COAP_PORT;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Which link, and where.
#[derive(Clone, Debug)]
pub enum LinkConfig {
    /// UDP to a gateway that the operating system reaches.
    Udp(SocketAddr),
    /// A radio on the medium at `air`, and the gateway's radio.
    Radio {
        /// Where the medium listens.
        air: SocketAddr,
        /// The gateway's EUI-64.
        gateway: Eui64,
    },
}

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames, or datagrams on UDP, sent.
    pub frames_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
}

/// An open link.
pub struct Link {
    socket: UdpSocket,
    /// Where the gateway is, or the medium.
    remote: SocketAddr,
    radio: Option<(Stack, Ipv6Addr)>,
    visitors: Visitors,
    traffic: Traffic,
}

impl Link {
    /// Opens the link of the radio `eui64`. On UDP visitors find it at `listen`.
    pub fn open(config: &LinkConfig, eui64: Eui64, listen: Option<SocketAddr>) -> io::Result<Self> {
        let (remote, radio) = match config {
            LinkConfig::Udp(gateway) => (*gateway, None),
            LinkConfig::Radio { air, gateway } => {
                (*air, Some((Stack::new(lowpan::Config::new(eui64)), gateway.link_local())))
            }
        };
        let any: SocketAddr = if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(listen.filter(|_| radio.is_none()).unwrap_or(any))?;
        let link = Self { socket, remote, radio, visitors: Visitors::default(), traffic: Traffic::default() };
        link.greet();
        Ok(link)
    }

    /// Tells the medium where this radio is.
    pub fn greet(&self) {
        if self.radio.is_some() {
            let _ = self.socket.send_to(&ether::wrap(&[]), self.remote); // the next greeting may succeed
        }
    }

    /// Sends one datagram; what cannot be sent is lost, as on any radio.
    pub fn send(&mut self, to: Peer, bytes: &[u8]) {
        let visitor = match to {
            Peer::Gateway => None,
            Peer::Visitor(number) => match self.visitors.address(number) {
                Some(address) => Some(address),
                None => return,
            },
        };
        match &mut self.radio {
            None => {
                let _ = self.socket.send_to(bytes, visitor.unwrap_or(self.remote));
                self.traffic.frames_out += 1;
                self.traffic.bytes_out += bytes.len() as u64;
            }
            Some((stack, gateway)) => {
                let (ip, port) = match visitor {
                    Some(SocketAddr::V6(visitor)) => (*visitor.ip(), visitor.port()),
                    _ => (*gateway, COAP_PORT),
                };
                for frame in stack.encode(ip, COAP_PORT, port, bytes).unwrap_or_default() {
                    let _ = self.socket.send_to(&ether::wrap(&frame), self.remote);
                }
            }
        }
    }

    /// Waits for one datagram, at most `wait`.
    pub fn receive(&mut self, wait: Duration, now_ms: u64) -> Option<(Peer, Vec<u8>)> {
        let mut buffer = [0; 2048];
        // A time-out of zero would mean to wait for ever.
        self.socket.set_read_timeout(Some(wait.max(Duration::from_micros(100)))).ok()?;
        let (len, from) = match self.socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                    // Nobody listens there just now; do not turn in circles until somebody does.
                    std::thread::sleep(wait.min(Duration::from_millis(20)));
                }
                return None;
            }
        };
        let bytes = &buffer[..len];
        match &mut self.radio {
            None => {
                self.traffic.frames_in += 1;
                self.traffic.bytes_in += len as u64;
                let peer = if from == self.remote { Peer::Gateway } else { self.visitors.number(from) };
                Some((peer, bytes.to_vec()))
            }
            Some(_) if from != self.remote => None,
            Some((stack, gateway)) => {
                let frame = ether::unwrap(bytes).filter(|frame| !frame.is_empty())?;
                let datagram = stack.decode(frame, now_ms).ok()??;
                if datagram.dst_port != COAP_PORT {
                    return None;
                }
                let peer = match datagram.src == *gateway && datagram.src_port == COAP_PORT {
                    true => Peer::Gateway,
                    false => self.visitors.number((datagram.src, datagram.src_port).into()),
                };
                Some((peer, datagram.payload))
            }
        }
    }

    /// What passed so far.
    pub fn traffic(&self) -> Traffic {
        match &self.radio {
            None => self.traffic,
            Some((stack, _)) => {
                let counters = stack.counters();
                Traffic {
                    frames_out: counters.frames_out,
                    bytes_out: counters.bytes_out,
                    frames_in: counters.frames_in,
                    bytes_in: counters.bytes_in,
                }
            }
        }
    }
}

/// Addresses of those who read what the node tells of itself; the one that has not asked for longest makes room.
#[derive(Default)]
struct Visitors {
    /// By number, with the time of the last question.
    held: Vec<(SocketAddr, u64)>,
    clock: u64,
}

impl Visitors {
    fn address(&self, number: u8) -> Option<SocketAddr> {
        self.held.get(usize::from(number)).map(|(address, _)| *address)
    }

    fn number(&mut self, address: SocketAddr) -> Peer {
        self.clock += 1;
        let known = self.held.iter().position(|(held, _)| *held == address);
        let at = match known {
            Some(at) => at,
            None if self.held.len() < usize::from(Peer::VISITORS_MAX) => {
                self.held.push((address, 0));
                self.held.len() - 1
            }
            None => {
                let oldest = self.held.iter().enumerate().min_by_key(|(_, (_, used))| *used);
                oldest.map_or(0, |(at, _)| at)
            }
        };
        self.held[at] = (address, self.clock);
        Peer::Visitor(at as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visitor_that_was_silent_for_longest_makes_room() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut visitors = Visitors::default();
        for port in 1..=4 {
            assert_eq!(visitors.number(address(port)), Peer::Visitor(port as u8 - 1));
        }
        assert_eq!(visitors.number(address(1)), Peer::Visitor(0));
        assert_eq!(visitors.number(address(5)), Peer::Visitor(1));
        assert_eq!((visitors.address(1), visitors.address(9)), (Some(address(5)), None));
    }
}
