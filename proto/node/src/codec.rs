//! Postcard with limits: nothing longer than [`MESSAGE_MAX`] is made, nothing with trailing bytes is taken.

use crate::limits::MESSAGE_MAX;
use serde::{Serialize, de::DeserializeOwned};

/// An encoded message.
pub type Payload = heapless::Vec<u8, MESSAGE_MAX>;

/// Why a message could not be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// More than [`MESSAGE_MAX`] bytes.
    TooLong,
    /// Not this message: truncated, an unknown variant, or text that is no UTF-8.
    Malformed,
    /// A whole message and then more bytes.
    Trailing,
}

impl core::fmt::Display for CodecError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "message does not fit one frame",
            Self::Malformed => "not a message of this kind",
            Self::Trailing => "bytes follow the message",
        })
    }
}

impl core::error::Error for CodecError {}

/// Encodes one message of at most [`MESSAGE_MAX`] bytes.
pub fn encode<T: Serialize>(message: &T) -> Result<Payload, CodecError> {
    let mut buffer = [0; MESSAGE_MAX];
    let used = postcard::to_slice(message, &mut buffer).map_err(|_| CodecError::TooLong)?;
    Payload::from_slice(used).map_err(|_| CodecError::TooLong)
}

/// Decodes one message that fills `bytes` exactly.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(CodecError::TooLong);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(CodecError::Trailing),
        Err(_) => Err(CodecError::Malformed),
    }
}
