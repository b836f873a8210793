//! The virtual agents between a scripted master and a scripted node, in virtual time, with restarts from the records.

mod executors;
mod glances;
mod lifecycle;
mod operations;
mod orders;
mod rig;
mod streams;
