//! A node as a Linux process: the agent core on sockets, files and the wasm executor.
//!
//! One thread, one socket. It waits for a frame or for the next thing that is due, whichever comes first; the
//! executor gets its window of CPU time in between, so that a task that never returns cannot keep the agent
//! from the radio.
//!
//! The board around it is made up: [`board`] has a temperature that drifts and LEDs that only remember.

pub mod board;
mod link;
mod node;
mod os;
mod storage;
mod values;

pub use agent_core::PUBLISHERS_MAX;
pub use link::{Link, LinkConfig, Traffic};
pub use node::{AGENT_STATE_BYTES, Node, NodeConfig, NodeError, Snapshot};
