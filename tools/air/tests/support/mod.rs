//! Frames that say which ones they are.
#![allow(dead_code, reason = "each test binary uses its part")]

use air::Frame;
use lowpan::{Eui64, ether};

pub fn eui64(number: usize) -> Eui64 {
    Eui64([2, 0, 0, 0, 0, 0, 0, number as u8])
}

/// A data frame between two radios (IEEE 802.15.4-2020, 7.3.2), of at least 25 bytes.
pub fn frame(from: usize, to: usize, number: usize, len: usize) -> Frame {
    let mut mac = vec![0x41, 0xdc, number as u8, 0xcd, 0xab];
    mac.extend(eui64(to).0.iter().rev());
    mac.extend(eui64(from).0.iter().rev());
    mac.extend((number as u32).to_le_bytes());
    mac.resize(len.max(mac.len()), 0);
    Frame::read(&ether::wrap(&mac)).unwrap()
}

pub fn number_of(frame: &Frame) -> usize {
    u32::from_le_bytes(frame.mac()[21..25].try_into().unwrap()) as usize
}
