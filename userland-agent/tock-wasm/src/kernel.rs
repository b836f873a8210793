//! The executor capsule's calls as functions, and what it tells in between.

use crate::clock::{Clock, DRIVER as ALARM, UPCALL as RINGS};
use alloc::vec::Vec;
use core::cell::Cell;
use core::marker::PhantomData;
use grants::syscall::{BUFFER, DRIVER, HostCall, Part, SlotCall, TaskRecord, UPCALL_DONE, UPCALL_NEWS};
use libtock_platform::{
    AllowRo, AllowRw, CommandReturn, DefaultConfig, ErrorCode, Subscribe, Syscalls, Upcall,
    YieldNoWaitReturn, share, subscribe::OneId,
};

pub(crate) const NUMBER: u32 = DRIVER as u32;
const BUFFER_0: u32 = BUFFER as u32;
pub(crate) const DONE: u32 = UPCALL_DONE as u32;
pub(crate) const NEWS: u32 = UPCALL_NEWS as u32;

/// How long the capsule may take for one piece of storage, milliseconds. A page of flash is erased in 85.
const LATER_MAX_MS: u64 = 2_000;

type Handle<'a, S> =
    (Subscribe<'a, S, NUMBER, DONE>, Subscribe<'a, S, NUMBER, NEWS>, Subscribe<'a, S, ALARM, RINGS>);

/// What upcalls have said and nobody has looked at yet.
#[derive(Default)]
pub struct Upcalls {
    /// Error, bytes and command of the call that is done.
    done: Cell<Option<(u32, u32, u32)>>,
    news: Cell<u32>,
    alarm: Cell<bool>,
}

impl Upcall<OneId<NUMBER, DONE>> for Upcalls {
    fn upcall(&self, error: u32, bytes: u32, command: u32) {
        self.done.set(Some((error, bytes, command)));
    }
}

impl Upcall<OneId<NUMBER, NEWS>> for Upcalls {
    fn upcall(&self, slots: u32, _: u32, _: u32) {
        self.news.set(self.news.get() | slots);
    }
}

impl Upcall<OneId<ALARM, RINGS>> for Upcalls {
    fn upcall(&self, _: u32, _: u32, _: u32) {
        self.alarm.set(true);
    }
}

/// The kernel as the host sees it.
pub struct Kernel<'u, S> {
    upcalls: &'u Upcalls,
    /// The node's clock.
    pub clock: Clock<S>,
    system: PhantomData<S>,
}

/// Gives `work` the kernel, with upcalls for as long as it lasts.
pub(crate) fn with<S: Syscalls, R>(work: impl FnOnce(Kernel<'_, S>) -> R) -> Result<R, ErrorCode> {
    let clock = Clock::new().ok_or(ErrorCode::NoDevice)?;
    let upcalls = Upcalls::default();
    share::scope::<Handle<'_, S>, _, _>(|handle| {
        let (done, news, alarm) = handle.split();
        S::subscribe::<OneId<NUMBER, DONE>, _, DefaultConfig, NUMBER, DONE>(done, &upcalls)?;
        S::subscribe::<OneId<NUMBER, NEWS>, _, DefaultConfig, NUMBER, NEWS>(news, &upcalls)?;
        S::subscribe::<OneId<ALARM, RINGS>, _, DefaultConfig, ALARM, RINGS>(alarm, &upcalls)?;
        Ok(work(Kernel { upcalls: &upcalls, clock, system: PhantomData }))
    })
}

impl<S: Syscalls> Kernel<'_, S> {
    /// The slots that have orders since this was last asked.
    pub fn take_news(&self) -> u32 {
        self.upcalls.news.take()
    }

    /// Sleeps until there are orders, or until a time.
    pub fn wait(&self, until_ms: u64) {
        self.sleep(until_ms, || self.upcalls.news.get() != 0);
    }

    /// Sleeps until something holds or a time has come; true if it holds. Never longer, whatever is lost.
    fn sleep(&self, until_ms: u64, holds: impl Fn() -> bool) -> bool {
        loop {
            // What has happened already needs no alarm.
            while !holds() && S::yield_no_wait() == YieldNoWaitReturn::Upcall {}
            if holds() {
                return true;
            }
            let now = self.clock.now_ms();
            if now >= until_ms {
                return false;
            }
            self.upcalls.alarm.set(false);
            // Without an alarm there is no wake-up: look again and again rather than sleep for ever.
            if self.clock.arm(until_ms - now) {
                while !holds() && !self.upcalls.alarm.get() {
                    S::yield_wait();
                }
            }
        }
    }

    /// What a slot was granted.
    pub fn grant(&self, slot: u8) -> Result<TaskRecord, ErrorCode> {
        let mut bytes = [0; TaskRecord::LEN];
        self.write_to(&mut bytes, || answer(command::<S>(SlotCall::Grant.encode(slot))))?;
        TaskRecord::from_bytes(&bytes).ok_or(ErrorCode::Size)
    }

    /// The oldest order for a slot: its kind, with its bytes in `buffer`. `None` if there is none.
    pub fn take(&self, slot: u8, buffer: &mut [u8]) -> Result<Option<(u32, usize)>, ErrorCode> {
        let max = buffer.len();
        let (kind, len) = self.write_to(buffer, || answer(command::<S>(SlotCall::Take.encode(slot))))?;
        Ok((kind != 0).then_some((kind, max.min(len as usize))))
    }

    /// A call that answers at once, with bytes for the kernel.
    pub fn say(&self, call: (usize, usize, usize), bytes: &[u8]) -> Result<u32, ErrorCode> {
        self.read_from(bytes, || answer(command::<S>(call))).map(|(value, _)| value)
    }

    /// A call of the host's own, without bytes.
    pub fn tell(&self, slot: u8, call: HostCall) -> Result<(), ErrorCode> {
        answer(command::<S>(call.encode(slot))).map(drop)
    }

    /// A call about a slot, without bytes.
    pub fn ask(&self, slot: u8, call: SlotCall) -> Result<u32, ErrorCode> {
        answer(command::<S>(call.encode(slot))).map(|(value, _)| value)
    }

    /// Fills `buffer` from a slot's storage. True if all of it was there.
    pub fn read(&self, slot: u8, part: Part, from: usize, buffer: &mut [u8]) -> Result<bool, ErrorCode> {
        let mut at = 0;
        while at < buffer.len() {
            let call = SlotCall::Read { part, offset: (from + at) as u32 }.encode(slot);
            let piece = &mut buffer[at..];
            let room = piece.len();
            match self.write_to(piece, || self.later(call))?.min(room) {
                0 => return Ok(false),
                moved => at += moved,
            }
        }
        Ok(true)
    }

    /// Writes a slot's values.
    pub fn write(&self, slot: u8, bytes: &[u8]) -> Result<(), ErrorCode> {
        let mut at = 0;
        while at < bytes.len() {
            let call = SlotCall::Write { offset: at as u32 }.encode(slot);
            match self.read_from(&bytes[at..], || self.later(call))? {
                0 => return Err(ErrorCode::Fail),
                moved => at = at.saturating_add(moved),
            }
        }
        Ok(())
    }

    /// A call that is done later; gives the bytes moved.
    fn later(&self, call: (usize, usize, usize)) -> Result<usize, ErrorCode> {
        let until_ms = self.clock.now_ms() + LATER_MAX_MS;
        let done = &self.upcalls.done;
        done.set(None);
        let mut asked = answer(command::<S>(call));
        // One that was given up is still under way.
        if asked == Err(ErrorCode::Busy) && self.sleep(until_ms, || done.get().is_some()) {
            done.set(None);
            asked = answer(command::<S>(call));
        }
        asked?;
        let mine = || matches!(done.get(), Some((_, _, command)) if command as usize == call.0);
        self.sleep(until_ms, mine);
        match done.take() {
            Some((0, bytes, _)) => Ok(bytes as usize),
            Some((error, ..)) => Err(ErrorCode::try_from(error).unwrap_or(ErrorCode::Fail)),
            None => Err(ErrorCode::Cancel),
        }
    }

    /// With `buffer` for the kernel to write to.
    fn write_to<R>(
        &self,
        buffer: &mut [u8],
        call: impl FnOnce() -> Result<R, ErrorCode>,
    ) -> Result<R, ErrorCode> {
        share::scope::<AllowRw<'_, S, NUMBER, BUFFER_0>, _, _>(|handle| {
            S::allow_rw::<DefaultConfig, NUMBER, BUFFER_0>(handle, buffer)?;
            call()
        })
    }

    /// With `bytes` for the kernel to read.
    fn read_from<R>(
        &self,
        bytes: &[u8],
        call: impl FnOnce() -> Result<R, ErrorCode>,
    ) -> Result<R, ErrorCode> {
        share::scope::<AllowRo<'_, S, NUMBER, BUFFER_0>, _, _>(|handle| {
            S::allow_ro::<DefaultConfig, NUMBER, BUFFER_0>(handle, bytes)?;
            call()
        })
    }
}

fn command<S: Syscalls>((number, one, two): (usize, usize, usize)) -> CommandReturn {
    S::command(NUMBER, number as u32, one as u32, two as u32)
}

/// The figures of a success, in whichever of its forms; what is not there is 0.
fn answer(returned: CommandReturn) -> Result<(u32, u32), ErrorCode> {
    if returned.is_success() {
        return Ok((0, 0));
    }
    if let Some(value) = returned.get_success_u32() {
        return Ok((value, 0));
    }
    if let Some(values) = returned.get_success_2_u32() {
        return Ok(values);
    }
    Err(returned
        .get_failure()
        .or_else(|| returned.get_failure_u32().map(|(error, _)| error))
        .unwrap_or(ErrorCode::BadRVal))
}

/// A buffer of `len` bytes, or `None` if the heap has no room for it.
pub(crate) fn buffer(len: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    bytes.resize(len, 0);
    Some(bytes)
}
