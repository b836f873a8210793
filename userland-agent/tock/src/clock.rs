//! Milliseconds that never go back, from the alarm driver, and the only places where the app waits.
//!
//! The driver counts 32 bits of ticks: at 10 MHz they wrap every 429 seconds, at 32768 Hz, which Tock shifts to the left,
//! every 512. Reading the clock at least twice in that time keeps it right, so no wait is longer than a quarter of it.
//! Nothing here waits without an alarm set before: if that fails, it turns instead.

use crate::share;
use alloc::boxed::Box;
use core::cell::Cell;
use core::marker::PhantomData;
use libtock_platform::subscribe::OneId;
use libtock_platform::{ErrorCode, Syscalls, Upcall, YieldNoWaitReturn};

const DRIVER: u32 = 0x0;
const FREQUENCY: u32 = 1;
const TIME: u32 = 2;
const SET_RELATIVE: u32 = 5;
const RINGS: u32 = 0;

/// Upcalls taken at once when there is no time to wait.
const UPCALLS_AT_ONCE: usize = 16;

/// Its upcall does its work by being one: it ends a wait.
struct Rings;

impl Upcall<OneId<DRIVER, RINGS>> for Rings {
    fn upcall(&self, _now: u32, _reference: u32, _: u32) {}
}

/// The clock of the app.
pub struct Clock<S: Syscalls> {
    frequency: u64,
    /// The counter when it was last read.
    last: Cell<u32>,
    /// Ticks since the clock was opened.
    ticks: Cell<u64>,
    /// Milliseconds spent waiting.
    waited_ms: Cell<u64>,
    _kernel: PhantomData<S>,
}

impl<S: Syscalls + 'static> Clock<S> {
    /// Opens it; there is one for the life of the app.
    pub fn open() -> Result<&'static Self, ErrorCode> {
        let frequency: u32 = S::command(DRIVER, FREQUENCY, 0, 0).to_result()?;
        let last: u32 = S::command(DRIVER, TIME, 0, 0).to_result()?;
        share::subscribe::<S, _, DRIVER, RINGS>(Box::leak(Box::new(Rings)))?;
        let clock = Self {
            frequency: u64::from(frequency.max(1)),
            last: Cell::new(last),
            ticks: Cell::new(0),
            waited_ms: Cell::new(0),
            _kernel: PhantomData,
        };
        Ok(Box::leak(Box::new(clock)))
    }

    /// Milliseconds since it was opened.
    pub fn now_ms(&self) -> u64 {
        if let Ok(counter) = S::command(DRIVER, TIME, 0, 0).to_result::<u32, ErrorCode>() {
            let passed = counter.wrapping_sub(self.last.replace(counter));
            self.ticks.set(self.ticks.get() + u64::from(passed));
        }
        self.ticks.get().saturating_mul(1000) / self.frequency
    }

    /// Milliseconds of those that were spent waiting.
    pub fn waited_ms(&self) -> u64 {
        self.waited_ms.get()
    }

    /// Waits until `deadline_ms` or the next upcall, whichever comes first, and takes the upcalls that are there.
    pub fn rest(&self, deadline_ms: u64) {
        let now_ms = self.now_ms();
        if deadline_ms > now_ms {
            self.nap(deadline_ms - now_ms);
            self.waited_ms.set(self.waited_ms.get() + self.now_ms() - now_ms);
        }
        self.take_upcalls();
    }

    /// Takes the upcalls that are there, without a wait.
    pub fn take_upcalls(&self) {
        for _ in 0..UPCALLS_AT_ONCE {
            if S::yield_no_wait() == YieldNoWaitReturn::NoUpcall {
                break;
            }
        }
    }

    /// Waits until `done`, which an upcall makes true, for at most `most_ms`. True if it is.
    pub fn wait(&self, most_ms: u64, done: impl Fn() -> bool) -> bool {
        let deadline_ms = self.now_ms().saturating_add(most_ms);
        loop {
            if done() {
                return true;
            }
            let now_ms = self.now_ms();
            if now_ms >= deadline_ms {
                return false;
            }
            self.nap(deadline_ms - now_ms);
            self.waited_ms.set(self.waited_ms.get() + self.now_ms() - now_ms);
        }
    }

    /// Waits for one upcall, at the latest the alarm's.
    fn nap(&self, ms: u64) {
        let longest = u64::from(u32::MAX / 4);
        let ticks = ms.saturating_mul(self.frequency).div_ceil(1000).clamp(1, longest) as u32;
        match S::command(DRIVER, SET_RELATIVE, ticks, 0).to_result::<u32, ErrorCode>() {
            Ok(_) => S::yield_wait(),
            Err(_) => {
                S::yield_no_wait();
            }
        }
    }
}
