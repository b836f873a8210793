//! All parts in one virtual time: what is on its way between them, and whose turn it is.

use crate::board::Seen;
use crate::checks::Checks;
use crate::gateway::{Effects, Gateway};
use crate::link::Way;
use crate::node::{Node, number_of};
use crate::plan::{Fault, Plan};
use crate::rng::Rng;
use crate::scheduler::Scheduler;
use crate::trace::{Sink, Trace};
use crate::words::words;
use crate::{Sabotage, Stats};
use gateway::session::Keyring;
use libprocess::{Message, Upid};
use master::core::{Input, MasterCore};
use master::store::Table;
use mesos_proto::v1::scheduler::{Call, Event};
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};

/// Unix time at virtual time 0.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;
/// Events at one moment: more is a circle.
const AT_ONCE_MAX: u64 = 20_000;

/// What is on its way.
#[derive(Debug)]
pub(crate) enum Happening {
    ToGateway(SocketAddr, Vec<u8>),
    ToNode(usize, SocketAddr, Vec<u8>),
    /// A message over the way of the gateway's, or the master's.
    Message {
        to_master: bool,
        opened: u64,
        message: Message,
    },
    /// The end of a way notices that it broke.
    Noticed {
        to_master: bool,
        opened: u64,
    },
    /// The master cannot reach what it watches.
    Unreachable,
    /// The gateway makes a new connection to its master.
    Relink(u64),
    Call {
        session: u64,
        call: Box<Call>,
    },
    Event {
        session: u64,
        event: Box<Event>,
    },
    Refused {
        session: u64,
    },
    /// The master notices that a subscriber is gone.
    Closed(String),
    Subscribe,
    Fetched {
        run: u64,
        uri: String,
    },
    NodeUp(usize),
    GatewayUp,
    MasterUp,
    Detected {
        run: u64,
        there: bool,
    },
    /// Somebody leads, or nobody does.
    Leader(bool),
    Fault(Fault, u64),
}

/// Where in a step a master is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killed {
    BeforeCommit,
    AfterCommit,
}

/// The world.
pub(crate) struct World {
    pub now: u64,
    pub plan: Plan,
    pub rng: Rng,
    pub trace: Trace,
    pub nodes: Vec<Node>,
    pub gateway: Gateway,
    pub master: Option<MasterCore>,
    /// What the master has committed.
    pub kept: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// The master is killed at its next commit.
    pub master_armed: Option<Killed>,
    pub scheduler: Scheduler,
    pub checks: Checks,
    pub stats: Stats,
    /// Nothing breaks any more.
    pub calm: bool,
    pub to_master: Way,
    pub to_gateway: Way,
    /// Tells the scheduler's connection from others, and whether it is there.
    pub session: u64,
    pub api_up: bool,
    pub stream: Option<String>,
    pub api_last: (u64, u64),
    pub masters: u64,
    pub calls: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    at_once: u64,
    replayed: Vec<Happening>,
}

fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap_or_else(|_| unreachable!("{text} is an address"))
}

pub(crate) fn master_address() -> SocketAddrV4 {
    address("10.0.0.1:5050")
}

pub(crate) fn gateway_address() -> SocketAddrV4 {
    address("10.0.0.5:5051")
}

impl World {
    pub fn new(seed: u64, sabotage: Sabotage, sink: Option<Sink>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let forgets = if sabotage == Sabotage::NodeForgets { 30 } else { 0 };
        let nodes: Vec<Node> = plan
            .nodes
            .iter()
            .enumerate()
            .map(|(number, node)| Node::new(number, node, plan.ack_timeout_ms, forgets, &mut rng))
            .collect();
        let credentials = nodes.iter().filter_map(Node::credential).collect();
        let keyring = Keyring { credentials, revoked: Vec::new() };
        let stalls = plan.faults.iter().any(|(fault, _)| *fault == Fault::LinkStall);
        let forgets = if sabotage == Sabotage::GatewayForgets { 30 } else { 0 };
        let mut world = Self {
            now: 0,
            gateway: Gateway::new(&plan, keyring, gateway_address(), forgets, rng.fork()),
            scheduler: Scheduler::new(plan.clone(), rng.fork()),
            trace: Trace::new(sink),
            nodes,
            master: None,
            checks: Checks { stalls, ..Checks::default() },
            stats: Stats::default(),
            calm: false,
            to_master: Way::new(),
            to_gateway: Way::new(),
            session: 0,
            api_up: false,
            stream: None,
            api_last: (0, 0),
            masters: 0,
            kept: BTreeMap::new(),
            master_armed: None,
            calls: 0,
            queue: BTreeMap::new(),
            order: 0,
            at_once: 0,
            replayed: Vec::new(),
            plan,
            rng,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let plan = self.plan.clone();
        self.trace.say(0, || format!("{plan:?}"));
        self.put(0, Happening::MasterUp);
        self.put(10, Happening::GatewayUp);
        self.put(100, Happening::Subscribe);
        for node in 0..self.nodes.len() {
            let at = self.rng.below(5_000);
            self.put(at, Happening::NodeUp(node));
        }
        for (fault, pause) in plan.faults {
            let at = self.rng.between(1, 2 * pause);
            self.put(at, Happening::Fault(fault, pause));
        }
    }

    /// Something happens after so many milliseconds.
    pub fn put(&mut self, after: u64, happening: Happening) {
        self.put_at(self.now + after, happening);
    }

    pub fn put_at(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((at, self.order), happening);
    }

    /// The next moment at which anything happens.
    fn next(&self) -> u64 {
        let queued = self.queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let nodes = self.nodes.iter().map(|node| node.due).min().unwrap_or(u64::MAX);
        let master = self.master.as_ref().map_or(u64::MAX, |core| core.next_wakeup_ms() - EPOCH_MS);
        queued.min(nodes).min(self.gateway.due()).min(master).min(self.scheduler.due())
    }

    /// Goes on until a moment, or until an invariant does not hold.
    pub fn run_until(&mut self, end: u64) {
        while self.checks.violation.is_none() {
            let next = self.next().max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.at_once = if next == self.now { self.at_once + 1 } else { 0 };
            if self.at_once > AT_ONCE_MAX {
                return self.checks.fail("time goes on", format!("{AT_ONCE_MAX} events at one moment"));
            }
            self.now = next;
            self.checks.now = next;
            self.step();
        }
    }

    /// One event: what has arrived comes before what is due.
    fn step(&mut self) {
        let now = self.now;
        if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let happening = entry.remove();
            return self.happens(happening);
        }
        if let Some(at) = self.nodes.iter().position(|node| node.due <= now) {
            return self.step_node(at);
        }
        if self.gateway.due() <= now {
            return self.step_gateway();
        }
        if self.master.as_ref().is_some_and(|core| core.next_wakeup_ms() <= EPOCH_MS + now) {
            return self.feed_core(Input::Tick);
        }
        if self.scheduler.due() <= now {
            self.trace.note(now, b"scheduler", || "scheduler's timer".into());
            self.scheduler.step(now);
            self.send_calls();
        }
    }

    pub fn step_node(&mut self, at: usize) {
        let now = self.now;
        let sent = self.nodes[at].step(now);
        let seen = std::mem::take(&mut self.nodes[at].board.borrow_mut().seen);
        for seen in &seen {
            self.stats.starts += u64::from(matches!(seen, Seen::Started { .. }));
            self.trace.say(now, || format!("node {at}: {seen:?}"));
        }
        self.checks.board(at, seen);
        if self.nodes[at].tasks() > node_proto::limits::TASKS_MAX {
            self.checks.fail("queues are bounded", format!("node {at} has {} tasks", self.nodes[at].tasks()));
        }
        for bytes in sent {
            self.trace.note(now, &bytes, || format!("node {at} sends {} bytes", bytes.len()));
            if let Err(why) = self.checks.nonces.sent(at, true, false, &bytes) {
                self.checks.fail("OSCORE", why);
            }
            let lost = now < self.nodes[at].mute_until;
            let from = self.nodes[at].address;
            self.throw(lost, bytes, |bytes| Happening::ToGateway(from, bytes));
        }
        if self.nodes[at].is_dead() && self.nodes[at].is_up() {
            self.stop_node(at);
        }
    }

    /// A datagram into the air.
    fn throw(&mut self, lost: bool, bytes: Vec<u8>, arrival: impl Fn(Vec<u8>) -> Happening) {
        let radio = self.plan.radio;
        self.stats.datagrams += 1;
        if self.calm {
            return self.put(2, arrival(bytes));
        }
        let copies = 1 + u64::from(self.rng.chance(radio.doubled));
        for _ in 0..copies {
            if lost || self.rng.chance(radio.loss) {
                continue;
            }
            let late = self.rng.chance(radio.late);
            let delay = self.rng.between(1, if late { radio.late_ms } else { radio.delay_ms });
            self.put(delay, arrival(bytes.clone()));
        }
        if self.rng.chance(radio.replayed) {
            // Somebody listens, and says it again later.
            if self.replayed.len() >= 16 {
                let at = self.rng.below(16) as usize;
                let old = self.replayed.swap_remove(at);
                let after = self.rng.below(1_000);
                self.put(after, old);
            }
            self.replayed.push(arrival(bytes));
        }
    }

    fn step_gateway(&mut self) {
        let now = self.now;
        let run = self.gateway.run;
        let effects = self.gateway.step(now);
        self.stats.steps += 1;
        self.checks.gateway(&self.gateway, &effects, now);
        self.stats.messages += effects.messages.len() as u64;
        self.carry_out(run, effects);
    }

    fn carry_out(&mut self, run: u64, effects: Effects) {
        let now = self.now;
        for (from, to, name, body) in effects.messages {
            self.trace.note(now, &body, || format!("{from} sends {}", words(&name, &body)));
            let from = Some(Upid::new(from, gateway_address()));
            self.send_over(true, Message { from, to: to.id, name, body: body.into() });
        }
        for (peer, bytes) in effects.datagrams {
            self.trace.note(now, &bytes, || format!("gateway sends {} bytes to {peer}", bytes.len()));
            let at = number_of(&peer);
            let battery = self.plan.nodes[at].battery;
            if let Err(why) = self.checks.nonces.sent(at, false, battery, &bytes) {
                self.checks.fail("OSCORE", why);
            }
            let lost = now < self.nodes[at].deaf_until;
            self.throw(lost, bytes, |bytes| Happening::ToNode(at, peer, bytes));
        }
        for uri in effects.fetches {
            let after = self.rng.scale(10, 20_000);
            self.put(after, Happening::Fetched { run, uri });
        }
        if effects.crashed {
            self.stop_gateway();
        }
    }
}
