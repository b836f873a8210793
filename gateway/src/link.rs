//! The way to the nodes: UDP that the operating system routes, or the userspace 802.15.4 link to a medium.

use lowpan::{Eui64, Stack, ether};
use node_proto::paths::COAP_PORT;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;
use tokio::net::UdpSocket;

/// How often the medium is greeted, so that it knows where this radio is after it restarts.
pub const GREETING: Duration = Duration::from_secs(2);

/// Which link, and where.
#[derive(Clone, Debug)]
pub enum LinkConfig {
    /// A UDP socket behind a Thread or 6LoWPAN border router.
    Udp(SocketAddr),
    /// A radio on the medium at `air`.
    Radio {
        /// Where the medium listens.
        air: SocketAddr,
        /// This radio's address.
        eui64: Eui64,
    },
}

/// An open link.
pub(crate) enum Link {
    Udp(UdpSocket),
    Radio { socket: UdpSocket, stack: Box<Stack> },
}

impl Link {
    pub async fn open(config: &LinkConfig) -> io::Result<Self> {
        match config {
            LinkConfig::Udp(address) => Ok(Self::Udp(UdpSocket::bind(address).await?)),
            LinkConfig::Radio { air, eui64 } => {
                let any: SocketAddr =
                    if air.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(air).await?;
                let config = lowpan::Config { short: Some(1), ..lowpan::Config::new(*eui64) };
                let link = Self::Radio { socket, stack: Box::new(Stack::new(config)) };
                link.greet().await;
                Ok(link)
            }
        }
    }

    /// Tells the medium where this radio is.
    pub async fn greet(&self) {
        if let Self::Radio { socket, .. } = self {
            let _ = socket.send(&ether::wrap(&[])).await; // the next greeting may succeed
        }
    }

    /// The next datagram of a node. Errors of a connected socket (nobody listens at the medium) pass.
    pub async fn receive(&mut self, now_ms: impl Fn() -> u64) -> (SocketAddr, Vec<u8>) {
        let mut buffer = [0; 2048];
        loop {
            match self {
                Self::Udp(socket) => match socket.recv_from(&mut buffer).await {
                    Ok((len, peer)) => return (peer, buffer[..len].to_vec()),
                    Err(error) => pause(&error).await,
                },
                Self::Radio { socket, stack } => match socket.recv(&mut buffer).await {
                    Ok(len) => {
                        let frame = ether::unwrap(&buffer[..len]).filter(|frame| !frame.is_empty());
                        let Some(Ok(Some(datagram))) = frame.map(|frame| stack.decode(frame, now_ms()))
                        else {
                            continue;
                        };
                        if datagram.dst_port != COAP_PORT {
                            continue;
                        }
                        let peer = SocketAddrV6::new(datagram.src, datagram.src_port, 0, 0);
                        return (peer.into(), datagram.payload);
                    }
                    Err(error) => pause(&error).await,
                },
            }
        }
    }

    pub async fn send(&mut self, peer: SocketAddr, bytes: &[u8]) {
        match self {
            Self::Udp(socket) => {
                if let Err(error) = socket.send_to(bytes, peer).await {
                    tracing::debug!(%peer, %error, "cannot send");
                }
            }
            Self::Radio { socket, stack } => {
                let SocketAddr::V6(to) = peer else { return };
                match stack.encode(*to.ip(), COAP_PORT, to.port(), bytes) {
                    Ok(frames) => {
                        for frame in frames {
                            // A frame that cannot be sent is a frame lost: CoAP sends it again.
                            let _ = socket.send(&ether::wrap(&frame)).await;
                        }
                    }
                    Err(error) => tracing::warn!(%peer, %error, "cannot send"),
                }
            }
        }
    }

    pub fn counters(&self) -> Option<lowpan::Counters> {
        match self {
            Self::Udp(_) => None,
            Self::Radio { stack, .. } => Some(stack.counters()),
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::debug!(%error, "cannot receive");
    tokio::time::sleep(Duration::from_millis(20)).await;
}
