//! Images of nodes, before any tool runs: what is in a Tock binary, how one becomes relocatable, where all of them lie in
//! a board's memory.
//!
//! - [`tbf`]: the header of a Tock binary, read with errors that say what is wrong, and rewritten.
//! - [`relocation`]: the table that lets one native task run in every slot.
//! - [`elf`]: how much an executable takes of flash and RAM.
//! - [`board`]: a board's map, and the layout that follows from it.
//!
//! It knows files' bytes only: no process is started and nothing is read or written here. `micro image` does that.
#![forbid(unsafe_code)]

pub mod board;
pub mod elf;
pub mod relocation;
pub mod tbf;

/// The little-endian word at an offset.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The little-endian half-word at an offset.
fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

/// Puts a little-endian word at an offset; nothing where there is no room.
fn put_word(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(room) = bytes.get_mut(at..at + 4) {
        room.copy_from_slice(&word.to_le_bytes());
    }
}
