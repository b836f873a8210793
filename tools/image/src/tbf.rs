//! The header of a Tock binary, version 2 (`doc/TockBinaryFormat.md` of Tock), as far as native tasks and boards need it.
//!
//! A base of 16 bytes, then elements of type, length and contents, each padded to 4 bytes:
//!
//! | bytes | base |
//! |---|---|
//! | 2 | version, 2 |
//! | 2 | bytes of the header |
//! | 4 | bytes of all |
//! | 4 | flags; bit 0: enabled |
//! | 4 | checksum: all words of the header, this one as 0, exclusively or-ed |
//!
//! | type | element | contents |
//! |---|---|---|
//! | 1 | main | entry, protected bytes behind the header, memory |
//! | 3 | package name | text |
//! | 5 | fixed addresses | memory, flash |
//! | 9 | program | as main, then end of the binary, version |

use crate::{half, put_word, word};

/// Bytes of the base.
const BASE: usize = 16;
/// Where the length of all is.
const TOTAL: usize = 4;
/// Where the checksum is.
const CHECKSUM: usize = 12;
const ENABLED: u32 = 1;

const MAIN: u16 = 1;
const NAME: u16 = 3;
const FIXED: u16 = 5;
const PROGRAM: u16 = 9;

/// Why bytes are no Tock binary that a slot or a board can take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TbfError {
    /// Not even the base of a header.
    #[error("{0} bytes are no Tock binary: its header alone has {BASE}")]
    Short(usize),
    /// Another version, or something else altogether.
    #[error("no Tock binary: it begins with {0}, not with version 2")]
    Version(u16),
    /// Its length makes no sense.
    #[error("the header says that it has {0} bytes, which is no multiple of 4 between 16 and {1}")]
    HeaderLen(u16, usize),
    /// Its length is beyond the file.
    #[error("the header says that the binary has {total} bytes, and there are {have}")]
    Cut {
        /// What the header says, bytes.
        total: u32,
        /// What there is, bytes.
        have: usize,
    },
    /// Something in the header was changed.
    #[error("the header's checksum is {stored:#010x}, and should be {computed:#010x}")]
    Checksum {
        /// As it is.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
    /// An element runs over the end of the header.
    #[error("the header's element {kind} at {at} has {len} bytes, more than the rest of the header")]
    Element {
        /// Its type.
        kind: u16,
        /// Where it begins.
        at: usize,
        /// Bytes that it claims.
        len: u16,
    },
    /// An element has another length than its kind.
    #[error("the header's element {kind} at {at} has {len} bytes instead of {wanted}")]
    ElementLen {
        /// Its type.
        kind: u16,
        /// Where it begins.
        at: usize,
        /// Bytes that it has.
        len: u16,
        /// Bytes that it should have.
        wanted: u16,
    },
    /// It says nowhere how to start it.
    #[error("the header has no element 1 (main) or 9 (program): padding, not a program")]
    NoProgram,
    /// Protected region, entry and end of the binary contradict each other.
    #[error("the program is from {start:#x} to {end:#x} of {total:#x} bytes, with its entry at {entry:#x}")]
    Program {
        /// End of the protected region.
        start: u64,
        /// End of the program.
        end: u64,
        /// Bytes of all.
        total: u32,
        /// The entry.
        entry: u64,
    },
}

/// What a header says. Offsets are from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header.
    pub header_len: usize,
    /// Bytes of all.
    pub total_len: usize,
    /// Whether the kernel runs it.
    pub enabled: bool,
    /// Bytes that the program does not see: the header and what is kept free behind it.
    pub protected_len: usize,
    /// Where it starts.
    pub entry: usize,
    /// Memory that it needs at least, bytes.
    pub ram: u32,
    /// Where the program ends; credentials are behind it.
    pub end: usize,
    /// Its name.
    pub name: Option<String>,
    /// Where its memory has to start.
    pub fixed_ram: Option<u32>,
    /// Where the program, behind the protected region, has to start.
    pub fixed_flash: Option<u32>,
    /// Where elements are that may be rewritten: main, program, fixed addresses.
    main_at: Option<usize>,
    program_at: Option<usize>,
    fixed_at: Option<usize>,
}

/// All words of a header exclusively or-ed, its checksum as 0.
fn checksum(header: &[u8]) -> u32 {
    let words = header.chunks_exact(4).enumerate().filter(|(at, _)| at * 4 != CHECKSUM);
    words.fold(0, |sum, (_, bytes)| sum ^ word(bytes, 0).unwrap_or(0))
}

impl Header {
    /// Reads the header of a Tock binary; there may be more behind the binary.
    pub fn parse(file: &[u8]) -> Result<Self, TbfError> {
        let short = TbfError::Short(file.len());
        let Some(base) = file.get(..BASE) else { return Err(short) };
        let (Some(version), Some(header_len)) = (half(base, 0), half(base, 2)) else { return Err(short) };
        let (Some(total), Some(flags), Some(stored)) =
            (word(base, TOTAL), word(base, 8), word(base, CHECKSUM))
        else {
            return Err(short);
        };
        if version != 2 {
            return Err(TbfError::Version(version));
        }
        let bytes = file.get(..header_len.into()).filter(|bytes| bytes.len() >= BASE && bytes.len() % 4 == 0);
        let Some(bytes) = bytes else { return Err(TbfError::HeaderLen(header_len, file.len())) };
        let computed = checksum(bytes);
        if stored != computed {
            return Err(TbfError::Checksum { stored, computed });
        }
        if file.len() < total as usize || (total as usize) < bytes.len() {
            return Err(TbfError::Cut { total, have: file.len() });
        }
        let mut header = Self {
            header_len: bytes.len(),
            total_len: total as usize,
            enabled: flags & ENABLED != 0,
            protected_len: bytes.len(),
            entry: 0,
            ram: 0,
            end: total as usize,
            name: None,
            fixed_ram: None,
            fixed_flash: None,
            main_at: None,
            program_at: None,
            fixed_at: None,
        };
        header.elements(bytes)?;
        header.check(total)
    }

    fn elements(&mut self, bytes: &[u8]) -> Result<(), TbfError> {
        let mut at = BASE;
        while let (Some(kind), Some(len)) = (half(bytes, at), half(bytes, at + 2)) {
            let start = at + 4;
            let Some(contents) = bytes.get(start..start + usize::from(len)) else {
                return Err(TbfError::Element { kind, at, len });
            };
            let wanted = match kind {
                MAIN => 12,
                FIXED => 8,
                PROGRAM => 20,
                _ => len,
            };
            if len != wanted {
                return Err(TbfError::ElementLen { kind, at, len, wanted });
            }
            let number = |at| word(contents, at).unwrap_or(0);
            // Whichever comes first, the program's element is the one that counts.
            if kind == PROGRAM || kind == MAIN && self.program_at.is_none() {
                // It counts from the end of the header, not from that of the protected region.
                self.entry = self.header_len.saturating_add(number(0) as usize);
                self.protected_len = self.header_len.saturating_add(number(4) as usize);
                self.ram = number(8);
            }
            match kind {
                MAIN => self.main_at = Some(start),
                PROGRAM => {
                    self.program_at = Some(start);
                    self.end = number(12) as usize;
                }
                NAME => self.name = Some(String::from_utf8_lossy(contents).into_owned()),
                FIXED => {
                    (self.fixed_ram, self.fixed_flash) = (Some(number(0)), Some(number(4)));
                    self.fixed_at = Some(start);
                }
                _ => {}
            }
            at = start + usize::from(len).next_multiple_of(4);
        }
        Ok(())
    }

    fn check(self, total: u32) -> Result<Self, TbfError> {
        if self.main_at.is_none() && self.program_at.is_none() {
            return Err(TbfError::NoProgram);
        }
        let (start, end, entry) = (self.protected_len as u64, self.end as u64, self.entry as u64);
        if start >= end || end > u64::from(total) || !(start..end).contains(&entry) {
            return Err(TbfError::Program { start, end, total, entry });
        }
        Ok(self)
    }

    /// Where the file has to lie, the protected region included.
    pub fn flash_start(&self) -> Option<u32> {
        self.fixed_flash.and_then(|start| start.checked_sub(self.protected_len as u32))
    }

    /// Offsets of all in the header that may differ between two links of the same program: checksum and addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(CHECKSUM), self.fixed_at, self.fixed_at.map(|at| at + 4)].into_iter().flatten()
    }
}

/// What to change in a header; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Bytes of all. The file is cut, or filled with the bytes of erased flash, and the program ends where it does.
    pub total_len: Option<u32>,
    /// Memory that it needs at least, bytes.
    pub ram: Option<u32>,
    /// Where it lies, the protected region included.
    pub flash_start: Option<u32>,
    /// Where its memory starts.
    pub ram_start: Option<u32>,
}

/// A Tock binary with another header. What follows the binary in the file is left away.
pub fn changed(file: &[u8], change: Change) -> Result<Vec<u8>, TbfError> {
    let header = Header::parse(file)?;
    let mut bytes = file.get(..header.total_len).unwrap_or(file).to_vec();
    if let Some(total) = change.total_len {
        bytes.resize((total as usize).max(header.protected_len), 0xff);
        put_word(&mut bytes, TOTAL, total);
        if let Some(at) = header.program_at {
            put_word(&mut bytes, at + 12, total);
        }
    }
    if let Some(ram) = change.ram {
        for at in [header.main_at, header.program_at].into_iter().flatten() {
            put_word(&mut bytes, at + 8, ram);
        }
    }
    if let Some(at) = header.fixed_at {
        if let Some(start) = change.ram_start {
            put_word(&mut bytes, at, start);
        }
        if let Some(start) = change.flash_start {
            put_word(&mut bytes, at + 4, start.wrapping_add(header.protected_len as u32));
        }
    }
    let sum = checksum(bytes.get(..header.header_len).unwrap_or_default());
    put_word(&mut bytes, CHECKSUM, sum);
    Ok(bytes)
}

/// A Tock binary without what stands behind its program: credentials, and padding to a power of two.
pub fn trimmed(file: &[u8]) -> Result<Vec<u8>, TbfError> {
    let header = Header::parse(file)?;
    let end = (header.end.next_multiple_of(4)).min(header.total_len);
    changed(file, Change { total_len: Some(end as u32), ..Change::default() })
}
