//! Sessions with a disk, a scripted node, and a channel between them that loses, doubles and reorders.

use gateway::bridge::{FromNode, NodeId, ToNode};
use gateway::session::{Config, Keyring, Output, Sessions};
use gateway::store::{Records, Table, Write};
use node_coap::{Code, Endpoint, Event, Method, Params, Request, Response, Sort};
use node_oscore::{Binding, Context, Credential, Id};
use node_proto::{
    Arch, Command, Inventory, Kind, Order, Poll, Power, Register, Registered, Runtimes, Status, decode,
    encode, paths,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

pub const NODE: NodeId = NodeId([2, 0, 0, 0, 0, 0, 0, 1]);
pub const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 5683);

pub fn address(port: u16) -> SocketAddr {
    SocketAddr::new(GATEWAY.ip(), port)
}

pub fn node_params() -> Params {
    Params { max_retransmit: 6, ..Params::default() }
}

/// The gateway's half with its disk, the node's half, and what is in the air.
pub struct World {
    pub now: u64,
    pub sessions: Sessions,
    pub config: Config,
    pub disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub events: Vec<FromNode>,
    /// Images that were asked for and are not in memory.
    pub loads: Vec<u16>,
    pub node: Endpoint<SocketAddr>,
    pub home: SocketAddr,
    pub power: Power,
    /// Longest pause before the next poll that the node names, seconds.
    pub next_s: u16,
    /// Between the beginnings of its polls, milliseconds.
    pub pause_ms: u64,
    pub registered: bool,
    /// The path of the node's request under way.
    pub asked: Option<&'static str>,
    pub next_poll_ms: u64,
    /// As on the node's flash.
    pub seen: u32,
    pub boot: u32,
    pub epoch: u16,
    pub orders: Vec<Order>,
    pub statuses: VecDeque<Status>,
    pub refusals: Vec<Code>,
    pub air: BTreeMap<(u64, u64), (bool, SocketAddr, Vec<u8>)>,
    pub sent: u64,
    pub random: u64,
    pub loss_permille: u64,
    pub guard: Option<NodeGuard>,
}

/// The node's end of OSCORE.
pub struct NodeGuard {
    context: Context,
    sent: Option<(Request, Binding)>,
    taken: Option<Binding>,
}

pub fn credential() -> Credential {
    Credential { eui64: NODE.0, kid: Id::new(&[1]).unwrap(), secret: [3; 16], salt: [4; 8] }
}

pub fn keyring() -> Keyring {
    Keyring { credentials: vec![credential()], revoked: Vec::new() }
}

/// A context that has all the numbers it will need.
pub fn context(next: u64) -> Context {
    let mut context = Context::new(credential().node_keys().unwrap(), next, None, [9; 8]);
    context.reserved(1 << 30);
    context
}

impl World {
    /// Nothing is protected.
    pub fn new(seed: u64, loss_permille: u64, power: Power) -> Self {
        Self::of(seed, loss_permille, power, None)
    }

    /// Everything is.
    pub fn secure(seed: u64, loss_permille: u64, power: Power) -> Self {
        let guard = NodeGuard { context: context(0), sent: None, taken: None };
        Self::of(seed, loss_permille, power, Some(guard))
    }

    /// A node that polls every so many seconds, and a gateway that lets it.
    pub fn polling(seed: u64, loss_permille: u64, power: Power, poll_s: u16) -> Self {
        let mut world = Self::new(seed, loss_permille, power);
        world.config.poll_mains_s = poll_s;
        world.config.poll_battery_s = poll_s;
        world.restart();
        world.node = Endpoint::new(Params::default(), seed);
        (world.next_s, world.pause_ms) = (poll_s, u64::from(poll_s) * 1000);
        world
    }

    fn sessions(config: &Config, records: &Records, seed: u64, now: u64) -> Sessions {
        let mut sessions = Sessions::new(*config, records, seed, now);
        sessions.set_keys(keyring(), now);
        sessions
    }

    fn of(seed: u64, loss_permille: u64, power: Power, guard: Option<NodeGuard>) -> Self {
        let config = Config { insecure: guard.is_none(), ..Config::default() };
        Self {
            now: 0,
            sessions: Self::sessions(&config, &Records::new(), seed, 0),
            config,
            guard,
            disk: BTreeMap::new(),
            events: Vec::new(),
            loads: Vec::new(),
            node: Endpoint::new(node_params(), seed + 1),
            home: address(7001),
            power,
            next_s: 15,
            pause_ms: 2_000,
            registered: false,
            asked: None,
            next_poll_ms: 0,
            seen: 0,
            boot: 1,
            epoch: 1,
            orders: Vec::new(),
            statuses: VecDeque::new(),
            refusals: Vec::new(),
            air: BTreeMap::new(),
            sent: 0,
            random: seed | 1,
            loss_permille,
        }
    }

    pub fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    pub fn throw(&mut self, to_gateway: bool, peer: SocketAddr, bytes: Vec<u8>) {
        for _ in 0..if self.dice(8) == 0 { 2 } else { 1 } {
            if self.dice(1000) >= self.loss_permille {
                let delay = 5 + self.dice(20);
                self.sent += 1;
                self.air.insert((self.now + delay, self.sent), (to_gateway, peer, bytes.clone()));
            }
        }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.sessions.poll_output() {
            match output {
                Output::Load(image) => self.loads.push(image),
                Output::Write(Write::Put(table, key, value)) => drop(self.disk.insert((table, key), value)),
                Output::Write(Write::Delete(table, key)) => drop(self.disk.remove(&(table, key))),
                Output::Event(node, event) => {
                    assert_eq!(node, NODE);
                    self.events.push(event);
                }
                Output::Transmit(peer, bytes) => self.throw(false, peer, bytes),
            }
        }
        while let Some((_, bytes)) = self.node.poll_transmit() {
            self.throw(true, self.home, bytes);
        }
    }

    /// `kill -9` of the gateway: only the records are left, and what is on its way to it is lost with its socket.
    pub fn restart(&mut self) {
        let records: Records = self.disk.iter().map(|((t, k), v)| (*t, k.clone(), v.clone())).collect();
        let seed = self.dice(u64::MAX);
        self.air.retain(|_, (to_gateway, ..)| !*to_gateway);
        self.sessions = Self::sessions(&self.config, &records, seed, self.now);
    }

    pub fn register(&self) -> Register {
        let inventory = Inventory {
            cpu_permille: 1000,
            mem_bytes: 64 << 10,
            flash_bytes: 1 << 20,
            sensors: 0,
            leds: 0,
            power: self.power,
            arch: Arch::Host,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: 2,
            board: "test".try_into().unwrap(),
        };
        Register {
            version: node_proto::limits::VERSION,
            eui64: NODE.0,
            boot: self.boot,
            epoch: self.epoch,
            seen: self.seen,
            inventory,
        }
    }

    /// The node's one request at a time: registration, then the oldest status, then a poll.
    pub fn ask(&mut self) {
        if self.asked.is_some()
            || self.now < self.next_poll_ms && (self.statuses.is_empty() || !self.registered)
        {
            return;
        }
        let (path, payload) = if !self.registered {
            (paths::REGISTER, encode(&self.register()).unwrap().to_vec())
        } else if let Some(status) = self.statuses.front() {
            (paths::STATUS, encode(status).unwrap().to_vec())
        } else {
            let poll = Poll {
                seen: self.seen,
                power: self.power,
                next_s: self.next_s,
                news: node_proto::News::Nothing,
            };
            (paths::POLL, encode(&poll).unwrap().to_vec())
        };
        self.request(Request::post(path, &payload));
        self.asked = Some(path);
        self.next_poll_ms = self.now + self.pause_ms;
    }

    fn request(&mut self, request: Request) {
        let outer = match &mut self.guard {
            None => request,
            Some(guard) => {
                let (outer, binding) = guard.context.protect_request(&request).unwrap();
                guard.sent = Some((request, binding));
                outer
            }
        };
        self.node.request(GATEWAY, &outer, self.now).unwrap();
    }

    fn node_takes(&mut self, bytes: &[u8]) {
        let Some(mut incoming) = self.node.read(GATEWAY, bytes) else { return };
        if let Some(guard) = &mut self.guard {
            match self.node.sort(GATEWAY, &incoming) {
                Sort::Request(request) => {
                    // Before it is registered it does not know what is new.
                    let Ok(opened) = guard.context.open_request(request) else { return };
                    if !opened.is_fresh {
                        return;
                    }
                    guard.taken = Some(opened.binding);
                    incoming = incoming.unwrapped_request(opened.request);
                }
                Sort::Response(_, response) => {
                    let (_, binding) = guard.sent.as_ref().unwrap();
                    let inner = guard.context.open_response(response, binding).unwrap();
                    incoming = incoming.unwrapped_response(inner);
                }
                _ => {}
            }
        }
        self.node.take(GATEWAY, incoming, self.now);
        self.node_events();
    }

    pub fn take(&mut self, command: Command) {
        if command.seq > self.seen {
            self.seen = command.seq;
            self.orders.push(command.order);
        }
    }

    pub fn node_events(&mut self) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Request { peer, id, request } => {
                    assert_eq!((request.method, request.path.as_str()), (Method::Post, paths::COMMAND));
                    assert_eq!(self.power, Power::Mains, "nothing is pushed to a sleeper");
                    // As the real node: no orders while a registration is unanswered, whose repetition would
                    // otherwise state an older `seen` than the gateway knows.
                    let code = if self.registered { Code::CHANGED } else { Code::UNAVAILABLE };
                    if self.registered {
                        self.take(decode::<Command>(&request.payload).unwrap());
                    }
                    let response = Response::new(code, &[]);
                    let response = match &mut self.guard {
                        None => response,
                        Some(guard) => guard.context.protect_response(&response, guard.taken.take().unwrap()),
                    };
                    self.node.respond(peer, id, &response, self.now).unwrap();
                }
                Event::Response { response, .. } if !response.echo.is_empty() => {
                    let (request, _) = self.guard.as_mut().unwrap().sent.take().unwrap();
                    self.request(Request { echo: response.echo, ..request });
                }
                Event::Response { response, .. } => {
                    let asked = self.asked.take();
                    match response.code {
                        Code::CREATED => {
                            let registered = decode::<Registered>(&response.payload).unwrap();
                            if let Some(guard) = &mut self.guard {
                                guard.context.resume_from(registered.number);
                            }
                            self.registered = true;
                        }
                        Code::CONTENT => self.take(decode::<Command>(&response.payload).unwrap()),
                        Code::CHANGED if asked == Some(paths::STATUS) => drop(self.statuses.pop_front()),
                        Code::CHANGED => {}
                        Code::UNAUTHORIZED => {
                            self.refusals.push(response.code);
                            self.registered = false;
                            self.next_poll_ms = self.now;
                        }
                        other => panic!("{other}"),
                    }
                }
                Event::Failed { .. } => self.asked = None,
                Event::Undelivered { .. } => unreachable!(),
            }
        }
    }

    /// Moves time on to `end`, event by event.
    pub fn run_until(&mut self, end: u64) {
        loop {
            self.ask();
            self.drain();
            let poll = self.asked.is_none().then_some(self.next_poll_ms.max(self.now + 1));
            let arrival = self.air.first_key_value().map(|((at, _), _)| *at);
            let next = [arrival, poll, self.node.next_timeout(), self.sessions.next_timeout()];
            let next = next.into_iter().flatten().min().unwrap_or(end).max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= next) {
                let (to_gateway, peer, bytes) = entry.remove();
                if to_gateway {
                    self.sessions.handle_datagram(peer, &bytes, next);
                } else if peer == self.home {
                    self.node_takes(&bytes);
                }
                self.drain();
            }
            self.node.handle_timeout(next);
            self.sessions.handle_timeout(next);
            self.node_events();
            self.drain();
        }
    }

    pub fn launch(&mut self, task: u16) -> bool {
        let order = ToNode::Launch {
            task,
            image: 1,
            image_len: 8,
            digest: [7; 32],
            kind: Kind::Wasm,
            document: vec![1, 2, 3],
            cpu_permille: 10,
            mem_bytes: 1024,
            leds: 0,
            capabilities: 1,
            max_run_s: 0,
            resume: false,
        };
        let taken = self.sessions.order(NODE, order, self.now);
        self.drain();
        taken
    }

    pub fn kill(&mut self, task: u16) {
        assert!(self.sessions.order(NODE, ToNode::Kill { task, grace_ms: 1 }, self.now));
        self.drain();
    }

    /// Asks the gateway from anywhere, over a channel without loss.
    pub fn direct(&mut self, peer: SocketAddr, request: &Request) -> Response {
        let mut client = Endpoint::new(node_params(), self.dice(u64::MAX));
        client.request(GATEWAY, request, self.now).unwrap();
        while let Some((_, bytes)) = client.poll_transmit() {
            self.sessions.handle_datagram(peer, &bytes, self.now);
        }
        while let Some(output) = self.sessions.poll_output() {
            match output {
                Output::Transmit(to, bytes) if to == peer => client.handle(GATEWAY, &bytes, self.now),
                Output::Event(_, event) => self.events.push(event),
                Output::Load(image) => self.loads.push(image),
                Output::Write(Write::Put(table, key, value)) => drop(self.disk.insert((table, key), value)),
                Output::Write(Write::Delete(table, key)) => drop(self.disk.remove(&(table, key))),
                Output::Transmit(..) => {}
            }
        }
        match client.poll_event() {
            Some(Event::Response { response, .. }) => response,
            other => panic!("{other:?}"),
        }
    }
}
