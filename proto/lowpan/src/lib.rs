//! UDP over 6LoWPAN over IEEE 802.15.4 as a pure codec, on smoltcp's wire formats.
//!
//! ```text
//!   UDP payload  <->  Stack::encode / Stack::decode  <->  MAC frames  <->  ether (one UDP datagram a frame)
//!                     IPHC, UDP NHC (RFC 6282)
//!                     fragments (RFC 4944 §5.3)
//! ```
//!
//! Addresses are link-local and made from the radios' EUI-64 (RFC 4291, Appendix A), so a frame carries none of them
//! twice and neighbour discovery never goes on the air. There is no routing, no mesh header and no context here.

pub mod ether;
mod fragment;
mod mac;
mod stack;

pub use fragment::Limits;
pub use mac::ends;
pub use stack::{Config, Counters, Datagram, Drop, EncodeError, Stack, single_frame_payload};

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Largest frame on the air, bytes, with its check sequence of 2 (IEEE 802.15.4 aMaxPHYPacketSize).
pub const FRAME_MAX: usize = 127;
/// Frame check sequence: on the air, but not in the frames that this crate makes.
pub const FCS_LEN: usize = 2;

/// A radio's extended address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Eui64(pub [u8; 8]);

impl Eui64 {
    /// `fe80::/64` and the identifier with its universal/local bit turned round.
    pub fn link_local(self) -> Ipv6Addr {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&[0xfe, 0x80]);
        bytes[8..].copy_from_slice(&self.0);
        bytes[8] ^= 0x02;
        Ipv6Addr::from(bytes)
    }

    /// The radio that a link-local address was made from.
    pub fn from_link_local(address: Ipv6Addr) -> Option<Self> {
        let bytes = address.octets();
        if bytes[..8] != [0xfe, 0x80, 0, 0, 0, 0, 0, 0] {
            return None;
        }
        let mut identifier = [0; 8];
        identifier.copy_from_slice(&bytes[8..]);
        identifier[0] ^= 0x02;
        Some(Self(identifier))
    }

    /// The long form of a short address: the Tock kernel addresses `fe80::ff:fe00:1` as 02-00-00-ff-fe-00-00-01.
    pub fn from_short(short: u16) -> Self {
        let [high, low] = short.to_be_bytes();
        Self([0x02, 0, 0, 0xff, 0xfe, 0, high, low])
    }
}

impl fmt::Display for Eui64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Eui64 {
    type Err = String;

    /// 16 hexadecimal digits, with or without `:` or `-` between bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("'{text}' is not an EUI-64: expected 16 hexadecimal digits");
        let digits: Vec<u8> = text.bytes().filter(|byte| !b":-".contains(byte)).collect();
        let text = std::str::from_utf8(&digits).map_err(|_| error())?;
        if text.len() != 16 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(error());
        }
        u64::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| error())
    }
}
