//! The way to the nodes: UDP that the operating system routes, or the userspace 802.15.4 link to a medium.

use lowpan::{Eui64, Stack, ether};
use node_proto::paths::COAP_PORT;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// How often the medium is greeted, so that it knows where this radio is after it restarts.
pub const GREETING: Duration = Duration::from_secs(2);

/// Which link, and where.
#[derive(Clone, Debug)]
pub enum LinkConfig {
    /// A UDP socket behind a Thread or 6LoWPAN border router.
    Udp(SocketAddr),
    /// Datagrams over channels, for benchmarks and tests without sockets.
    Memory(MemoryLink),
    /// A radio on the medium at `air`.
    Radio {
        /// Where the medium listens.
        air: SocketAddr,
        /// This radio's address.
        eui64: Eui64,
    },
}

/// A datagram and the node's address.
pub type Datagram = (SocketAddr, Vec<u8>);

/// The gateway's ends of a link in memory; opened once.
#[derive(Clone)]
pub struct MemoryLink(Arc<Mutex<Option<MemoryEnds>>>);

type MemoryEnds = (mpsc::Receiver<Datagram>, mpsc::Sender<Datagram>);

impl std::fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("memory")
    }
}

impl MemoryLink {
    /// A link with room for `room` datagrams each way, and the nodes' ends of it. What finds no room is lost.
    pub fn new(room: usize) -> (Self, mpsc::Sender<Datagram>, mpsc::Receiver<Datagram>) {
        let (to_gateway, at_gateway) = mpsc::channel(room);
        let (to_nodes, at_nodes) = mpsc::channel(room);
        (Self(Arc::new(Mutex::new(Some((at_gateway, to_nodes))))), to_gateway, at_nodes)
    }
}

/// An open link.
pub(crate) enum Link {
    Memory(MemoryEnds),
    Udp(UdpSocket),
    Radio { socket: UdpSocket, stack: Box<Stack> },
}

impl Link {
    pub async fn open(config: &LinkConfig) -> io::Result<Self> {
        match config {
            LinkConfig::Memory(link) => {
                let ends = link.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
                ends.map(Self::Memory).ok_or_else(|| io::Error::other("the link in memory is open already"))
            }
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
                Self::Memory((from_nodes, _)) => match from_nodes.recv().await {
                    Some(datagram) => return datagram,
                    None => std::future::pending().await,
                },
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

    /// A datagram that is there already.
    pub fn try_receive(&mut self) -> Option<Datagram> {
        match self {
            Self::Memory((from_nodes, _)) => from_nodes.try_recv().ok(),
            Self::Udp(socket) => {
                let mut buffer = [0; 2048];
                let (len, peer) = socket.try_recv_from(&mut buffer).ok()?;
                Some((peer, buffer[..len].to_vec()))
            }
            Self::Radio { .. } => None, // frames come one by one anyway
        }
    }

    pub async fn send(&mut self, peer: SocketAddr, bytes: &[u8]) {
        match self {
            Self::Memory((_, to_nodes)) => {
                let _ = to_nodes.try_send((peer, bytes.to_vec())); // lost, as on a radio
            }
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
            Self::Udp(_) | Self::Memory(_) => None,
            Self::Radio { stack, .. } => Some(stack.counters()),
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::debug!(%error, "cannot receive");
    tokio::time::sleep(Duration::from_millis(20)).await;
}
