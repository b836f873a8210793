//! The system under a node's agent, in memory: storage, and tasks that do what a script says.

use agent_core::{
    Digest, Event, Intake, NodeUsage, Os, Peer, Record, Start, StartError, StorageError, TaskUsage,
};
use node_proto::limits::TASKS_MAX;
use node_proto::{Arch, Inventory, Power, Runtimes, TaskHandle};
use sha2::Digest as _;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What is outside the agent.
pub struct System {
    /// The clock.
    pub now: u64,
    /// The radio.
    pub eui64: [u8; 8],
    /// What the node has.
    pub inventory: Inventory,
    /// Small records by name.
    pub records: BTreeMap<Record, Vec<u8>>,
    /// Images by digest.
    pub images: BTreeMap<Digest, Vec<u8>>,
    /// What was sent and is not taken yet.
    pub sent: VecDeque<(Peer, Vec<u8>)>,
    /// What every task does: milliseconds after its start, and what.
    pub script: Vec<(u64, Event)>,
    /// What the node says that it used.
    pub used: NodeUsage,
    /// What each task says that it used.
    pub task_used: TaskUsage,
    /// Tasks started so far.
    pub starts: usize,
    /// What tasks were handed of their frameworks' messages.
    pub delivered: Vec<(TaskHandle, Vec<u8>)>,
    /// Bytes of each task's image that the executor was shown.
    pub taken: BTreeMap<TaskHandle, u32>,
    running: BTreeMap<TaskHandle, VecDeque<(u64, Event)>>,
}

impl System {
    /// A node with this radio and supply, whose storage is new.
    pub fn new(eui64: [u8; 8], power: Power) -> Self {
        let inventory = Inventory {
            cpu_permille: 1000,
            mem_bytes: 64 << 10,
            flash_bytes: 8192,
            sensors: 1,
            leds: 2,
            power,
            arch: Arch::Thumbv7em,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: 2,
            board: "nrf52840dk".try_into().unwrap_or_default(),
        };
        Self {
            now: 1_000,
            eui64,
            inventory,
            records: BTreeMap::new(),
            images: BTreeMap::new(),
            sent: VecDeque::new(),
            script: Vec::new(),
            used: NodeUsage::default(),
            task_used: TaskUsage::default(),
            starts: 0,
            delivered: Vec::new(),
            taken: BTreeMap::new(),
            running: BTreeMap::new(),
        }
    }

    /// Takes the power away: what ran is gone, what was stored is not.
    pub fn power_cycle(&mut self) {
        self.running.clear();
        self.sent.clear();
    }
}

/// The agent's hold of a [`System`], which checks what every agent owes its system.
#[derive(Clone)]
pub struct MemoryOs(pub Rc<RefCell<System>>);

impl Os for MemoryOs {
    fn now_ms(&self) -> u64 {
        self.0.borrow().now
    }

    fn inventory(&self) -> Inventory {
        self.0.borrow().inventory.clone()
    }

    fn eui64(&self) -> [u8; 8] {
        self.0.borrow().eui64
    }

    fn power(&self) -> Power {
        self.0.borrow().inventory.power
    }

    fn used(&self) -> NodeUsage {
        self.0.borrow().used
    }

    fn send(&mut self, to: Peer, datagram: &[u8]) {
        self.0.borrow_mut().sent.push_back((to, datagram.to_vec()));
    }

    fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        let system = self.0.borrow();
        let Some(bytes) = system.records.get(&record) else { return Ok(None) };
        buffer.get_mut(..bytes.len()).ok_or(StorageError::Failed)?.copy_from_slice(bytes);
        Ok(Some(bytes.len()))
    }

    fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError> {
        assert!(bytes.len() <= Record::MAX, "{record:?} is too long");
        self.0.borrow_mut().records.insert(record, bytes.to_vec());
        Ok(())
    }

    fn delete(&mut self, record: Record) -> Result<(), StorageError> {
        self.0.borrow_mut().records.remove(&record);
        Ok(())
    }

    fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError> {
        Ok(self.0.borrow().images.get(image).map_or(0, |bytes| bytes.len() as u32))
    }

    fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        let mut system = self.0.borrow_mut();
        let held = system.images.entry(*image).or_default();
        assert!(offset as usize <= held.len(), "the agent leaves no holes");
        held.truncate(offset as usize);
        held.extend_from_slice(bytes);
        let total: usize = system.images.values().map(Vec::len).sum();
        assert!(total <= system.inventory.flash_bytes as usize, "images take more than there is");
        Ok(())
    }

    fn image_read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let system = self.0.borrow();
        let held =
            system.images.get(image).and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default();
        let len = held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&held[..len]);
        Ok(len)
    }

    fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError> {
        self.0.borrow_mut().images.remove(image);
        Ok(())
    }

    fn intake(&mut self, piece: &Intake<'_>) -> Result<(), StartError> {
        let mut system = self.0.borrow_mut();
        let taken = system.taken.entry(piece.task).or_default();
        if piece.offset == 0 {
            *taken = 0;
        }
        assert_eq!(piece.offset, *taken, "pieces come in order");
        *taken += piece.bytes.len() as u32;
        Ok(())
    }

    fn start(&mut self, start: &Start<'_>) -> Result<(), StartError> {
        let mut system = self.0.borrow_mut();
        let held = system.images.get(&start.image).cloned().unwrap_or_default();
        let whole = held.get(..start.image_len as usize).unwrap_or_default();
        assert_eq!(sha2::Sha256::digest(whole)[..16], start.image, "only a checked image is started");
        assert!(!system.running.contains_key(&start.task), "a task is started twice");
        assert!(system.running.len() < TASKS_MAX, "more tasks than slots");
        let now = system.now;
        let events = system.script.iter().map(|(after, event)| (now + after, event.clone())).collect();
        system.running.insert(start.task, events);
        system.starts += 1;
        Ok(())
    }

    fn stop(&mut self, task: TaskHandle, _grace_ms: u32) -> bool {
        // Some notice, some do not.
        task.is_multiple_of(2) && self.0.borrow().running.contains_key(&task)
    }

    fn kill(&mut self, task: TaskHandle) {
        let mut system = self.0.borrow_mut();
        let now = system.now;
        if let Some(events) = system.running.get_mut(&task) {
            events.clear();
            events.push_back((now, Event::Killed));
        }
    }

    fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        self.0.borrow_mut().delivered.push((task, data.to_vec()));
    }

    fn next_event(&mut self, task: TaskHandle) -> Option<Event> {
        let mut system = self.0.borrow_mut();
        let now = system.now;
        let events = system.running.get_mut(&task)?;
        events.front().filter(|(at, _)| *at <= now)?;
        let (_, event) = events.pop_front()?;
        if matches!(event, Event::Exited(_) | Event::Killed | Event::Failed(..)) {
            system.running.remove(&task);
        }
        Some(event)
    }

    fn usage(&self, task: TaskHandle) -> Option<TaskUsage> {
        let system = self.0.borrow();
        system.running.get(&task).map(|_| system.task_used)
    }
}
