//! A task's values as they are kept: one record, so that a cut in its writing is seen.
//!
//! ```text
//!   length of the rest, 2 | CRC-32 of the rest, 4 | key length, 1 | key | value length, 1 | value | ...
//! ```
//!
//! A record that was cut, or that is not there, stands for no values at all: its task begins anew.

use agent_wasm::{Kv, KvError};
use alloc::vec::Vec;

/// Bytes of the longest record. A byte for each length comes on top of keys and values, so that their own limit
/// ([`agent_wasm::abi::KV_TOTAL_MAX`]) can not be reached quite.
pub const RECORD_MAX: usize = 512;
/// Bytes before keys and values.
pub const HEAD: usize = 6;

/// The record of these values; [`KvError::Full`] if it would be too long.
pub fn encode(held: &Kv) -> Result<Vec<u8>, KvError> {
    let mut record = Vec::from([0; HEAD]);
    for part in held.iter().flat_map(|(key, value)| [key, value]) {
        record.push(u8::try_from(part.len()).map_err(|_| KvError::Invalid)?);
        record.extend_from_slice(part);
        if record.len() > RECORD_MAX {
            return Err(KvError::Full);
        }
    }
    let len = (record.len() - HEAD) as u16;
    let crc = crc32(&record[HEAD..]);
    record[..2].copy_from_slice(&len.to_le_bytes());
    record[2..HEAD].copy_from_slice(&crc.to_le_bytes());
    Ok(record)
}

/// Bytes that follow a head.
pub fn length(head: [u8; HEAD]) -> Option<usize> {
    let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
    (len <= RECORD_MAX - HEAD).then_some(len)
}

/// The values in what follows a head; `None` if it is not what was written.
pub fn decode(head: [u8; HEAD], rest: &[u8]) -> Option<Kv> {
    let [_, _, crc @ ..] = head;
    if length(head)? != rest.len() || u32::from_le_bytes(crc) != crc32(rest) {
        return None;
    }
    let (mut held, mut rest) = (Kv::default(), rest);
    while !rest.is_empty() {
        let (key, after) = part(rest)?;
        let (value, after) = part(after)?;
        held.set(key, value).ok()?;
        rest = after;
    }
    Some(held)
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// CRC-32 as Ethernet has it, bit by bit: a record is written seldom, and a table takes 1 KB of flash.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(record: &[u8]) -> ([u8; HEAD], &[u8]) {
        let (head, rest) = record.split_at(HEAD);
        (head.try_into().unwrap(), rest)
    }

    #[test]
    fn what_is_kept_comes_back_and_what_was_cut_does_not() {
        let mut held = Kv::default();
        held.set(b"runs", b"7").unwrap();
        held.set(b"empty", b"").unwrap();
        let record = encode(&held).unwrap();
        let (head, rest) = split(&record);
        assert_eq!(decode(head, rest), Some(held));
        assert_eq!(decode(head, &rest[1..]), None);
        for at in 0..record.len() {
            let mut torn = record.clone();
            torn[at] ^= 0x10;
            let (head, rest) = split(&torn);
            assert_eq!(decode(head, rest), None, "byte {at}");
        }
        assert_eq!(decode([0xff; HEAD], &[]), None, "storage that was never written");
        assert_eq!(decode([0; HEAD], &[]), Some(Kv::default()), "storage that was emptied");
    }

    #[test]
    fn a_record_is_never_longer_than_its_place() {
        let mut held = Kv::default();
        for n in 0..6 {
            held.set(&[n; 16], &[n; 64]).unwrap();
        }
        assert_eq!(encode(&held).unwrap().len(), HEAD + 6 * 82);
        held.set(&[7], &[7; 20]).unwrap();
        assert_eq!(encode(&held), Err(KvError::Full));
    }

    #[test]
    fn the_sum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
