//! The time: 64 bits made of the alarm's 32-bit counter, and waiting.
//!
//! The counter is that of the node, so that the first look tells the time since the node started, less whole turns of
//! it: at 10 MHz it turns in 7 minutes, at 32,768 Hz in a day and a half. After that every turn is counted, as long as
//! the task looks once in each; whoever waits here does.

use core::cell::Cell;
use grants::syscall::{DRIVER, UPCALL_NEWS};
use libtock_platform::{DefaultConfig, Subscribe, Syscalls, share};

/// Tock's alarm driver.
const ALARM: u32 = 0;
/// Its upcall.
const FIRED: u32 = 0;
const FREQUENCY: u32 = 1;
const NOW: u32 = 2;
const DISARM: u32 = 3;
const ARM_RELATIVE: u32 = 5;

const CAPSULE: u32 = DRIVER as u32;
const NEWS: u32 = UPCALL_NEWS as u32;

/// Longest wait in one go, ticks: the counter is looked at often enough not to miss a turn.
const STRIDE: u64 = 1 << 30;

/// Counts the turns of the alarm's counter.
pub struct Clock {
    /// The counter as last seen, with the turns above its 32 bits.
    seen: u64,
}

impl Clock {
    pub const fn new() -> Self {
        Self { seen: 0 }
    }

    /// Ticks and how many a second has; `None` without an alarm.
    fn ticks<S: Syscalls>(&mut self) -> Option<(u64, u64)> {
        let hz = S::command(ALARM, FREQUENCY, 0, 0).get_success_u32().filter(|hz| *hz > 0)?;
        let now = S::command(ALARM, NOW, 0, 0).get_success_u32()?;
        self.seen = unfolded(self.seen, now);
        Some((self.seen, hz.into()))
    }

    /// Milliseconds; 0 without an alarm.
    pub fn ms<S: Syscalls>(&mut self) -> u64 {
        self.ticks::<S>().map_or(0, |(ticks, hz)| ticks / hz * 1000 + ticks % hz * 1000 / hz)
    }
}

/// Hears the capsule's news and the alarm.
pub struct Ear {
    news: Cell<bool>,
    fired: Cell<bool>,
}

impl Ear {
    /// Listens while `act` runs: news that comes between two waits ends the second one at once.
    pub fn listen<S: Syscalls, T>(act: impl FnOnce(&Self) -> T) -> T {
        let ear = Self { news: Cell::new(false), fired: Cell::new(false) };
        share::scope::<(Subscribe<'_, S, CAPSULE, NEWS>, Subscribe<'_, S, ALARM, FIRED>), _, _>(|shared| {
            let (to_news, to_alarm) = shared.split();
            // What is not to be heard does not end a wait; `wait` looks whether there is an alarm.
            let _ = S::subscribe::<_, _, DefaultConfig, CAPSULE, NEWS>(to_news, &ear.news);
            let _ = S::subscribe::<_, _, DefaultConfig, ALARM, FIRED>(to_alarm, &ear.fired);
            act(&ear)
        })
    }

    /// Waits for news, at most so many milliseconds, and now and then for less. False if there is no alarm to end it.
    #[must_use]
    pub fn wait<S: Syscalls>(&self, ms: u32) -> bool {
        let Some(hz) = S::command(ALARM, FREQUENCY, 0, 0).get_success_u32() else { return false };
        let ticks = (u64::from(ms) * u64::from(hz)).div_ceil(1000).min(STRIDE);
        self.fired.set(false);
        if S::command(ALARM, ARM_RELATIVE, ticks as u32, 0).is_failure() {
            return false;
        }
        while !self.news.take() && !self.fired.get() {
            S::yield_wait();
        }
        if !self.fired.get() {
            let _ = S::command(ALARM, DISARM, 0, 0);
        }
        true
    }
}

/// The 64-bit count that follows `before` soonest and has these lowest 32 bits.
fn unfolded(before: u64, low: u32) -> u64 {
    before + u64::from(low.wrapping_sub(before as u32))
}

#[cfg(test)]
mod tests {
    use super::unfolded;

    #[test]
    fn turns_of_the_counter_are_counted() {
        assert_eq!(unfolded(0, 7), 7);
        assert_eq!(unfolded(0xffff_fff0, 0x10), 0x1_0000_0010);
        assert_eq!(unfolded(0x1_0000_0010, 0x10), 0x1_0000_0010);
        assert_eq!(unfolded(0x1_0000_0010, 0x0f), 0x2_0000_000f);
    }
}
