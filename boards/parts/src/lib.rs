//! What boards share beside the executor capsule.
//!
//! - [`app_id`]: who a process is to the kernel.
//! - [`brisk`]: what makes Tock's 6LoWPAN stack send without long pauses.
//! - [`flash_storage`]: nonvolatile storage in the flash that the kernel runs from.
//! - [`guard`]: keeps frames away from Tock's 6LoWPAN stack that it does not survive; every board has it.
//! - [`lowpan`]: Tock's 6LoWPAN and UDP over a guarded radio, put together.
//! - [`virtual_radio`]: an IEEE 802.15.4 radio over an Ethernet card, for emulators.
//! - [`provisioned`]: the publishers that the kernel believes.
//! - [`ram_storage`]: nonvolatile storage in memory that outlives the kernel, for emulators.
//! - [`no_aes`]: an AES engine for boards that have none; the node's messages are protected above the radio.
#![no_std]

pub mod brisk;
pub mod flash_storage;
pub mod guard;
pub mod lowpan;
pub mod no_aes;
pub mod provisioned;
pub mod ram_storage;
pub mod virtual_radio;

use core::num::NonZeroU32;
use kernel::utilities::helpers::crc32_posix;

/// The application id that the kernel makes of a process's name (`AppIdAssignerNames`).
pub fn app_id(name: &str) -> NonZeroU32 {
    NonZeroU32::new(crc32_posix(name.as_bytes())).unwrap_or(NonZeroU32::MIN)
}
