//! What a board says of itself: who is who, where things are in its storage, and what tasks may touch.

use core::num::NonZeroU32;
use grants::Capacity;
use grants::native::{Addresses, PROTECTED};
use grants::syscall::Part;
use kernel::process::ShortId;

/// Bytes of a slot's document in storage (`node_proto::limits::DOCUMENT_MAX`).
pub const DOCUMENT_BYTES: u32 = 1024;
/// Bytes of what a slot keeps by key.
pub const VALUES_BYTES: u32 = 512;

/// Everything that is fixed about a board with `SLOTS` slots.
pub struct Board<const SLOTS: usize> {
    /// The radio's EUI-64, as a number in network order.
    pub eui64: u64,
    /// What there is for tasks.
    pub capacity: Capacity,
    /// Sensors; they are numbered from 0.
    pub sensors: u8,
    /// Application id of the agent.
    pub agent: NonZeroU32,
    /// Application id of the host that runs hosted slots; `None` on a board without.
    pub host: Option<NonZeroU32>,
    /// Drivers that the agent may call.
    pub agent_drivers: &'static [usize],
    /// Drivers that the host may call.
    pub host_drivers: &'static [usize],
    /// CPU share that the host has beside its tasks' shares, thousandths.
    pub host_permille: u16,
    /// How often the host is started again after it died, if never more than an hour passes in between; then hosted slots
    /// are refused.
    pub host_restarts: u8,
    /// The slots.
    pub slots: [Place; SLOTS],
    /// Where things are in storage.
    pub layout: Layout,
    /// Ed25519 keys of those whose native images run here. Empty: anybody's do.
    pub publishers: &'static [[u8; 32]],
}

/// What runs the task of a slot.
pub enum Place {
    /// The host.
    Hosted,
    /// The kernel, as a process of its own.
    Native(NativeSlot),
}

/// A process that tasks are loaded into.
pub struct NativeSlot {
    /// Application id of the process.
    pub app: NonZeroU32,
    /// Where the bytes after the protected header are in storage.
    pub offset: u32,
    /// How many there are.
    pub len: u32,
    /// Where its flash (the header's first byte) and RAM are to the core, both multiples of
    /// [`grants::native::ALIGNMENT`].
    pub addresses: Addresses,
    /// Bytes of its RAM that are the task's, without what the kernel takes.
    pub ram_bytes: u32,
    /// Where the kernel starts it, bytes from the header's first byte: header size and `init_fn_offset` of its header.
    pub init_fn_offset: u32,
}

/// A part of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first byte.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

impl Region {
    /// Where `len` bytes from `from` are in storage; `None` if not all of them are inside.
    pub(crate) fn span(self, from: u32, len: u32) -> Option<u32> {
        (from.checked_add(len)? <= self.len).then_some(())?;
        self.offset.checked_add(from)
    }
}

/// Where things are in storage. Nothing may overlap, and all of it must exist.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The agent's own storage.
    pub records: Region,
    /// The first image area; the others follow.
    pub areas: u32,
    /// Bytes of one area.
    pub area_bytes: u32,
    /// Areas.
    pub area_count: u8,
    /// The first slot's document of [`DOCUMENT_BYTES`]; the others follow.
    pub documents: u32,
    /// The first slot's values of [`VALUES_BYTES`]; the others follow.
    pub values: u32,
}

impl Layout {
    /// Records, areas, documents and values of `slots` slots one after the other from `offset`; ends at
    /// [`end`](Self::end).
    pub const fn packed(offset: u32, records: u32, area_bytes: u32, area_count: u8, slots: u32) -> Self {
        let areas = offset + records;
        let documents = areas + area_bytes * area_count as u32;
        let values = documents + DOCUMENT_BYTES * slots;
        Self { records: Region { offset, len: records }, areas, area_bytes, area_count, documents, values }
    }

    /// The first byte after what [`packed`](Self::packed) laid out for so many slots.
    pub const fn end(&self, slots: u32) -> u32 {
        self.values + VALUES_BYTES * slots
    }

    pub(crate) fn area(&self, area: u8) -> Option<Region> {
        (area < self.area_count).then_some(())?;
        let offset = self.area_bytes.checked_mul(area.into())?.checked_add(self.areas)?;
        Some(Region { offset, len: self.area_bytes })
    }

    /// A slot's document or values.
    pub(crate) fn part(&self, slot: u8, part: Part) -> Option<Region> {
        let (first, len) = match part {
            Part::Document => (self.documents, DOCUMENT_BYTES),
            Part::Values => (self.values, VALUES_BYTES),
            Part::Image => return None,
        };
        Some(Region { offset: len.checked_mul(slot.into())?.checked_add(first)?, len })
    }
}

impl NativeSlot {
    /// Where the binary goes in storage.
    pub(crate) const fn region(&self) -> Region {
        Region { offset: self.offset, len: self.len }
    }

    /// Bytes of header and binary that fit.
    pub(crate) const fn image_bytes(&self) -> u32 {
        self.len.saturating_add(PROTECTED)
    }
}

/// Who a process is to the capsule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The agent.
    Agent,
    /// The host of the hosted slots.
    Host,
    /// The task in a native slot.
    Task(u8),
}

impl<const SLOTS: usize> Board<SLOTS> {
    /// Who a process is; `None` for one that the capsule has nothing to do with.
    pub fn who(&self, app: ShortId) -> Option<Who> {
        let ShortId::Fixed(app) = app else { return None };
        if app == self.agent {
            return Some(Who::Agent);
        }
        if Some(app) == self.host {
            return Some(Who::Host);
        }
        let slot =
            self.slots.iter().position(|place| matches!(place, Place::Native(slot) if slot.app == app));
        slot.and_then(|slot| u8::try_from(slot).ok()).map(Who::Task)
    }

    /// Application id of somebody.
    pub(crate) fn app(&self, who: Who) -> Option<NonZeroU32> {
        match who {
            Who::Agent => Some(self.agent),
            Who::Host => self.host,
            Who::Task(slot) => self.native(slot).map(|native| native.app),
        }
    }

    pub(crate) fn native(&self, slot: u8) -> Option<&NativeSlot> {
        match self.slots.get(usize::from(slot)) {
            Some(Place::Native(native)) => Some(native),
            _ => None,
        }
    }

    pub(crate) fn hosted(&self, slot: u8) -> bool {
        matches!(self.slots.get(usize::from(slot)), Some(Place::Hosted))
    }

    /// Which native slot a slot is, counted among those alone.
    pub(crate) fn native_index(&self, slot: u8) -> Option<usize> {
        let before = self.slots.get(..usize::from(slot))?;
        self.native(slot)?;
        Some(before.iter().filter(|place| matches!(place, Place::Native(_))).count())
    }
}

/// What of the board tasks may touch, through the capsule alone.
pub trait Devices {
    /// Switches LED `number` of the node; false if there is none.
    fn led(&self, number: u32, on: bool) -> bool;
    /// The value of sensor `number`; `None` if there is none, or nothing was measured yet.
    fn sensor(&self, number: u32) -> Option<i32>;
}
