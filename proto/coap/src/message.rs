//! Requests and responses as the application sees them, to and from `coap-lite` packets.

use alloc::collections::LinkedList;
use alloc::string::String;
use alloc::vec::Vec;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

/// Largest datagram read or made, bytes: the IPv6 minimum MTU.
pub const DATAGRAM_MAX: usize = 1280;

/// Echo's option number (RFC 9175 §2.2).
const ECHO: CoapOption = CoapOption::Unknown(252);

/// Request methods in use (RFC 7252 §5.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// 0.01
    #[default]
    Get,
    /// 0.02
    Post,
    /// 0.05 (RFC 8132 §2)
    Fetch,
    /// Any other, by its code.
    Other(u8),
}

impl Method {
    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Get,
            2 => Self::Post,
            5 => Self::Fetch,
            other => Self::Other(other),
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Fetch => 5,
            Self::Other(code) => code,
        }
    }
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path segments joined by `/`, without a leading one.
    pub path: String,
    /// The block asked for.
    pub block2: Option<Block>,
    /// Observe: 0 asks to be told of changes, 1 not any more (RFC 7641 §2).
    pub observe: Option<u32>,
    /// What a challenge is answered with (Echo, RFC 9175 §2.2); empty for none.
    pub echo: Vec<u8>,
    /// Value of the OSCORE option, if the request is protected (RFC 8613 §2).
    pub oscore: Option<Vec<u8>>,
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
            payload: payload.into(),
            confirmable: true,
            ..Self::default()
        }
    }

    /// A confirmable GET of one block.
    pub fn get_block(path: &str, block: Block) -> Self {
        Self {
            method: Method::Get,
            path: path.into(),
            block2: Some(block),
            confirmable: true,
            ..Self::default()
        }
    }

    /// What OSCORE encrypts of a request: code, options, payload (RFC 8613 §5.3).
    pub fn to_plaintext(&self) -> Vec<u8> {
        plaintext(request_packet(self, 0, &[]))
    }

    /// Reads what [`Request::to_plaintext`] wrote. `None` if it is no request or has a critical option that is not
    /// understood.
    pub fn from_plaintext(text: &[u8]) -> Option<Self> {
        let (number, packet) = from_plaintext(text)?;
        // 0.00 is an empty message, and never protected.
        if number == 0 || number >> 5 != 0 || has_unknown_critical(&packet) {
            return None;
        }
        read_request(&packet, number).map(|request| Self { confirmable: true, ..request })
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
    /// Content-Format (RFC 7252 §12.3).
    pub format: Option<u16>,
    /// Observe: a number that grows with each notification (RFC 7641 §3.4).
    pub observe: Option<u32>,
    /// A challenge (Echo, RFC 9175 §2.2); empty for none.
    pub echo: Vec<u8>,
    /// Value of the OSCORE option, if the response is protected; empty without a number of its own.
    pub oscore: Option<Vec<u8>>,
    /// Payload; empty for none.
    pub payload: Vec<u8>,
}

impl Response {
    /// A response without options.
    pub fn new(code: Code, payload: &[u8]) -> Self {
        Self {
            code,
            block2: None,
            etag: Vec::new(),
            format: None,
            observe: None,
            echo: Vec::new(),
            oscore: None,
            payload: payload.into(),
        }
    }

    /// What OSCORE encrypts of a response: code, options, payload (RFC 8613 §5.3).
    pub fn to_plaintext(&self) -> Vec<u8> {
        plaintext(response_packet(MessageType::Acknowledgement, self, 0, &[]))
    }

    /// Reads what [`Response::to_plaintext`] wrote; `None` if it is no response.
    pub fn from_plaintext(text: &[u8]) -> Option<Self> {
        let (number, packet) = from_plaintext(text)?;
        if !matches!(number >> 5, 2 | 4 | 5) || has_unknown_critical(&packet) {
            return None;
        }
        read_response(&packet, number)
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
pub struct Incoming {
    pub(crate) kind: MessageType,
    pub(crate) mid: u16,
    pub(crate) token: Vec<u8>,
    pub(crate) content: Content,
}

impl Incoming {
    /// Puts the request that was inside a protected one in its place.
    pub fn unwrapped_request(self, inner: Request) -> Self {
        Self { content: Content::Request(inner), ..self }
    }

    /// Puts the response that was inside a protected one in its place.
    pub fn unwrapped_response(self, inner: Response) -> Self {
        Self { content: Content::Response(inner), ..self }
    }
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
                2 | 4 | 5 => Content::Response(read_response(&packet, number).ok_or(reject)?),
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
    // Uri-Host, Uri-Port, OSCORE, Uri-Path, Uri-Query, Accept, Block2 are understood or may be ignored by an origin
    // server with one host; every other odd number is critical and unknown.
    packet.options().any(|(number, _)| number % 2 == 1 && !matches!(number, 3 | 7 | 9 | 11 | 15 | 17 | 23))
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
        method: Method::from_code(method),
        path,
        block2: read_block(packet).ok()?,
        observe: read_uint(packet, CoapOption::Observe),
        echo: read_bytes(packet, ECHO).unwrap_or_default(),
        oscore: read_bytes(packet, CoapOption::Oscore),
        payload: packet.payload.clone(),
        confirmable: packet.header.get_type() == MessageType::Confirmable,
    })
}

fn read_response(packet: &Packet, code: u8) -> Option<Response> {
    Some(Response {
        code: Code(code),
        block2: read_block(packet).ok()?,
        etag: read_bytes(packet, CoapOption::ETag).unwrap_or_default(),
        format: read_uint(packet, CoapOption::ContentFormat).map(|format| format as u16),
        observe: read_uint(packet, CoapOption::Observe),
        echo: read_bytes(packet, ECHO).unwrap_or_default(),
        oscore: read_bytes(packet, CoapOption::Oscore),
        payload: packet.payload.clone(),
    })
}

fn read_bytes(packet: &Packet, option: CoapOption) -> Option<Vec<u8>> {
    packet.get_first_option(option).cloned()
}

/// An unsigned option value of at most 4 bytes (RFC 7252 §3.2); a longer one counts as absent.
fn read_uint(packet: &Packet, option: CoapOption) -> Option<u32> {
    let bytes = packet.get_first_option(option).filter(|bytes| bytes.len() <= 4)?;
    Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// Code, options and payload of a packet without a token.
fn plaintext(packet: Packet) -> Vec<u8> {
    let mut bytes = packet.to_bytes().unwrap_or_default();
    if bytes.len() < 4 {
        return Vec::new();
    }
    let code = bytes[1];
    bytes.drain(..3);
    bytes[0] = code;
    bytes
}

fn from_plaintext(text: &[u8]) -> Option<(u8, Packet)> {
    let (code, rest) = text.split_first()?;
    let mut bytes = Vec::with_capacity(text.len() + 3);
    bytes.extend_from_slice(&[0x40, *code, 0, 0]);
    bytes.extend_from_slice(rest);
    Some((*code, Packet::from_bytes(&bytes).ok()?))
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
    request_packet(request, mid, token).to_bytes().ok()
}

fn request_packet(request: &Request, mid: u16, token: &[u8]) -> Packet {
    let kind = if request.confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
    let mut packet = packet(kind, request.method.code(), mid, token);
    for segment in request.path.split('/').filter(|segment| !segment.is_empty()) {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().into());
    }
    add_common(&mut packet, request.observe, request.block2, &request.echo, &request.oscore);
    packet.payload = request.payload.clone();
    packet
}

/// `None` if it would be longer than [`DATAGRAM_MAX`].
pub(crate) fn write_response(
    kind: MessageType,
    response: &Response,
    mid: u16,
    token: &[u8],
) -> Option<Vec<u8>> {
    response_packet(kind, response, mid, token).to_bytes().ok()
}

fn response_packet(kind: MessageType, response: &Response, mid: u16, token: &[u8]) -> Packet {
    let mut packet = packet(kind, response.code.0, mid, token);
    if !response.etag.is_empty() {
        packet.add_option(CoapOption::ETag, response.etag.clone());
    }
    if let Some(format) = response.format {
        packet.add_option(CoapOption::ContentFormat, uint(format.into()));
    }
    add_common(&mut packet, response.observe, response.block2, &response.echo, &response.oscore);
    packet.payload = response.payload.clone();
    packet
}

fn add_common(
    packet: &mut Packet,
    observe: Option<u32>,
    block2: Option<Block>,
    echo: &[u8],
    oscore: &Option<Vec<u8>>,
) {
    if let Some(observe) = observe {
        packet.add_option(CoapOption::Observe, uint(observe));
    }
    if let Some(block) = block2 {
        packet.add_option(CoapOption::Block2, block.to_bytes());
    }
    if !echo.is_empty() {
        packet.add_option(ECHO, echo.into());
    }
    if let Some(oscore) = oscore {
        packet.add_option(CoapOption::Oscore, oscore.clone());
    }
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
    fn an_empty_message_is_no_request_inside_a_protected_one() {
        let request = Request::post("p", &[1]);
        let mut text = request.to_plaintext();
        assert_eq!(Request::from_plaintext(&text), Some(request));
        text[0] = 0;
        assert_eq!(Request::from_plaintext(&text), None);
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
