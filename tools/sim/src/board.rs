//! The system under a node's agent, in memory: storage that survives crashes, and an executor that does not.

use crate::plan::NodePlan;
use crate::rng::Rng;
use crate::task::{self, Running};
use agent_core::{
    Digest, Event, Intake, NodeUsage, Os, Peer, Record, Start, StartError, StorageError, TaskUsage,
};
use node_proto::{Arch, Inventory, Power, Runtimes, TaskHandle};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What goes wrong at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteFault {
    /// The node goes down and the write is not done.
    CrashBefore,
    /// The write is done, then the node goes down.
    CrashAfter,
    /// A part of an image's bytes is written, then the node goes down.
    Torn,
    /// This write and all after it fail, until the node restarts.
    Error(StorageError),
}

/// What the checks want to know of an executor.
#[derive(Debug)]
pub(crate) enum Seen {
    Started { number: u32, task: TaskHandle },
    Ended { number: u32, how: Event },
    Wrong(&'static str, String),
}

/// What is outside the agent.
pub(crate) struct Board {
    pub now: u64,
    pub booted_ms: u64,
    pub eui64: [u8; 8],
    pub plan: NodePlan,
    records: BTreeMap<Record, Vec<u8>>,
    /// What a loss of power leaves: the same, but on a board that forgets.
    durable: BTreeMap<Record, Vec<u8>>,
    images: BTreeMap<Digest, Vec<u8>>,
    pub sent: Vec<Vec<u8>>,
    pub running: BTreeMap<TaskHandle, Running>,
    pub seen: Vec<Seen>,
    /// Bytes of each task's image that were looked at.
    taken: BTreeMap<TaskHandle, u32>,
    /// Writes until what goes wrong.
    pub fault: Option<(u64, WriteFault)>,
    pub failing: Option<StorageError>,
    /// The node is down: nothing it does has an effect.
    pub dead: bool,
    /// Of a thousand records written, how many a loss of power takes away again. Not as it should be.
    pub forgets: u64,
    rng: Rng,
}

impl Board {
    pub fn new(eui64: [u8; 8], plan: NodePlan, forgets: u64, rng: Rng) -> Self {
        Self {
            now: 0,
            booted_ms: 0,
            eui64,
            plan,
            records: BTreeMap::new(),
            durable: BTreeMap::new(),
            images: BTreeMap::new(),
            sent: Vec::new(),
            running: BTreeMap::new(),
            seen: Vec::new(),
            taken: BTreeMap::new(),
            fault: None,
            failing: None,
            dead: false,
            forgets,
            rng,
        }
    }

    /// Power goes and comes.
    pub fn power_cycle(&mut self, now: u64) {
        self.running.clear();
        self.taken.clear();
        self.sent.clear();
        self.failing = None;
        self.dead = false;
        self.records = self.durable.clone();
        (self.now, self.booted_ms) = (now, now);
    }

    /// The next moment after the last step at which a task does something.
    pub fn next_event(&self) -> Option<u64> {
        let next = self.running.values().filter_map(|task| task.script.front()).map(|(at, _)| *at);
        next.filter(|at| *at > self.now).min()
    }

    fn write(&mut self, work: impl FnOnce(&mut Self, bool)) -> Result<(), StorageError> {
        if self.dead {
            return Ok(());
        }
        if let Some(error) = self.failing {
            return Err(error);
        }
        let due = match &mut self.fault {
            Some((0, fault)) => Some(*fault),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if due.is_some() {
            self.fault = None;
        }
        match due {
            None => work(self, false),
            Some(WriteFault::CrashBefore) => self.dead = true,
            Some(WriteFault::CrashAfter) => {
                work(self, false);
                self.dead = true;
            }
            Some(WriteFault::Torn) => {
                work(self, true);
                self.dead = true;
            }
            Some(WriteFault::Error(error)) => {
                self.failing = Some(error);
                return Err(error);
            }
        }
        Ok(())
    }

    fn wrong(&mut self, what: &'static str, detail: String) {
        self.seen.push(Seen::Wrong(what, detail));
    }

    fn start(&mut self, start: &Start<'_>) {
        let held = self.images.get(&start.image).map(Vec::as_slice).unwrap_or_default();
        if Sha256::digest(held)[..16] != start.image {
            self.wrong(
                "unchecked image",
                format!("task {} is started on bytes with another digest", start.task),
            );
        }
        let Some((number, behaviour)) = task::read(start.document.data) else {
            return self
                .wrong("document", format!("task {} has another document than it was sent", start.task));
        };
        let running = Running::new(number, behaviour, start.grant, self.now);
        self.seen.push(Seen::Started { number, task: start.task });
        if self.running.insert(start.task, running).is_some() {
            self.wrong("started twice", format!("handle {} runs already", start.task));
        }
        let cpu: u32 = self.running.values().map(|task| u32::from(task.grant.cpu_permille)).sum();
        let mem: u64 = self.running.values().map(|task| u64::from(task.grant.mem_bytes)).sum();
        if cpu > u32::from(self.plan.cpu_permille) || mem > u64::from(self.plan.mem_bytes) {
            self.wrong("grants", format!("{cpu} permille and {mem} bytes are granted on {:?}", self.plan));
        }
    }
}

/// The agent's hold of a [`Board`].
pub(crate) struct SimOs(pub Rc<RefCell<Board>>);

impl Os for SimOs {
    fn now_ms(&self) -> u64 {
        let board = self.0.borrow();
        board.now - board.booted_ms
    }

    fn inventory(&self) -> Inventory {
        let board = self.0.borrow();
        Inventory {
            cpu_permille: board.plan.cpu_permille,
            mem_bytes: board.plan.mem_bytes,
            flash_bytes: board.plan.flash_bytes,
            sensors: 0,
            leds: 0,
            power: if board.plan.battery { Power::Battery(100) } else { Power::Mains },
            arch: Arch::Host,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: board.plan.block_szx,
            board: heapless::String::new(),
        }
    }

    fn eui64(&self) -> [u8; 8] {
        self.0.borrow().eui64
    }

    fn power(&self) -> Power {
        let board = self.0.borrow();
        match board.plan.battery {
            true => Power::Battery(100 - (board.now / 3_600_000).min(90) as u8),
            false => Power::Mains,
        }
    }

    fn used(&self) -> NodeUsage {
        NodeUsage::default()
    }

    fn send(&mut self, _to: Peer, datagram: &[u8]) {
        let mut board = self.0.borrow_mut();
        if !board.dead {
            board.sent.push(datagram.to_vec());
        }
    }

    fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        let board = self.0.borrow();
        let Some(bytes) = board.records.get(&record) else { return Ok(None) };
        buffer.get_mut(..bytes.len()).ok_or(StorageError::Failed)?.copy_from_slice(bytes);
        Ok(Some(bytes.len()))
    }

    fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.borrow_mut().write(|board, torn| {
            if bytes.len() > Record::MAX {
                board.wrong("record", format!("{record:?} of {} bytes", bytes.len()));
            }
            let forgotten = board.forgets > 0 && board.rng.chance(board.forgets);
            if !torn {
                board.records.insert(record, bytes.to_vec());
            }
            if !torn && !forgotten {
                board.durable.insert(record, bytes.to_vec());
            }
        })
    }

    fn delete(&mut self, record: Record) -> Result<(), StorageError> {
        self.0.borrow_mut().write(|board, torn| {
            if !torn {
                board.records.remove(&record);
                board.durable.remove(&record);
            }
        })
    }

    fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError> {
        Ok(self.0.borrow().images.get(image).map_or(0, |bytes| bytes.len() as u32))
    }

    fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.borrow_mut().write(|board, torn| {
            let len = if torn { board.rng.below(bytes.len() as u64) as usize } else { bytes.len() };
            let held = board.images.entry(*image).or_default();
            let hole = offset as usize > held.len();
            held.truncate(offset as usize);
            held.extend_from_slice(&bytes[..len]);
            if hole {
                board.wrong("image", format!("a hole before {offset}"));
            }
            let stored: usize = board.images.values().map(Vec::len).sum();
            if stored > board.plan.flash_bytes as usize {
                board.wrong("flash", format!("{stored} bytes of images in {}", board.plan.flash_bytes));
            }
        })
    }

    fn image_read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let board = self.0.borrow();
        let held = board.images.get(image).and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default();
        let len = held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&held[..len]);
        Ok(len)
    }

    fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError> {
        self.0.borrow_mut().write(|board, torn| {
            if !torn {
                board.images.remove(image);
            }
        })
    }

    fn intake(&mut self, piece: &Intake<'_>) -> Result<(), StartError> {
        let mut board = self.0.borrow_mut();
        let taken = board.taken.entry(piece.task).or_default();
        if piece.offset == 0 {
            *taken = 0;
        }
        let expected = std::mem::replace(taken, piece.offset + piece.bytes.len() as u32);
        if piece.offset != expected {
            let text = format!("task {}: a piece at {} after {expected} bytes", piece.task, piece.offset);
            board.wrong("an image is looked at in order", text);
        }
        Ok(())
    }

    fn start(&mut self, start: &Start<'_>) -> Result<(), StartError> {
        let mut board = self.0.borrow_mut();
        if !board.dead {
            board.start(start);
        }
        Ok(())
    }

    fn stop(&mut self, task: TaskHandle, _grace_ms: u32) -> bool {
        let mut board = self.0.borrow_mut();
        let now = board.now;
        let Some(running) = board.running.get_mut(&task) else { return false };
        let Some(after) = running.notices else { return false };
        // It says what it has to say until then, and returns.
        running.script.retain(|(at, _)| *at <= now + after);
        if !running.script.back().is_some_and(|(_, event)| task::ends(event)) {
            running.script.push_back((now + after, Event::Exited(0)));
        }
        true
    }

    fn kill(&mut self, task: TaskHandle) {
        let mut board = self.0.borrow_mut();
        let now = board.now;
        if let Some(running) = board.running.get_mut(&task) {
            running.script.retain(|(at, _)| *at <= now);
            if !running.script.back().is_some_and(|(_, event)| task::ends(event)) {
                running.script.push_back((now, Event::Killed));
            }
        }
    }

    fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        let mut board = self.0.borrow_mut();
        if board.dead {
            return;
        }
        let Some(running) = board.running.get_mut(&task) else { return };
        let (number, last) = (running.number, running.told);
        match task::read_message(data) {
            Some((to, count)) if to == number && count > last => {
                running.told = count;
            }
            read => board.wrong("message to a task", format!("task {number} got {read:?} after {last}")),
        }
    }

    fn next_event(&mut self, task: TaskHandle) -> Option<Event> {
        let mut board = self.0.borrow_mut();
        let now = board.now;
        let running = board.running.get_mut(&task)?;
        let _due = running.script.front().filter(|(at, _)| *at <= now)?;
        let (_, event) = running.script.pop_front()?;
        let number = running.number;
        if task::ends(&event) {
            board.running.remove(&task);
            if !board.dead {
                board.seen.push(Seen::Ended { number, how: event.clone() });
            }
        }
        Some(event)
    }

    fn usage(&self, task: TaskHandle) -> Option<TaskUsage> {
        self.0.borrow().running.get(&task).map(|_| TaskUsage {
            cpu_ms: 1,
            granted_ms: 2,
            ..TaskUsage::default()
        })
    }
}
