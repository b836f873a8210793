//! Calls to the executor capsule, in the three shapes that they have: at once, with a buffer, and done later.
//!
//! No call leaves a buffer shared when it comes back.

use core::cell::Cell;
use grants::syscall::{BUFFER, DRIVER, SlotCall, UPCALL_DONE};
use libtock_platform::{
    AllowRo, AllowRw, CommandReturn, DefaultConfig, ErrorCode, Subscribe, Syscalls, share,
};

const NUMBER: u32 = DRIVER as u32;
const SHARED: u32 = BUFFER as u32;
const DONE: u32 = UPCALL_DONE as u32;

/// Both figures of an answer; those that it does not have are 0.
type Answer = Result<(u32, u32), ErrorCode>;

fn answer(answer: CommandReturn) -> Answer {
    if let Some(error) = answer.get_failure() {
        return Err(error);
    }
    // `NOMEM` and how much is missing, for one.
    if let Some((error, _)) = answer.get_failure_u32() {
        return Err(error);
    }
    if let Some(two) = answer.get_success_2_u32() {
        return Ok(two);
    }
    if let Some(one) = answer.get_success_u32() {
        return Ok((one, 0));
    }
    if answer.is_success() { Ok((0, 0)) } else { Err(ErrorCode::Fail) }
}

/// A call without a buffer.
pub fn call<S: Syscalls>(call: SlotCall) -> Answer {
    let (command, first, second) = call.encode(0);
    answer(S::command(NUMBER, command as u32, first as u32, second as u32))
}

/// A call that takes bytes.
pub fn give<S: Syscalls>(what: SlotCall, bytes: &[u8]) -> Answer {
    share::scope::<AllowRo<'_, S, NUMBER, SHARED>, _, _>(|allowed| {
        S::allow_ro::<DefaultConfig, NUMBER, SHARED>(allowed, bytes)?;
        call::<S>(what)
    })
}

/// A call that fills a buffer.
pub fn take<S: Syscalls>(what: SlotCall, buffer: &mut [u8]) -> Answer {
    share::scope::<AllowRw<'_, S, NUMBER, SHARED>, _, _>(|allowed| {
        S::allow_rw::<DefaultConfig, NUMBER, SHARED>(allowed, buffer)?;
        call::<S>(what)
    })
}

/// What a call that is done later came to: its error or 0, bytes, and the command.
type Done = Cell<Option<(u32, u32, u32)>>;

/// Waits for the one call of this process that is under way; the capsule always tells how it ended.
fn wait<S: Syscalls>(done: &Done) -> Result<usize, ErrorCode> {
    loop {
        if let Some((error, len, _)) = done.get() {
            return match error {
                0 => Ok(len as usize),
                _ => Err(ErrorCode::try_from(error).unwrap_or(ErrorCode::Fail)),
            };
        }
        S::yield_wait();
    }
}

/// A call that takes bytes and is done later: how many it took.
pub fn write<S: Syscalls>(what: SlotCall, bytes: &[u8]) -> Result<usize, ErrorCode> {
    let done = Done::new(None);
    share::scope::<(AllowRo<'_, S, NUMBER, SHARED>, Subscribe<'_, S, NUMBER, DONE>), _, _>(|shared| {
        let (allowed, subscribed) = shared.split();
        S::subscribe::<_, _, DefaultConfig, NUMBER, DONE>(subscribed, &done)?;
        S::allow_ro::<DefaultConfig, NUMBER, SHARED>(allowed, bytes)?;
        call::<S>(what)?;
        wait::<S>(&done)
    })
}

/// A call that fills a buffer and is done later: how many bytes it wrote, which are at most those of the buffer.
pub fn read<S: Syscalls>(what: SlotCall, buffer: &mut [u8]) -> Result<usize, ErrorCode> {
    let room = buffer.len();
    let done = Done::new(None);
    share::scope::<(AllowRw<'_, S, NUMBER, SHARED>, Subscribe<'_, S, NUMBER, DONE>), _, _>(|shared| {
        let (allowed, subscribed) = shared.split();
        S::subscribe::<_, _, DefaultConfig, NUMBER, DONE>(subscribed, &done)?;
        S::allow_rw::<DefaultConfig, NUMBER, SHARED>(allowed, buffer)?;
        call::<S>(what)?;
        wait::<S>(&done)
    })
    .map(|len| len.min(room))
}
