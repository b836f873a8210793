//! The capsule, its scheduler and its filter in a real kernel, on a machine whose time is a number.

// What a process is, and what the kernel trusts, are unsafe to implement; these are tests' own.
#![allow(unsafe_code)]

mod driver;
mod machine;
mod process;
mod scheduler;
