//! A single-node Mesos master: scheduler API, agent protocol, allocation policies.

#![allow(deprecated, reason = "Mesos' peers still send and expect the fields it deprecates")]

pub mod allocator;
pub mod limits;
pub mod policy;
pub mod pool;
