//! Host interface version 1: what a module may import from [`MODULE`].
//!
//! | function | capability | does |
//! |---|---|---|
//! | `log(ptr, len) -> i32` | LOG | appends bytes to the task's log |
//! | `message(ptr, len) -> i32` | MESSAGE | sends at most [`MESSAGE_MAX`] bytes to the framework |
//! | `receive(ptr, len, wait_ms) -> i32` | MESSAGE | copies the oldest message of the framework, waiting for one at most so long; 0 if none came |
//! | `stopping() -> i32` | - | milliseconds that are left since the task was told to stop, or -1 if it was not |
//! | `sleep_ms(ms)` | SLEEP | comes back after at least so many milliseconds |
//! | `time_ms() -> i64` | TIME | milliseconds since the node started |
//! | `sensor_read(index, out) -> i32` | SENSOR | writes a little-endian i32 in thousandths of the unit |
//! | `led_set(index, on) -> i32` | LED | switches an LED |
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
//! never in the middle of its own code, whose leaf functions use memory below the stack pointer. It may read sensors
//! and switch LEDs, but not wait. A task that does not call anything here for the check's time-out has failed it.

/// The import module's name.
pub const MODULE: &str = "micro";
/// Entry if the task names none.
pub const ENTRY: &str = "run";
/// Longest message, bytes.
pub const MESSAGE_MAX: usize = 48;
/// Longest piece of log in one event, bytes.
pub const LOG_PIECE: usize = 48;
/// Log bytes that may wait per task.
pub const LOG_WAITING_MAX: usize = 1024;
/// Messages that may wait per task, each way; of the framework's the newest are lost.
pub const MESSAGES_WAITING_MAX: usize = 8;

/// A pointer, length or argument that makes no sense.
pub const E_INVALID: i32 = -2;
/// Too much is waiting to be sent: try again later.
pub const E_FULL: i32 = -3;
/// No such device.
pub const E_NODEV: i32 = -4;

/// The capability that an import needs; `None` for an unknown import, 0 for one that needs none.
pub fn capability(import: &str) -> Option<u16> {
    use grants::Capabilities as C;
    Some(match import {
        "log" => C::LOG,
        "message" | "receive" => C::MESSAGE,
        "sleep_ms" => C::SLEEP,
        "time_ms" => C::TIME,
        "sensor_read" => C::SENSOR,
        "led_set" => C::LED,
        "args_len" | "args_read" | "env_len" | "env_read" | "data_len" | "data_read" | "stopping" => 0,
        _ => return None,
    })
}
