//! The agent's system on Tock: the executor capsule, the kernel's UDP, the alarm.

use crate::areas::{Areas, Store};
use crate::capsule::{CallError, Capsule};
use crate::clock::Clock;
use crate::link::Link;
use crate::slots::Slots;
use crate::storage::{Place, Records, Region};
use agent_core::provision::Provision;
use agent_core::{
    Digest, Event, ImageLimits, Intake, NodeUsage, Os, Peer, Record, Start, StartError, StorageError,
    TaskUsage,
};
use alloc::boxed::Box;
use grants::syscall::{AgentCall, NodeRecord};
use libtock_platform::Syscalls;
use node_proto::limits::MANIFEST_MAX;
use node_proto::{Arch, Failure, Inventory, Kind, Power, Runtimes, SIGNATURE_LEN, TaskHandle};

/// Size exponent of image blocks, 64 bytes: the most that comes in one frame, and fragments never reach the stack.
const BLOCK_SZX: u8 = 2;

/// Name of a board that was not given one.
pub const BOARD: &str = "tock";

/// Tasks at once: what the app's heap is enough for when all of them fetch, log and send long messages.
pub const TASKS: usize = 4;

/// What every wasm image begins with.
const WASM: [u8; 4] = *b"\0asm";
/// What every native image begins with: the version of Tock's binary format.
const TBF: [u8; 2] = [2, 0];

/// The instruction set that this was built for.
const ARCH: Arch = if cfg!(target_arch = "riscv32") {
    Arch::Riscv32imac
} else if cfg!(target_arch = "arm") {
    Arch::Thumbv7em
} else {
    Arch::Host
};

/// The agent's storage in the kernel.
pub struct CapsuleRegion<S: Syscalls + 'static> {
    capsule: Capsule<S>,
    len: u32,
}

impl<S: Syscalls + 'static> CapsuleRegion<S> {
    /// The region of a node.
    pub fn new(capsule: Capsule<S>, node: &NodeRecord) -> Self {
        Self { capsule, len: node.records_bytes }
    }

    fn admit(&self, offset: u32, len: usize) -> Result<(), StorageError> {
        let end = offset.checked_add(len as u32);
        end.filter(|end| *end <= self.len).map(drop).ok_or(StorageError::Full)
    }
}

impl<S: Syscalls + 'static> Region for CapsuleRegion<S> {
    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.admit(offset, buffer.len())?;
        let read = self.capsule.read_all(buffer, |at| AgentCall::RecordsRead { offset: offset + at });
        read.map_err(storage)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        self.admit(offset, bytes.len())?;
        let written = self.capsule.write_all(bytes, |at| AgentCall::RecordsWrite { offset: offset + at });
        written.map_err(storage)
    }
}

/// The kernel's image store.
struct CapsuleStore<S: Syscalls + 'static>(Capsule<S>);

impl<S: Syscalls + 'static> Store for CapsuleStore<S> {
    fn stage(&mut self, area: u8, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        let staged = self.0.write_all(bytes, |at| AgentCall::Stage { area, offset: offset + at });
        staged.map_err(storage)
    }

    fn load(&mut self, area: u8, offset: u32, buffer: &mut [u8]) -> Result<(), StorageError> {
        let loaded = self.0.read_all(buffer, |at| AgentCall::Load { area, offset: offset + at });
        loaded.map_err(storage)
    }
}

fn storage(_: CallError) -> StorageError {
    StorageError::Failed
}

/// The system under the agent.
pub struct TockOs<S: Syscalls + 'static> {
    clock: &'static Clock<S>,
    capsule: Capsule<S>,
    pub(crate) link: Box<dyn Link>,
    pub(crate) slots: Slots<S>,
    records: Records<CapsuleRegion<S>>,
    areas: Areas<CapsuleStore<S>>,
    inventory: Inventory,
    eui64: [u8; 8],
}

impl<S: Syscalls + 'static> TockOs<S> {
    /// Opens what is under the agent.
    #[inline(never)]
    pub fn open(
        clock: &'static Clock<S>,
        capsule: Capsule<S>,
        node: NodeRecord,
        provision: &Provision,
        link: Box<dyn Link>,
    ) -> Result<Self, StorageError> {
        let slots = Slots::open(capsule, node);
        let mut records = Records::open(CapsuleRegion::new(capsule, &node))?;
        let areas = Areas::open(CapsuleStore(capsule), node.areas, node.area_bytes, &mut records)?;
        let (all, hosted) = (mask(node.slots), node.hosted & mask(node.slots));
        let runs = |slots: u16, kind: u8| if slots == 0 { 0 } else { kind };
        let inventory = Inventory {
            cpu_permille: node.cpu_permille,
            mem_bytes: node.mem_bytes,
            flash_bytes: (areas.count() as u32).saturating_mul(areas.area_bytes()),
            sensors: node.sensors,
            leds: node.leds,
            power: provision.power,
            arch: ARCH,
            runtimes: Runtimes(runs(hosted, Runtimes::WASM) | runs(all & !hosted, Runtimes::NATIVE)),
            // A block has to fit one frame: the kernel's 6LoWPAN cannot be relied on to put fragments together.
            block_szx: BLOCK_SZX,
            board: match provision.board.as_str() {
                "" => BOARD.try_into().unwrap_or_default(),
                _ => provision.board.clone(),
            },
        };
        let eui64 = provision.eui64.unwrap_or(node.eui64.to_be_bytes());
        Ok(Self { clock, capsule, link, slots, records, areas, inventory, eui64 })
    }
}

/// A bit for each of so many slots.
fn mask(slots: u8) -> u16 {
    match slots {
        0..16 => (1 << slots) - 1,
        _ => u16::MAX,
    }
}

impl<S: Syscalls + 'static> Os for TockOs<S> {
    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn inventory(&self) -> Inventory {
        self.inventory.clone()
    }

    fn eui64(&self) -> [u8; 8] {
        self.eui64
    }

    fn power(&self) -> Power {
        self.inventory.power
    }

    fn used(&self) -> NodeUsage {
        let traffic = self.link.traffic();
        NodeUsage {
            frames_out: traffic.sent,
            bytes_out: traffic.bytes_sent,
            frames_in: traffic.received,
            bytes_in: traffic.bytes_received,
            cpu_ms: self.clock.now_ms().saturating_sub(self.clock.waited_ms()),
        }
    }

    fn send(&mut self, to: Peer, datagram: &[u8]) {
        self.link.send(to, datagram);
    }

    fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        self.records.get(Place::of(record).ok_or(StorageError::Full)?, buffer)
    }

    fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError> {
        self.records.put(Place::of(record).ok_or(StorageError::Full)?, Some(bytes))
    }

    fn delete(&mut self, record: Record) -> Result<(), StorageError> {
        self.records.put(Place::of(record).ok_or(StorageError::Full)?, None)
    }

    fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError> {
        Ok(self.areas.len(image))
    }

    fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        self.areas.write(&mut self.records, image, offset, bytes)
    }

    fn image_read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError> {
        self.areas.read(image, offset, buffer)
    }

    fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError> {
        self.areas.retain(&mut self.records, &|held| held != image)
    }

    fn image_retain(&mut self, keep: &dyn Fn(&Digest) -> bool) -> Result<(), StorageError> {
        self.areas.retain(&mut self.records, keep)
    }

    fn tasks_max(&self) -> usize {
        TASKS.min(self.slots.count().into())
    }

    fn image_limits(&self) -> ImageLimits {
        ImageLimits { count: self.areas.count(), bytes: self.areas.area_bytes() }
    }

    fn verify(&mut self, key: &[u8; 32], signature: &[u8; SIGNATURE_LEN], message: &[u8]) -> bool {
        let mut asked: heapless::Vec<u8, { 32 + SIGNATURE_LEN + MANIFEST_MAX }> = heapless::Vec::new();
        let whole = [key, &signature[..], message].iter().all(|part| asked.extend_from_slice(part).is_ok());
        whole && self.capsule.work(AgentCall::Signature, &asked, &mut []).is_ok()
    }

    fn intake(&mut self, piece: &Intake<'_>) -> Result<(), StartError> {
        // The executor judges the image at its start; what could not be one at all is not worth the radio.
        let begins: &[u8] = match piece.kind {
            Kind::Wasm => &WASM,
            Kind::Native => &TBF,
        };
        let from = begins.len().min(piece.offset as usize);
        if begins[from..].iter().zip(piece.bytes).all(|(one, other)| one == other) {
            return Ok(());
        }
        Err(StartError { failure: Failure::Image, note: "not an image of its kind".into() })
    }

    fn start(&mut self, start: &Start<'_>) -> Result<(), StartError> {
        let fail = |note: &str| StartError { failure: Failure::Storage, note: note.into() };
        let area = self.areas.find(&start.image).ok_or_else(|| fail("image is not in storage"))?;
        self.areas.complete(&mut self.records, &start.image).map_err(|_| fail("node's storage failed"))?;
        self.slots.start(start, area)
    }

    fn stop(&mut self, task: TaskHandle, grace_ms: u32) -> bool {
        self.slots.stop(task, grace_ms)
    }

    fn kill(&mut self, task: TaskHandle) {
        self.slots.kill(task);
    }

    fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        self.slots.deliver(task, data);
    }

    fn next_event(&mut self, task: TaskHandle) -> Option<Event> {
        self.slots.next_event(task)
    }

    fn usage(&self, task: TaskHandle) -> Option<TaskUsage> {
        self.slots.usage(task)
    }
}
