//! A simulated IEEE 802.15.4 medium.
//!
//! Radios send it one UDP datagram a frame ([`lowpan::ether`], which is also what QEMU's `-netdev dgram` does) and
//! get what the others send, less what is lost, later what is delayed. A radio is known by the address its datagrams
//! come from; an empty frame introduces it.
//!
//! [`Medium`] decides, without I/O and the same for the same seed; [`Air`] is a thread with a socket around it.

mod driver;
mod medium;
pub mod pcap;

pub use driver::{Air, AirConfig, AirError};
pub use medium::{Conditions, Delivery, Medium, RadioId, Stats};
