//! The system under the agent, in memory.

use agent_core::{
    Digest, Event, ImageLimits, Intake, NodeUsage, Os, Peer, Record, Start, StartError, StorageError,
    TaskUsage,
};
use grants::Leds;
use node_proto::{Arch, Failure, Inventory, Power, Runtimes, TaskHandle};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What goes wrong at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node goes down and the write is not done.
    CrashBefore,
    /// The write is done, then the node goes down.
    CrashAfter,
    /// This write and all after it fail, until the node restarts.
    Error(StorageError),
}

/// What is outside the agent; records and images survive [`World::power_cycle`].
pub struct World {
    pub now: u64,
    pub inventory: Inventory,
    pub records: BTreeMap<Record, Vec<u8>>,
    pub images: BTreeMap<Digest, Vec<u8>>,
    pub sent: Vec<Vec<u8>>,
    pub starts: Vec<TaskHandle>,
    /// Bytes of each task's image that the executor was shown, and the most at once.
    pub shown: BTreeMap<TaskHandle, (u32, usize)>,
    /// An image with this byte could never run.
    pub bad_byte: Option<u8>,
    /// The LEDs of each task that was started.
    pub leds: BTreeMap<TaskHandle, Leds>,
    /// What the last task started was given: entry and arguments.
    pub started_with: (String, Vec<u8>),
    pub delivered: Vec<(TaskHandle, Vec<u8>)>,
    pub kills: Vec<TaskHandle>,
    /// Tasks that were told to stop, and the grace.
    pub stops: Vec<(TaskHandle, u32)>,
    /// Tasks can notice that they are told to stop.
    pub notices: bool,
    /// What each task does: milliseconds after its start, and what.
    pub script: Vec<(u64, Event)>,
    pub running: BTreeMap<TaskHandle, VecDeque<(u64, Event)>>,
    pub writes: u64,
    /// Tasks at once, images at once, and bytes of one image.
    pub limits: (usize, usize, u32),
    /// At which write what goes wrong.
    pub fault: Option<(u64, Fault)>,
    /// The node is down: nothing it does has an effect.
    pub dead: bool,
}

impl Default for World {
    fn default() -> Self {
        let inventory = Inventory {
            cpu_permille: 1000,
            mem_bytes: 10_000,
            flash_bytes: 8192,
            sensors: 0,
            leds: 0,
            power: Power::Mains,
            arch: Arch::Host,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: 2,
            board: heapless::String::new(),
        };
        Self {
            now: 1,
            inventory,
            records: BTreeMap::new(),
            images: BTreeMap::new(),
            sent: Vec::new(),
            starts: Vec::new(),
            shown: BTreeMap::new(),
            bad_byte: None,
            leds: BTreeMap::new(),
            started_with: Default::default(),
            delivered: Vec::new(),
            kills: Vec::new(),
            stops: Vec::new(),
            notices: false,
            script: vec![(200, Event::Exited(0))],
            running: BTreeMap::new(),
            writes: 0,
            limits: (usize::MAX, usize::MAX, u32::MAX),
            fault: None,
            dead: false,
        }
    }
}

impl World {
    pub fn power_cycle(&mut self) {
        self.running.clear();
        self.sent.clear();
        if self.dead {
            self.fault = None;
        }
        if let Some((at, Fault::Error(_))) = self.fault
            && at <= self.writes
        {
            self.fault = None;
        }
        self.dead = false;
    }

    pub fn next_event_ms(&self) -> Option<u64> {
        self.running.values().filter_map(|events| events.front()).map(|(at, _)| *at).min()
    }

    fn write(&mut self, work: impl FnOnce(&mut Self)) -> Result<(), StorageError> {
        if self.dead {
            return Ok(());
        }
        let fault = self.fault.filter(|(at, _)| *at <= self.writes).map(|(_, fault)| fault);
        self.writes += 1;
        match fault {
            Some(Fault::CrashBefore) => self.dead = true,
            Some(Fault::Error(error)) => return Err(error),
            Some(Fault::CrashAfter) => {
                work(self);
                self.dead = true;
            }
            None => work(self),
        }
        Ok(())
    }
}

/// The agent's hold of a [`World`].
pub struct FakeOs(pub Rc<RefCell<World>>);

impl Os for FakeOs {
    fn now_ms(&self) -> u64 {
        self.0.borrow().now
    }

    fn inventory(&self) -> Inventory {
        self.0.borrow().inventory.clone()
    }

    fn eui64(&self) -> [u8; 8] {
        [2, 0, 0, 0, 0, 0, 0, 1]
    }

    fn power(&self) -> Power {
        self.0.borrow().inventory.power
    }

    fn used(&self) -> NodeUsage {
        NodeUsage::default()
    }

    fn send(&mut self, to: Peer, datagram: &[u8]) {
        assert_eq!(to, Peer::Gateway);
        let mut world = self.0.borrow_mut();
        if !world.dead {
            world.sent.push(datagram.to_vec());
        }
    }

    fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        let world = self.0.borrow();
        let Some(bytes) = world.records.get(&record) else { return Ok(None) };
        buffer.get_mut(..bytes.len()).ok_or(StorageError::Failed)?.copy_from_slice(bytes);
        Ok(Some(bytes.len()))
    }

    fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError> {
        assert!(bytes.len() <= Record::MAX);
        self.0.borrow_mut().write(|world| {
            world.records.insert(record, bytes.to_vec());
        })
    }

    fn delete(&mut self, record: Record) -> Result<(), StorageError> {
        self.0.borrow_mut().write(|world| {
            world.records.remove(&record);
        })
    }

    fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError> {
        Ok(self.0.borrow().images.get(image).map_or(0, |bytes| bytes.len() as u32))
    }

    fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.borrow_mut().write(|world| {
            let held = world.images.entry(*image).or_default();
            assert!(offset as usize <= held.len(), "the agent leaves no holes");
            held.truncate(offset as usize);
            held.extend_from_slice(bytes);
        })
    }

    fn image_read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let world = self.0.borrow();
        let held = world.images.get(image).and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default();
        let len = held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&held[..len]);
        Ok(len)
    }

    fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError> {
        self.0.borrow_mut().write(|world| {
            world.images.remove(image);
        })
    }

    fn image_retain(&mut self, keep: &dyn Fn(&Digest) -> bool) -> Result<(), StorageError> {
        self.0.borrow_mut().images.retain(|image, _| keep(image));
        Ok(())
    }

    fn image_limits(&self) -> ImageLimits {
        let (_, count, bytes) = self.0.borrow().limits;
        ImageLimits { count, bytes }
    }

    fn tasks_max(&self) -> usize {
        self.0.borrow().limits.0
    }

    fn intake(&mut self, piece: &Intake<'_>) -> Result<(), StartError> {
        let mut world = self.0.borrow_mut();
        let bad = world.bad_byte.is_some_and(|bad| piece.bytes.contains(&bad));
        let (shown, most) = world.shown.entry(piece.task).or_default();
        if piece.offset == 0 {
            *shown = 0;
        }
        assert_eq!(piece.offset, *shown, "in order");
        *shown += piece.bytes.len() as u32;
        *most = piece.bytes.len().max(*most);
        if bad { Err(StartError { failure: Failure::Image, note: "a bad byte".into() }) } else { Ok(()) }
    }

    fn start(&mut self, start: &Start<'_>) -> Result<(), StartError> {
        let mut world = self.0.borrow_mut();
        if world.dead {
            return Ok(());
        }
        let held = world.images.get(&start.image).cloned().unwrap_or_default();
        assert_eq!(super::digest(&held), start.image, "only a checked image is started");
        world.starts.push(start.task);
        world.leds.insert(start.task, start.leds);
        world.started_with = (start.document.entry.into(), start.document.args.to_vec());
        let now = world.now;
        let events = world.script.iter().map(|(after, event)| (now + after, event.clone())).collect();
        world.running.insert(start.task, events);
        Ok(())
    }

    fn stop(&mut self, task: TaskHandle, grace_ms: u32) -> bool {
        let mut world = self.0.borrow_mut();
        world.stops.push((task, grace_ms));
        world.notices
    }

    fn kill(&mut self, task: TaskHandle) {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        world.kills.push(task);
        if let Some(events) = world.running.get_mut(&task) {
            events.clear();
            events.push_back((now, Event::Killed));
        }
    }

    fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        self.0.borrow_mut().delivered.push((task, data.to_vec()));
    }

    fn next_event(&mut self, task: TaskHandle) -> Option<Event> {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        let events = world.running.get_mut(&task)?;
        let _due = events.front().filter(|(at, _)| *at <= now)?;
        let (_, event) = events.pop_front()?;
        Some(event)
    }

    fn usage(&self, task: TaskHandle) -> Option<TaskUsage> {
        self.0.borrow().running.get(&task).map(|_| TaskUsage {
            cpu_ms: 1,
            granted_ms: 2,
            mem_bytes: 3,
            ..TaskUsage::default()
        })
    }
}
