//! One node and its gateway's sessions in virtual time, over single frames that may be lost: the real cores, OSCORE
//! included, with every frame and byte counted.

use agent_core::{
    Agent, Config, Digest, Event, Intake, NodeUsage, Os, Peer, Record, Start, StartError, StorageError,
    TaskUsage,
};
use anyhow::{Context as _, Result};
use gateway::bridge::{FromNode, NodeId, ToNode};
use gateway::session::{self, Keyring, Output, Sessions};
use lowpan::{Eui64, FCS_LEN, Stack};
use node_oscore::{Credential, Id};
use node_proto::paths::COAP_PORT;
use node_proto::{Arch, Inventory, Kind, News, Power, Runtimes, State, TaskHandle, Vitals};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

const NODE: Eui64 = Eui64([2, 0, 0, 0, 0, 0, 0, 10]);
const GATEWAY: Eui64 = Eui64([2, 0, 0, 0, 0, 0, 0, 1]);
/// The only image there is.
const IMAGE: u16 = 1;
/// From the end of a frame to the beginning of what answers it, milliseconds.
const TURN_MS: u64 = 5;
/// Processor time of a node's datagram, sent or received, milliseconds: CoAP, AES-CCM and postcard on a Cortex-M4 at
/// 64 MHz. An assumption, on the safe side; nothing of it was measured on the chip.
pub const DATAGRAM_MS: u64 = 10;

/// What was in the air.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Their bytes, with the checksum.
    pub bytes: u64,
    /// When, milliseconds.
    pub at_ms: u64,
}

impl Tally {
    /// What was in the air since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            frames: self.frames - earlier.frames,
            bytes: self.bytes - earlier.bytes,
            at_ms: self.at_ms - earlier.at_ms,
        }
    }
}

/// What is under the node's agent.
struct Board {
    now: u64,
    inventory: Inventory,
    records: BTreeMap<Record, Vec<u8>>,
    images: BTreeMap<Digest, Vec<u8>>,
    out: VecDeque<Vec<u8>>,
    used: NodeUsage,
    /// Tasks and when they end by themselves.
    running: BTreeMap<TaskHandle, u64>,
    killed: Vec<TaskHandle>,
    run_ms: u64,
}

impl Os for Board {
    fn now_ms(&self) -> u64 {
        self.now
    }

    fn inventory(&self) -> Inventory {
        self.inventory.clone()
    }

    fn eui64(&self) -> [u8; 8] {
        NODE.0
    }

    fn power(&self) -> Power {
        self.inventory.power
    }

    fn used(&self) -> NodeUsage {
        self.used
    }

    fn send(&mut self, _to: Peer, datagram: &[u8]) {
        self.out.push_back(datagram.to_vec());
    }

    fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        let Some(bytes) = self.records.get(&record) else { return Ok(None) };
        buffer.get_mut(..bytes.len()).ok_or(StorageError::Failed)?.copy_from_slice(bytes);
        Ok(Some(bytes.len()))
    }

    fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError> {
        self.records.insert(record, bytes.to_vec());
        Ok(())
    }

    fn delete(&mut self, record: Record) -> Result<(), StorageError> {
        self.records.remove(&record);
        Ok(())
    }

    fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError> {
        Ok(self.images.get(image).map_or(0, |bytes| bytes.len() as u32))
    }

    fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        let held = self.images.entry(*image).or_default();
        held.truncate(offset as usize);
        held.extend_from_slice(bytes);
        Ok(())
    }

    fn image_read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let held = self.images.get(image).and_then(|held| held.get(offset as usize..)).unwrap_or_default();
        let read = held.len().min(buffer.len());
        buffer[..read].copy_from_slice(&held[..read]);
        Ok(read)
    }

    fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError> {
        self.images.remove(image);
        Ok(())
    }

    fn intake(&mut self, _piece: &Intake<'_>) -> Result<(), StartError> {
        Ok(())
    }

    fn start(&mut self, start: &Start<'_>) -> Result<(), StartError> {
        self.running.insert(start.task, self.now + self.run_ms);
        Ok(())
    }

    fn kill(&mut self, task: TaskHandle) {
        if self.running.remove(&task).is_some() {
            self.killed.push(task);
        }
    }

    fn stop(&mut self, _task: TaskHandle, _grace_ms: u32) -> bool {
        false
    }

    fn deliver(&mut self, _task: TaskHandle, _data: &[u8]) {}

    fn next_event(&mut self, task: TaskHandle) -> Option<Event> {
        if let Some(at) = self.killed.iter().position(|killed| *killed == task) {
            self.killed.remove(at);
            return Some(Event::Killed);
        }
        let ended = self.running.get(&task).is_some_and(|at| *at <= self.now);
        ended.then(|| self.running.remove(&task)).map(|_| Event::Exited(0))
    }

    fn usage(&self, task: TaskHandle) -> Option<TaskUsage> {
        self.running.get(&task).map(|_| TaskUsage::default())
    }
}

/// How a pair is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The node's supply.
    pub power: Power,
    /// Longest pause between its polls, seconds.
    pub poll_s: u16,
    /// Pause between polls after an order, milliseconds.
    pub busy_poll_ms: u32,
    /// Frames lost, of a thousand.
    pub loss_permille: u64,
    /// What decides which.
    pub seed: u64,
    /// How long a task runs, milliseconds.
    pub run_ms: u64,
}

/// A node and its gateway.
pub struct Pair {
    node: Agent<Board>,
    sessions: Sessions,
    peer: SocketAddr,
    stacks: [Stack; 2],
    /// (arrival, order) -> (to the gateway?, datagram)
    air: BTreeMap<(u64, u64), (bool, Vec<u8>)>,
    now: u64,
    wake: u64,
    random: u64,
    loss_permille: u64,
    next_task: TaskHandle,
    digest: [u8; 32],
    image_len: u32,
    /// What was in the air.
    pub tally: Tally,
    /// What the node said last of itself.
    pub vitals: Option<Vitals>,
    /// Registrations, heartbeats, and the newest state of each task, as the gateway knows them.
    pub registered: u64,
    /// Polls that the gateway heard.
    pub polls: u64,
    /// The newest state of each task.
    pub states: BTreeMap<TaskHandle, State>,
}

impl Pair {
    /// Both at their start, with an image of so many bytes at the gateway.
    pub fn new(setup: Setup, image_len: usize) -> Result<Self> {
        let credential =
            Credential { eui64: NODE.0, kid: Id::new(&[1]).context("an id")?, secret: [3; 16], salt: [4; 8] };
        let config = session::Config {
            poll_mains_s: setup.poll_s,
            poll_battery_s: setup.poll_s,
            ..session::Config::default()
        };
        let mut sessions = Sessions::new(config, &[], setup.seed, 0);
        sessions.set_keys(Keyring { credentials: vec![credential.clone()], revoked: Vec::new() }, 0);
        let image: Vec<u8> = (0..image_len).map(|at| (at % 251) as u8).collect();
        let digest = Sha256::digest(&image).into();
        sessions.add_image(IMAGE, image.into());
        let inventory = Inventory {
            cpu_permille: 1000,
            mem_bytes: 128 << 10,
            flash_bytes: 512 << 10,
            sensors: 1,
            leds: 2,
            power: setup.power,
            arch: Arch::Thumbv7em,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: 2,
            board: "nrf52840dk".try_into().unwrap_or_default(),
        };
        let board = Board {
            now: 0,
            inventory,
            records: BTreeMap::new(),
            images: BTreeMap::new(),
            out: VecDeque::new(),
            used: NodeUsage::default(),
            running: BTreeMap::new(),
            killed: Vec::new(),
            run_ms: setup.run_ms,
        };
        let config =
            Config { credential: Some(credential), busy_poll_ms: setup.busy_poll_ms, ..Config::default() };
        let node = Agent::new(board, config, setup.seed).ok().context("the node does not start")?;
        Ok(Self {
            node,
            sessions,
            peer: SocketAddr::from((NODE.link_local(), COAP_PORT)),
            stacks: [NODE, GATEWAY].map(|own| Stack::new(lowpan::Config::new(own))),
            air: BTreeMap::new(),
            now: 0,
            wake: 0,
            random: setup.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            loss_permille: setup.loss_permille,
            next_task: 1,
            digest,
            image_len: image_len as u32,
            tally: Tally::default(),
            vitals: None,
            registered: 0,
            polls: 0,
            states: BTreeMap::new(),
        })
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    /// Puts a datagram in the air, in one frame.
    fn send(&mut self, to_gateway: bool, datagram: Vec<u8>) -> Result<()> {
        let (own, to) = if to_gateway { (0, GATEWAY) } else { (1, NODE) };
        let frames = self.stacks[own].encode(to.link_local(), COAP_PORT, COAP_PORT, &datagram)?;
        anyhow::ensure!(
            frames.len() == 1,
            "a datagram of {} bytes takes {} frames",
            datagram.len(),
            frames.len()
        );
        let bytes = (frames[0].len() + FCS_LEN) as u64;
        self.tally.frames += 1;
        self.tally.bytes += bytes;
        let used = &mut self.node.os_mut().used;
        if to_gateway {
            (used.frames_out, used.bytes_out) = (used.frames_out + 1, used.bytes_out + bytes as u32);
            used.cpu_ms += DATAGRAM_MS;
        }
        if self.dice(1000) >= self.loss_permille {
            // 32 us a byte at 250 kbit/s.
            let at = self.now + TURN_MS + bytes * 32 / 1000;
            self.air.insert((at, self.tally.frames), (to_gateway, datagram));
        }
        Ok(())
    }

    fn gateway_outputs(&mut self) -> Result<()> {
        while let Some(output) = self.sessions.poll_output() {
            match output {
                Output::Transmit(_, datagram) => self.send(false, datagram)?,
                Output::Event(_, FromNode::Online(_)) => self.registered += 1,
                Output::Event(_, FromNode::Alive { news, .. }) => {
                    self.polls += 1;
                    if let News::Vitals(vitals) = news {
                        self.vitals = Some(vitals);
                    }
                }
                Output::Event(_, FromNode::Status { task, state, .. }) => {
                    self.states.insert(task, state);
                }
                Output::Event(..) | Output::Write(_) => {}
                Output::Load(image) => self.sessions.no_image(image),
            }
        }
        Ok(())
    }

    /// Lets time pass until `end`, or until `done` is; gives what was in the air meanwhile, if it was done.
    pub fn run(&mut self, end_ms: u64, done: impl Fn(&Self) -> bool) -> Result<Option<Tally>> {
        let begun = Tally { at_ms: self.now, ..self.tally };
        loop {
            self.gateway_outputs()?;
            if done(self) {
                return Ok(Some(Tally { at_ms: self.now, ..self.tally }.since(begun)));
            }
            let arrival = self.air.first_key_value().map(|((at, _), _)| *at);
            let ends = self.node.os().running.values().min().copied();
            let due = [arrival, ends, self.sessions.next_timeout(), Some(self.wake)];
            let next = due.into_iter().flatten().min().unwrap_or(end_ms).max(self.now);
            if next > end_ms {
                self.now = end_ms;
                return Ok(None);
            }
            self.now = next;
            self.node.os_mut().now = next;
            while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= next) {
                let (to_gateway, datagram) = entry.remove();
                if to_gateway {
                    self.sessions.handle_datagram(self.peer, &datagram, next);
                    self.gateway_outputs()?;
                } else {
                    let used = &mut self.node.os_mut().used;
                    used.frames_in += 1;
                    used.bytes_in += datagram.len() as u32;
                    used.cpu_ms += DATAGRAM_MS;
                    self.node.datagram(Peer::Gateway, &datagram);
                }
            }
            self.sessions.handle_timeout(next);
            self.wake = self.node.step();
            while let Some(datagram) = self.node.os_mut().out.pop_front() {
                self.send(true, datagram)?;
            }
        }
    }

    /// Orders a task with the image.
    pub fn launch(&mut self) -> Result<TaskHandle> {
        let task = self.next_task;
        self.next_task += 1;
        let order = ToNode::Launch {
            task,
            image: IMAGE,
            image_len: self.image_len,
            digest: self.digest,
            kind: Kind::Wasm,
            document: Vec::new(),
            cpu_permille: 250,
            mem_bytes: 32 << 10,
            leds: 0,
            capabilities: 0xf,
            max_run_s: 0,
            resume: false,
        };
        anyhow::ensure!(self.sessions.order(NodeId(NODE.0), order, self.now), "the mailbox is full");
        Ok(task)
    }

    /// Orders the end of a task.
    pub fn kill(&mut self, task: TaskHandle) -> Result<()> {
        let order = ToNode::Kill { task, grace_ms: 0 };
        anyhow::ensure!(self.sessions.order(NodeId(NODE.0), order, self.now), "the mailbox is full");
        Ok(())
    }

    /// Lets the gateway forget a task that has ended.
    pub fn forget(&mut self, task: TaskHandle) {
        self.sessions.order(NodeId(NODE.0), ToNode::Forget { task }, self.now);
    }

    /// From now on so many frames of a thousand are lost.
    pub fn set_loss(&mut self, permille: u64) {
        self.loss_permille = permille;
    }

    /// Virtual time, milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now
    }
}
