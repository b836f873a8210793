//! Who a frame is from and for, without reading further.

use crate::Eui64;
use smoltcp::wire::{Ieee802154Address, Ieee802154Frame, Ieee802154Repr};

/// Sender and receiver of a frame without its check sequence, as far as its MAC header names them (IEEE 802.15.4
/// 7.2.2); short addresses in their long form, broadcasts as nobody.
pub fn ends(frame: &[u8]) -> (Option<Eui64>, Option<Eui64>) {
    let Ok(packet) = Ieee802154Frame::new_checked(frame) else { return (None, None) };
    let Ok(mac) = Ieee802154Repr::parse(&packet) else { return (None, None) };
    (mac.src_addr.and_then(long), mac.dst_addr.and_then(long))
}

fn long(address: Ieee802154Address) -> Option<Eui64> {
    match address {
        Ieee802154Address::Extended(bytes) => Some(Eui64(bytes)),
        Ieee802154Address::Short([0xff, 0xff]) | Ieee802154Address::Absent => None,
        Ieee802154Address::Short(bytes) => Some(Eui64::from_short(u16::from_be_bytes(bytes))),
    }
}
