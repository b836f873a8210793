//! The one driver: sockets, files, threads and the clock around the two cores.
//!
//! One task owns both cores. It takes all inputs that are waiting, lets the cores handle them, commits everything
//! they want written in one transaction and only then sends what they want sent. If the commit fails the gateway
//! stops without having promised anything.

mod config;
mod fetching;
mod noting;
mod queries;

pub use config::{BATTERY_MAH, Config};

use crate::agent::{self, Agents, Snapshot, Who};
use crate::bridge::FromNode;
use crate::http;
use crate::images::{self, Fetched, Fetcher, Images, Trust};
use crate::keys::{KeySource, Watched};
use crate::link::{GREETING, Link, LinkConfig};
use crate::offers::Offers;
use crate::session::{self, Sessions};
use crate::store::{Commit, Store, StoreError, Table, Write};
use crate::view::{Look, Seen, Views};
use detect::{Detector, MasterSpec};
use libprocess::{BindError, Tls, Transport, Upid};
use mesos_proto::cram::Credential;
use node_proto::{ImageHandle, News};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Inputs handled before a commit.
const BATCH_MAX: usize = 2_048;
/// Images fetched at once.
const FETCHES_MAX: usize = 16;
/// A URI fetched less than this ago is not fetched again: one download serves a launch on many nodes.
const FRESH: Duration = Duration::from_secs(5);
/// URIs remembered for that.
const RECENT_MAX: usize = 8;
/// Largest message or request body.
const BODY_MAX: usize = 4 << 20;
/// How long messages have to leave before a gateway that retires stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Key of the record of [`Table::Meta`] with the address and domain that the master knows.
const IDENTITY: &[u8] = b"identity";
/// How soon a change of the nodes' keys is noticed.
const KEYS_PAUSE: Duration = Duration::from_secs(1);
/// Pause before another link to the master's address.
const LINK_RETRY: Duration = Duration::from_secs(1);

/// The gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator's token.
    #[error(transparent)]
    Token(#[from] page::TokenError),
    /// The nodes' keys.
    #[error(transparent)]
    Keys(#[from] crate::keys::KeysError),
    /// The master would shut down every agent, or ping it where it was.
    #[error(
        "the master knows these agents at {was}, and they would now be at {now}: go back with --listen, --advertise-ip, \
         --advertise-port and --domain, or give up their ids and tasks with --new-agents"
    )]
    Moved {
        /// Address and domain until now.
        was: String,
        /// Address and domain now.
        now: String,
    },
    /// The image cache.
    #[error("image cache {path}: {source}")]
    Images {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The link to the nodes.
    #[error("link to the nodes ({link:?}): {source}")]
    Link {
        /// Which link.
        link: LinkConfig,
        /// What is wrong.
        source: std::io::Error,
    },
}

/// A running gateway.
pub struct Handle {
    /// The address that peers are told.
    pub address: SocketAddrV4,
    /// Where the operator's page is, with the token if one is asked for.
    pub page: String,
    queries: mpsc::Sender<Query>,
    stop: Option<oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<Result<(), Error>>>,
}

impl Handle {
    /// Unregisters all agents from the master and ends their tasks; [`Handle::stop`] is to follow.
    pub async fn retire(&self) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        if self.queries.send(Query::Retire(reply)).await.is_ok() {
            let _ = done.await; // it has stopped already
            tokio::time::sleep(FAREWELL).await;
        }
        Ok(())
    }

    /// Stops after the step under way.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(()); // it has stopped already
        }
        self.wait().await
    }

    /// Waits until the gateway ends by itself.
    pub async fn wait(&mut self) -> Result<(), Error> {
        match self.done.take() {
            Some(done) => done.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

/// What an operator asks of the driver.
pub(crate) enum Query {
    Nodes {
        offset: usize,
        limit: usize,
        reply: oneshot::Sender<serde_json::Value>,
    },
    Figures(oneshot::Sender<http::Figures>),
    Snapshot(Who, oneshot::Sender<Option<Snapshot>>),
    Image(ImageHandle, oneshot::Sender<Option<Vec<u8>>>),
    LogOf {
        who: Who,
        framework: String,
        task: String,
        offset: u64,
        reply: oneshot::Sender<Option<(u64, Vec<u8>, u64)>>,
    },
    Retire(oneshot::Sender<()>),
    Look(Look),
    Log {
        task: String,
        offset: u64,
        reply: oneshot::Sender<Option<(u64, Vec<u8>)>>,
    },
}

struct Driver {
    started: Instant,
    agents: Agents,
    sessions: Sessions,
    images: Images,
    store: Store,
    transport: Transport,
    link: Link,
    /// Actors hosted are those numbered below this; for the transport, which asks on its own threads.
    hosted: Arc<AtomicU32>,
    fetches: mpsc::UnboundedSender<(String, Result<images::Fetched, String>)>,
    fetcher: Fetcher,
    /// URIs under way, and the images that nodes wait for meanwhile.
    fetching: HashMap<String, BTreeSet<ImageHandle>>,
    /// What was fetched a moment ago.
    recent: VecDeque<(Instant, String, Fetched)>,
    queue: VecDeque<String>,
    commits: u64,
    writes: u64,
    master: detect::Leader,
    relink: Option<Instant>,
    keys: Option<Watched>,
    battery_mah: f64,
    epoch_ms: u64,
    seen: Seen,
}

/// Starts a gateway.
pub async fn run(config: Config) -> Result<Handle, Error> {
    let started = Instant::now();
    let epoch_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let (store, records) = Store::open(&config.state.join("gateway.redb"))?;
    let dir = config.state.join("images");
    let fail = |source| Error::Images { path: dir.clone(), source };
    let images = Images::open(&dir, config.image_cache, &records).map_err(fail)?;
    let fetcher = Fetcher::new(&dir.join("half")).map_err(fail)?;
    let hosted: Arc<AtomicU32> = Arc::default();
    let is_hosted = {
        let hosted = hosted.clone();
        Arc::new(move |actor: &str| {
            agent::actor_number(actor).is_some_and(|number| number > 0 && number < hosted.load(Relaxed))
        })
    };
    let guard =
        page::Guard::new(config.listen, config.token_file.as_deref(), Some(&config.state.join("token")))?;
    let page = page::Page::new(guard);
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let (queries, asked) = mpsc::channel(64);
    let (events, received) = mpsc::channel(4096);
    let transport = Transport::bind(
        libprocess::Config {
            listen: config.listen,
            advertise: config.advertise,
            is_hosted,
            http: http::handler(
                queries.clone(),
                page.clone(),
                Views::new(queries.clone(), config.trust.clone()),
            ),
            max_body: BODY_MAX,
            tls: config.tls,
        },
        events,
    )
    .await?;
    let address = transport.local();
    let link =
        Link::open(&config.link).await.map_err(|source| Error::Link { link: config.link.clone(), source })?;
    let identity = format!("{address} ({})", config.domain);
    let agents = agent::Config {
        version: "1.11.0".into(),
        domain: config.domain,
        port: address.port(),
        epoch_ms,
        credential: config.credential,
        offers: config.offers,
        trust: config.trust,
    };
    let sessions_config = session::Config { epoch_ms, ..config.sessions };
    let mut sessions = Sessions::new(sessions_config, &records, rand::random(), 0);
    let keys = match config.keys {
        _ if sessions_config.insecure => {
            tracing::warn!(
                "INSECURE: nodes are taken at their word, and what they say can be read and forged"
            );
            None
        }
        KeySource::Held(keyring) => {
            sessions.set_keys(keyring, 0);
            None
        }
        KeySource::File(path) => {
            let keyring = crate::keys::read(&path)?;
            if keyring.credentials.is_empty() {
                tracing::warn!(keys = %path.display(), "no node is commissioned: see micro commission");
            }
            sessions.set_keys(keyring, 0);
            Some(Watched::new(path))
        }
    };
    let (fetches, fetched) = mpsc::unbounded_channel();
    let mut driver = Driver {
        started,
        agents: Agents::new(agents, address, &records, rand::random(), 0),
        sessions,
        images,
        store,
        transport,
        link,
        hosted,
        fetches,
        fetcher,
        fetching: HashMap::new(),
        recent: VecDeque::new(),
        queue: Default::default(),
        commits: 0,
        writes: 0,
        master: None,
        relink: None,
        keys,
        battery_mah: config.battery_mah,
        epoch_ms,
        seen: Seen::new(epoch_ms),
    };
    let known = records.iter().find(|(table, key, _)| *table == Table::Meta && key == IDENTITY);
    let was = known.map(|(.., value)| String::from_utf8_lossy(value).into_owned());
    let mut writes = Vec::new();
    if was.as_ref() != Some(&identity) {
        match was.filter(|_| driver.agents.has_identities()) {
            Some(was) if !config.new_agents => return Err(Error::Moved { was, now: identity }),
            Some(_) => driver.agents.start_anew(),
            None => {}
        }
        writes.push(Write::Put(Table::Meta, IDENTITY.to_vec(), identity.into_bytes()));
    }
    driver.settle(&mut writes).await?;
    let detector = Detector::start(config.master);
    let (stop, stopped) = oneshot::channel();
    let ending = driver.transport.ending();
    let done = tokio::spawn(async move {
        let done = driver.work(received, fetched, asked, detector, stopped).await;
        ending.wait().await;
        done
    });
    let page = page.guard().url(scheme, address.into());
    Ok(Handle { address, page, queries, stop: Some(stop), done: Some(done) })
}

impl Driver {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    async fn work(
        mut self,
        mut events: mpsc::Receiver<libprocess::Event>,
        mut fetched: mpsc::UnboundedReceiver<(String, Result<images::Fetched, String>)>,
        mut queries: mpsc::Receiver<Query>,
        mut detector: Detector,
        mut stopped: oneshot::Receiver<()>,
    ) -> Result<(), Error> {
        let mut greeting = tokio::time::interval(GREETING);
        let mut keys = tokio::time::interval(KEYS_PAUSE);
        let mut writes = Vec::new();
        self.settle(&mut writes).await?;
        loop {
            let wake = [self.agents.next_timeout(), self.sessions.next_timeout()].into_iter().flatten().min();
            let wake = wake.map(|at| self.started + Duration::from_millis(at));
            let wake = [wake, self.relink].into_iter().flatten().min();
            let started = self.started;
            let now = move || started.elapsed().as_millis() as u64;
            tokio::select! {
                _ = &mut stopped => return Ok(()),
                event = events.recv() => {
                    let mut next = event;
                    let mut count = 0;
                    while let Some(event) = next.take() {
                        self.event(event);
                        count += 1;
                        if count < BATCH_MAX {
                            next = events.try_recv().ok();
                        }
                    }
                }
                (peer, bytes) = self.link.receive(now) => {
                    self.sessions.handle_datagram(peer, &bytes, now());
                    // One commit serves all that is there.
                    for _ in 1..BATCH_MAX {
                        let Some((peer, bytes)) = self.link.try_receive() else { break };
                        self.sessions.handle_datagram(peer, &bytes, now());
                    }
                }
                Some((uri, image)) = fetched.recv() => self.fetched(&uri, image, &mut writes),
                leader = detector.changed() => self.detected(leader),
                Some(query) = queries.recv() => match query {
                    Query::Retire(reply) => {
                        self.agents.unregister_all();
                        self.settle(&mut writes).await?;
                        let _ = reply.send(()); // nobody waits
                    }
                    query => self.answer(query),
                },
                _ = greeting.tick() => self.link.greet().await,
                _ = keys.tick() => {
                    if let Some(keyring) = self.keys.as_mut().and_then(Watched::changed) {
                        self.sessions.set_keys(keyring, now());
                    }
                    self.note_refusals();
                }
                () = sleep_until(wake) => {
                    if self.relink.is_some_and(|at| at <= Instant::now()) {
                        self.relink = None;
                        self.master.into_iter().for_each(|master| self.transport.link(master));
                    }
                }
            }
            let now = self.now_ms();
            self.sessions.handle_timeout(now);
            self.agents.handle_timeout(now);
            self.settle(&mut writes).await?;
        }
    }

    fn detected(&mut self, leader: detect::Leader) {
        self.note_master(leader);
        self.master = leader;
        self.relink = None;
        self.agents.master_detected(leader.map(|leader| Upid::new("master", leader)), self.now_ms());
        leader.into_iter().for_each(|leader| self.transport.link(leader));
    }

    fn event(&mut self, event: libprocess::Event) {
        match event {
            libprocess::Event::Message(message) => self.agents.from_master(&message, self.now_ms()),
            libprocess::Event::Exited(address) if Some(address) == self.master => {
                // As for a real agent, the loss of this socket alone means little: pings or their absence decide.
                self.relink = Some(Instant::now() + LINK_RETRY);
            }
            libprocess::Event::Exited(_) => {}
        }
    }

    /// Carries outputs between the cores until there are none, commits, and sends.
    async fn settle(&mut self, writes: &mut Vec<Write>) -> Result<(), Error> {
        let mut datagrams = Vec::new();
        let mut messages = Vec::new();
        loop {
            let now = self.now_ms();
            if let Some(output) = self.sessions.poll_output() {
                match output {
                    session::Output::Write(write) => writes.push(write),
                    session::Output::Event(node, event) => {
                        let news = match &event {
                            FromNode::Alive { news, .. } => *news,
                            _ => News::Nothing,
                        };
                        self.agents.from_node(node, event, now);
                        self.note_news(node, news);
                    }
                    session::Output::Load(image) => self.load(image),
                    session::Output::Transmit(peer, bytes) => datagrams.push((peer, bytes)),
                }
            } else if let Some(output) = self.agents.poll_output() {
                match output {
                    agent::Output::Write(write) => writes.push(write),
                    agent::Output::Send { from, to, name, body } => messages.push((from, to, name, body)),
                    agent::Output::ToNode(node, order) => {
                        let launch = match &order {
                            crate::bridge::ToNode::Launch { task, .. } => Some(*task),
                            _ => None,
                        };
                        if !self.sessions.order(node, order, now)
                            && let Some(task) = launch
                        {
                            self.agents.undeliverable(node, task, now);
                        }
                    }
                    agent::Output::Fetch(uri) => match self.cached(&uri) {
                        Some(fetched) => self.keep(&uri, Ok(fetched), writes),
                        None => {
                            self.queue.push_back(uri);
                            self.start_fetches();
                        }
                    },
                }
            } else {
                break;
            }
        }
        self.note_all();
        self.hosted.store(self.agents.next_actor(), Relaxed);
        if !writes.is_empty() {
            // A commit waits for the disk; other tasks of this process go on meanwhile.
            tokio::task::block_in_place(|| self.store.commit(writes))?;
            self.commits += 1;
            self.writes += writes.len() as u64;
            writes.clear();
        }
        for (from, to, name, body) in messages {
            self.transport.send(&from, &to, &name, &body);
        }
        for (peer, bytes) in datagrams {
            self.link.send(peer, &bytes).await;
        }
        Ok(())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
