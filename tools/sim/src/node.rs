//! One node: the real agent on a board in memory.

use crate::board::{Board, SimOs, WriteFault};
use crate::plan::NodePlan;
use crate::rng::Rng;
use agent_core::{Agent, Config, Peer};
use gateway::bridge::NodeId;
use node_oscore::{Credential, Id};
use std::cell::RefCell;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;

/// Where the first node listens, and how far the ports of one node are apart.
const FIRST_PORT: u16 = 7_000;
const PORTS: u16 = 16;

/// Whose address it is.
pub(crate) fn number_of(address: &SocketAddr) -> usize {
    usize::from((address.port() - FIRST_PORT) % PORTS)
}

/// A node, up or down.
pub(crate) struct Node {
    pub id: NodeId,
    pub board: Rc<RefCell<Board>>,
    agent: Option<Agent<SimOs>>,
    config: Config,
    /// When it is to be stepped; never while it is down.
    pub due: u64,
    pub address: SocketAddr,
    pub boots: u64,
    pub down_since: u64,
    pub deaf_until: u64,
    pub mute_until: u64,
    moves: bool,
}

impl Node {
    pub fn new(number: usize, plan: &NodePlan, ack_timeout_ms: u32, forgets: u64, rng: &mut Rng) -> Self {
        let eui64 = [2, 0, 0, 0, 0, 0, 0, number as u8 + 1];
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&rng.next().to_le_bytes());
        let kid =
            Id::new(&[number as u8 + 1, 7]).unwrap_or_else(|| unreachable!("two bytes are an identifier"));
        let credential = Credential { eui64, kid, secret, salt: rng.next().to_le_bytes() };
        let config = Config {
            ack_timeout_ms,
            poll_max_s: plan.poll_max_s,
            credential: Some(credential),
            ..Config::default()
        };
        Self {
            id: NodeId(eui64),
            board: Rc::new(RefCell::new(Board::new(eui64, plan.clone(), forgets, rng.fork()))),
            agent: None,
            config,
            due: u64::MAX,
            address: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), FIRST_PORT + number as u16),
            boots: 0,
            down_since: 0,
            deaf_until: 0,
            mute_until: 0,
            moves: plan.moves,
        }
    }

    pub fn credential(&self) -> Option<Credential> {
        self.config.credential.clone()
    }

    pub fn is_up(&self) -> bool {
        self.agent.is_some()
    }

    /// Tasks in slots.
    pub fn tasks(&self) -> usize {
        self.agent.as_ref().map_or(0, Agent::tasks)
    }

    /// Starts on what storage remembers; false if it went down again while it did.
    pub fn boot(&mut self, now: u64, rng: &mut Rng) -> bool {
        self.board.borrow_mut().power_cycle(now);
        self.boots += 1;
        if self.moves && self.boots > 1 {
            self.address.set_port(FIRST_PORT + (self.address.port() - FIRST_PORT + PORTS) % (60 * PORTS));
        }
        let agent = Agent::new(SimOs(self.board.clone()), self.config.clone(), rng.next());
        if self.board.borrow().dead {
            return false;
        }
        self.agent = agent.ok();
        self.due = now;
        self.agent.is_some()
    }

    pub fn crash(&mut self, now: u64) {
        self.agent = None;
        self.due = u64::MAX;
        self.down_since = now;
        let mut board = self.board.borrow_mut();
        board.dead = true;
        board.running.clear();
    }

    pub fn arm(&mut self, writes: u64, fault: WriteFault) {
        self.board.borrow_mut().fault = Some((writes, fault));
    }

    pub fn is_failing(&self) -> bool {
        let board = self.board.borrow();
        board.failing.is_some() || board.fault.is_some()
    }

    /// A datagram arrives.
    pub fn datagram(&mut self, bytes: &[u8], now: u64) {
        self.board.borrow_mut().now = now;
        if let Some(agent) = &mut self.agent {
            agent.datagram(Peer::Gateway, bytes);
            self.due = now;
        }
    }

    /// Does what is due; gives what it sends. If it died on the way it is [`Node::is_dead`] then.
    pub fn step(&mut self, now: u64) -> Vec<Vec<u8>> {
        self.board.borrow_mut().now = now;
        let Some(agent) = &mut self.agent else { return Vec::new() };
        let due = agent.step();
        let mut board = self.board.borrow_mut();
        let due = due.saturating_add(board.booted_ms).max(now + 1);
        self.due = board.next_event().map_or(due, |at| at.min(due));
        std::mem::take(&mut board.sent)
    }

    /// A write took it down.
    pub fn is_dead(&self) -> bool {
        self.board.borrow().dead
    }
}
