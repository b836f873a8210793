//! Many nodes that are no more than their CoAP: they register, poll, take launches and say that those ran and ended.

use anyhow::{Context as _, Result};
use gateway::Datagram;
use node_coap::{Code, Endpoint, Event, Method, Params, Request, Response, Sort};
use node_oscore::{Binding, Context, Credential};
use node_proto::{
    Arch, Command, Inventory, News, Order, Poll, Power, Register, Registered, Runtimes, State, Status,
    TaskHandle, Vitals, decode, encode, paths,
};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What the fleet has come to.
#[derive(Default)]
pub struct Counts {
    /// Registrations that the gateway answered.
    pub registered: AtomicUsize,
    /// Statuses that the gateway took.
    pub statuses: AtomicUsize,
}

struct Node {
    seen: u32,
    poll_s: u16,
    next_poll_ms: u64,
    /// Requests so far: a frame each.
    frames: u32,
    registered: bool,
    asked: Option<&'static str>,
    statuses: VecDeque<Status>,
    context: Context,
    /// The request under way, before it was protected.
    sent: Option<(Request, Binding)>,
    /// What the command that was taken last is answered by.
    taken: Option<Binding>,
}

/// The fleet: nodes numbered from 0, all on one endpoint, each a peer of its own.
pub struct Fleet {
    coap: Endpoint<usize>,
    nodes: Vec<Node>,
    credentials: Vec<Credential>,
    due: BTreeSet<(u64, usize)>,
    started: Instant,
    counts: Arc<Counts>,
}

/// The address of node `number` where there are no real ones.
pub fn address(number: usize) -> SocketAddr {
    let [_, _, high, low] = (number as u32).to_be_bytes();
    SocketAddr::from(([10, (number >> 16) as u8, high, low], 5683))
}

/// The number of the node at such an address.
pub fn number(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => {
            let [_, top, high, low] = v4.ip().octets();
            usize::from(top) << 16 | usize::from(high) << 8 | usize::from(low)
        }
        SocketAddr::V6(_) => 0,
    }
}

impl Fleet {
    pub fn new(nodes: usize, counts: Arc<Counts>) -> Result<Self> {
        // Their first registrations are spread over a second, as if somebody had switched them on.
        let node = |(at, credential): (usize, &Credential)| {
            Ok(Node {
                context: context(credential)?,
                sent: None,
                taken: None,
                seen: 0,
                poll_s: 1,
                frames: 0,
                next_poll_ms: (at * 1_000 / nodes) as u64,
                registered: false,
                asked: None,
                statuses: VecDeque::new(),
            })
        };
        let credentials: Vec<_> = (0..nodes).map(|at| crate::keys::made_up(eui64(at), at as u32)).collect();
        let nodes: Vec<Node> = credentials.iter().enumerate().map(node).collect::<Result<_>>()?;
        let due = nodes.iter().enumerate().map(|(at, node)| (node.next_poll_ms, at)).collect();
        let params = Params { peers_max: nodes.len() + 16, ..Params::default() };
        let coap = Endpoint::new(params, rand::random());
        Ok(Self { coap, nodes, credentials, due, started: Instant::now(), counts })
    }

    /// The nodes' keys, for the gateway.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Works until the channels close. `send` takes what goes to the gateway.
    pub async fn run(
        mut self,
        mut from_gateway: mpsc::Receiver<(usize, Vec<u8>)>,
        mut send: impl FnMut(usize, Vec<u8>),
    ) {
        loop {
            let now = self.now();
            self.coap.handle_timeout(now);
            while let Some((_, at)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
                self.due.pop_first();
                self.ask(at, now);
            }
            self.events(now);
            while let Some((at, bytes)) = self.coap.poll_transmit() {
                send(at, bytes);
            }
            let due = self.due.first().map(|(due, _)| *due);
            let wake = [due, self.coap.next_timeout()].into_iter().flatten().min().unwrap_or(now + 1_000);
            let wake = self.started + Duration::from_millis(wake.max(now + 1));
            tokio::select! {
                datagram = from_gateway.recv() => {
                    let Some((at, bytes)) = datagram else { return };
                    let now = self.now();
                    self.hear(at, &bytes, now);
                    while let Ok((at, bytes)) = from_gateway.try_recv() {
                        self.hear(at, &bytes, now);
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn ask(&mut self, at: usize, now: u64) {
        let node = &mut self.nodes[at];
        if node.asked.is_some() {
            return;
        }
        let (path, payload) = if !node.registered {
            (paths::REGISTER, encode(&register(at)))
        } else if let Some(status) = node.statuses.front() {
            (paths::STATUS, encode(status))
        } else if node.next_poll_ms <= now {
            // As a node without tasks does: so the gateway has all of its figures to remember.
            let vitals = Vitals {
                uptime_s: (now / 1000) as u32,
                frames_out: node.frames,
                frames_in: node.frames,
                ..Vitals::default()
            };
            let news = News::Vitals(vitals);
            let poll = Poll { seen: node.seen, power: Power::Mains, next_s: node.poll_s, news };
            (paths::POLL, encode(&poll))
        } else {
            return;
        };
        let Ok(payload) = payload else { return };
        if self.request(at, Request::post(path, &payload), now) {
            self.nodes[at].asked = Some(path);
        } else {
            self.due.insert((now + 50, at));
        }
    }

    fn request(&mut self, at: usize, request: Request, now: u64) -> bool {
        let node = &mut self.nodes[at];
        let Ok((outer, binding)) = node.context.protect_request(&request) else { return false };
        node.sent = Some((request, binding));
        node.frames += 1;
        self.coap.request(at, &outer, now).is_ok()
    }

    /// Takes a datagram if it verifies.
    fn hear(&mut self, at: usize, bytes: &[u8], now: u64) {
        let Some(incoming) = self.coap.read(at, bytes) else { return };
        let node = &mut self.nodes[at];
        let incoming = match self.coap.sort(at, &incoming) {
            Sort::Request(outer) => match node.context.open_request(outer) {
                Ok(opened) if opened.is_fresh => {
                    node.taken = Some(opened.binding);
                    incoming.unwrapped_request(opened.request)
                }
                _ => return,
            },
            Sort::Response(_, outer) => {
                let Some((_, binding)) = &node.sent else { return };
                match node.context.open_response(outer, binding) {
                    Ok(inner) => incoming.unwrapped_response(inner),
                    Err(_) => return,
                }
            }
            _ => incoming,
        };
        self.coap.take(at, incoming, now);
        self.events(now);
    }

    fn events(&mut self, now: u64) {
        while let Some(event) = self.coap.poll_event() {
            let at = match event {
                Event::Request { peer: at, id, request } => {
                    let is_command = request.method == Method::Post && request.path == paths::COMMAND;
                    let code = match decode::<Command>(&request.payload) {
                        Ok(command) if is_command && self.nodes[at].registered => {
                            self.take(at, command);
                            Code::CHANGED
                        }
                        _ => Code::UNAVAILABLE,
                    };
                    let node = &mut self.nodes[at];
                    if let Some(binding) = node.taken.take() {
                        let response = node.context.protect_response(&Response::new(code, &[]), binding);
                        let _ = self.coap.respond(at, id, &response, now); // it asks again
                    }
                    at
                }
                Event::Response { peer: at, response, .. } if !response.echo.is_empty() => {
                    if let Some((request, _)) = self.nodes[at].sent.take() {
                        self.request(at, Request { echo: response.echo, ..request }, now);
                    }
                    continue;
                }
                Event::Undelivered { peer: at, .. } => at,
                Event::Response { peer: at, response, .. } => {
                    let asked = self.nodes[at].asked.take();
                    self.answered(at, asked, &response, now);
                    at
                }
                Event::Failed { peer: at, .. } => {
                    self.nodes[at].asked = None;
                    self.nodes[at].registered = false;
                    at
                }
            };
            self.ask(at, now);
            let node = &self.nodes[at];
            if node.asked.is_none() {
                self.due.insert((node.next_poll_ms.max(now), at));
            }
        }
    }

    fn answered(&mut self, at: usize, asked: Option<&str>, response: &Response, now: u64) {
        match (asked, response.code) {
            (Some(paths::REGISTER), Code::CREATED) => {
                if let Ok(registered) = decode::<Registered>(&response.payload) {
                    self.nodes[at].registered = true;
                    self.nodes[at].context.resume_from(registered.number);
                    self.nodes[at].poll_s = registered.poll_s.max(1);
                    self.counts.registered.fetch_add(1, Relaxed);
                }
            }
            (_, Code::UNAUTHORIZED) => self.nodes[at].registered = false,
            (Some(paths::STATUS), _) => {
                self.nodes[at].statuses.pop_front();
                self.counts.statuses.fetch_add(1, Relaxed);
            }
            (_, Code::CONTENT) => {
                if let Ok(command) = decode::<Command>(&response.payload) {
                    self.take(at, command);
                }
            }
            _ => {}
        }
        let node = &mut self.nodes[at];
        if asked != Some(paths::STATUS) {
            node.next_poll_ms =
                if node.registered { now + u64::from(node.poll_s) * 1000 } else { now + 1_000 };
        }
    }

    fn take(&mut self, at: usize, command: Command) {
        let node = &mut self.nodes[at];
        if command.seq <= node.seen {
            return;
        }
        node.seen = command.seq;
        let mut say = |task: TaskHandle, seq: u16, state: State| {
            node.statuses.push_back(Status { task, seq, state, note: Default::default() });
        };
        match command.order {
            Order::Launch(launch) => {
                say(launch.task, 1, State::Running);
                say(launch.task, 2, State::Exited(0));
            }
            Order::Kill { .. } | Order::Message { .. } | Order::Fetch { .. } => {}
        }
    }
}

fn register(at: usize) -> Register {
    let inventory = Inventory {
        cpu_permille: 1000,
        mem_bytes: 256 << 10,
        flash_bytes: 1 << 20,
        sensors: 1,
        leds: 1,
        power: Power::Mains,
        arch: Arch::Thumbv7em,
        runtimes: Runtimes(Runtimes::WASM),
        block_szx: 2,
        board: heapless_board(),
    };
    let version = node_proto::limits::VERSION;
    Register { version, eui64: eui64(at), boot: 1, epoch: 1, seen: 0, inventory }
}

fn eui64(at: usize) -> [u8; 8] {
    let mut eui64 = [2, 0, 0, 0, 0, 0, 0, 0];
    eui64[4..].copy_from_slice(&(at as u32 + 1).to_be_bytes());
    eui64
}

/// A context with all the numbers it will need.
fn context(credential: &Credential) -> Result<Context> {
    let keys = credential.node_keys().context("a key without an identifier")?;
    let mut context = Context::new(keys, 0, None, rand::random());
    context.reserved(1 << 30);
    Ok(context)
}

fn heapless_board() -> heapless::String<{ node_proto::limits::BOARD_NAME_MAX }> {
    "fleet".try_into().unwrap_or_default()
}

/// Feeds a link in memory to a fleet.
pub async fn over_memory(
    fleet: Fleet,
    to_gateway: mpsc::Sender<Datagram>,
    mut at_nodes: mpsc::Receiver<Datagram>,
) {
    let (forward, from_gateway) = mpsc::channel(65_536);
    tokio::spawn(async move {
        while let Some((peer, bytes)) = at_nodes.recv().await {
            if forward.send((number(peer), bytes)).await.is_err() {
                return;
            }
        }
    });
    fleet
        .run(from_gateway, move |at, bytes| {
            let _ = to_gateway.try_send((address(at), bytes)); // lost, as on a radio
        })
        .await;
}

/// Gives each node of a fleet a UDP socket of its own.
pub async fn over_sockets(fleet: Fleet, gateway: SocketAddr) -> std::io::Result<()> {
    let (forward, from_gateway) = mpsc::channel(65_536);
    let mut sockets = Vec::with_capacity(fleet.nodes.len());
    for at in 0..fleet.nodes.len() {
        let socket = tokio::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(gateway).await?;
        let socket = Arc::new(socket);
        let (reading, forward) = (socket.clone(), forward.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                match reading.recv(&mut buffer).await {
                    Ok(len) => {
                        if forward.send((at, buffer[..len].to_vec())).await.is_err() {
                            return;
                        }
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await, // not there yet
                }
            }
        });
        sockets.push(socket);
    }
    drop(forward);
    fleet
        .run(from_gateway, move |at, bytes| {
            let _ = sockets[at].try_send(&bytes); // lost, as on a radio
        })
        .await;
    Ok(())
}
