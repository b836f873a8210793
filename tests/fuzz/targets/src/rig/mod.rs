//! A whole node and a whole gateway without threads, sockets or clocks.

mod os;
mod pair;

pub use os::{MemoryOs, System};
pub use pair::{Pair, Passed};

use node_oscore::{Credential, Id};

/// The node's radio.
pub const NODE: [u8; 8] = [2, 0, 0, 0, 0, 0, 0, 0x0a];
/// The gateway's.
pub const GATEWAY: [u8; 8] = [2, 0, 0, 0, 0, 0, 0, 1];

/// A credential of the node with this radio; every call gives the same.
pub fn credential(eui64: [u8; 8], kid: &[u8]) -> Credential {
    // Too long an identifier is the caller's mistake; it gets one without.
    Credential {
        eui64,
        kid: Id::new(kid).unwrap_or_default(),
        secret: *b"golden secret 16",
        salt: *b"salt8byt",
    }
}
