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
}
