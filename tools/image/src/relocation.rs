//! The table that lets one native task run in every slot.
//!
//! A Tock process is linked to the flash and the memory that it gets, and slots lie at different places. So a task is
//! linked three times: as a base, with its flash elsewhere, and with its memory elsewhere. Where the three differ, and by
//! how much, tells what a slot has to add; anything that differs otherwise is an error here, so that it is none on a node.
//!
//! The table follows the binary, at its total length:
//!
//! | bytes | |
//! |---|---|
//! | 4 | [`MAGIC`] |
//! | 4 | number of places, little-endian |
//! | | each place as LEB128: `delta << 2 \| kind` |
//!
//! `delta` is the distance from the place before, at first from the start of the file, in units of 2 bytes, since RISC-V
//! has instructions at every second byte. At the place stands a little-endian word, to which the [kind](Kind) of sum is
//! added, wrapping. Slots are multiples of 4096 apart: what is added changes the upper 20 bits of a word and nothing else,
//! which is where `lui` and `auipc` have their number, and an address in data is the whole word.
//!
//! The header, up to the end of the protected region, has no places: a slot keeps its own.

use crate::tbf::{Header, TbfError};
use crate::{half, put_word, word};

/// What the table begins with.
pub const MAGIC: [u8; 4] = *b"MRE1";
/// What slots and links are multiples of apart, bytes.
pub const STEP: u32 = 4096;

/// What is added to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// How far the flash moved.
    Flash = 0,
    /// How far the memory moved.
    Ram = 1,
    /// How much farther the memory moved than the flash: memory, as an instruction in flash counts from itself.
    RamFromFlash = 2,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Flash, Self::Ram, Self::RamFromFlash];

    /// What it comes to for flash and memory moved so far.
    pub const fn addend(self, moved: Moved) -> u32 {
        match self {
            Self::Flash => moved.flash,
            Self::Ram => moved.ram,
            Self::RamFromFlash => moved.ram.wrapping_sub(moved.flash),
        }
    }
}

/// How far flash and memory are from where the base has them, bytes, wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Flash.
    pub flash: u32,
    /// Memory.
    pub ram: u32,
}

/// A word that depends on where the task lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is, bytes from the start of the file; even.
    pub at: usize,
    /// What is added to it.
    pub kind: Kind,
}

/// Why no table can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelocationError {
    /// One of the three is no Tock binary.
    #[error("{link}: {error}")]
    Tbf {
        /// Which link.
        link: &'static str,
        /// What is wrong with it.
        error: TbfError,
    },
    /// A link has no fixed addresses.
    #[error("{0}: the header has no element 5 (fixed addresses); a task that lies anywhere needs no table")]
    NotFixed(&'static str),
    /// The links are not what they should be to each other.
    #[error("{link}: flash at {flash:#x} and memory at {ram:#x}; {wanted}")]
    Addresses {
        /// Which link.
        link: &'static str,
        /// Its flash.
        flash: u32,
        /// Its memory.
        ram: u32,
        /// What it should be.
        wanted: &'static str,
    },
    /// The links are of different sizes.
    #[error("{link}: {len} bytes with a header of {header}, and the base has {base_len} with {base_header}")]
    Sizes {
        /// Which link.
        link: &'static str,
        /// Its bytes.
        len: usize,
        /// Bytes of its header.
        header: usize,
        /// Bytes of the base.
        base_len: usize,
        /// Bytes of the header of the base.
        base_header: usize,
    },
    /// The headers differ in more than checksum and addresses.
    #[error("{link}: the header differs from that of the base at {at:#x}")]
    Header {
        /// Which link.
        link: &'static str,
        /// Where.
        at: usize,
    },
    /// A difference that no kind explains.
    #[error(
        "at {at:#x} (flash {address:#x}): {base:#010x}, with flash moved {flash:#010x}, with memory moved {ram:#010x}: \
         no sum of what moved. An address in less than a word cannot be relocated"
    )]
    Unexplained {
        /// Where, from the start of the file.
        at: usize,
        /// The same as the base has it in flash.
        address: u32,
        /// The word in the base.
        base: u32,
        /// The word with flash moved.
        flash: u32,
        /// The word with memory moved.
        ram: u32,
    },
}

/// Three links of one program.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    /// As the table is for.
    pub base: &'a [u8],
    /// With its flash elsewhere, and its memory at the same place.
    pub flash: &'a [u8],
    /// With its memory elsewhere, and its flash at the same place.
    pub ram: &'a [u8],
}

/// How far the two other links should be from the base: unlike each other, also in the difference, and each with bits in
/// both halves of a word, so that the first half that differs is always the first of its word.
pub const MOVES: Moved = Moved { flash: 0x0015_3000, ram: 0x002a_5000 };

impl Links<'_> {
    /// The places where the links differ, in order.
    pub fn places(&self) -> Result<Vec<Place>, RelocationError> {
        let base = parsed("base", self.base)?;
        let flash = parsed("flash moved", self.flash)?;
        let ram = parsed("memory moved", self.ram)?;
        let (_, base_flash, base_ram) = base;
        let moved = Moved { flash: flash.1.wrapping_sub(base_flash), ram: ram.2.wrapping_sub(base_ram) };
        let apart = |link, (_, flash, ram): &(Header, u32, u32), sound: bool, wanted| {
            sound.then_some(()).ok_or(RelocationError::Addresses { link, flash: *flash, ram: *ram, wanted })
        };
        apart("flash moved", &flash, flash.2 == base_ram, "its memory should be where the base has it")?;
        apart("memory moved", &ram, ram.1 == base_flash, "its flash should be where the base has it")?;
        let clear = Kind::ALL.iter().all(|kind| {
            let addend = kind.addend(moved);
            addend % STEP == 0 && addend & 0xffff != 0
        });
        let wanted = "flash and memory should move by multiples of 4096 that are no multiples of 65536, nor their difference";
        apart("memory moved", &ram, clear && moved.flash != moved.ram, wanted)?;
        for (link, bytes, header) in
            [("flash moved", self.flash, &flash.0), ("memory moved", self.ram, &ram.0)]
        {
            self.same_header(link, bytes, header, &base.0)?;
        }
        self.differences(&base.0, base_flash, moved)
    }

    fn same_header(
        &self,
        link: &'static str,
        bytes: &[u8],
        header: &Header,
        base: &Header,
    ) -> Result<(), RelocationError> {
        if (header.total_len, header.protected_len) != (base.total_len, base.protected_len) {
            return Err(RelocationError::Sizes {
                link,
                len: header.total_len,
                header: header.protected_len,
                base_len: base.total_len,
                base_header: base.protected_len,
            });
        }
        let differs = |at: &usize| {
            word(bytes, *at) != word(self.base, *at) && !base.addresses().any(|free| free == *at)
        };
        match (0..base.protected_len).step_by(4).find(differs) {
            Some(at) => Err(RelocationError::Header { link, at }),
            None => Ok(()),
        }
    }

    fn differences(
        &self,
        base: &Header,
        base_flash: u32,
        moved: Moved,
    ) -> Result<Vec<Place>, RelocationError> {
        let mut places = Vec::new();
        let mut at = base.protected_len;
        while at < base.total_len {
            let same =
                |other: &[u8]| half(other, at) == half(self.base, at) && other.get(at) == self.base.get(at);
            if same(self.flash) && same(self.ram) {
                at += 2;
                continue;
            }
            // A word at the very end that is cut compares as what is left of it, and nothing explains it.
            let read = |bytes: &[u8]| bytes.get(..base.total_len).and_then(|bytes| word(bytes, at));
            let words = (read(self.base), read(self.flash), read(self.ram));
            let kind = Kind::ALL.into_iter().find(|kind| {
                let (Some(base), Some(flash), Some(ram)) = words else { return false };
                flash == base.wrapping_add(kind.addend(Moved { ram: 0, ..moved }))
                    && ram == base.wrapping_add(kind.addend(Moved { flash: 0, ..moved }))
            });
            let Some(kind) = kind else {
                let (base_word, flash, ram) =
                    (words.0.unwrap_or(0), words.1.unwrap_or(0), words.2.unwrap_or(0));
                let address = base_flash.wrapping_add((at - base.protected_len) as u32);
                return Err(RelocationError::Unexplained { at, address, base: base_word, flash, ram });
            };
            places.push(Place { at, kind });
            at += 4;
        }
        Ok(places)
    }

    /// The base with its table behind it.
    pub fn image(&self) -> Result<Vec<u8>, RelocationError> {
        let places = self.places()?;
        let (header, ..) = parsed("base", self.base)?;
        let mut image = self.base.get(..header.total_len).unwrap_or(self.base).to_vec();
        image.extend(table(&places));
        Ok(image)
    }
}

/// A header with where its program and its memory have to start.
fn parsed(link: &'static str, bytes: &[u8]) -> Result<(Header, u32, u32), RelocationError> {
    let header = Header::parse(bytes).map_err(|error| RelocationError::Tbf { link, error })?;
    match (header.fixed_flash, header.fixed_ram) {
        (Some(flash), Some(ram)) => Ok((header, flash, ram)),
        _ => Err(RelocationError::NotFixed(link)),
    }
}

/// The table of places, which are in order and at even offsets.
pub fn table(places: &[Place]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((places.len() as u32).to_le_bytes());
    let mut before = 0;
    for place in places {
        let mut number = ((place.at - before) / 2) << 2 | place.kind as usize;
        before = place.at;
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }
    bytes
}

/// Why an image cannot be put elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Nothing that begins with [`MAGIC`] follows the binary.
    #[error("no relocation table behind the binary, at {0:#x}")]
    Missing(usize),
    /// It ends before it should, or a number in it is too large.
    #[error("the relocation table does not decode at {0:#x}")]
    Broken(usize),
    /// A place is in the header, behind the binary, or of no known kind.
    #[error("the relocation table has place {0} at {1:#x}, which is not one of the program")]
    Place(usize, usize),
    /// There is something behind it.
    #[error("the file goes on behind its relocation table, at {0:#x}")]
    Trailing(usize),
}

/// The places of an image, and the binary without the table. Each is in the program and behind the one before.
pub fn split<'a>(image: &'a [u8], header: &Header) -> Result<(&'a [u8], Vec<Place>), TableError> {
    let (binary, table) = image.split_at_checked(header.total_len).ok_or(TableError::Missing(image.len()))?;
    let count =
        table.strip_prefix(&MAGIC).and_then(|rest| word(rest, 0)).ok_or(TableError::Missing(binary.len()))?;
    let (mut at, mut places, mut next) = (8, Vec::new(), 0usize);
    for n in 0..count as usize {
        let mut number = 0u32;
        for shift in 0.. {
            let broken = TableError::Broken(binary.len() + at);
            let byte = *table.get(at).ok_or(broken.clone())?;
            at += 1;
            if shift > 3 {
                return Err(broken);
            }
            number |= u32::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let before = places.last().map_or(0, |place: &Place| place.at);
        let place = before + (number >> 2) as usize * 2;
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u32 == number & 3);
        match kind {
            Some(kind) if place >= next.max(header.protected_len) && place + 4 <= binary.len() => {
                places.push(Place { at: place, kind });
            }
            _ => return Err(TableError::Place(n, place)),
        }
        next = place + 4;
    }
    if at < table.len() {
        return Err(TableError::Trailing(binary.len() + at));
    }
    Ok((binary, places))
}

/// Adds what moved to the word at each place. The header stays as it is.
pub fn relocate(binary: &mut [u8], places: &[Place], moved: Moved) {
    for place in places {
        let sum = word(binary, place.at).unwrap_or(0).wrapping_add(place.kind.addend(moved));
        put_word(binary, place.at, sum);
    }
}
