//! How long to wait before the next attempt.

use std::time::Duration;

/// Pauses at random below a bound that doubles: those who lost the same master do not come back all at once
/// (as src/sched/sched.cpp and src/slave/slave.cpp do it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first bound.
    pub least: Duration,
    /// The last bound.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { least: Duration::from_secs(1), most: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The pause before attempt `attempt`, from 0, for a `chance` from 0 to 1.
    pub fn pause(&self, attempt: u32, chance: f64) -> Duration {
        let bound = self.least.saturating_mul(1 << attempt.min(30)).min(self.most.max(self.least));
        // Rounding must not carry it beyond.
        bound.mul_f64(chance.clamp(0.0, 1.0)).min(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bound_doubles_up_to_the_last_one() {
        let backoff = Backoff { least: Duration::from_secs(1), most: Duration::from_secs(10) };
        let bounds: Vec<_> = (0..6).map(|attempt| backoff.pause(attempt, 1.0).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.pause(3, 0.5), Duration::from_secs(4));
    }

    proptest! {
        #[test]
        fn any_pause_is_within_its_bounds(least in 0u64..u64::MAX, most in 0u64..u64::MAX, attempt: u32, chance in 0.0f64..1.0) {
            let backoff = Backoff { least: Duration::from_nanos(least), most: Duration::from_nanos(most) };
            prop_assert!(backoff.pause(attempt, chance) <= backoff.most.max(backoff.least));
        }
    }
}
