//! The way to the gateway: a UDP socket, or the userspace 802.15.4 link to a medium.

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
    radio: Option<(Stack, Ipv6Addr)>,
    traffic: Traffic,
}

impl Link {
    /// Opens the link of the radio `eui64`.
    pub fn open(config: &LinkConfig, eui64: Eui64) -> io::Result<Self> {
        let (peer, radio) = match config {
            LinkConfig::Udp(gateway) => (*gateway, None),
            LinkConfig::Radio { air, gateway } => {
                (*air, Some((Stack::new(lowpan::Config::new(eui64)), gateway.link_local())))
            }
        };
        let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(peer)?;
        let link = Self { socket, radio, traffic: Traffic::default() };
        link.greet();
        Ok(link)
    }

    /// Tells the medium where this radio is.
    pub fn greet(&self) {
        if self.radio.is_some() {
            let _ = self.socket.send(&ether::wrap(&[])); // the next greeting may succeed
        }
    }

    /// Sends one datagram to the gateway; what cannot be sent is lost, as on any radio.
    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.radio {
            None => {
                let _ = self.socket.send(bytes);
                self.traffic.frames_out += 1;
                self.traffic.bytes_out += bytes.len() as u64;
            }
            Some((stack, gateway)) => {
                for frame in stack.encode(*gateway, COAP_PORT, COAP_PORT, bytes).unwrap_or_default() {
                    let _ = self.socket.send(&ether::wrap(&frame));
                }
            }
        }
    }

    /// Waits for one datagram of the gateway, at most `wait`.
    pub fn receive(&mut self, wait: Duration, now_ms: u64) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        // A time-out of zero would mean to wait for ever.
        self.socket.set_read_timeout(Some(wait.max(Duration::from_micros(100)))).ok()?;
        let len = match self.socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                    // Nobody listens there just now; do not turn in circles until somebody does.
                    std::thread::sleep(wait.min(Duration::from_millis(20)));
                }
                return None;
            }
        };
        match &mut self.radio {
            None => {
                self.traffic.frames_in += 1;
                self.traffic.bytes_in += len as u64;
                Some(buffer[..len].to_vec())
            }
            Some((stack, gateway)) => {
                let frame = ether::unwrap(&buffer[..len]).filter(|frame| !frame.is_empty())?;
                let datagram = stack.decode(frame, now_ms).ok()??;
                (datagram.src == *gateway && datagram.dst_port == COAP_PORT).then_some(datagram.payload)
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
