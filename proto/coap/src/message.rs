//! Requests and responses as the application sees them, to and from `coap-lite` packets.

use crate::block::Block;
use crate::packet;
use alloc::string::String;
use alloc::vec::Vec;
use coap_lite::MessageType;

/// Largest datagram read or made, bytes: the IPv6 minimum MTU.
pub const DATAGRAM_MAX: usize = 1280;

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
    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Get,
            2 => Self::Post,
            5 => Self::Fetch,
            other => Self::Other(other),
        }
    }

    pub(crate) fn code(self) -> u8 {
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
    /// 2.31: the block is taken, the next may come (RFC 7959 §2.9.1)
    pub const CONTINUE: Self = Self(0x5f);
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
    /// 4.08: blocks before this one are not there (RFC 7959 §2.9.2)
    pub const INCOMPLETE: Self = Self(0x88);
    /// 4.09 (RFC 8132)
    pub const CONFLICT: Self = Self(0x89);
    /// 4.13: a body, or a block of it, that is too large (RFC 7959 §2.9.3)
    pub const TOO_LARGE: Self = Self(0x8d);
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

/// A request, to be sent or received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path segments joined by `/`, without a leading one.
    pub path: String,
    /// Which block of a longer body the payload is.
    pub block1: Option<Block>,
    /// The block asked for.
    pub block2: Option<Block>,
    /// Length of the whole body, bytes (Size1, RFC 7959 §4).
    pub size1: Option<u32>,
    /// Tells blocks of this body from those of another one (Request-Tag, RFC 9175 §3), at most 8 bytes; empty for none.
    pub tag: Vec<u8>,
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

    /// False if the payload is only a part of the body.
    pub fn is_whole(&self) -> bool {
        self.block1.is_none_or(|block| block.num == 0 && !block.more)
    }

    /// What OSCORE encrypts of a request: code, options, payload (RFC 8613 §5.3).
    pub fn to_plaintext(&self) -> Vec<u8> {
        packet::plaintext(packet::request_packet(self, 0, &[]))
    }

    /// Reads what [`Request::to_plaintext`] wrote. `None` if it is no request or has a critical option that is not
    /// understood.
    pub fn from_plaintext(text: &[u8]) -> Option<Self> {
        let (number, packet) = packet::from_plaintext(text)?;
        // 0.00 is an empty message, and never protected.
        if number == 0 || number >> 5 != 0 || packet::has_unknown_critical(&packet) {
            return None;
        }
        packet::read_request(&packet, number).ok().map(|request| Self { confirmable: true, ..request })
    }
}

/// A response, to be sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its code.
    pub code: Code,
    /// Which block of the request's body this answers, and how large the next ones may be.
    pub block1: Option<Block>,
    /// Which block the payload is.
    pub block2: Option<Block>,
    /// The longest body that is taken, bytes (Size1, RFC 7959 §4).
    pub size1: Option<u32>,
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
            block1: None,
            block2: None,
            size1: None,
            etag: Vec::new(),
            format: None,
            observe: None,
            echo: Vec::new(),
            oscore: None,
            payload: payload.into(),
        }
    }

    /// 4.13: no body longer than so many bytes is taken.
    pub fn too_large(body_max: usize) -> Self {
        Self { size1: u32::try_from(body_max).ok(), ..Self::new(Code::TOO_LARGE, &[]) }
    }

    /// What OSCORE encrypts of a response: code, options, payload (RFC 8613 §5.3).
    pub fn to_plaintext(&self) -> Vec<u8> {
        packet::plaintext(packet::response_packet(MessageType::Acknowledgement, self, 0, &[]))
    }

    /// Reads what [`Response::to_plaintext`] wrote; `None` if it is no response.
    pub fn from_plaintext(text: &[u8]) -> Option<Self> {
        let (number, packet) = packet::from_plaintext(text)?;
        if !matches!(number >> 5, 2 | 4 | 5) || packet::has_unknown_critical(&packet) {
            return None;
        }
        packet::read_response(&packet, number).ok()
    }
}
