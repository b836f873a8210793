//! The maps of boards with a Cortex-M, held against Tock's code for the memory protection unit: each app gets the memory
//! that it is linked for, all of its flash, and nothing of anybody else's.

use cortexm::mpu::MPU;
use kernel::platform::mpu::{MPU as _, Permissions};
use kernel::utilities::StaticRef;
use toml::{Table, Value};

#[path = "../../nrf52840dk/src/map.rs"]
mod nrf52840dk;

/// What Tock's kernel takes of a process's memory before the process runs, bytes at most: its own record, and a pointer for
/// each driver with a grant (`kernel/src/process_standard.rs`).
const KERNEL_PART: usize = 1536;
/// What a process may write at first: the frame that the core pushes.
const FRAME: usize = 32;

#[derive(Debug, PartialEq)]
struct Place {
    name: String,
    flash: (usize, usize),
    ram: (usize, usize),
}

fn number(table: &Table, key: &str) -> usize {
    table.get(key).and_then(Value::as_integer).unwrap_or_else(|| panic!("{key}")).try_into().unwrap()
}

fn table<'a>(map: &'a Table, key: &str) -> &'a Table {
    map.get(key).and_then(Value::as_table).unwrap_or_else(|| panic!("{key}"))
}

/// Start and length.
fn region(map: &Table, key: &str) -> (usize, usize) {
    (number(table(map, key), "start"), number(table(map, key), "len"))
}

/// The apps of a map, one behind the other.
fn places(map: &Table) -> Vec<Place> {
    let (mut flash, mut ram) = (region(map, "flash").0, region(map, "ram").0);
    let apps = map["app"].as_array().unwrap().iter().map(|app| app.as_table().unwrap());
    let apps = apps.map(|app| (app["name"].as_str().unwrap().to_owned(), app));
    let slots = table(map, "slots");
    let slots = (0..number(slots, "count")).map(|slot| (format!("slot{slot}"), slots));
    let next = |at: &mut usize, len: usize| {
        *at += len;
        (*at - len, len)
    };
    apps.chain(slots)
        .map(|(name, app)| Place {
            name,
            flash: next(&mut flash, number(app, "flash")),
            ram: next(&mut ram, number(app, "ram")),
        })
        .collect()
}

/// What a process has for itself of its memory, which opens in sixteenths (`tools/image`).
fn own(ram: usize, kernel_share: usize) -> usize {
    let own = ram - kernel_share;
    own - own % (ram / 16)
}

fn map() -> Table {
    include_str!("../../nrf52840dk/map.toml").parse().unwrap()
}

#[expect(unsafe_code, reason = "the registers are only touched when a process runs, which none does here")]
fn protection() -> MPU<8, 32> {
    // SAFETY: as said above; the address is the real one.
    unsafe { MPU::new(StaticRef::new(core::ptr::without_provenance(0xe000_ed90))) }
}

#[test]
fn every_app_gets_what_it_is_linked_for() {
    let map = map();
    let unit = protection();
    let (ram_start, ram_len) = region(&map, "ram");
    for place in places(&map) {
        let mut config = unit.new_config().unwrap();
        let at = |address: usize| core::ptr::without_provenance::<u8>(address);
        let (start, len) = place.flash;
        let flash = unit.allocate_region(at(start), len, len, Permissions::ReadExecuteOnly, &mut config);
        let flash = flash.unwrap_or_else(|| panic!("{place:?}"));
        assert_eq!((flash.start_address().addr(), flash.size()), (start, len), "{place:?}");
        // The kernel skips memory up to where the app is linked to, and offers all that is left.
        let (start, len) = place.ram;
        let app = own(len, number(&map, "kernel_share"));
        let memory = unit.allocate_app_memory_region(
            at(start),
            ram_start + ram_len - start,
            app + KERNEL_PART,
            FRAME,
            KERNEL_PART,
            Permissions::ReadWriteOnly,
            &mut config,
        );
        assert_eq!(memory.map(|(start, len)| (start.addr(), len)), Some((start, len)), "{place:?}");
        // It may use all that is its own, and not a sixteenth more.
        for (bytes, granted) in [(app, true), (app + len / 16, false)] {
            let (end, kernel) = (at(start + bytes), at(start + len - KERNEL_PART));
            let grown = unit.update_app_memory_region(end, kernel, Permissions::ReadWriteOnly, &mut config);
            assert_eq!(grown.is_ok(), granted, "{place:?}");
        }
    }
}

#[test]
fn nothing_overlaps_and_all_is_there() {
    let map = map();
    let kernel = table(&map, "kernel");
    let mut flash: Vec<_> = places(&map).into_iter().map(|place| place.flash).collect();
    let mut ram: Vec<_> = places(&map).into_iter().map(|place| place.ram).collect();
    flash.push(region(kernel, "rom"));
    ram.push(region(kernel, "ram"));
    let storage = [nrf52840dk::RECORDS, nrf52840dk::DOCUMENTS, nrf52840dk::VALUES];
    flash.extend(storage.into_iter().chain(nrf52840dk::AREAS).map(|part| (part.start, part.len())));
    for (mut parts, end) in [(flash, 0x10_0000), (ram, 0x2004_0000)] {
        parts.sort_unstable();
        for pair in parts.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:x?}");
        }
        assert!(parts.last().is_some_and(|(start, len)| start + len <= end), "{parts:x?}");
    }
}

#[test]
fn the_kernel_has_the_same_map() {
    use nrf52840dk::*;
    let map = map();
    let slots: Vec<_> = places(&map).into_iter().filter(|place| place.name.starts_with("slot")).collect();
    assert_eq!(slots.len(), SLOTS.len());
    for (at, slot) in slots.iter().enumerate() {
        assert_eq!((slot.flash, slot.ram), ((SLOTS[at], SLOT), (SLOTS_RAM[at], SLOT_RAM)));
    }
    let (start, len) = region(&map, "storage");
    assert_eq!(start..start + len, RECORDS.start..AREAS[0].end);
    for area in AREAS {
        assert!(area.start % PAGE == 0 && area.len() % AREA == 0);
    }
    // What the linker is told of the kernel.
    let script = include_str!("../../nrf52840dk/layout.ld");
    let (rom, flash) = (region(table(&map, "kernel"), "rom"), region(&map, "flash"));
    let memory =
        |(start, len): (usize, usize)| format!("ORIGIN = {start:#010x}, LENGTH = {len:#x}").to_uppercase();
    let script = script.to_uppercase();
    assert!(script.contains(&memory(rom)) && script.contains(&memory(flash)));
    assert!(script.contains(&format!("_sappmem <= {:#x}", region(&map, "ram").0).to_uppercase()));
}
