//! Sockets: a listener for all actors here, one connection to each address there.

mod serve;

pub use serve::serve_stream;

use crate::tls::{Stream, Tls};
use crate::wire::{self, Message, Upid};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Connections served at once.
const CONNECTIONS_MAX: usize = 4096;
/// Messages waiting for one peer.
const QUEUE_MAX: usize = 65_536;
/// How long a peer may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be open before its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(60);
/// First byte of a TLS connection (RFC 8446 §5.1: handshake).
const TLS_HANDSHAKE: u8 = 0x16;
/// Messages put into one write.
const BATCH: usize = 256;

/// A response body, which may go on for ever.
pub type Body = BoxBody<Bytes, Infallible>;

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// Answers ordinary requests; their bodies are whole and at most [`Config::max_body`] bytes.
pub type HttpHandler =
    Arc<dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// Settings of a transport.
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What to call this address towards peers, if they reach it by another one.
    pub advertise: Option<SocketAddrV4>,
    /// Whether there is such an actor here; a message to another is answered 404.
    pub is_hosted: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Everything that is not a message.
    pub http: HttpHandler,
    /// Largest body of a message or request, bytes.
    pub max_body: usize,
    /// Encrypts every connection, in and out.
    pub tls: Option<Tls>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message arrived.
    Message(Message),
    /// The connection to a linked address closed or could not be made: every actor there has exited.
    Exited(SocketAddrV4),
}

/// The address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// What passed and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages delivered to actors here.
    pub received: u64,
    /// Messages handed to connections.
    pub sent: u64,
    /// Messages for peers that could not be reached or did not keep up.
    pub dropped: u64,
    /// Requests refused: no such actor, bad path, too large, too slow.
    pub refused: u64,
    /// Connections taken.
    pub connections: u64,
    /// Connections closed because nothing came of them: no TLS, or no request for a minute.
    pub connections_refused: u64,
}

#[derive(Default)]
struct Totals {
    received: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
    connections_refused: AtomicU64,
}

struct Peer {
    queue: mpsc::Sender<Vec<u8>>,
    linked: bool,
    /// Tells this connection from a later one to the same address.
    generation: u64,
}

struct Shared {
    local: SocketAddrV4,
    peers: Mutex<HashMap<SocketAddrV4, Peer>>,
    events: mpsc::Sender<Event>,
    totals: Totals,
    generations: AtomicU64,
    tls: Option<Tls>,
}

/// The actors' way in and out. Dropping the last clone stops listening; see [`Transport::ending`].
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
    _listener: Arc<Abort>,
    ended: watch::Receiver<()>,
}

struct Abort(JoinHandle<()>);

/// The listener of a transport that is being dropped.
pub struct Ending(watch::Receiver<()>);

impl Ending {
    /// Waits until the port is free.
    pub async fn wait(mut self) {
        // Nothing is ever sent: an error says that the other half is gone, and the listener before it.
        while self.0.changed().await.is_ok() {}
    }
}

/// The listener, and after it (fields go in this order) what tells that it is closed.
struct Listener {
    tcp: TcpListener,
    _open: watch::Sender<()>,
}

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Transport {
    /// Listens and serves until dropped. Events wait when `events` is full; so do the connections they came by.
    pub async fn bind(config: Config, events: mpsc::Sender<Event>) -> Result<Self, BindError> {
        let fail = |source| BindError { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        let local = config.advertise.unwrap_or_else(|| match bound {
            SocketAddr::V4(address) if !address.ip().is_unspecified() => address,
            // Peers dial what they are told: an unspecified address is only of use on this machine.
            other => SocketAddrV4::new(Ipv4Addr::LOCALHOST, other.port()),
        });
        let shared = Arc::new(Shared {
            local,
            peers: Mutex::default(),
            events,
            totals: Totals::default(),
            generations: AtomicU64::new(0),
            tls: config.tls.clone(),
        });
        let (open, ended) = watch::channel(());
        let listener = Listener { tcp: listener, _open: open };
        let task = tokio::spawn(serve(listener, Arc::new(config), shared.clone()));
        Ok(Self { shared, _listener: Arc::new(Abort(task)), ended })
    }

    /// What to wait for, after the last clone was dropped, before the port is used again.
    pub fn ending(&self) -> Ending {
        Ending(self.ended.clone())
    }

    /// The address that peers are told.
    pub fn local(&self) -> SocketAddrV4 {
        self.shared.local
    }

    /// Sends a message from an actor here. There is no answer: what is lost is the sender's to notice.
    pub fn send(&self, from_actor: &str, to: &Upid, name: &str, body: &[u8]) {
        let from = Upid::new(from_actor, self.shared.local);
        let bytes = wire::encode(&from, to, name, body);
        let totals = &self.shared.totals;
        match self.queue(to.addr, false).try_send(bytes) {
            Ok(()) => totals.sent.fetch_add(1, Relaxed),
            Err(_) => totals.dropped.fetch_add(1, Relaxed),
        };
    }

    /// Connects to an address for good: [`Event::Exited`] follows when that ends.
    pub fn link(&self, addr: SocketAddrV4) {
        self.queue(addr, true);
    }

    /// What passed so far.
    pub fn counters(&self) -> Counters {
        let totals = &self.shared.totals;
        Counters {
            received: totals.received.load(Relaxed),
            sent: totals.sent.load(Relaxed),
            dropped: totals.dropped.load(Relaxed),
            refused: totals.refused.load(Relaxed),
            connections: totals.connections.load(Relaxed),
            connections_refused: totals.connections_refused.load(Relaxed),
        }
    }

    fn queue(&self, addr: SocketAddrV4, link: bool) -> mpsc::Sender<Vec<u8>> {
        let mut peers = self.shared.peers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(peer) = peers.get_mut(&addr).filter(|peer| !peer.queue.is_closed()) {
            peer.linked |= link;
            return peer.queue.clone();
        }
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let generation = self.shared.generations.fetch_add(1, Relaxed);
        peers.insert(addr, Peer { queue: queue.clone(), linked: link, generation });
        let shared = self.shared.clone();
        tokio::spawn(async move {
            if let Err(error) = carry(addr, messages, shared.tls.as_ref()).await {
                tracing::debug!(%addr, %error, "connection ended");
            }
            let linked = {
                let mut peers = shared.peers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                match peers.get(&addr) {
                    Some(peer) if peer.generation == generation => {
                        let linked = peer.linked;
                        peers.remove(&addr);
                        linked
                    }
                    _ => false,
                }
            };
            if linked {
                let _ = shared.events.send(Event::Exited(addr)).await;
            }
        });
        queue
    }
}

/// Carries messages to one address until either side ends it. Replies are read and thrown away: left unread they
/// would stall the peer.
async fn carry(
    addr: SocketAddrV4,
    mut messages: mpsc::Receiver<Vec<u8>>,
    tls: Option<&Tls>,
) -> io::Result<()> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(addr, tls)).await??;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut batch = Vec::new();
    let mut replies = [0; 4096];
    loop {
        tokio::select! {
            count = messages.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return Ok(());
                }
                // While this waits for a peer that reads nothing, the peer's replies must not fill up.
                let bytes = batch.concat();
                batch.clear();
                let mut written = 0;
                while written < bytes.len() {
                    tokio::select! {
                        count = writer.write(&bytes[written..]) => written += count?,
                        count = reader.read(&mut replies) => if count? == 0 { return Ok(()) },
                    }
                }
            }
            count = reader.read(&mut replies) => if count? == 0 { return Ok(()) },
        }
    }
}

async fn connect(addr: SocketAddrV4, tls: Option<&Tls>) -> io::Result<Box<dyn Stream>> {
    let plain = async || {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(stream)
    };
    let Some(tls) = tls else { return Ok(Box::new(plain().await?)) };
    match tls.connect(addr, plain().await?).await {
        Err(error) if tls.downgrade => {
            tracing::warn!(%addr, %error, "no TLS there: in the clear");
            Ok(Box::new(plain().await?))
        }
        encrypted => encrypted,
    }
}

/// The connection to serve; `None` for one that is refused.
async fn secured(stream: TcpStream, tls: Option<&Tls>) -> Option<Box<dyn Stream>> {
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    let mut first = [0];
    let count = tokio::time::timeout(FIRST_REQUEST, stream.peek(&mut first)).await.ok()?.ok()?;
    if count == 1 && first[0] != TLS_HANDSHAKE && tls.downgrade {
        return Some(Box::new(stream));
    }
    match tokio::time::timeout(CONNECT_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS with this peer");
            None
        }
        Err(_) => None,
    }
}

async fn serve(listener: Listener, config: Arc<Config>, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Connections end with the listener, as a process' sockets do with the process.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.tcp.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: others have to close first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let (config, shared) = (config.clone(), shared.clone());
        connections.spawn(async move {
            let _place = place;
            let _ = stream.set_nodelay(true);
            shared.totals.connections.fetch_add(1, Relaxed);
            let refused = shared.clone();
            let Some(stream) = secured(stream, config.tls.as_ref()).await else {
                refused.totals.connections_refused.fetch_add(1, Relaxed);
                return;
            };
            serve::converse(stream, config, shared).await;
        });
    }
}
