//! How much fuel the core turns into work in a millisecond.
//!
//! Fuel is what modules are metered by, time is what a grant speaks of: the share of the core that is granted is the share
//! that is used only if one is known in terms of the other. That depends on core, clock, memory and compiler, so it is
//! measured where it matters: on the node, when the app starts.

use crate::clock::Clock;
use agent_wasm::{Config, Executor, Host, HostError, Launch};
use grants::{Capabilities, Grant, Leds};
use libtock_platform::Syscalls;

/// Fuel per millisecond if it can not be measured.
pub const FUEL_PER_MS: u64 = 2_000;
/// Bounds of what is believed.
pub const FUEL_PER_MS_RANGE: core::ops::RangeInclusive<u64> = 50..=1_000_000;

/// Fuel between two looks at the clock.
const STEP_FUEL: u64 = 500;
/// Length of a sample, milliseconds: a fraction of the kernel's shortest timeslice.
const SAMPLE_MS: u64 = 2;
/// Samples. One that another process or an interrupt cuts into is too low, none is too high: the best is true.
const SAMPLES: usize = 8;
/// Steps that a sample may take, so that a clock that stands still holds nobody up.
const STEPS_MAX: u64 = 4_096;

/// What is measured with: arithmetic, a branch that is taken and one that is not, and a call, for ever.
///
/// ```wat
#[doc = include_str!("calibrate.wat")]
/// ```
const LOOP: &[u8] = include_bytes!("calibrate.wasm");

struct Nothing;

impl Host for Nothing {
    fn sensor_read(&mut self, _: u16, _: u32) -> Result<i32, HostError> {
        Err(HostError)
    }

    fn led_set(&mut self, _: u16, _: u32, _: bool) -> Result<(), HostError> {
        Err(HostError)
    }
}

/// Fuel per millisecond of this core, within [`FUEL_PER_MS_RANGE`]. Takes about 20 ms.
pub fn measure<S: Syscalls>(clock: &Clock<S>) -> u64 {
    let config = Config { fuel_per_ms: STEP_FUEL, window_ms: 1, tasks_max: 1 };
    let mut executor = Executor::new(config);
    let launch = Launch {
        task: 0,
        image: LOOP,
        entry: "",
        args: &[],
        env: &[],
        data: &[],
        check: None,
        grant: Grant { cpu_permille: 1000, capabilities: Capabilities(0), strict: true, ..Grant::default() },
        leds: Leds(0),
    };
    if executor.start(&launch, 0).is_err() {
        return FUEL_PER_MS;
    }
    // The executor's time is not the clock's: each step is a window, which is one step's fuel.
    let mut windows = 0;
    let mut sample = || {
        let (begun, mut passed, mut steps) = (clock.ticks(), 0, 0);
        while passed * 1000 < clock.hz() * SAMPLE_MS && steps < STEPS_MAX {
            executor.step(&mut Nothing as &mut dyn Host, windows);
            (windows, steps) = (windows + 1, steps + 1);
            passed = clock.ticks() - begun;
        }
        (steps * STEP_FUEL * clock.hz()).checked_div(passed * 1000)
    };
    sample(); // translates the loop
    let best = (0..SAMPLES).filter_map(|_| sample()).max();
    best.unwrap_or(FUEL_PER_MS).clamp(*FUEL_PER_MS_RANGE.start(), *FUEL_PER_MS_RANGE.end())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_loop_is_the_one_that_is_shown() {
        assert_eq!(wat::parse_str(include_str!("calibrate.wat")).unwrap(), super::LOOP);
    }
}
