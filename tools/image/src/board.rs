//! A board's map, as `boards/BOARD/map.toml` has it, and where everything lies by it.
//!
//! The kernel finds programs by going from header to header through the flash, and gives each memory from where the one
//! before ended, or from where it was linked to if that is later. So programs lie one behind the other in both, in the
//! order of the map, each filled up to its planned size; slots come last.

use crate::tbf::Header;
use serde::{Deserialize, Serialize};

/// Programs are linked to multiples of this.
pub const PAGE: u32 = 4096;

/// A piece of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its first address.
    pub start: u32,
    /// Bytes.
    pub len: u32,
}

impl Region {
    /// The address behind it.
    pub fn end(&self) -> u64 {
        u64::from(self.start) + u64::from(self.len)
    }

    fn overlaps(&self, other: &Self) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}

/// How a board's memory protection wants its regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// Regions from any word to any other, as with RISC-V's PMP (TOR).
    Words,
    /// As the MPU of a Cortex-M (ARMv7-M B3.5): a power of two at a multiple of it, or neighbouring eighths of one.
    CortexM,
}

/// A package of the boards workspace, and which of its executables.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Name that the kernel knows it by.
    pub name: String,
    /// The package.
    pub package: String,
    /// Its executable.
    pub bin: String,
    /// Flash for it, bytes.
    pub flash: u32,
    /// Memory for it, what the kernel keeps of it included, bytes.
    pub ram: u32,
    /// What it may take of flash by the design's budgets, bytes; 0 for none.
    #[serde(default)]
    pub flash_budget: u32,
    /// The same of memory.
    #[serde(default)]
    pub ram_budget: u32,
    /// The WebAssembly engine that it is built with, if it has one: a feature of its package's, in place of the default.
    #[serde(default)]
    pub engine: Option<String>,
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The package.
    pub package: String,
    /// Its executable.
    pub bin: String,
    /// Where it is stored.
    pub rom: Region,
    /// Its memory.
    pub ram: Region,
    /// What of it has a budget of its own.
    #[serde(default)]
    pub part: Vec<Part>,
}

/// A part of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// What the names of its symbols contain, one of them.
    pub symbols: Vec<String>,
    /// What it may take of flash by the design's budgets, bytes.
    pub flash_budget: u32,
}

/// Slots for native tasks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// How many; they are named slot0, slot1, ...
    pub count: u8,
    /// The package of the program that a slot holds at first, and of the example tasks.
    pub package: String,
    /// Its executable.
    pub bin: String,
    /// Flash of each, bytes.
    pub flash: u32,
    /// Memory of each, what the kernel keeps of it included, bytes.
    pub ram: u32,
}

/// All of a board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Rust's name of the machine.
    pub target: String,
    /// How memory protection wants its regions.
    pub protection: Protection,
    /// What the kernel keeps of each process's memory, bytes: at least what its grants and its state take.
    pub kernel_share: u32,
    /// The kernel.
    pub kernel: Kernel,
    /// Flash for programs.
    pub flash: Region,
    /// Memory for programs.
    pub ram: Region,
    /// What the capsule keeps: images, documents, records.
    pub storage: Region,
    /// Programs, in their order in flash.
    #[serde(rename = "app")]
    pub apps: Vec<Program>,
    /// Slots, behind the programs.
    pub slots: Slots,
}

/// What is wrong with a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Not the TOML that it should be.
    #[error("{0}")]
    Syntax(String),
    /// Two regions share addresses.
    #[error("{0} and {1} overlap")]
    Overlap(&'static str, &'static str),
    /// More is planned than there is.
    #[error("{what}: {name} would end at {end:#x}, and the region ends at {limit:#x}")]
    Full {
        /// `flash` or `ram`.
        what: &'static str,
        /// The first program or slot without room.
        name: String,
        /// Where it would end.
        end: u64,
        /// Where the region does.
        limit: u64,
    },
    /// A start that nothing can be linked to, or that cannot be protected.
    #[error("{name}: {what} of {len:#x} bytes at {start:#x}; {wanted}")]
    Alignment {
        /// The program or slot.
        name: String,
        /// `flash` or `ram`.
        what: &'static str,
        /// Where it would be.
        start: u32,
        /// Its bytes.
        len: u32,
        /// What it should be.
        wanted: &'static str,
    },
    /// The kernel would leave nothing to a program.
    #[error("{name}: {ram} bytes of memory, of which the kernel keeps {kernel_share}")]
    NoRam {
        /// The program or slot.
        name: String,
        /// Its memory, bytes.
        ram: u32,
        /// What the kernel keeps, bytes.
        kernel_share: u32,
    },
}

/// Where a program or a slot lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its flash.
    pub flash: Region,
    /// Its memory.
    pub ram: Region,
    /// What of the memory it has for itself, bytes: `minimum_ram_size` in its header.
    pub own_ram: u32,
}

/// Why a program cannot be in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It was linked for another one.
    #[error(
        "{name}: linked to {}, and the map has flash {:#x} and memory {:#x}: does its build script use \
         LIBTOCK_LINKER_FLASH and LIBTOCK_LINKER_RAM?", linked_to(*.flash, *.ram), .wanted.0, .wanted.1
    )]
    Elsewhere {
        /// The program.
        name: String,
        /// Where its flash has to be.
        flash: Option<u32>,
        /// Where its memory has to be.
        ram: Option<u32>,
        /// Where both are by the map.
        wanted: (u32, u32),
    },
    /// More is stored than there is flash.
    #[error("{name}: {used} bytes of flash, and the map has {len} for it")]
    Flash {
        /// The program.
        name: String,
        /// Its bytes.
        used: usize,
        /// Bytes that there are.
        len: u32,
    },
    /// It takes more memory from its start than it has for itself.
    #[error(
        "{name}: {used} bytes of memory, and the map has {len} for it, of which the kernel keeps {kernel_share}"
    )]
    Ram {
        /// The program.
        name: String,
        /// Its bytes.
        used: u32,
        /// Bytes that there are.
        len: u32,
        /// What of these is not its own.
        kernel_share: u32,
    },
}

fn linked_to(flash: Option<u32>, ram: Option<u32>) -> String {
    let shown = |at: Option<u32>| at.map_or("anywhere".to_owned(), |at| format!("{at:#x}"));
    format!("flash {} and memory {}", shown(flash), shown(ram))
}

impl Place {
    /// That there is room for a program of this header that takes `ram` bytes of memory from its start.
    pub fn has_room(&self, name: &str, header: &Header, ram: u32) -> Result<(), Misfit> {
        let name = name.to_owned();
        if header.total_len > self.flash.len as usize {
            return Err(Misfit::Flash { name, used: header.total_len, len: self.flash.len });
        }
        if ram > self.own_ram {
            let kernel_share = self.ram.len - self.own_ram;
            return Err(Misfit::Ram { name, used: ram, len: self.ram.len, kernel_share });
        }
        Ok(())
    }

    /// The same, and that it was linked for this place.
    pub fn takes(&self, header: &Header, ram: u32) -> Result<(), Misfit> {
        let wanted = (self.flash.start, self.ram.start);
        if (header.flash_start(), header.fixed_ram) != (Some(wanted.0), Some(wanted.1)) {
            let (flash, ram) = (header.flash_start(), header.fixed_ram);
            return Err(Misfit::Elsewhere { name: self.name.clone(), flash, ram, wanted });
        }
        self.has_room(&self.name, header, ram)
    }
}

impl Map {
    /// Reads a map.
    pub fn parse(text: &str) -> Result<Self, MapError> {
        toml::from_str(text).map_err(|error| MapError::Syntax(error.to_string().trim_end().to_owned()))
    }

    /// Where programs lie, slots behind them.
    pub fn places(&self) -> Result<Vec<Place>, MapError> {
        let regions = [
            ("kernel.rom", self.kernel.rom),
            ("kernel.ram", self.kernel.ram),
            ("flash", self.flash),
            ("ram", self.ram),
            ("storage", self.storage),
        ];
        for (at, (name, region)) in regions.iter().enumerate() {
            if let Some((other, _)) = regions[..at].iter().find(|(_, other)| other.overlaps(region)) {
                return Err(MapError::Overlap(other, name));
            }
        }
        let apps = self.apps.iter().map(|app| (app.name.clone(), app.flash, app.ram));
        let slots = (0..self.slots.count).map(|n| (format!("slot{n}"), self.slots.flash, self.slots.ram));
        let (mut flash, mut ram) = (self.flash.start, self.ram.start);
        let mut places = Vec::new();
        for (name, flash_len, ram_len) in apps.chain(slots) {
            let place = Place {
                flash: Region { start: flash, len: flash_len },
                ram: Region { start: ram, len: ram_len },
                own_ram: self.own_ram(ram_len),
                name,
            };
            self.check(&place)?;
            // Both are within their regions, which end within 32 bits.
            flash = place.flash.end() as u32;
            ram = place.ram.end() as u32;
            places.push(place);
        }
        Ok(places)
    }

    /// What a process has of its memory for itself. A Cortex-M opens it in sixteenths, and none of them is shared with the
    /// kernel: a process that asked for more would be refused it when it starts.
    fn own_ram(&self, ram: u32) -> u32 {
        let own = ram.saturating_sub(self.kernel_share);
        match self.protection {
            Protection::Words => own,
            Protection::CortexM => own - own % (ram / 16).max(1),
        }
    }

    fn check(&self, place: &Place) -> Result<(), MapError> {
        let name = || place.name.clone();
        for (what, region, within) in [("flash", place.flash, self.flash), ("ram", place.ram, self.ram)] {
            if region.end() > within.end() {
                return Err(MapError::Full { what, name: name(), end: region.end(), limit: within.end() });
            }
            let unsound = |wanted| MapError::Alignment {
                name: name(),
                what,
                start: region.start,
                len: region.len,
                wanted,
            };
            if region.start % PAGE != 0 || region.len % PAGE != 0 || region.len == 0 {
                return Err(unsound("start and size have to be multiples of 4096"));
            }
            if self.protection == Protection::CortexM {
                // What Tock asks of the MPU for code, and for a process's memory, which it covers with two regions.
                let (exact, wanted) = match what {
                    "flash" => (
                        is_eighths(region),
                        "this board protects powers of two, or neighbouring eighths of them",
                    ),
                    _ => {
                        (is_halves(region), "this board protects powers of two at multiples of their halves")
                    }
                };
                if !exact {
                    return Err(unsound(wanted));
                }
            }
        }
        if place.own_ram == 0 {
            return Err(MapError::NoRam {
                name: name(),
                ram: place.ram.len,
                kernel_share: self.kernel_share,
            });
        }
        Ok(())
    }
}

/// True if one region of the MPU, some of whose eighths may be off, is exactly this (`allocate_region` in Tock's
/// `arch/cortex-m/src/mpu.rs`): there an eighth is the largest power of two that the start allows, and never less.
fn is_eighths(region: Region) -> bool {
    if region.len.is_power_of_two() && region.start.is_multiple_of(region.len) {
        return true;
    }
    let (start, len) = (u64::from(region.start), u64::from(region.len));
    let eighth = 1 << region.start.trailing_zeros();
    len.is_multiple_of(eighth) && start % (8 * eighth) + len <= 8 * eighth
}

/// True if the two regions that Tock takes for a process's memory are exactly this (`allocate_app_memory_region`).
fn is_halves(region: Region) -> bool {
    region.len.is_power_of_two() && region.start.is_multiple_of(region.len / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = r#"
        target = "riscv32imac-unknown-none-elf"
        protection = "words"
        kernel_share = 2048
        flash = { start = 0x80400000, len = 0x100000 }
        ram = { start = 0x80520000, len = 0xe0000 }
        storage = { start = 0x80600000, len = 0x100000 }

        [kernel]
        package = "kernel"
        bin = "kernel"
        rom = { start = 0x80000000, len = 0x100000 }
        ram = { start = 0x80500000, len = 0x20000 }

        [[app]]
        name = "agent"
        package = "agent"
        bin = "agent"
        flash = 0x20000
        ram = 0x10000

        [slots]
        count = 2
        package = "task"
        bin = "empty"
        flash = 0x8000
        ram = 0x8000
    "#;

    fn places(from: &str, to: &str) -> Result<Vec<Place>, String> {
        assert!(MAP.contains(from), "{from}");
        let map = Map::parse(&MAP.replacen(from, to, 1)).map_err(|error| error.to_string())?;
        map.places().map_err(|error| error.to_string())
    }

    #[test]
    fn programs_and_slots_lie_one_behind_the_other() {
        let places = places("agent", "agent").unwrap();
        let lies: Vec<_> =
            places.iter().map(|place| (&*place.name, place.flash.start, place.ram.start)).collect();
        assert_eq!(
            lies,
            [
                ("agent", 0x8040_0000, 0x8052_0000),
                ("slot0", 0x8042_0000, 0x8053_0000),
                ("slot1", 0x8042_8000, 0x8053_8000)
            ]
        );
        assert_eq!((places[1].ram.len, places[1].own_ram), (0x8000, 0x7800));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let wrong = |from, to| places(from, to).unwrap_err();
        assert!(wrong("count = 2", "count = 200").contains("ram: slot26 would end at 0x80608000"));
        assert!(wrong("flash = 0x20000", "flash = 0xff000").contains("flash: slot0 would end at 0x80507000"));
        assert!(wrong("ram = 0x10000", "ram = 0xe0000").contains("ram: slot0 would end at 0x80608000"));
        assert!(wrong("0x80520000", "0x80510000").contains("kernel.ram and ram overlap"));
        assert!(wrong("flash = 0x20000", "flash = 0x20100").contains("multiples of 4096"));
        assert!(
            wrong("kernel_share = 2048", "kernel_share = 0x8000").contains("slot0: 32768 bytes of memory")
        );
        assert!(wrong("bin = \"empty\"", "bim = \"empty\"").contains("unknown field `bim`"));
        assert_eq!(places("\"words\"", "\"cortex-m\"").unwrap().len(), 3);
        let ragged =
            MAP.replacen("\"words\"", "\"cortex-m\"", 1).replacen("ram = 0x10000", "ram = 0x9000", 1);
        assert!(Map::parse(&ragged).unwrap().places().unwrap_err().to_string().contains("powers of two"));
        let region = |start, len| is_eighths(Region { start, len });
        assert!(region(0x60000, 0x60000) && region(0x2000_0000, 0x8000) && region(0x2_8000, 0x1_8000));
        assert!(!region(0x60000, 0x51000) && !region(0x1000, 0x9000));
    }

    #[test]
    fn a_cortex_m_protects_as_tock_asks_it_to() {
        let region = |start, len| Region { start, len };
        // Three eighths of 1 MiB, six of 512 KiB; not an eighth of what the start allows, nor across the end of it.
        assert!(is_eighths(region(0x60000, 0x60000)) && is_eighths(region(0x90000, 0x60000)));
        assert!(!is_eighths(region(0x80000, 0x30000)) && !is_eighths(region(0x70000, 0x20000)));
        assert!(is_halves(region(0x2001_0000, 0x20000)));
        assert!(!is_halves(region(0x2000_8000, 0x20000)) && !is_halves(region(0x2001_0000, 0x18000)));
        let cortex_m = MAP.replacen("\"words\"", "\"cortex-m\"", 1);
        let places = Map::parse(&cortex_m).unwrap().places().unwrap();
        assert_eq!((places[0].own_ram, places[1].own_ram), (0xf000, 0x7800));
    }
}
