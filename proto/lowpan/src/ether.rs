//! Frames between processes: one UDP datagram a frame, each in an Ethernet header of type 0x809A.
//!
//! That is what QEMU's `-netdev dgram` makes of a virtual network card, and what Wireshark dissects. A datagram with
//! the header alone is a greeting: it tells the medium where a radio is before the radio has anything to say.

/// Ethertype of IEEE 802.15.4 frames.
pub const ETHERTYPE: [u8; 2] = [0x80, 0x9a];
/// Ethernet header, bytes.
pub const HEADER: usize = 14;
/// Largest datagram, bytes; longer ones are not frames.
pub const DATAGRAM_MAX: usize = HEADER + crate::FRAME_MAX;

/// Puts a frame into a datagram.
pub fn wrap(frame: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(HEADER + frame.len());
    datagram.extend_from_slice(&[0xff; 6]);
    datagram.extend_from_slice(&[0x02, 0, 0, 0, 0, 1]);
    datagram.extend_from_slice(&ETHERTYPE);
    datagram.extend_from_slice(frame);
    datagram
}

/// The frame in a datagram, empty for a greeting; `None` if it is something else.
pub fn unwrap(datagram: &[u8]) -> Option<&[u8]> {
    let (header, frame) = datagram.split_at_checked(HEADER)?;
    (header[12..] == ETHERTYPE && datagram.len() <= DATAGRAM_MAX).then_some(frame)
}
