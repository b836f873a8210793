//! A simulated IEEE 802.15.4 medium.
//!
//! Radios send it one UDP datagram a frame ([`lowpan::ether`], which is also what QEMU's `-netdev dgram` does) and
//! get what the others send, less what is lost, later what is delayed. An empty frame introduces a radio.
//!
//! ```text
//!   Air ------ a thread with a socket and a clock
//!    | Roster  whose datagrams come from where
//!    | Medium  decides, without I/O and the same for the same seed
//!    |  Scene  what it is told: places, links, partitions, limits; README.md has its file
//! ```
//!
//! What never happens: a radio hears itself; anything that is sent makes a table grow without a named limit; chance
//! comes from anywhere but the seed.

mod csma;
mod driver;
mod duty;
mod frame;
mod medium;
pub mod pcap;
mod random;
mod roster;
mod scene;
mod scene_file;
mod seat;
mod stats;
mod terrain;

pub use driver::{Air, AirConfig, AirError};
pub use duty::DutyCycle;
pub use frame::Frame;
pub use medium::{Event, IN_FLIGHT_MAX, Medium, RadioId, STRANGERS_MAX};
pub use scene::{Channel, Conditions, Link, NAMED_MAX, Partition, Radio, Scene};
pub use scene_file::SceneError;
pub use seat::QUEUE_MAX;
pub use stats::Stats;
