//! Bodies of requests that come block by block (RFC 7959 §2.5, Block1), put together within bounds.
//!
//! One body per key is put together at a time, in order. A block that is not the next one is answered with 4.08 and
//! changes nothing; the one before, which comes again if its answer was lost, is answered again; block 0 begins anew.
//! A Request-Tag (RFC 9175 §3) that differs says that a block is of another body. What is kept is what was received:
//! a number or a length that a block only claims costs nothing.
//!
//! A body is given out once as long as its sender goes on where it was and this end forgets nothing. Who begins anew
//! after the last block sends it twice: that is for whoever takes bodies to notice.

use crate::block::Block;
use crate::message::{Code, Request, Response};
use alloc::vec::Vec;

/// What an assembler takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one body.
    pub body_max: usize,
    /// Bodies at once; one more and the one that was touched longest ago is forgotten.
    pub bodies_max: usize,
    /// How long a body waits for its next block, milliseconds (RFC 7959 §2.4: EXCHANGE_LIFETIME, 247 s).
    pub lifetime_ms: u64,
    /// Size exponent of the largest block that is wished for.
    pub szx_max: u8,
}

impl Limits {
    /// EXCHANGE_LIFETIME with the default transmission parameters (RFC 7252 §4.8.2), milliseconds.
    pub const EXCHANGE_LIFETIME_MS: u64 = 247_000;
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The request is done with: this is its answer.
    Answer(Response),
    /// The body is whole. Its answer has the request's [`Request::block1`], like the next one's.
    Whole(Vec<u8>),
    /// The last block of a body that was whole before: its first answer is lost, and to be given again.
    Again,
}

/// One body.
#[derive(Debug)]
struct Body<K> {
    key: K,
    tag: Vec<u8>,
    /// What has come; nothing once it was whole and given out.
    bytes: Vec<u8>,
    /// The block that was taken last.
    last: Block,
    touched_ms: u64,
}

/// Puts together one body for each key: who sends it, and what for.
#[derive(Debug)]
pub struct Assembler<K> {
    limits: Limits,
    bodies: Vec<Body<K>>,
}

impl<K: PartialEq> Assembler<K> {
    /// An assembler that holds nothing, and takes no memory while it does.
    pub fn new(limits: Limits) -> Self {
        Self { limits, bodies: Vec::new() }
    }

    /// Takes a request, whether or not it is a block. One without Block1 is a body in itself.
    pub fn take(&mut self, key: K, request: &Request, now_ms: u64) -> Taken {
        self.expire(now_ms);
        let payload = &request.payload;
        let block = request.block1.unwrap_or(Block { num: 0, more: false, szx: 6 });
        let misfits = match request.block1 {
            Some(block) if block.more => payload.len() != block.size(),
            Some(block) => payload.len() > block.size(),
            None => false,
        };
        if misfits {
            return Taken::Answer(Response::new(Code::BAD_REQUEST, b"not the size of its block"));
        }
        let claimed = if block.num == 0 { request.size1.unwrap_or(0) } else { 0 };
        let end = block.offset() + payload.len() as u64;
        if end.max(claimed.into()) > self.limits.body_max as u64 {
            // Of a far block that came out of order it is known as well: no body that has it fits.
            self.forget(&key);
            return Taken::Answer(Response::too_large(self.limits.body_max));
        }
        if block.num == 0 {
            self.forget(&key);
            return match block.more {
                true => self.begin(key, request, block, now_ms),
                false => Taken::Whole(payload.clone()),
            };
        }
        let Some(body) = self.bodies.iter_mut().find(|body| body.key == key && body.tag == request.tag)
        else {
            return Taken::Answer(incomplete());
        };
        let (offset, repeats) = (block.offset() as usize, block == body.last);
        if !body.last.more {
            body.touched_ms = now_ms;
            return if repeats { Taken::Again } else { Taken::Answer(incomplete()) };
        }
        if repeats && body.bytes.get(offset..) == Some(payload) {
            body.touched_ms = now_ms;
            return Taken::Answer(self.go_on(block));
        }
        if offset != body.bytes.len() {
            return Taken::Answer(incomplete());
        }
        body.bytes.extend_from_slice(payload);
        (body.last, body.touched_ms) = (block, now_ms);
        if block.more {
            return Taken::Answer(self.go_on(block));
        }
        Taken::Whole(core::mem::take(&mut body.bytes))
    }

    fn begin(&mut self, key: K, request: &Request, block: Block, now_ms: u64) -> Taken {
        if self.bodies.len() >= self.limits.bodies_max {
            let touched = |body: &(usize, &Body<K>)| body.1.touched_ms;
            match self.bodies.iter().enumerate().min_by_key(touched).map(|(at, _)| at) {
                Some(oldest) => drop(self.bodies.swap_remove(oldest)),
                None => return Taken::Answer(Response::new(Code::UNAVAILABLE, &[])),
            }
        }
        let (tag, bytes) = (request.tag.clone(), request.payload.clone());
        self.bodies.push(Body { key, tag, bytes, last: block, touched_ms: now_ms });
        Taken::Answer(self.go_on(block))
    }

    /// 2.31, in blocks of the size that is wished for (RFC 7959 §2.3).
    fn go_on(&self, block: Block) -> Response {
        // The number stays that of the block which is answered, whatever size the next one is to have.
        let block1 = Some(Block { szx: block.szx.min(self.limits.szx_max), ..block });
        Response { block1, ..Response::new(Code::CONTINUE, &[]) }
    }

    /// Forgets what has come of a key's body. Whoever refuses a whole one does, so that its last block does not count
    /// as taken.
    pub fn forget(&mut self, key: &K) {
        self.bodies.retain(|body| body.key != *key);
        if self.bodies.is_empty() {
            self.bodies = Vec::new();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bodies = Vec::new();
    }

    /// Forgets bodies that have waited for too long.
    pub fn expire(&mut self, now_ms: u64) {
        let lifetime_ms = self.limits.lifetime_ms;
        self.bodies.retain(|body| now_ms.saturating_sub(body.touched_ms) < lifetime_ms);
    }

    /// Bodies of which anything is remembered, and the bytes that have come of them.
    pub fn held(&self) -> (usize, usize) {
        (self.bodies.len(), self.bodies.iter().map(|body| body.bytes.len()).sum())
    }
}

/// 4.08: a block before this one is missing, so that the body has to come anew (RFC 7959 §2.9.2).
fn incomplete() -> Response {
    Response::new(Code::INCOMPLETE, &[])
}
