//! The gateway: its two real cores, wired as `gateway::driver` wires them.
//!
//! A step takes all inputs of one kind that wait, carries outputs between the cores until there are none, commits
//! what they want written at once, and only then lets go of what they want sent.

use crate::images::Cache;
use crate::plan::Plan;
use crate::rng::Rng;
use gateway::agent::{self, Agents};
use gateway::bridge::{FromNode, NodeId};
use gateway::session::{self, Keyring, Sessions};
use gateway::store::{Records, Table, Write};
use libprocess::{Message, Upid};
use node_proto::ImageHandle;
use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// Images fetched at once, and how long one that was fetched is not fetched again: as in the driver.
pub(crate) const FETCHES_MAX: usize = 16;
pub(crate) const FRESH_MS: u64 = 5_000;

/// Where a crash hits a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Nothing of it is done.
    Before,
    /// It is done, and nothing is sent.
    After,
    /// It is done, and some of it is sent.
    Between,
}

/// What a step did.
#[derive(Default)]
pub(crate) struct Effects {
    /// From which actor, to whom, name, body.
    pub messages: Vec<(String, Upid, String, Vec<u8>)>,
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Images to be fetched.
    pub fetches: Vec<String>,
    /// What nodes said, as far as it was committed.
    pub said: Vec<(NodeId, FromNode)>,
    /// Messages that were taken from the master, and their effect committed.
    pub heard: Vec<Message>,
    /// The gateway is down now.
    pub crashed: bool,
}

/// What came of a download.
pub(crate) type Fetched = Result<Arc<[u8]>, String>;

/// What waits to be taken in.
#[derive(Default)]
pub(crate) struct Inbox {
    pub messages: VecDeque<Message>,
    pub datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    pub fetched: VecDeque<(String, Fetched)>,
    pub leaders: VecDeque<Option<Upid>>,
}

/// The two cores, and what the driver keeps beside them.
pub(crate) struct Cores {
    pub sessions: Sessions,
    pub agents: Agents,
    pub fetching: BTreeMap<String, Option<ImageHandle>>,
    pub queue: VecDeque<String>,
    pub recent: VecDeque<(u64, String, Arc<[u8]>)>,
    pub inbox: Inbox,
}

/// The gateway's process and its disk.
pub(crate) struct Gateway {
    cores: Option<Cores>,
    store: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    cache: Cache,
    config: session::Config,
    keyring: Keyring,
    address: SocketAddrV4,
    /// Tells this run of the process from others.
    pub run: u64,
    started_ms: u64,
    busy_until: u64,
    commit_ms: u64,
    /// Commits until it is killed.
    pub armed: Option<(u64, Crash)>,
    /// Of a thousand commits, how many are not kept. Not as it should be.
    pub forgets: u64,
    rng: Rng,
}

impl Gateway {
    pub fn new(plan: &Plan, keyring: Keyring, address: SocketAddrV4, forgets: u64, rng: Rng) -> Self {
        let config = session::Config {
            ack_timeout_ms: plan.ack_timeout_ms,
            poll_battery_s: plan.poll_battery_s,
            ..session::Config::default()
        };
        Self {
            cores: None,
            store: BTreeMap::new(),
            cache: Cache::default(),
            config,
            keyring,
            address,
            run: 0,
            started_ms: 0,
            busy_until: 0,
            commit_ms: plan.commit_ms,
            armed: None,
            forgets,
            rng,
        }
    }

    pub fn is_up(&self) -> bool {
        self.cores.is_some()
    }

    /// The cores, and the time on their clock.
    pub fn view(&self, now: u64) -> Option<(&Sessions, &Agents, u64)> {
        self.cores.as_ref().map(|cores| (&cores.sessions, &cores.agents, now - self.started_ms))
    }

    pub fn lease_ms(&self, next_s: u16) -> u64 {
        self.config.lease_ms(next_s)
    }

    /// Records of one kind in the store.
    pub fn stored(&self, table: Table) -> usize {
        self.store.keys().filter(|(held, _)| *held == table).count()
    }

    /// Records in the store.
    pub fn records(&self) -> usize {
        self.store.len()
    }

    /// Starts on what the store remembers.
    pub fn boot(&mut self, now: u64, epoch_ms: u64) {
        let records: Records =
            self.store.iter().map(|((table, key), value)| (*table, key.clone(), value.clone())).collect();
        if self.rng.chance(200) {
            self.cache.lose_files();
        }
        self.cache.restore(&records);
        self.run += 1;
        (self.started_ms, self.busy_until) = (now, now);
        let epoch_ms = epoch_ms + now;
        let config = session::Config { epoch_ms, ..self.config };
        let mut sessions = Sessions::new(config, &records, self.rng.next(), 0);
        sessions.set_keys(self.keyring.clone(), 0);
        let agents = agent::Config {
            version: "1.11.0".into(),
            domain: "micro".into(),
            port: self.address.port(),
            epoch_ms,
            credential: None,
            offers: Default::default(),
            trust: Default::default(),
        };
        let agents = Agents::new(agents, self.address, &records, self.rng.next(), 0);
        self.cores = Some(Cores {
            sessions,
            agents,
            fetching: BTreeMap::new(),
            queue: VecDeque::new(),
            recent: VecDeque::new(),
            inbox: Inbox::default(),
        });
    }

    pub fn crash(&mut self) {
        self.cores = None;
        self.armed = None;
    }

    pub fn message(&mut self, message: Message) {
        self.take(|inbox| inbox.messages.push_back(message));
    }

    pub fn datagram(&mut self, peer: SocketAddr, bytes: Vec<u8>) {
        self.take(|inbox| inbox.datagrams.push_back((peer, bytes)));
    }

    pub fn fetched(&mut self, uri: String, image: Fetched) {
        self.take(|inbox| inbox.fetched.push_back((uri, image)));
    }

    pub fn detected(&mut self, leader: Option<Upid>) {
        self.take(|inbox| inbox.leaders.push_back(leader));
    }

    fn take(&mut self, put: impl FnOnce(&mut Inbox)) {
        if let Some(cores) = &mut self.cores {
            put(&mut cores.inbox);
        }
    }

    /// When [`Gateway::step`] is to be called.
    pub fn due(&self) -> u64 {
        let Some(cores) = &self.cores else { return u64::MAX };
        let inbox = &cores.inbox;
        let waits = !inbox.messages.is_empty()
            || !inbox.datagrams.is_empty()
            || !inbox.fetched.is_empty()
            || !inbox.leaders.is_empty()
            || self.run_is_new();
        let timers = [cores.agents.next_timeout(), cores.sessions.next_timeout()];
        let timer = timers.into_iter().flatten().min().map_or(u64::MAX, |at| at + self.started_ms);
        let due = if waits { 0 } else { timer };
        due.max(self.busy_until)
    }

    /// The cores have outputs from their start.
    fn run_is_new(&self) -> bool {
        self.busy_until == self.started_ms
    }

    /// One turn of the driver's loop.
    pub fn step(&mut self, now: u64) -> Effects {
        let mut effects = Effects::default();
        let mut writes = Vec::new();
        let at = now - self.started_ms;
        let choice = self.rng.below(4);
        self.busy_until = now + self.rng.between(1, self.commit_ms);
        let Some(cores) = &mut self.cores else { return effects };
        cores.input(choice, at, &mut self.cache, &mut writes, &mut effects);
        cores.sessions.handle_timeout(at);
        cores.agents.handle_timeout(at);
        cores.settle(at, &mut self.cache, &mut writes, &mut effects);
        let crash = match &mut self.armed {
            Some((0, crash)) if !writes.is_empty() => Some(*crash),
            Some((left, _)) if !writes.is_empty() => {
                *left -= 1;
                None
            }
            _ => None,
        };
        if crash == Some(Crash::Before) {
            self.crash();
            return Effects { crashed: true, ..Effects::default() };
        }
        if self.forgets == 0 || !self.rng.chance(self.forgets) {
            self.commit(writes);
        }
        match crash {
            None | Some(Crash::Before) => {}
            Some(Crash::After) => {
                effects.messages.clear();
                effects.datagrams.clear();
            }
            Some(Crash::Between) => {
                let sent =
                    self.rng.below((effects.messages.len() + effects.datagrams.len()) as u64 + 1) as usize;
                let datagrams = sent.saturating_sub(effects.messages.len());
                effects.messages.truncate(sent);
                effects.datagrams.truncate(datagrams);
            }
        }
        if crash.is_some() {
            self.crash();
            effects.crashed = true;
        }
        effects
    }

    fn commit(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put(table, key, value) => drop(self.store.insert((table, key), value)),
                Write::Delete(table, key) => drop(self.store.remove(&(table, key))),
            }
        }
    }
}
