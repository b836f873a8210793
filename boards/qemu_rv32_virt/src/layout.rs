//! Where a node of this board has what: the memory that stands for storage, the slots, and who is who. The same numbers are
//! in `layout.ld` and `map.toml` beside it.

use capsule_tock::{Addresses, Board, Layout, NativeSlot, Place};
use core::cell::Cell;
use grants::Capacity;
use kernel::deferred_call::DeferredCallClient;
use kernel::static_init;
use parts::app_id;
use parts::ram_storage::{RamStorage, Window};

/// Slots, hosted and native.
pub const SLOTS: usize = HOSTED + NATIVES;
/// Modules at once.
const HOSTED: usize = 4;
/// Processes of tasks at once.
pub const NATIVES: usize = 4;

/// Apps: `prog` in the linker script.
const APPS: Memory = Memory { start: 0x8040_0000, len: 0x10_0000 };
/// What is stored. Its last page is not the capsule's: the radio's EUI-64 is there.
const STORED: Memory = Memory { start: 0x8060_0000, len: 0xf_f000 };
/// The first native slot: flash and RAM; the others follow.
const SLOT_FLASH: Memory = Memory { start: 0x804c_0000, len: 0x8000 };
const SLOT_RAM: Memory = Memory { start: 0x805b_0000, len: 0x8000 };
/// What the kernel keeps of a process's RAM for itself: `kernel_share` in the map.
const KERNEL_SHARE: u32 = 2048;
/// The protected header, which is never written, and the runtime's header after it.
const PROTECTED: u32 = 0x80;

/// Memory for modules, in the host's heap.
const HOSTED_BYTES: u32 = 192 << 10;
/// Share of the core that is nobody's grant: the agent's and the kernel's, and the host's own.
const AGENT_PERMILLE: u16 = 150;
const HOST_PERMILLE: u16 = 50;

struct Memory {
    start: u32,
    len: u32,
}

/// What the capsule is told of the board.
pub fn board(eui64: u64, publishers: &'static [[u8; 32]]) -> Board<SLOTS> {
    let slots = core::array::from_fn(|slot| match slot.checked_sub(HOSTED) {
        None => Place::Hosted,
        Some(native) => Place::Native(slot_of(native as u32)),
    });
    Board {
        eui64,
        capacity: Capacity {
            cpu_permille: 1000 - AGENT_PERMILLE - HOST_PERMILLE,
            mem_bytes: HOSTED_BYTES + NATIVES as u32 * (SLOT_RAM.len - KERNEL_SHARE),
            flash_bytes: u32::MAX, // the agent's areas are their own measure
            leds: LEDS,
        },
        sensors: 1,
        agent: app_id("agent"),
        host: Some(app_id("wasm")),
        agent_drivers: &[
            capsules_core::alarm::DRIVER_NUM,
            capsules_core::console::DRIVER_NUM,
            capsules_core::rng::DRIVER_NUM,
            capsules_extra::ieee802154::DRIVER_NUM,
            capsules_extra::net::udp::DRIVER_NUM,
        ],
        host_drivers: &[
            capsules_core::alarm::DRIVER_NUM,
            capsules_core::console::DRIVER_NUM,
            capsules_core::rng::DRIVER_NUM,
        ],
        host_permille: HOST_PERMILLE,
        host_restarts: 8,
        slots,
        layout: Layout::packed(0, 16 << 10, 96 << 10, 8, SLOTS as u32),
        publishers,
    }
}

const _: () = assert!(Layout::packed(0, 16 << 10, 96 << 10, 8, SLOTS as u32).end(SLOTS as u32) <= STORED.len);

fn slot_of(native: u32) -> NativeSlot {
    const NAMES: [&str; NATIVES] = ["slot0", "slot1", "slot2", "slot3"];
    let flash = SLOT_FLASH.start + native * SLOT_FLASH.len;
    NativeSlot {
        app: app_id(NAMES[native as usize % NATIVES]),
        // Apps come after what is stored in the storage's address space.
        offset: STORED.len + (flash - APPS.start) + PROTECTED,
        len: SLOT_FLASH.len - PROTECTED,
        addresses: Addresses { flash, ram: SLOT_RAM.start + native * SLOT_RAM.len },
        ram_bytes: SLOT_RAM.len - KERNEL_SHARE,
        init_fn_offset: START,
    }
}

/// Where tasks begin, from the header's first byte: after the runtime's header of 8 words (`layout.ld` of `task-native`).
const START: u32 = PROTECTED + 0x20;

/// The memory that stands for storage, and that of the apps after it.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "the memory is the linker script's, and no object of the kernel's is in it")]
pub unsafe fn storage() -> &'static RamStorage<'static, 2> {
    let window = |memory: &Memory| {
        let start = core::ptr::with_exposed_provenance_mut(memory.start as usize);
        // SAFETY: the linker script leaves this memory alone, but for processes that run from it.
        unsafe { Window::new(start, memory.len as usize) }
    };
    // SAFETY: called once.
    let storage =
        unsafe { static_init!(RamStorage<'static, 2>, RamStorage::new([window(&STORED), window(&APPS)])) };
    storage.register();
    storage
}

/// LEDs, which are bits here.
const LEDS: u8 = 4;

/// LEDs that nobody sees, and a sensor that says 21.5 degrees, a little more each time.
pub struct Devices {
    lit: Cell<u32>,
    asked: Cell<i32>,
}

impl Devices {
    /// All dark.
    pub const fn new() -> Self {
        Self { lit: Cell::new(0), asked: Cell::new(0) }
    }
}

impl capsule_tock::Devices for Devices {
    fn led(&self, number: u32, on: bool) -> bool {
        let known = number < u32::from(LEDS);
        if known {
            self.lit.set(self.lit.get() & !(1 << number) | u32::from(on) << number);
        }
        known
    }

    fn sensor(&self, number: u32) -> Option<i32> {
        self.asked.set(self.asked.get().wrapping_add(1));
        (number == 0).then(|| 21_500 + self.asked.get() % 64)
    }
}
