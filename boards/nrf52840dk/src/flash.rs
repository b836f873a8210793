//! Storage in the chip's flash: which parts of it, and how the chip erases and writes.

use crate::map;
use grants::native::PROTECTED;
use kernel::deferred_call::DeferredCallClient;
use kernel::hil::flash::Flash;
use kernel::static_init;
use nrf52840::nvmc::Nvmc;
use parts::flash_storage::{FlashStorage, Nor, Region};
use parts::provisioned::BLOB;

/// Records, documents, values, two pieces with image areas, and the native slots.
const REGIONS: usize = 5 + map::SLOTS.len();
/// The storage of the board.
pub type Storage = FlashStorage<'static, Chip, REGIONS>;

/// Bytes of a slot's document.
pub const DOCUMENT: usize = 1024;

/// The flash through its controller (nRF52840 product specification, NVMC).
pub struct Chip(&'static Nvmc);

/// A word of the flash, by its address.
#[expect(unsafe_code, reason = "flash is no Rust object")]
fn word(address: usize) -> u32 {
    // SAFETY: the map's regions are all in the chip's flash, and all callers ask for whole words there.
    unsafe { core::ptr::with_exposed_provenance::<u32>(address).read_volatile() }
}

/// Bytes of the flash, from an address that is a multiple of 4.
fn bytes<const N: usize>(address: usize) -> [u8; N] {
    let mut bytes = [0; N];
    for (at, place) in (address..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
        place.copy_from_slice(&word(at).to_le_bytes());
    }
    bytes
}

/// The bytes that an app in flash begins with.
pub fn header(app: usize) -> [u8; PROTECTED as usize] {
    bytes(app)
}

/// What the node was provisioned with.
pub fn provisioning() -> [u8; BLOB] {
    bytes(map::RECORDS.start)
}

impl Nor for Chip {
    fn word(&self, address: usize) -> u32 {
        word(address)
    }

    #[expect(unsafe_code, reason = "flash is no Rust object, and no process runs from what is written")]
    fn program(&self, address: usize, word: u32) {
        self.0.configure_writeable();
        while !self.0.is_ready() {}
        // SAFETY: as above; the controller takes the word.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(word) };
        while !self.0.is_ready() {}
    }

    fn erase(&self, address: usize) {
        // Tock's driver waits for the page to be erased, and never refuses. That it says so again later is heard by nobody.
        let _ = self.0.erase_page(address / map::PAGE);
    }
}

/// Addresses as the storage counts them: its parts one behind the other.
pub mod at {
    use crate::map;

    /// The agent's records.
    pub const RECORDS: usize = 0;
    /// The slots' documents.
    pub const DOCUMENTS: usize = RECORDS + map::RECORDS.end - map::RECORDS.start;
    /// The slots' values.
    pub const VALUES: usize = DOCUMENTS + map::DOCUMENTS.end - map::DOCUMENTS.start;
    /// The image areas, both pieces.
    pub const AREAS: usize = VALUES + map::VALUES.end - map::VALUES.start;
    /// The native slots, one after the other.
    pub const SLOTS: usize =
        AREAS + map::AREAS[0].end - map::AREAS[0].start + map::AREAS[1].end - map::AREAS[1].start;
}

/// Sets the storage up.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn start(nvmc: &'static Nvmc) -> &'static Storage {
    let [areas, more_areas] = map::AREAS;
    let [slot0, slot1] = map::SLOTS;
    let regions = [
        Region::kept(map::RECORDS.start, map::RECORDS.len()),
        Region::units(map::DOCUMENTS.start, map::DOCUMENTS.len(), DOCUMENT),
        Region::kept(map::VALUES.start, map::VALUES.len()),
        Region::units(areas.start, areas.len(), map::AREA),
        Region::units(more_areas.start, more_areas.len(), map::AREA),
        Region::units(slot0, map::SLOT, map::SLOT),
        Region::units(slot1, map::SLOT, map::SLOT),
    ];
    // SAFETY: called once.
    unsafe {
        let page = static_init!([u8; map::PAGE], [0; map::PAGE]);
        let storage = static_init!(Storage, Storage::new(Chip(nvmc), regions, page));
        storage.register();
        storage
    }
}
