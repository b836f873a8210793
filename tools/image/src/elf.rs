//! How much an executable takes of flash and RAM: the segments of a 32-bit little-endian ELF file.

use crate::board::Region;
use crate::{half, word};

/// Why it cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// No ELF file, or of another kind.
    #[error("no executable for a 32-bit little-endian machine (ELF)")]
    Kind,
    /// It ends within its program headers.
    #[error("the executable is cut: its program headers are missing")]
    Cut,
}

/// A piece of an executable that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is when the program runs.
    pub address: u32,
    /// Where its contents are stored.
    pub stored_at: u32,
    /// Bytes stored.
    pub stored: u32,
    /// Bytes when the program runs.
    pub size: u32,
    /// Whether the program changes it.
    pub writable: bool,
}

/// All that are loaded.
pub fn segments(elf: &[u8]) -> Result<Vec<Segment>, ElfError> {
    const LITTLE_32: [u8; 6] = [0x7f, b'E', b'L', b'F', 1, 1];
    const LOAD: u32 = 1;
    const WRITE: u32 = 2;
    if !elf.starts_with(&LITTLE_32) {
        return Err(ElfError::Kind);
    }
    let table = word(elf, 28).ok_or(ElfError::Cut)? as usize;
    let (entry, count) = (half(elf, 42).ok_or(ElfError::Cut)?, half(elf, 44).ok_or(ElfError::Cut)?);
    let mut segments = Vec::new();
    for n in 0..usize::from(count) {
        let field = |at| {
            word(elf, table.saturating_add(n * usize::from(entry)).saturating_add(at)).ok_or(ElfError::Cut)
        };
        if field(0)? == LOAD {
            segments.push(Segment {
                address: field(8)?,
                stored_at: field(12)?,
                stored: field(16)?,
                size: field(20)?,
                writable: field(24)? & WRITE != 0,
            });
        }
    }
    Ok(segments)
}

/// Bytes of code and constants in the symbols whose names contain one of `parts`: what a crate takes of a program, as far as
/// the compiler has not made it part of others' functions. Symbols at one address count once. 0 for a file without symbols.
pub fn of_parts(elf: &[u8], parts: &[String]) -> u32 {
    const SYMBOLS: u32 = 2;
    const FUNCTION: u8 = 2;
    const OBJECT: u8 = 1;
    let section = |n: usize, field: usize| {
        let (table, entry) = (word(elf, 32)? as usize, usize::from(half(elf, 46)?));
        word(elf, table.checked_add(n.checked_mul(entry)?)?.checked_add(field)?)
    };
    let name = |strings: usize, at: usize| {
        let start = (section(strings, 16)? as usize).checked_add(at)?;
        elf.get(start..)?.split(|byte| *byte == 0).next()
    };
    let mut seen = std::collections::BTreeMap::new();
    for n in 0..usize::from(half(elf, 48).unwrap_or(0)) {
        if section(n, 4) != Some(SYMBOLS) {
            continue;
        }
        let (Some(start), Some(len), Some(strings)) = (section(n, 16), section(n, 20), section(n, 24)) else {
            continue;
        };
        let end = (start as usize).saturating_add(len as usize).min(elf.len());
        for symbol in elf.get(start as usize..end).unwrap_or_default().chunks_exact(16) {
            let (at, address, size) = (word(symbol, 0), word(symbol, 4), word(symbol, 8));
            let (Some(at), Some(address), Some(size)) = (at, address, size) else { continue };
            let named = name(strings as usize, at as usize).map(String::from_utf8_lossy);
            let ours = named.is_some_and(|name| parts.iter().any(|part| name.contains(part.as_str())));
            if ours && matches!(symbol[12] & 0xf, FUNCTION | OBJECT) {
                seen.insert(address & !1, size);
            }
        }
    }
    seen.values().fold(0, |sum, size| sum.saturating_add(*size))
}

/// Bytes of memory that a program takes from its start: stack, data and bss.
pub fn ram(segments: &[Segment]) -> u32 {
    segments.iter().filter(|segment| segment.writable).map(|segment| segment.size).sum()
}

/// Bytes that are stored, if all of them are in a region; the first segment that is not, otherwise. They need not be in one
/// piece: Tock's kernel keeps its attributes at the end of its ROM.
pub fn stored(segments: &[Segment], region: Region) -> Result<u32, Segment> {
    segments.iter().filter(|segment| segment.stored > 0).try_fold(0, |sum: u32, segment| {
        let end = u64::from(segment.stored_at) + u64::from(segment.stored);
        let inside = segment.stored_at >= region.start && end <= region.end();
        if inside { Ok(sum.saturating_add(segment.stored)) } else { Err(*segment) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(headers: &[[u32; 8]]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1];
        file.resize(52, 0);
        file[28] = 52;
        (file[42], file[44]) = (32, headers.len() as u8);
        file.extend(headers.as_flattened().iter().flat_map(|word| word.to_le_bytes()));
        file
    }

    #[test]
    fn segments_are_read() {
        let elf = file(&[
            [1, 0, 0x8000, 0x8000, 0x100, 0x100, 5, 4],
            [1, 0, 0x9000, 0x8100, 0x10, 0x30, 6, 4],
            [6, 0, 0, 0, 0xffff, 0xffff, 7, 4],
        ]);
        let segments = segments(&elf).unwrap();
        assert_eq!((segments.len(), ram(&segments)), (2, 0x30));
        assert_eq!(stored(&segments, Region { start: 0x8000, len: 0x110 }), Ok(0x110));
        assert_eq!(stored(&segments, Region { start: 0x8000, len: 0x10f }), Err(segments[1]));
        assert_eq!(stored(&segments, Region { start: 0x8001, len: 0x110 }), Err(segments[0]));
    }

    #[test]
    fn what_is_no_executable_is_said() {
        assert_eq!(segments(b"\0asm"), Err(ElfError::Kind));
        assert_eq!(segments(&file(&[[1; 8]])[..60]), Err(ElfError::Cut));
    }

    #[test]
    fn what_a_crate_takes_is_the_sum_of_its_symbols() {
        // No program headers; three section headers at 52: nothing, symbols at 172, names at 252.
        let mut elf = b"\x7fELF\x01\x01".to_vec();
        elf.resize(52, 0);
        elf[32] = 52;
        (elf[46], elf[48]) = (40, 3);
        let section = |kind: u32, at: u32, len: u32, link: u32| {
            let fields = [0, kind, 0, 0, at, len, link, 0, 0, 0];
            fields.iter().flat_map(|field| field.to_le_bytes()).collect::<Vec<_>>()
        };
        elf.extend(section(0, 0, 0, 0));
        elf.extend(section(2, 172, 80, 2));
        elf.extend(section(3, 252, 32, 0));
        let symbols: [(u32, u32, u32, u8); 5] =
            [(1, 0x100, 10, 2), (1, 0x101, 10, 2), (9, 0x200, 30, 2), (1, 0x300, 4, 1), (1, 0x400, 99, 0)];
        for (name, address, size, kind) in symbols {
            elf.extend([name, address, size].iter().flat_map(|field| field.to_le_bytes()));
            elf.extend([kind, 0, 0, 0]);
        }
        elf.extend(b"\0capsule\0other\0");
        elf.resize(284, 0);
        assert_eq!(of_parts(&elf, &["capsule".to_owned()]), 14);
        assert_eq!(of_parts(&elf, &["capsule".to_owned(), "other".to_owned()]), 44);
        for len in 0..elf.len() {
            of_parts(&elf[..len], &["capsule".to_owned()]);
        }
    }
}
