//! The node agent as a Tock app: the agent core on the executor capsule, the kernel's UDP and its alarm.
//!
//! | module | what |
//! |---|---|
//! | `capsule` | calls to the executor capsule |
//! | `clock` | time, and all waiting |
//! | `udp`, `link`, `thread`, `radio` | the way to the gateway |
//! | `storage`, `areas` | records that survive, and images |
//! | `slots` | tasks in the kernel's slots |
//! | `os`, `node` | the agent's system, and its loop |
//! | `share` | what the kernel holds of the app; the only unsafe code |
//!
//! Everything is generic over libtock's `Syscalls`, so that a fake kernel can be under it. No call waits without an alarm
//! set; nothing that comes from the radio or a task makes the app panic; no queue grows without a limit.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod areas;
pub mod capsule;
pub mod clock;
pub mod link;
pub mod node;
pub mod os;
pub mod radio;
pub mod random;
mod share;
pub mod slots;
pub mod storage;
pub mod thread;
pub mod udp;
