//! Images of native slots: what their header says, and how one image comes to run in any slot.
//!
//! An image is a TBF version 2 file as `elf2tab` makes it, linked for the addresses in its Fixed Addresses entry, with a
//! table of places behind it:
//!
//! ```text
//!   0           0x80                     total_size                                  length of the image
//!   | TBF header | binary                | "MRE1" | count: u32 | count LEB128 numbers |
//! ```
//!
//! Each number is `delta << 2 | kind`: `delta` is the distance in units of 2 bytes from the place before (the first: from
//! the start of the file). At each place stands a little-endian word to which `kind` says what is added: 0: how far the
//! slot's flash is from where the image was linked for, 1: its RAM, 2: the second less the first. Places rise, do not
//! overlap and lie in the binary.
//!
//! Any bytes are taken: what is not such an image is an error, never a panic, and nothing here is longer than its input.

/// Bytes before the binary: TBF header and padding. The slot has its own, which is never written.
pub const PROTECTED: u32 = 0x80;
/// What addresses of slots are multiples of.
pub const ALIGNMENT: u32 = 4096;
/// What a table of places begins with.
pub const MAGIC: [u8; 4] = *b"MRE1";

/// Not an image that can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What a slot needs to know of an image's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of header and binary.
    pub total_size: u32,
    /// Where its first instruction is, bytes from the start of the file.
    pub init_fn_offset: u32,
    /// Memory that it needs, bytes.
    pub ram_bytes: u32,
    /// Where the file was linked for: address of the binary less [`PROTECTED`], and of its memory. `None`: for anywhere.
    pub linked: Option<Addresses>,
}

/// Where an image is, or was linked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Of the file's first byte.
    pub flash: u32,
    /// Of the first byte of its memory.
    pub ram: u32,
}

const BASE: usize = 16;
const TLV_MAIN: u16 = 1;
const TLV_FIXED: u16 = 5;
const TLV_PROGRAM: u16 = 9;

fn half(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(u16::from_le_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(u32::from_le_bytes(*bytes))
}

impl Header {
    /// Reads the header from the first [`PROTECTED`] bytes of an image.
    pub fn parse(first: &[u8]) -> Result<Self, Malformed> {
        let size = usize::from(half(first, 2)?);
        let header = first.get(..size).ok_or(Malformed)?;
        if half(header, 0)? != 2 || size < BASE || size > PROTECTED as usize || !size.is_multiple_of(4) {
            return Err(Malformed);
        }
        let sum = header.chunks_exact(4).enumerate().filter(|(at, _)| *at != 3);
        let sum =
            sum.fold(0, |sum, (_, bytes)| sum ^ u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        if sum != word(header, 12)? {
            return Err(Malformed);
        }
        let (mut main, mut program, mut linked) = (None, None, None);
        let mut rest = &header[BASE..];
        while !rest.is_empty() {
            let (kind, len) = (half(rest, 0)?, usize::from(half(rest, 2)?));
            let value = rest.get(4..4 + len).ok_or(Malformed)?;
            match kind {
                // Init function, protected trailer, memory; a Program says the same, and more that matters to nobody here.
                TLV_MAIN if len == 12 => main = main.or(Some(value)),
                TLV_PROGRAM if len == 20 => program = program.or(Some(value)),
                TLV_FIXED if len == 8 => {
                    let flash = word(value, 4)?.checked_sub(PROTECTED).ok_or(Malformed)?;
                    linked = Some(Addresses { flash, ram: word(value, 0)? });
                }
                TLV_MAIN | TLV_PROGRAM | TLV_FIXED => return Err(Malformed),
                _ => {}
            }
            // Entries begin at multiples of 4; the last one's padding may be missing.
            rest = rest.get(4 + len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        let value = program.or(main).ok_or(Malformed)?;
        let total_size = word(header, 4)?;
        if total_size <= PROTECTED || word(value, 4)? != PROTECTED - size as u32 {
            return Err(Malformed);
        }
        let init_fn_offset = word(value, 0)?.checked_add(size as u32).ok_or(Malformed)?;
        if init_fn_offset < PROTECTED || init_fn_offset >= total_size {
            return Err(Malformed);
        }
        Ok(Self { total_size, init_fn_offset, ram_bytes: word(value, 8)?, linked })
    }
}

/// How far a slot is from where an image was linked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    flash: u32,
    ram: u32,
}

impl Shift {
    /// From where it was linked for to where it is to run. `None` unless both are whole multiples of [`ALIGNMENT`]
    /// apart, because code may hold addresses in halves of which the lower has 12 bits.
    pub fn between(linked: Addresses, slot: Addresses) -> Option<Self> {
        let shift =
            Self { flash: slot.flash.wrapping_sub(linked.flash), ram: slot.ram.wrapping_sub(linked.ram) };
        (shift.flash.is_multiple_of(ALIGNMENT) && shift.ram.is_multiple_of(ALIGNMENT)).then_some(shift)
    }

    /// What is added at a place of a kind.
    fn of(self, kind: u32) -> Option<u32> {
        match kind {
            0 => Some(self.flash),
            1 => Some(self.ram),
            2 => Some(self.ram.wrapping_sub(self.flash)),
            _ => None,
        }
    }
}

/// A place in an image and what is added to the word there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the file.
    pub at: u32,
    /// 0 flash, 1 RAM, 2 RAM less flash.
    pub kind: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Magic(u8),
    Count(u8),
    Number { value: u32, bits: u8 },
}

/// Reads a table of places, a byte at a time.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    reading: Reading,
    left: u32,
    /// Below this no further place may be.
    from: u32,
    last: u32,
    end: u32,
}

impl Places {
    /// For an image of which header and binary are `total_size` bytes.
    pub const fn new(total_size: u32) -> Self {
        Self { reading: Reading::Magic(0), left: 0, from: PROTECTED, last: 0, end: total_size }
    }

    /// True after the last byte of the table.
    pub fn complete(&self) -> bool {
        self.left == 0 && matches!(self.reading, Reading::Number { bits: 0, .. })
    }

    /// The next byte of the table, and the place that ends with it.
    pub fn byte(&mut self, byte: u8) -> Result<Option<Place>, Malformed> {
        match &mut self.reading {
            Reading::Magic(at) => {
                if MAGIC.get(usize::from(*at)) != Some(&byte) {
                    return Err(Malformed);
                }
                *at += 1;
                if usize::from(*at) == MAGIC.len() {
                    self.reading = Reading::Count(0);
                }
                Ok(None)
            }
            Reading::Count(at) => {
                self.left |= u32::from(byte) << (8 * *at);
                *at += 1;
                if *at == 4 {
                    self.reading = Reading::Number { value: 0, bits: 0 };
                }
                Ok(None)
            }
            Reading::Number { value, bits } => {
                if self.left == 0 || *bits > 28 || (*bits == 28 && byte > 0x0f) {
                    return Err(Malformed);
                }
                *value |= u32::from(byte & 0x7f) << *bits;
                *bits += 7;
                if byte & 0x80 != 0 {
                    return Ok(None);
                }
                let number = *value;
                self.reading = Reading::Number { value: 0, bits: 0 };
                self.left -= 1;
                self.place(number).map(Some)
            }
        }
    }

    fn place(&mut self, number: u32) -> Result<Place, Malformed> {
        let (kind, delta) = (number & 3, number >> 2);
        let at = delta.checked_mul(2).and_then(|bytes| self.last.checked_add(bytes)).ok_or(Malformed)?;
        let after = at.checked_add(4).ok_or(Malformed)?;
        if kind > 2 || at < self.from || after > self.end {
            return Err(Malformed);
        }
        (self.last, self.from) = (at, after);
        Ok(Place { at, kind })
    }
}

/// Bytes of the table that are kept at a time.
pub const TABLE_PIECE: usize = 32;
/// The fewest bytes of an image that [`Relocation::apply`] has to be given, unless it ends before.
pub const CHUNK_MIN: usize = 8;

/// Adds to an image's words while it is copied, in pieces of any size.
#[derive(Clone, Copy, Debug)]
pub struct Relocation {
    places: Places,
    shift: Shift,
    next: Option<Place>,
    piece: [u8; TABLE_PIECE],
    read: u8,
    held: u8,
    /// The table is as long as the image says, and no longer.
    table_left: u32,
}

impl Relocation {
    /// For an image of which header and binary are `total_size` bytes, with a table of `table` bytes.
    pub const fn new(total_size: u32, table: u32, shift: Shift) -> Self {
        let places = Places::new(total_size);
        Self { places, shift, next: None, piece: [0; TABLE_PIECE], read: 0, held: 0, table_left: table }
    }

    /// How many bytes of the table have to be given to [`table`](Self::table) before the copy goes on; 0 for none.
    pub fn wants(&self) -> usize {
        if self.next.is_some() || self.read < self.held {
            0
        } else {
            (self.table_left as usize).min(TABLE_PIECE)
        }
    }

    /// The next bytes of the table: as many as [`wants`](Self::wants) says.
    pub fn table(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if bytes.is_empty() || bytes.len() != self.wants() {
            return Err(Malformed);
        }
        self.piece[..bytes.len()].copy_from_slice(bytes);
        (self.read, self.held) = (0, bytes.len() as u8);
        self.table_left -= bytes.len() as u32;
        self.advance()
    }

    /// Looks for the next place in what is held of the table.
    fn advance(&mut self) -> Result<(), Malformed> {
        while self.next.is_none() && self.read < self.held {
            let byte = self.piece[usize::from(self.read)];
            self.read += 1;
            self.next = self.places.byte(byte)?;
        }
        Ok(())
    }

    /// Changes what has to be changed in a piece that begins `at` bytes into the file, and says how many of its bytes are
    /// as they will be: at least one, and the next piece begins after them. Not to be called while a piece of the table is
    /// [wanted](Self::wants).
    pub fn apply(&mut self, at: u32, chunk: &mut [u8]) -> Result<usize, Malformed> {
        loop {
            let Some(place) = self.next else {
                // Nothing more to change, or nothing more is known: all places before `from` are done.
                let known = if self.wants() == 0 { u32::MAX } else { self.places.from };
                return self.done(known.saturating_sub(at) as usize, chunk.len());
            };
            let begin = place.at.checked_sub(at).ok_or(Malformed)? as usize;
            let Some(word) = chunk.get_mut(begin..).and_then(|rest| rest.first_chunk_mut::<4>()) else {
                // It lies behind this piece, or across its end: then the next piece begins with it.
                return self.done(begin, chunk.len());
            };
            let add = self.shift.of(place.kind).ok_or(Malformed)?;
            *word = u32::from_le_bytes(*word).wrapping_add(add).to_le_bytes();
            self.next = None;
            self.advance()?;
        }
    }

    fn done(&self, sure: usize, len: usize) -> Result<usize, Malformed> {
        let done = sure.min(len);
        if done == 0 { Err(Malformed) } else { Ok(done) }
    }

    /// True if the whole table was read and nothing is left to change.
    pub fn complete(&self) -> bool {
        self.places.complete() && self.next.is_none() && self.read == self.held && self.table_left == 0
    }
}
