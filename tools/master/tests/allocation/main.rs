//! The allocator: worked examples, the axioms of fair sharing, what must hold whatever happens, and Mesos' rules.

#![allow(deprecated, reason = "an agent's reservations come in the old format")]

mod axioms;
mod cluster;
mod examples;
mod invariants;
mod rules;
mod world;
