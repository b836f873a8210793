//! One node and its gateway with nothing between them but radio frames, which are kept.

use super::{GATEWAY, MemoryOs, System, credential};
use agent_core::{Agent, Config, Peer};
use gateway::bridge::{FromNode, NodeId, ToNode};
use gateway::session::{self, Keyring, Output, Sessions};
use gateway::store::Records;
use lowpan::{Eui64, Stack};
use node_proto::paths::COAP_PORT;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

/// How long a datagram is on its way, milliseconds.
const DELAY_MS: u64 = 5;

/// A datagram that was sent.
#[derive(Clone, Debug)]
pub struct Passed {
    /// When.
    pub at_ms: u64,
    /// Who sent it.
    pub from_node: bool,
    /// What is in UDP.
    pub datagram: Vec<u8>,
    /// Its frames, without their check sequences.
    pub frames: Vec<Vec<u8>>,
}

/// The two.
pub struct Pair {
    /// The system under the node.
    pub system: Rc<RefCell<System>>,
    /// The node.
    pub node: Agent<MemoryOs>,
    /// The gateway.
    pub gateway: Sessions,
    /// What the node is called.
    pub id: NodeId,
    /// All that was sent.
    pub passed: Vec<Passed>,
    /// What the gateway learned.
    pub events: Vec<FromNode>,
    radios: [Stack; 2],
    way: VecDeque<(u64, bool, Vec<Vec<u8>>)>,
}

impl Pair {
    /// A node on `system` and a gateway that is new, both with the credential for this key identifier. The numbers of
    /// the gateway's messages follow from `epoch_ms`, all others from `seed`.
    pub fn new(system: System, kid: &[u8], epoch_ms: u64, seed: u64) -> Option<Self> {
        let (eui64, now) = (system.eui64, system.now);
        let credential = credential(eui64, kid);
        let system = Rc::new(RefCell::new(system));
        let config = Config { credential: Some(credential.clone()), ..Config::default() };
        let node = Agent::new(MemoryOs(system.clone()), config, seed).ok()?;
        let config = session::Config { epoch_ms, ..session::Config::default() };
        let mut gateway = Sessions::new(config, &Records::new(), seed + 1, now);
        gateway.set_keys(Keyring { credentials: vec![credential], revoked: Vec::new() }, now);
        let radios = [eui64, GATEWAY].map(|own| Stack::new(lowpan::Config::new(Eui64(own))));
        let (passed, events, way) = (Vec::new(), Vec::new(), VecDeque::new());
        Some(Self { system, node, gateway, id: NodeId(eui64), passed, events, radios, way })
    }

    /// Now.
    pub fn now(&self) -> u64 {
        self.system.borrow().now
    }

    /// Where the gateway finds the node.
    pub fn address(&self) -> SocketAddr {
        (Eui64(self.id.0).link_local(), COAP_PORT).into()
    }

    /// Orders the gateway something.
    pub fn order(&mut self, order: ToNode) -> bool {
        let taken = self.gateway.order(self.id, order, self.now());
        self.collect();
        taken
    }

    /// Gives one end a datagram as if the other one had sent it.
    pub fn inject(&mut self, to_node: bool, datagram: &[u8]) {
        match to_node {
            true => self.node.datagram(Peer::Gateway, datagram),
            false => self.gateway.handle_datagram(self.address(), datagram, self.now()),
        }
        self.collect();
    }

    /// Goes on for so long.
    pub fn run(&mut self, ms: u64) {
        let end = self.now() + ms;
        while self.now() < end {
            self.step(end);
        }
    }

    /// Does what is due and moves time to the next thing that happens, `end` at the latest.
    pub fn step(&mut self, end: u64) {
        let now = self.now();
        let due = self.node.step();
        self.gateway.handle_timeout(now);
        self.collect();
        let arrival = self.way.front().map(|(at, ..)| *at);
        let next = [Some(due), arrival, self.gateway.next_timeout()].into_iter().flatten().min();
        let next = next.unwrap_or(end).clamp(now + 1, end.max(now + 1));
        self.system.borrow_mut().now = next;
        while let Some((_, to_node, frames)) = self.way.pop_front_if(|(at, ..)| *at <= next) {
            for frame in frames {
                let radio = &mut self.radios[usize::from(!to_node)];
                if let Ok(Some(datagram)) = radio.decode(&frame, next) {
                    self.inject(to_node, &datagram.payload);
                }
            }
        }
    }

    /// Takes what both have to send.
    fn collect(&mut self) {
        loop {
            let sent = self.system.borrow_mut().sent.pop_front();
            let Some((_, datagram)) = sent else { break };
            self.send(true, datagram);
        }
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Transmit(_, datagram) => self.send(false, datagram),
                Output::Event(_, event) => self.events.push(event),
                Output::Load(handle) => self.gateway.no_image(handle),
                Output::Write(_) => {}
            }
        }
    }

    fn send(&mut self, from_node: bool, datagram: Vec<u8>) {
        let to = if from_node { Eui64(GATEWAY) } else { Eui64(self.id.0) };
        let radio = &mut self.radios[usize::from(!from_node)];
        let frames = radio.encode(to.link_local(), COAP_PORT, COAP_PORT, &datagram).unwrap_or_default();
        let at_ms = self.now();
        self.way.push_back((at_ms + DELAY_MS, !from_node, frames.clone()));
        self.passed.push(Passed { at_ms, from_node, datagram, frames });
    }
}
