//! Requests and responses to and from `coap-lite` packets.

use crate::block::Block;
use crate::message::{Code, DATAGRAM_MAX, Method, Request, Response};
use alloc::collections::LinkedList;
use alloc::string::String;
use alloc::vec::Vec;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

/// Echo's option number (RFC 9175 §2.2).
const ECHO: CoapOption = CoapOption::Unknown(252);
/// Request-Tag's option number and most bytes (RFC 9175 §3.2).
const REQUEST_TAG: CoapOption = CoapOption::Unknown(292);
const REQUEST_TAG_MAX: usize = 8;

/// The shortest form of an unsigned option value (RFC 7252 §3.2).
pub(crate) fn uint(value: u32) -> Vec<u8> {
    value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

/// What a datagram turned out to be.
#[derive(Debug)]
pub(crate) enum Content {
    Empty,
    Request(Request),
    Response(Response),
    /// A request that is answered with this code whatever it asks: 4.02 for a critical option that is not understood
    /// (RFC 7252 §5.4.1), 4.00 for a block of a reserved size (RFC 7959 §2.2).
    Refused(Code),
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
                0 if has_unknown_critical(&packet) => Content::Refused(Code::BAD_OPTION),
                0 => match read_request(&packet, number) {
                    Ok(request) => Content::Request(request),
                    Err(Unreadable::Block) => Content::Refused(Code::BAD_REQUEST),
                    Err(Unreadable::Path) => return Err(reject),
                },
                2 | 4 | 5 if has_unknown_critical(&packet) => return Err(reject),
                2 | 4 | 5 => Content::Response(read_response(&packet, number).map_err(|_| reject)?),
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

/// Why there is no telling what a message says.
pub(crate) enum Unreadable {
    /// A block of a reserved size, or an option that is too long for a block.
    Block,
    /// A path that is no UTF-8.
    Path,
}

pub(crate) fn has_unknown_critical(packet: &Packet) -> bool {
    // Uri-Host, Uri-Port, OSCORE, Uri-Path, Uri-Query, Accept, Block2, Block1 are understood or may be ignored by an
    // origin server with one host; every other odd number is critical and unknown.
    packet
        .options()
        .any(|(number, _)| number % 2 == 1 && !matches!(number, 3 | 7 | 9 | 11 | 15 | 17 | 23 | 27))
}

fn read_block(packet: &Packet, option: CoapOption) -> Result<Option<Block>, Unreadable> {
    match packet.get_first_option(option) {
        None => Ok(None),
        Some(bytes) => Block::from_bytes(bytes).map(Some).ok_or(Unreadable::Block),
    }
}

pub(crate) fn read_request(packet: &Packet, method: u8) -> Result<Request, Unreadable> {
    let mut path = String::new();
    for segment in packet.get_option(CoapOption::UriPath).unwrap_or(&LinkedList::new()) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(core::str::from_utf8(segment).map_err(|_| Unreadable::Path)?);
    }
    let tag = read_bytes(packet, REQUEST_TAG).filter(|tag| tag.len() <= REQUEST_TAG_MAX);
    Ok(Request {
        method: Method::from_code(method),
        path,
        block1: read_block(packet, CoapOption::Block1)?,
        block2: read_block(packet, CoapOption::Block2)?,
        size1: read_uint(packet, CoapOption::Size1),
        tag: tag.unwrap_or_default(),
        observe: read_uint(packet, CoapOption::Observe),
        echo: read_bytes(packet, ECHO).unwrap_or_default(),
        oscore: read_bytes(packet, CoapOption::Oscore),
        payload: packet.payload.clone(),
        confirmable: packet.header.get_type() == MessageType::Confirmable,
    })
}

pub(crate) fn read_response(packet: &Packet, code: u8) -> Result<Response, Unreadable> {
    Ok(Response {
        code: Code(code),
        block1: read_block(packet, CoapOption::Block1)?,
        block2: read_block(packet, CoapOption::Block2)?,
        size1: read_uint(packet, CoapOption::Size1),
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
pub(crate) fn plaintext(packet: Packet) -> Vec<u8> {
    let mut bytes = packet.to_bytes().unwrap_or_default();
    if bytes.len() < 4 {
        return Vec::new();
    }
    let code = bytes[1];
    bytes.drain(..3);
    bytes[0] = code;
    bytes
}

pub(crate) fn from_plaintext(text: &[u8]) -> Option<(u8, Packet)> {
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

pub(crate) fn request_packet(request: &Request, mid: u16, token: &[u8]) -> Packet {
    let kind = if request.confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
    let mut packet = packet(kind, request.method.code(), mid, token);
    for segment in request.path.split('/').filter(|segment| !segment.is_empty()) {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().into());
    }
    if !request.tag.is_empty() {
        packet.add_option(REQUEST_TAG, request.tag.clone());
    }
    let blocks = [(CoapOption::Block1, request.block1), (CoapOption::Block2, request.block2)];
    add_blocks(&mut packet, blocks, request.size1);
    add_common(&mut packet, request.observe, &request.echo, &request.oscore);
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

pub(crate) fn response_packet(kind: MessageType, response: &Response, mid: u16, token: &[u8]) -> Packet {
    let mut packet = packet(kind, response.code.0, mid, token);
    if !response.etag.is_empty() {
        packet.add_option(CoapOption::ETag, response.etag.clone());
    }
    if let Some(format) = response.format {
        packet.add_option(CoapOption::ContentFormat, uint(format.into()));
    }
    let blocks = [(CoapOption::Block1, response.block1), (CoapOption::Block2, response.block2)];
    add_blocks(&mut packet, blocks, response.size1);
    add_common(&mut packet, response.observe, &response.echo, &response.oscore);
    packet.payload = response.payload.clone();
    packet
}

fn add_blocks(packet: &mut Packet, blocks: [(CoapOption, Option<Block>); 2], size1: Option<u32>) {
    for (option, block) in blocks {
        if let Some(block) = block {
            packet.add_option(option, block.to_bytes());
        }
    }
    if let Some(size) = size1 {
        packet.add_option(CoapOption::Size1, uint(size));
    }
}

fn add_common(packet: &mut Packet, observe: Option<u32>, echo: &[u8], oscore: &Option<Vec<u8>>) {
    if let Some(observe) = observe {
        packet.add_option(CoapOption::Observe, uint(observe));
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
}
