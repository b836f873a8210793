//! A body sent block by block (RFC 7959 §2.5, Block1), by whoever asks.

use crate::block::Block;
use crate::message::{Code, Request};

/// Times that a body is begun anew, because the other end has lost what it had, before it counts as failed.
const RESTARTS_MAX: u8 = 4;

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// [`Upload::request`] has another block.
    Block,
    /// The body has arrived, and this was its answer.
    Done,
    /// It was refused, and will be as it is.
    TooLarge,
    /// It was refused just now. The same block may be sent again, or all of it by a new [`Upload`].
    Refused,
}

/// How far a body has been sent. The body itself stays with whoever sends it.
///
/// A block whose exchange failed is sent again by asking for it again: the other end says whether it goes on from there
/// (2.31) or has lost what it had (4.08), in which case the body begins anew. So does an upload that is forgotten here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Bytes that the other end has, as far as it has said.
    offset: usize,
    szx: u8,
    restarts: u8,
}

impl Upload {
    /// Sends in blocks of 2^(szx+4) bytes, or smaller ones if the other end wants them.
    pub fn new(szx: u8) -> Self {
        Self { offset: 0, szx: szx.min(6), restarts: 0 }
    }

    /// The same from the first block on.
    pub fn anew(&self) -> Self {
        Self::new(self.szx)
    }

    /// The next block of `body`, the same as at the last call if no answer came. `tag` is another one for each body
    /// that could be mistaken for this one (RFC 9175 §3), at most 8 bytes.
    pub fn request(&self, path: &str, body: &[u8], tag: &[u8]) -> Request {
        let block = self.block(body.len());
        let start = self.offset.min(body.len());
        let end = body.len().min(start + block.size());
        // The whole length is said once: who has no room for it says so before the rest is sent.
        let size1 = (self.offset == 0 && block.more).then_some(body.len() as u32);
        let tag = tag.into();
        Request { block1: Some(block), size1, tag, ..Request::post(path, &body[start..end]) }
    }

    fn block(&self, len: usize) -> Block {
        let more = len.saturating_sub(self.offset) > 16 << self.szx;
        Block { num: (self.offset >> (self.szx + 4)) as u32, more, szx: self.szx }
    }

    /// What an answer means, with this code and Block1, to the block of a body of `len` bytes that was sent last.
    pub fn answered(&mut self, len: usize, code: Code, block1: Option<Block>) -> Next {
        let sent = self.block(len);
        let smaller = block1.map(|block| block.szx).filter(|szx| *szx < self.szx);
        match code {
            Code::CONTINUE => {
                let here = block1.is_some_and(|block| block.num == sent.num);
                if !(here && sent.more) {
                    return self.restart(); // it speaks of another block: what it has is not known
                }
                self.offset += sent.size();
                self.szx = smaller.unwrap_or(self.szx);
                Next::Block
            }
            code if code.is_success() => Next::Done,
            Code::INCOMPLETE => self.restart(),
            Code::TOO_LARGE => match smaller {
                Some(szx) => {
                    (self.offset, self.szx) = (0, szx);
                    Next::Block
                }
                None => Next::TooLarge,
            },
            _ => Next::Refused,
        }
    }

    fn restart(&mut self) -> Next {
        self.offset = 0;
        self.restarts = self.restarts.saturating_add(1);
        if self.restarts > RESTARTS_MAX { Next::Refused } else { Next::Block }
    }
}
