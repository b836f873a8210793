//! Sizes that both sides rely on, in bytes unless the name says otherwise.
//!
//! What is left of one 802.15.4 frame for a message, from the outside in:
//!
//! | layer | bytes | source |
//! |---|---|---|
//! | PHY payload | 127 | IEEE 802.15.4, aMaxPHYPacketSize |
//! | MAC header, two EUI-64, one PAN id | 21 | frame control 2, sequence 1, PAN 2, addresses 16 |
//! | MAC security, if any (MIC-32, key index) | 10 | auxiliary header 6, MIC 4 |
//! | FCS | 2 | |
//! | IPHC, addresses elided | 3 | RFC 6282 §3.1, with one context byte |
//! | UDP NHC, ports in full | 7 | RFC 6282 §4.3 |
//! | CoAP header, token of 2, payload marker | 7 | RFC 7252 §3 |
//! | inside: code, path of one letter, payload marker | 4 | RFC 8613 §5.3 |
//! | OSCORE option's header and flags, tag | 10 | RFC 8613 §6.1, AES-CCM-16-64-128 |
//! | number and key identifier, to the gateway | 3 + 3 | 16 million messages of 16 million nodes |
//! | number, to the node; the gateway's identifier is empty | 4 | begins with the clock |
//! | **message** to the gateway | **57** | what remains |
//! | **message** to the node | **59** | |

/// The largest encoded message other than an image or document block.
pub const MESSAGE_MAX: usize = INSIDE_UDP - COAP - OSCORE - NUMBER_TO_NODE;
/// The largest of a node's own.
pub const UPLINK_MAX: usize = INSIDE_UDP - COAP - OSCORE - NUMBER_TO_GATEWAY;

/// What is left for a datagram's payload in one frame.
const INSIDE_UDP: usize = FRAME_MAX - MAC_HEADER - MAC_SECURITY - FCS - IPHC - UDP_NHC;
/// IEEE 802.15.4 aMaxPHYPacketSize.
pub const FRAME_MAX: usize = 127;
/// MAC header of a data frame between two EUI-64 inside one PAN.
pub const MAC_HEADER: usize = 21;
/// Auxiliary security header (6) and MIC-32 (4).
pub const MAC_SECURITY: usize = 10;
/// Frame check sequence.
pub const FCS: usize = 2;
/// IPHC with both addresses elided and one context byte.
pub const IPHC: usize = 3;
/// UDP next-header compression with both ports in full and the checksum.
pub const UDP_NHC: usize = 7;
/// CoAP header 4, token 2, payload marker 1; and inside code 1, one-letter path 2, payload marker 1.
pub const COAP: usize = 11;
/// OSCORE option's header 1 and flags 1, tag 8.
pub const OSCORE: usize = 10;
/// Partial IV and key identifier of a node's request.
pub const NUMBER_TO_GATEWAY: usize = 6;
/// Partial IV of a gateway's request.
pub const NUMBER_TO_NODE: usize = 4;

/// Version of the messages in this crate. Goes up when a field changes.
pub const VERSION: u8 = 4;

/// Characters of a board's name.
pub const BOARD_NAME_MAX: usize = 14;
/// Bytes of a framework message, either way, that goes in one piece. A longer one goes in blocks.
pub const MESSAGE_DATA_MAX: usize = 48;
/// Bytes of a framework message, either way.
pub const MESSAGE_LONG_MAX: usize = 512;
/// Bytes of an encoded [`crate::LongMessage`]: handle 3, number 5, length 2, and the message.
pub const MESSAGE_BODY_MAX: usize = 3 + 5 + 2 + MESSAGE_LONG_MAX;
/// Size exponent of the largest block of a node's that fits one frame with the options that a block has more than a
/// message in one piece: [`BLOCK_OPTIONS`] (RFC 7959 §2.2).
pub const MESSAGE_BLOCK_SZX: u8 = 1;
/// What a block has more than a message in one piece: the task's handle in the path 6, Block1 4, Size1 4,
/// Request-Tag 3.
pub const BLOCK_OPTIONS: usize = 17;
/// Bytes of log in one message; longer lines go in pieces.
pub const LOG_DATA_MAX: usize = 48;
/// Bytes of the human-readable note in a [`crate::Status`].
pub const STATUS_NOTE_MAX: usize = 32;
/// Bytes of a task's document: entry, arguments and environment.
pub const DOCUMENT_MAX: usize = 1024;
/// Bytes of the name of what a manifest is about.
pub const MANIFEST_NAME_MAX: usize = 24;
/// Bytes of a signed manifest.
pub const MANIFEST_MAX: usize = 160;
/// Bytes of a wasm or native image.
pub const IMAGE_MAX: u32 = 1 << 20;
/// Tasks on one node at once.
pub const TASKS_MAX: usize = 8;

const _: () =
    assert!((16 << MESSAGE_BLOCK_SZX) + BLOCK_OPTIONS <= UPLINK_MAX, "a block has to fit one frame");
const _: () =
    assert!(MESSAGE_MAX == 59 && UPLINK_MAX == 57, "the table above and the constants below it must agree");
