//! Random bytes from the kernel (`capsules/core/src/rng.rs`), once, at the start.

use crate::clock::Clock;
use core::cell::Cell;
use libtock_platform::{AllowRw, DefaultConfig, ErrorCode, Subscribe, Syscalls, share};

/// Tock's number of the driver.
pub const DRIVER: u32 = 0x40001;
const GET: u32 = 1;
const BUFFER: u32 = 0;
const DONE: u32 = 0;
/// How long it may take, milliseconds.
const PATIENCE_MS: u64 = 500;

/// A random number; `None` if the board has no such driver or it does not answer.
pub fn number<S: Syscalls + 'static>(clock: &Clock<S>) -> Option<u64> {
    let mut bytes = [0; 8];
    let done: Cell<Option<(u32, u32)>> = Cell::new(None);
    let asked: Result<bool, ErrorCode> =
        share::scope::<(AllowRw<'_, S, DRIVER, BUFFER>, Subscribe<'_, S, DRIVER, DONE>), _, _>(|handle| {
            let (buffer, upcall) = handle.split();
            S::allow_rw::<DefaultConfig, DRIVER, BUFFER>(buffer, &mut bytes)?;
            S::subscribe::<_, _, DefaultConfig, DRIVER, DONE>(upcall, &done)?;
            S::command(DRIVER, GET, 8, 0).to_result::<(), ErrorCode>()?;
            Ok(clock.wait(PATIENCE_MS, || done.get().is_some()))
        });
    match (asked, done.get()) {
        (Ok(true), Some((0, 8))) => Some(u64::from_le_bytes(bytes)),
        _ => None,
    }
}
