//! Where things are in the chip's flash and memory. The same is in `map.toml`, from which apps are linked and put together;
//! a test of `parts` holds the two against each other and against Tock's code for the memory protection unit.

use core::ops::Range;

/// Bytes of a page of flash, what is erased at once.
pub const PAGE: usize = 4096;
/// The agent's records; the blob that provisions the node is at their beginning.
pub const RECORDS: Range<usize> = 0x38000..0x3c000;
/// Slots' documents.
pub const DOCUMENTS: Range<usize> = 0x3c000..0x3e000;
/// What slots keep by key.
pub const VALUES: Range<usize> = 0x3e000..0x3f000;
/// Image areas, and more of them behind the slots.
pub const AREAS: [Range<usize>; 2] = [0x40000..0x60000, 0xf0000..0x10_0000];
/// Bytes of an image area.
pub const AREA: usize = 0x8000;
/// Native slots: where the flash of each begins.
pub const SLOTS: [usize; 2] = [0xe0000, 0xe8000];
/// Bytes of flash of a native slot.
pub const SLOT: usize = 0x8000;
/// Where the memory of each native slot begins.
pub const SLOTS_RAM: [usize; 2] = [0x2003_8000, 0x2003_c000];
/// Bytes of memory of a native slot, with what the kernel keeps of it.
pub const SLOT_RAM: usize = 0x4000;
