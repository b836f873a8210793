//! Which radio datagrams are from, and where those for it go.
//!
//! A radio that the scene names is known by the EUI-64 in its frames: it is wherever the last one came from, so that
//! a node that starts anew on another port is the same radio. Any other is known by where its datagrams come from.

use crate::frame::Frame;
use crate::medium::{Medium, RadioId};
use std::collections::HashMap;
use std::net::SocketAddr;

/// As many entries as the medium has radios, and no more.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    radios: HashMap<SocketAddr, RadioId>,
    addresses: HashMap<RadioId, SocketAddr>,
}

impl Roster {
    /// The radio that a datagram is from; `None` if there is no room for one more.
    pub fn sender(&mut self, medium: &mut Medium, address: SocketAddr, frame: &Frame) -> Option<RadioId> {
        let known = self.radios.get(&address).copied();
        match frame.from.and_then(|eui64| medium.attach_as(eui64)) {
            Some(named) if known != Some(named) => {
                if let Some(before) = known {
                    // At this address it was somebody else, or nobody yet.
                    medium.detach(before);
                    self.addresses.remove(&before);
                }
                if let Some(before) = self.addresses.insert(named, address) {
                    self.radios.remove(&before);
                }
                self.radios.insert(address, named);
                Some(named)
            }
            None if known.is_none() => {
                let id = medium.attach()?;
                self.radios.insert(address, id);
                self.addresses.insert(id, address);
                Some(id)
            }
            _ => known,
        }
    }

    /// Where datagrams for a radio go.
    pub fn address(&self, radio: RadioId) -> Option<SocketAddr> {
        self.addresses.get(&radio).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::STRANGERS_MAX;
    use crate::scene::{Conditions, Radio, Scene};
    use lowpan::{Eui64, ether};

    fn eui64(last: u8) -> Eui64 {
        Eui64([2, 0, 0, 0, 0, 0, 0, last])
    }

    fn frame(from: Option<u8>) -> Frame {
        let mut frame = Frame::read(&ether::wrap(&[])).unwrap();
        frame.from = from.map(eui64);
        frame
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn medium() -> Medium {
        let radios = vec![Radio::new(eui64(1)), Radio::new(eui64(2))];
        Medium::new(Scene { radios, ..Conditions::PERFECT.into() }, 1)
    }

    #[test]
    fn a_radio_is_found_by_its_frames_and_followed_to_another_port() {
        let (mut medium, mut roster) = (medium(), Roster::default());
        let greeted = roster.sender(&mut medium, at(1), &frame(None)).unwrap();
        assert!(!medium.is_named(greeted));
        let named = roster.sender(&mut medium, at(1), &frame(Some(1))).unwrap();
        assert!(medium.is_named(named));
        assert_eq!((roster.address(greeted), roster.address(named)), (None, Some(at(1))));
        assert_eq!(roster.sender(&mut medium, at(1), &frame(None)), Some(named), "an acknowledgement, say");
        assert_eq!(roster.sender(&mut medium, at(2), &frame(Some(1))), Some(named));
        assert_eq!(roster.address(named), Some(at(2)));
        let other = roster.sender(&mut medium, at(2), &frame(Some(2))).unwrap();
        assert_eq!((roster.address(named), roster.address(other)), (None, Some(at(2))));
        assert_eq!((roster.radios.len(), roster.addresses.len()), (1, 1));
    }

    #[test]
    fn strangers_fill_their_own_seats_only() {
        let (mut medium, mut roster) = (medium(), Roster::default());
        for port in 0..=u16::MAX {
            let stranger = frame(Some(3 + (port % 250) as u8));
            let seat = roster.sender(&mut medium, at(port), &stranger);
            assert_eq!(seat.is_some(), usize::from(port) < STRANGERS_MAX);
        }
        assert_eq!((roster.radios.len(), roster.addresses.len()), (STRANGERS_MAX, STRANGERS_MAX));
        assert!(roster.sender(&mut medium, at(u16::MAX), &frame(Some(2))).is_some());
        assert_eq!(medium.stats().refused, 65_536 - STRANGERS_MAX as u64);
    }
}
