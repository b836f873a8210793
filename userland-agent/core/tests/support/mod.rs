//! A node whose storage survives its restarts, a gateway that follows a script, and a channel between them that
//! loses, doubles and reorders; all in virtual time.
#![allow(dead_code)] // each test binary uses its own part

pub mod gateway;
pub mod os;

use agent_core::{Agent, Config, Digest, Peer};
use gateway::Gateway;
use node_proto::{Capabilities, Kind, Launch, Order, State, TaskHandle};
use os::{FakeOs, World};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Far more than any test needs, virtual milliseconds.
pub const LONG: u64 = 600_000;

/// The node, the gateway and what is in the air.
pub struct Sim {
    pub world: Rc<RefCell<World>>,
    pub agent: Agent<FakeOs>,
    pub gateway: Gateway,
    /// (arrival, order) -> (to the gateway?, bytes)
    air: BTreeMap<(u64, u64), (bool, Vec<u8>)>,
    order: u64,
    random: u64,
    publishers: Vec<[u8; 32]>,
    pub loss_permille: u64,
    pub chaos: bool,
    pub restarts: u64,
    /// Steps of the simulation, to bound one that goes in circles.
    pub steps: u64,
}

/// An agent on what `world` remembers, however often the node goes down while it starts.
fn boot(world: &Rc<RefCell<World>>, seed: u64, publishers: &[[u8; 32]]) -> Agent<FakeOs> {
    loop {
        world.borrow_mut().power_cycle();
        let publishers = heapless::Vec::from_slice(publishers).unwrap();
        let agent = Agent::new(FakeOs(world.clone()), Config { publishers, ..Config::default() }, seed);
        if let Ok(agent) = agent
            && !world.borrow().dead
        {
            return agent;
        }
    }
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        Self::of(seed, &[])
    }

    /// A node that starts only what these publishers signed.
    pub fn with_publishers(seed: u64, publishers: &[[u8; 32]]) -> Self {
        Self::of(seed, publishers)
    }

    fn of(seed: u64, publishers: &[[u8; 32]]) -> Self {
        let world = Rc::new(RefCell::new(World::default()));
        Self {
            agent: boot(&world, seed, publishers),
            publishers: publishers.to_vec(),
            world,
            gateway: Gateway::new(seed + 1000),
            air: BTreeMap::new(),
            order: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            loss_permille: 0,
            chaos: false,
            restarts: 0,
            steps: 0,
        }
    }

    pub fn now(&self) -> u64 {
        self.world.borrow().now
    }

    pub fn restart(&mut self) {
        self.restarts += 1;
        let seed = self.dice(u64::MAX);
        self.agent = boot(&self.world, seed, &self.publishers);
    }

    pub fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    fn throw(&mut self, to_gateway: bool, bytes: Vec<u8>) {
        let copies = if self.chaos && self.dice(8) == 0 { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice(1000) < self.loss_permille {
                continue;
            }
            let delay = if self.chaos { 1 + self.dice(80) } else { 5 };
            self.order += 1;
            self.air.insert((self.now() + delay, self.order), (to_gateway, bytes.clone()));
        }
    }

    /// Does what is due now and moves time to the next thing that happens.
    pub fn step(&mut self) {
        self.steps += 1;
        let due = self.agent.step();
        let sent = std::mem::take(&mut self.world.borrow_mut().sent);
        for bytes in sent {
            self.throw(true, bytes);
        }
        if self.world.borrow().dead {
            self.restart();
            return;
        }
        let now = self.now();
        for bytes in self.gateway.step(now) {
            self.throw(false, bytes);
        }
        let next = [
            Some(due),
            self.air.first_key_value().map(|((at, _), _)| *at),
            self.gateway.coap.next_timeout(),
            self.world.borrow().next_event_ms(),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(now).clamp(now + 1, now + 1000);
        self.world.borrow_mut().now = next;
        while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= next) {
            match entry.remove() {
                (true, bytes) => self.gateway.coap.handle((), &bytes, next),
                (false, bytes) => self.agent.datagram(Peer::Gateway, &bytes),
            }
        }
    }

    /// Goes on until `done`; panics if that does not come about.
    #[track_caller]
    pub fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = self.now() + LONG;
        let steps = self.steps + 100_000;
        while !done(self) {
            assert!(self.now() < end && self.steps < steps, "never {what}: {:?}", self.gateway.statuses);
            self.step();
        }
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now() + ms;
        while self.now() < end {
            self.step();
        }
    }

    /// Puts an image and a document at the gateway and orders the task.
    pub fn launch(&mut self, task: TaskHandle, image_len: usize) {
        let launch = self.prepare(task, image_len);
        self.gateway.order(Order::Launch(launch));
    }

    /// Puts an image and a document at the gateway; what is to be ordered comes back.
    pub fn prepare(&mut self, task: TaskHandle, image_len: usize) -> Launch {
        let image: Vec<u8> = (0..image_len).map(|at| (at % 251) as u8 ^ task as u8).collect();
        let document = document();
        let launch = Launch {
            task,
            image: task + 100,
            image_len: image_len as u32,
            digest: digest(&image),
            document_len: document.len() as u16,
            kind: Kind::Wasm,
            cpu_permille: 100,
            mem_bytes: 1000,
            leds: 0,
            capabilities: Capabilities(Capabilities::LOG | Capabilities::MESSAGE),
            max_run_s: 0,
            resume: false,
        };
        self.gateway.images.insert(task + 100, image);
        self.gateway.documents.insert(task, document);
        launch
    }

    pub fn states(&self, task: TaskHandle) -> Vec<State> {
        self.gateway.states(task)
    }

    pub fn ended(&self, task: TaskHandle) -> bool {
        self.states(task).iter().any(|state| state.is_terminal())
    }

    pub fn starts(&self, task: TaskHandle) -> usize {
        self.world.borrow().starts.iter().filter(|started| **started == task).count()
    }

    /// What must hold of a task whatever happened: started at most once, ended once, in order.
    pub fn check(&self, task: TaskHandle) {
        let states = self.states(task);
        assert!(self.starts(task) <= 1, "started {} times: {states:?}", self.starts(task));
        assert_eq!(states.iter().filter(|state| state.is_terminal()).count(), 1, "{states:?}");
        let rank = |state: &State| match state {
            State::Starting => 0,
            State::Running => 1,
            _ => 2,
        };
        assert!(states.windows(2).all(|pair| rank(&pair[0]) < rank(&pair[1])), "{states:?}");
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    let mut half = Digest::default();
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    half
}

/// Longer than one block, so that it takes several.
pub fn document() -> Vec<u8> {
    let args = [b'a'; 150];
    let document = node_proto::Document { entry: "run", args: &args, env: b"K=V\0", ..Default::default() };
    let mut buffer = [0; 256];
    postcard::to_slice(&document, &mut buffer).unwrap().to_vec()
}
