//! A frame, and how long it takes.

use lowpan::{Eui64, FCS_LEN, ends, ether};
use std::sync::Arc;

/// Microseconds a byte at 250 kbit/s, the O-QPSK PHY of 2.4 GHz (IEEE 802.15.4-2020, clause 12).
const BYTE_US: u64 = 32;
/// Synchronisation header of 5 bytes and PHY header of 1 (IEEE 802.15.4-2020, 12.1), which the frame length leaves out.
const PHY_LEN: usize = 6;

/// A frame as a radio hands it over, in its datagram ([`ether`]). Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    datagram: Arc<[u8]>,
    /// Who it says it is from.
    pub from: Option<Eui64>,
    /// Who it is for; nobody, if for everybody or not said.
    pub to: Option<Eui64>,
}

impl Frame {
    /// The frame in a datagram, empty for a greeting; `None` if it is something else.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let (from, to) = ends(ether::unwrap(datagram)?);
        Some(Self { datagram: datagram.into(), from, to })
    }

    /// The datagram that receivers get, as the sender made it.
    pub fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// The MAC frame, without check sequence.
    pub fn mac(&self) -> &[u8] {
        &self.datagram[ether::HEADER..]
    }

    /// Bytes of the MAC frame with its check sequence (PSDU).
    pub fn psdu_len(&self) -> usize {
        self.mac().len() + FCS_LEN
    }

    /// Time that it occupies the channel, microseconds.
    pub fn airtime_us(&self) -> u64 {
        (PHY_LEN + self.psdu_len()) as u64 * BYTE_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_frame_takes_four_milliseconds_and_a_quarter() {
        let frame = Frame::read(&ether::wrap(&[0; 125])).unwrap();
        assert_eq!((frame.psdu_len(), frame.airtime_us()), (127, 4_256));
        assert_eq!(Frame::read(b"junk"), None);
    }
}
