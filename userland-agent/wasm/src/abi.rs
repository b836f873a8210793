//! Host interface version 1: what a module may import from [`MODULE`], in the one place that says so.
//!
//! [`FUNCTIONS`] is the table that the executor links by and that images are checked against; `wit/micro.wit` says
//! the same for tools, and a test holds the two together.
//!
//! | function | capability | does |
//! |---|---|---|
//! | `log(ptr, len) -> i32` | LOG | appends bytes to the task's log |
//! | `message(ptr, len) -> i32` | MESSAGE | sends at most [`MESSAGE_MAX`] bytes to the framework: up to 48 take one frame, more go in blocks |
//! | `receive(ptr, len, wait_ms) -> i32` | MESSAGE | copies the oldest message of the framework, waiting for one at most so long; 0 if none came |
//! | `stopping() -> i32` | - | milliseconds that are left since the task was told to stop, or -1 if it was not |
//! | `sleep_ms(ms)` | SLEEP | comes back after at least so many milliseconds |
//! | `time_ms() -> i64` | TIME | milliseconds since the node started |
//! | `sensor_read(index, out) -> i32` | SENSOR | writes a little-endian i32 in thousandths of the unit |
//! | `led_set(index, on) -> i32` | LED | switches one of the task's own LEDs, from 0 |
//! | `kv_get(key, key_len, out, out_len) -> i32` | KV | copies a value as far as it fits; its whole length |
//! | `kv_set(key, key_len, value, value_len) -> i32` | KV | keeps a value in place of the one before |
//! | `kv_delete(key, key_len) -> i32` | KV | forgets a value |
//! | `args_len() -> i32`, `args_read(ptr, len) -> i32` | - | arguments, each ended by NUL |
//! | `env_len() -> i32`, `env_read(ptr, len) -> i32` | - | environment as `KEY=VALUE`, each ended by NUL |
//! | `data_len() -> i32`, `data_read(ptr, len) -> i32` | - | bytes that the framework gave the task |
//!
//! Parameters are i32. A result of 0 or more is success, else one of the errors here. The module exports its memory
//! as `memory` and an entry `run() -> i32`, or another of that type that the task names; the result is the exit
//! code, 0 for success.
//!
//! A message that does not fit the buffer of `receive` is cut. A task that is told to stop comes back from `sleep_ms`
//! and `receive` at once; one that does not import `stopping` cannot notice and is ended at once.
//!
//! A check is another exported function of the entry's type, called while the task waits in a function of this table:
//! never in the middle of its own code, whose leaf functions use memory below the stack pointer. It may read sensors,
//! switch LEDs and use values, but not wait. A task that does not call anything here for the check's time-out has
//! failed it.
//!
//! # Versions
//!
//! The name of the import module is the version: `micro` is version 1. Within a version functions are added, and none
//! is changed or taken away, so that an image once made runs on every later node. Each addition raises the minor
//! number of the package in `micro.wit`, and so does a limit that is raised: 1.1 has messages of 512 bytes instead of
//! 48. A node refuses what it does not know before anything of it runs, and names it: that is how an image learns that
//! a node is too old. What cannot be said by adding would be `micro2`, beside `micro` and not in its place.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use grants::Capabilities as C;

/// The import module's name: the version.
pub const MODULE: &str = "micro";
/// Entry if the task names none.
pub const ENTRY: &str = "run";
/// The name that a module exports its memory by.
pub const MEMORY: &str = "memory";
/// Longest message, bytes.
pub const MESSAGE_MAX: usize = 512;
/// Longest piece of log in one event, bytes.
pub const LOG_PIECE: usize = 48;
/// Log bytes that may wait per task.
pub const LOG_WAITING_MAX: usize = 1024;
/// Messages that may wait per task, each way; of the framework's the newest are lost.
pub const MESSAGES_WAITING_MAX: usize = 8;
/// Bytes of messages that may wait per task, each way: two of the longest, or as many as may wait of those of one frame.
pub const MESSAGES_BYTES_MAX: usize = 1024;
/// Longest key, bytes; the shortest has one.
pub const KV_KEY_MAX: usize = 16;
/// Longest value, bytes.
pub const KV_VALUE_MAX: usize = 64;
/// Keys and values of one task together, bytes.
pub const KV_TOTAL_MAX: usize = 512;

/// A pointer, length or argument that makes no sense.
pub const E_INVALID: i32 = -2;
/// Too much is waiting to be sent, or kept: try again later, or forget something.
pub const E_FULL: i32 = -3;
/// No such device, or it failed.
pub const E_NODEV: i32 = -4;
/// No value of this key.
pub const E_NOKEY: i32 = -5;

/// Types of parameters and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
}

/// A function that a module may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The capability that it needs; 0 for none.
    pub capability: u16,
    /// What it takes.
    pub params: &'static [Type],
    /// What it gives.
    pub results: &'static [Type],
}

const fn function(
    name: &'static str,
    capability: u16,
    params: &'static [Type],
    results: &'static [Type],
) -> Function {
    Function { name, capability, params, results }
}

const I: Type = Type::I32;
const L: Type = Type::I64;

/// Every function of this version.
pub const FUNCTIONS: [Function; 17] = [
    function("log", C::LOG, &[I, I], &[I]),
    function("message", C::MESSAGE, &[I, I], &[I]),
    function("receive", C::MESSAGE, &[I, I, I], &[I]),
    function("stopping", 0, &[], &[I]),
    function("sleep_ms", C::SLEEP, &[I], &[]),
    function("time_ms", C::TIME, &[], &[L]),
    function("sensor_read", C::SENSOR, &[I, I], &[I]),
    function("led_set", C::LED, &[I, I], &[I]),
    function("kv_get", C::KV, &[I, I, I, I], &[I]),
    function("kv_set", C::KV, &[I, I, I, I], &[I]),
    function("kv_delete", C::KV, &[I, I], &[I]),
    function("args_len", 0, &[], &[I]),
    function("args_read", 0, &[I, I], &[I]),
    function("env_len", 0, &[], &[I]),
    function("env_read", 0, &[I, I], &[I]),
    function("data_len", 0, &[], &[I]),
    function("data_read", 0, &[I, I], &[I]),
];

/// True if a message of `len` bytes may wait behind those that do.
pub(crate) fn has_room(waiting: &VecDeque<Vec<u8>>, len: usize) -> bool {
    let held: usize = waiting.iter().map(Vec::len).sum();
    waiting.len() < MESSAGES_WAITING_MAX && held + len <= MESSAGES_BYTES_MAX
}

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The capabilities as a framework names them (`gateway/src/agent/launch.rs`), by their bit.
pub const CAPABILITY_NAMES: [(&str, u16); 7] = [
    ("log", C::LOG),
    ("message", C::MESSAGE),
    ("sleep", C::SLEEP),
    ("time", C::TIME),
    ("sensor", C::SENSOR),
    ("led", C::LED),
    ("kv", C::KV),
];
