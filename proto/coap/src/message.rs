//! Requests and responses as the application sees them, to and from `coap-lite` packets.

use alloc::collections::LinkedList;
use alloc::string::String;
use alloc::vec::Vec;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

/// Largest datagram read or made, bytes: the IPv6 minimum MTU.
pub const DATAGRAM_MAX: usize = 1280;

/// Request methods in use (RFC 7252 §5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// 0.01
    Get,
    /// 0.02
    Post,
    /// Any other, by its code.
    Other(u8),
}

/// A response code as one byte, class in the upper three bits (RFC 7252 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// 2.01
    pub const CREATED: Self = Self(0x41);
    /// 2.04
    pub const CHANGED: Self = Self(0x44);
    /// 2.05
    pub const CONTENT: Self = Self(0x45);
    /// 4.00
    pub const BAD_REQUEST: Self = Self(0x80);
    /// 4.01
    pub const UNAUTHORIZED: Self = Self(0x81);
    /// 4.02
    pub const BAD_OPTION: Self = Self(0x82);
    /// 4.04
    pub const NOT_FOUND: Self = Self(0x84);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = Self(0x85);
    /// 4.06
    pub const NOT_ACCEPTABLE: Self = Self(0x86);
    /// 4.09 (RFC 8132)
    pub const CONFLICT: Self = Self(0x89);
    /// 5.03
    pub const UNAVAILABLE: Self = Self(0xa3);

    /// 2.xx
    pub fn is_success(self) -> bool {
        self.0 >> 5 == 2
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:02}", self.0 >> 5, self.0 & 0x1f)
    }
}

/// The value of a Block2 option (RFC 7959 §2.2).
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

    fn to_bytes(self) -> Vec<u8> {
        uint(self.num << 4 | u32::from(self.more) << 3 | u32::from(self.szx))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > 3 {
            return None;
        }
        let value = bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
        let block = Self { num: value >> 4, more: value & 8 != 0, szx: (value & 7) as u8 };
        (block.szx <= 6).then_some(block)
    }
}

/// The shortest form of an unsigned option value (RFC 7252 §3.2).
fn uint(value: u32) -> Vec<u8> {
    value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

/// A request, to be sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path segments joined by `/`, without a leading one.
    pub path: String,
    /// The block asked for.
    pub block2: Option<Block>,
    /// Payload; empty for none.
    pub payload: Vec<u8>,
    /// Confirmable: retransmitted until answered.
    pub confirmable: bool,
}

impl Request {
    /// A confirmable POST.
    pub fn post(path: &str, payload: &[u8]) -> Self {
        Self {
            method: Method::Post,
            path: path.into(),
            block2: None,
            payload: payload.into(),
            confirmable: true,
        }
    }

    /// A confirmable GET of one block.
    pub fn get_block(path: &str, block: Block) -> Self {
        Self {
            method: Method::Get,
            path: path.into(),
            block2: Some(block),
            payload: Vec::new(),
            confirmable: true,
        }
    }
}

/// A response, to be sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its code.
    pub code: Code,
    /// Which block the payload is.
    pub block2: Option<Block>,
    /// Tag of the representation, at most 8 bytes; empty for none.
    pub etag: Vec<u8>,
    /// Payload; empty for none.
    pub payload: Vec<u8>,
}

impl Response {
    /// A response without options.
    pub fn new(code: Code, payload: &[u8]) -> Self {
        Self { code, block2: None, etag: Vec::new(), payload: payload.into() }
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
        code: Code::CONTENT,
        block2: Some(Block { more: end < content.len(), ..asked }),
        etag: etag.into(),
        payload: content[start..end].into(),
    }
}

/// What a datagram turned out to be.
#[derive(Debug)]
pub(crate) enum Content {
    Empty,
    Request(Request),
    Response(Response),
    /// A request with a critical option that is not understood (RFC 7252 §5.4.1).
    BadOption,
}

/// A datagram taken apart.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub kind: MessageType,
    pub mid: u16,
    pub token: Vec<u8>,
    pub content: Content,
}

/// Reads a datagram; `Err(Some(mid))` if it is malformed but its message id could be read from a confirmable
/// header, so that it can be rejected (RFC 7252 §4.2).
pub(crate) fn read(datagram: &[u8]) -> Result<Incoming, Option<u16>> {
    let reject = match datagram {
        [first, _, high, low, ..] if first >> 4 == 0b0100 => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    };
    if datagram.len() > DATAGRAM_MAX || datagram.first().is_none_or(|first| first >> 6 != 1) {
        return Err(None);
    }
    let packet = Packet::from_bytes(datagram).map_err(|_| reject)?;
    let content = match packet.header.code {
        MessageClass::Empty if datagram.len() == 4 => Content::Empty,
        MessageClass::Empty => return Err(reject),
        code => {
            let number = u8::from(code);
            match number >> 5 {
                0 if has_unknown_critical(&packet) => Content::BadOption,
                0 => Content::Request(read_request(&packet, number).ok_or(reject)?),
                2 | 4 | 5 if has_unknown_critical(&packet) => return Err(reject),
                2 | 4 | 5 => Content::Response(Response {
                    code: Code(number),
                    block2: read_block(&packet).map_err(|()| reject)?,
                    etag: packet.get_first_option(CoapOption::ETag).cloned().unwrap_or_default(),
                    payload: packet.payload.clone(),
                }),
                _ => return Err(reject),
            }
        }
    };
    Ok(Incoming {
        kind: packet.header.get_type(),
        mid: packet.header.message_id,
        token: packet.get_token().into(),
        content,
    })
}

fn has_unknown_critical(packet: &Packet) -> bool {
    // Uri-Host, Uri-Port, Uri-Path, Uri-Query, Accept, Block2 are understood or may be ignored by an origin
    // server with one host; every other odd number is critical and unknown.
    packet.options().any(|(number, _)| number % 2 == 1 && !matches!(number, 3 | 7 | 11 | 15 | 17 | 23))
}

fn read_block(packet: &Packet) -> Result<Option<Block>, ()> {
    match packet.get_first_option(CoapOption::Block2) {
        None => Ok(None),
        Some(bytes) => Block::from_bytes(bytes).map(Some).ok_or(()),
    }
}

fn read_request(packet: &Packet, method: u8) -> Option<Request> {
    let mut path = String::new();
    for segment in packet.get_option(CoapOption::UriPath).unwrap_or(&LinkedList::new()) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(core::str::from_utf8(segment).ok()?);
    }
    Some(Request {
        method: match method {
            1 => Method::Get,
            2 => Method::Post,
            other => Method::Other(other),
        },
        path,
        block2: read_block(packet).ok()?,
        payload: packet.payload.clone(),
        confirmable: packet.header.get_type() == MessageType::Confirmable,
    })
}

fn packet(kind: MessageType, code: u8, mid: u16, token: &[u8]) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_version(1);
    packet.header.set_type(kind);
    packet.header.code = MessageClass::from(code);
    packet.header.message_id = mid;
    packet.set_token(token.into());
    packet
}

/// An empty message: an acknowledgement, a reset or a ping.
pub(crate) fn write_empty(kind: MessageType, mid: u16) -> Vec<u8> {
    packet(kind, 0, mid, &[]).to_bytes().unwrap_or_default()
}

/// `None` if it would be longer than [`DATAGRAM_MAX`].
pub(crate) fn write_request(request: &Request, mid: u16, token: &[u8]) -> Option<Vec<u8>> {
    let kind = if request.confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
    let code = match request.method {
        Method::Get => 1,
        Method::Post => 2,
        Method::Other(code) => code,
    };
    let mut packet = packet(kind, code, mid, token);
    for segment in request.path.split('/') {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().into());
    }
    if let Some(block) = request.block2 {
        packet.add_option(CoapOption::Block2, block.to_bytes());
    }
    packet.payload = request.payload.clone();
    packet.to_bytes().ok()
}

/// `None` if it would be longer than [`DATAGRAM_MAX`].
pub(crate) fn write_response(
    kind: MessageType,
    response: &Response,
    mid: u16,
    token: &[u8],
) -> Option<Vec<u8>> {
    let mut packet = packet(kind, response.code.0, mid, token);
    if !response.etag.is_empty() {
        packet.add_option(CoapOption::ETag, response.etag.clone());
    }
    if let Some(block) = response.block2 {
        packet.add_option(CoapOption::Block2, block.to_bytes());
    }
    packet.payload = response.payload.clone();
    packet.to_bytes().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_eleven_bytes_with_its_payload_of_two() {
        let wire = write_request(&Request::post("p", &[1, 0]), 0x1234, &[0xab, 0xcd]).unwrap();
        assert_eq!(wire, [0x42, 0x02, 0x12, 0x34, 0xab, 0xcd, 0xb1, b'p', 0xff, 1, 0]);
    }

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
