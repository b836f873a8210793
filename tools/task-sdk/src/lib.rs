//! What a user's task is written with.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! task_sdk::task!(main);
//!
//! fn main() -> i32 {
//!     task_sdk::log(b"hello\n");
//!     0
//! }
//! ```
//!
//! A task is a WebAssembly module that exports `run`; [`task!`] makes that from a function. What it may call is what
//! its grant names: a module that imports more is refused before it starts. The functions and their errors are those
//! of host interface version 1; see this crate's README.
//!
//! For a target without an operating system the same source is a native Tock process: the functions are then those of
//! the package `task-native`, whose programs are the tasks. This crate knows nothing of Tock.
//!
//! Elsewhere every call answers [`Error::Unsupported`], so that a task's own logic can be tested anywhere.
#![no_std]

mod sys;

/// Why a call did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A pointer, length or argument that makes no sense; a message longer than 512 bytes.
    Invalid,
    /// Too much is waiting to be sent: sleep and try again. Or too much is kept: forget something.
    Full,
    /// No such device.
    NoDevice,
    /// Not on a node, or a code of a later interface.
    Unsupported,
}

fn check(code: i32) -> Result<usize, Error> {
    match code {
        0.. => Ok(code as usize),
        -2 => Err(Error::Invalid),
        -3 => Err(Error::Full),
        -4 => Err(Error::NoDevice),
        _ => Err(Error::Unsupported),
    }
}

/// Appends bytes to the task's log; at most 1,024 wait to be sent.
pub fn log(bytes: &[u8]) -> Result<(), Error> {
    check(sys::log(bytes)).map(drop)
}

/// Sends at most 512 bytes to the task's framework. Up to 48 take one frame; more are sent in blocks, which takes a
/// round trip for every 32 bytes. At most 8 messages wait to be sent, of 1,024 bytes together.
pub fn message(bytes: &[u8]) -> Result<(), Error> {
    check(sys::message(bytes)).map(drop)
}

/// Comes back after at least so many milliseconds.
pub fn sleep_ms(ms: u32) {
    sys::sleep_ms(ms);
}

/// Milliseconds since the node started.
pub fn time_ms() -> u64 {
    sys::time_ms()
}

/// The oldest message of the task's framework, waiting for one at most so long; what does not fit `buffer` is cut.
/// `None` if none came, or the task is told to stop.
pub fn receive(buffer: &mut [u8], wait_ms: u32) -> Result<Option<&[u8]>, Error> {
    let len = check(sys::receive(buffer, wait_ms))?.min(buffer.len());
    Ok(Some(&buffer[..len]).filter(|message| !message.is_empty()))
}

/// Milliseconds that are left to stop in; `None` while nobody asks for it. A task that never calls this is ended
/// without warning.
pub fn stopping() -> Option<u32> {
    u32::try_from(sys::stopping()).ok()
}

/// The bytes that the framework gave the task, copied into `buffer` as far as they fit.
pub fn data(buffer: &mut [u8]) -> &[u8] {
    let len = check(sys::data_read(buffer)).unwrap_or(0).min(buffer.len());
    &buffer[..len]
}

/// Reads a sensor, in thousandths of its unit.
pub fn sensor(index: u32) -> Result<i32, Error> {
    let mut value = 0;
    check(sys::sensor_read(index, &mut value)).map(|_| value)
}

/// Switches an LED.
pub fn led(index: u32, on: bool) -> Result<(), Error> {
    check(sys::led_set(index, on)).map(drop)
}

/// Longest key of a value, bytes; the shortest has one.
pub const KEY_MAX: usize = 16;
/// Longest value, bytes.
pub const VALUE_MAX: usize = 64;
/// Keys and values of one task together, bytes.
pub const KEPT_MAX: usize = 512;

/// What a call answers that misses a key.
const NO_KEY: i32 = -5;

/// The value kept by a key, copied into `buffer`, which [`VALUE_MAX`] bytes are always enough for; what does not fit
/// is cut. `None` if there is none.
pub fn kept<'a>(key: &[u8], buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, Error> {
    let code = sys::kv_get(key, buffer);
    if code == NO_KEY {
        return Ok(None);
    }
    let len = check(code)?.min(buffer.len());
    Ok(Some(&buffer[..len]))
}

/// Keeps a value by a key, in place of the one before. On Tock a task may write 16 times at once and once a second on average:
/// [`Error::Full`] beyond that.
pub fn keep(key: &[u8], value: &[u8]) -> Result<(), Error> {
    check(sys::kv_set(key, value)).map(drop)
}

/// Forgets the value of a key; false if there is none.
pub fn forget(key: &[u8]) -> Result<bool, Error> {
    let code = sys::kv_delete(key);
    if code == NO_KEY { Ok(false) } else { check(code).map(|_| true) }
}

/// The number kept by a key with [`keep_number`]; `None` if there is none, or a value that is no number.
pub fn kept_number(key: &[u8]) -> Result<Option<u32>, Error> {
    let mut buffer = [0; 5];
    let value = kept(key, &mut buffer)?;
    Ok(value.and_then(|value| <[u8; 4]>::try_from(value).ok()).map(u32::from_le_bytes))
}

/// Keeps a number by a key, as four bytes, the least first.
pub fn keep_number(key: &[u8], number: u32) -> Result<(), Error> {
    keep(key, &number.to_le_bytes())
}

/// The task's arguments or environment, copied into `buffer` as far as they fit.
fn strings(copied: i32, buffer: &[u8]) -> Strings<'_> {
    let len = check(copied).unwrap_or(0).min(buffer.len());
    Strings { rest: &buffer[..len] }
}

/// The arguments, copied into `buffer`.
pub fn args(buffer: &mut [u8]) -> Strings<'_> {
    let copied = sys::args_read(buffer);
    strings(copied, buffer)
}

/// The environment as `KEY=VALUE`, copied into `buffer`.
pub fn env(buffer: &mut [u8]) -> Strings<'_> {
    let copied = sys::env_read(buffer);
    strings(copied, buffer)
}

/// Strings that each end with NUL.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let (string, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Some(string)
    }
}

/// A decimal number, or `None`.
pub fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(digit.into()) }
    })
}

/// A line made without the formatting machinery, which would be most of a small image.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; 48],
    len: usize,
}

impl Line {
    /// An empty line.
    pub const fn new() -> Self {
        Self { bytes: [0; 48], len: 0 }
    }

    /// Appends text, cut at 48 bytes.
    pub fn text(mut self, text: &[u8]) -> Self {
        for byte in text {
            if let Some(room) = self.bytes.get_mut(self.len) {
                *room = *byte;
                self.len += 1;
            }
        }
        self
    }

    /// Appends a decimal number.
    pub fn number(self, number: u32) -> Self {
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.text(&digits[at..]);
            }
        }
    }

    /// Appends thousandths as a decimal fraction with three places.
    pub fn thousandths(self, value: i32) -> Self {
        let size = value.unsigned_abs();
        let line = if value < 0 { self.text(b"-") } else { self };
        let part = size % 1000;
        let zeros: &[u8] = if part < 10 {
            b".00"
        } else if part < 100 {
            b".0"
        } else {
            b"."
        };
        line.number(size / 1000).text(zeros).number(part)
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a process of a `fn() -> i32`, and ends it with exit code 101 on a panic.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! task {
    ($main:path) => {
        ::task_native::start!($main);
    };
}

/// Exports a `fn() -> i32` as the task's entry and ends the task on a panic.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! task {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn run() -> i32 {
            $main()
        }

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            core::arch::wasm32::unreachable()
        }
    };
}

/// Exports a `fn() -> i32` as `well`, for a health check or check with that command: 0 if the task is well. It is called
/// while the task sleeps or receives, and may not wait itself.
#[macro_export]
macro_rules! check {
    ($check:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn well() -> i32 {
            $check()
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read() {
        assert_eq!(Line::new().text(b"avg=").thousandths(21_507).bytes(), b"avg=21.507");
        assert_eq!(Line::new().thousandths(-42).bytes(), b"-0.042");
        assert_eq!(Line::new().number(u32::MAX).bytes(), b"4294967295");
        assert_eq!(Line::new().text(&[b'x'; 60]).bytes().len(), 48);
        assert_eq!(number(b"150"), Some(150));
        assert_eq!([number(b""), number(b"1x"), number(b"4294967296")], [None; 3]);
    }

    #[test]
    fn strings_end_with_nul() {
        let mut strings = Strings { rest: b"one\0\0two\0cut" };
        assert_eq!(strings.next(), Some(&b"one"[..]));
        assert_eq!(strings.next(), Some(&b""[..]));
        assert_eq!(strings.next(), Some(&b"two"[..]));
        assert_eq!(strings.next(), None);
    }

    #[test]
    fn off_a_node_nothing_is_supported() {
        assert_eq!(log(b"x"), Err(Error::Unsupported));
        assert_eq!(sensor(0), Err(Error::Unsupported));
        assert_eq!(args(&mut [0; 8]).count(), 0);
        assert_eq!(keep(b"k", b"v"), Err(Error::Unsupported));
        assert_eq!(kept_number(b"k"), Err(Error::Unsupported));
    }
}
