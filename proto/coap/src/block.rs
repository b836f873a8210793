//! The block options (RFC 7959 §2.2), and a document served block by block.

use crate::message::{Code, Response};
use crate::packet::uint;
use alloc::vec::Vec;

/// The value of a Block1 or Block2 option (RFC 7959 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the block.
    pub num: u32,
    /// More blocks follow.
    pub more: bool,
    /// Size exponent: a block has 2^(szx+4) bytes, szx at most 6.
    pub szx: u8,
}

impl Block {
    /// The block of size exponent `szx` or smaller that begins at `offset`: the largest one that can.
    pub fn at(offset: u32, szx: u8) -> Self {
        let aligned = (offset.trailing_zeros().saturating_sub(4)).min(6) as u8;
        let szx = szx.min(6).min(if offset == 0 { 6 } else { aligned });
        Self { num: offset >> (szx + 4), more: false, szx }
    }

    /// Bytes in a block.
    pub fn size(self) -> usize {
        16 << self.szx
    }

    /// Where the block begins.
    pub fn offset(self) -> u64 {
        u64::from(self.num) << (self.szx + 4)
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        uint(self.num << 4 | u32::from(self.more) << 3 | u32::from(self.szx))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > 3 {
            return None;
        }
        let value = bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
        let block = Self { num: value >> 4, more: value & 8 != 0, szx: (value & 7) as u8 };
        (block.szx <= 6).then_some(block)
    }
}

/// Answers a GET for one block of `content`: 2.05, or 4.02 for a block that begins behind the end.
pub fn serve_block(content: &[u8], etag: &[u8], asked: Option<Block>) -> Response {
    let asked = asked.unwrap_or(Block { num: 0, more: false, szx: 6 });
    let start = asked.offset();
    if start >= content.len() as u64 && start > 0 {
        return Response::new(Code::BAD_OPTION, b"block behind the end");
    }
    let start = start as usize; // below content.len()
    let end = content.len().min(start + asked.size());
    Response {
        block2: Some(Block { more: end < content.len(), ..asked }),
        etag: etag.into(),
        ..Response::new(Code::CONTENT, &content[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_option_is_as_short_as_can_be() {
        let block = |num, more, szx| Block { num, more, szx }.to_bytes();
        assert_eq!(block(0, false, 0), []);
        assert_eq!(block(0, true, 2), [0x0a]);
        assert_eq!(block(31, true, 6), [0x01, 0xfe]);
        assert_eq!(Block::from_bytes(&[0x01, 0xfe]), Some(Block { num: 31, more: true, szx: 6 }));
        assert_eq!(Block::from_bytes(&[7]), None, "szx 7 is reserved");
    }

    #[test]
    fn a_resumed_transfer_asks_for_a_block_that_begins_there() {
        assert_eq!(Block::at(0, 6), Block { num: 0, more: false, szx: 6 });
        assert_eq!(Block::at(64, 6), Block { num: 1, more: false, szx: 2 });
        assert_eq!(Block::at(128, 2), Block { num: 2, more: false, szx: 2 });
    }

    #[test]
    fn the_last_block_says_so_and_none_is_behind_it() {
        let content = [9; 100];
        let ask = |num| serve_block(&content, b"t", Some(Block { num, more: false, szx: 2 }));
        assert_eq!((ask(0).payload.len(), ask(0).block2.unwrap().more), (64, true));
        assert_eq!((ask(1).payload.len(), ask(1).block2.unwrap().more), (36, false));
        assert_eq!(ask(2).code, Code::BAD_OPTION);
    }
}
