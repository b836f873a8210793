//! Time from Tock's alarm driver: milliseconds that never go back, across the 32 bits of its counter.
//!
//! It has to be read once in each round of the counter, which at 10 MHz is seven minutes: [`crate::App::wait`] never
//! waits for that long.

use core::cell::Cell;
use core::marker::PhantomData;
use libtock_platform::Syscalls;

/// Driver number of the alarm.
pub const DRIVER: u32 = 0;
/// Upcall: the time has come.
pub const UPCALL: u32 = 0;

const FREQUENCY: u32 = 1;
const TIME: u32 = 2;
const SET_RELATIVE: u32 = 5;

/// The node's clock.
pub struct Clock<S> {
    hz: u64,
    last: Cell<u32>,
    ticks: Cell<u64>,
    system: PhantomData<S>,
}

impl<S: Syscalls> Clock<S> {
    /// `None` if the node has no alarm.
    pub fn new() -> Option<Self> {
        let hz: u32 = S::command(DRIVER, FREQUENCY, 0, 0).get_success_u32().filter(|hz| *hz >= 1000)?;
        let last = S::command(DRIVER, TIME, 0, 0).get_success_u32()?;
        Some(Self {
            hz: hz.into(),
            last: Cell::new(last),
            ticks: Cell::new(last.into()),
            system: PhantomData,
        })
    }

    /// Ticks since the node started; [`Clock::hz`] of them are a second.
    pub fn ticks(&self) -> u64 {
        if let Some(now) = S::command(DRIVER, TIME, 0, 0).get_success_u32() {
            let passed = now.wrapping_sub(self.last.replace(now));
            self.ticks.set(self.ticks.get() + u64::from(passed));
        }
        self.ticks.get()
    }

    /// Ticks in a second.
    pub fn hz(&self) -> u64 {
        self.hz
    }

    /// Milliseconds since the node started.
    pub fn now_ms(&self) -> u64 {
        self.ticks() * 1000 / self.hz
    }

    /// Asks for the upcall in at least `ms`, in place of what was asked before. False if the driver refuses.
    pub fn arm(&self, ms: u64) -> bool {
        let ticks = (ms.max(1) * self.hz).div_ceil(1000).min(u64::from(u32::MAX / 2));
        // Depending on the driver's age the time comes back or nothing.
        let set = S::command(DRIVER, SET_RELATIVE, ticks as u32, 0);
        set.is_success() || set.is_success_u32()
    }
}
