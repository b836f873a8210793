//! The share of time that a radio may send, as sub-GHz bands limit it (ETSI EN 300 220: within an observation time of
//! an hour).

use std::collections::VecDeque;

/// Parts that a window is observed in: memory is bounded, and the oldest part counts until all of it is over.
const PARTS: u64 = 60;

/// A limit of airtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DutyCycle {
    /// Airtime that the window has room for, microseconds.
    pub airtime_us: u64,
    /// The window, microseconds: what is sent in any one of that length counts.
    pub window_us: u64,
}

impl DutyCycle {
    /// An hour in microseconds.
    pub const HOUR_US: u64 = 3_600_000_000;

    fn part_us(self) -> u64 {
        self.window_us.div_ceil(PARTS).max(1)
    }
}

/// What one radio has sent in the window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Number of the part, and airtime in it.
    parts: VecDeque<(u64, u64)>,
    sum_us: u64,
}

impl Ledger {
    /// Enters what is to be sent now, if the window has room for it.
    pub fn spend(&mut self, limit: DutyCycle, airtime_us: u64, now_us: u64) -> bool {
        let now = now_us / limit.part_us();
        while let Some((_, sent_us)) = self.parts.front().filter(|(part, _)| part + PARTS < now) {
            self.sum_us -= sent_us;
            self.parts.pop_front();
        }
        if self.sum_us + airtime_us > limit.airtime_us {
            return false;
        }
        match self.parts.back_mut() {
            Some((part, sent_us)) if *part == now => *sent_us += airtime_us,
            _ => self.parts.push_back((now, airtime_us)),
        }
        self.sum_us += airtime_us;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE_PERCENT: DutyCycle = DutyCycle { airtime_us: 36_000_000, window_us: DutyCycle::HOUR_US };

    #[test]
    fn one_percent_of_an_hour_is_thirty_six_seconds_and_comes_back_after_it() {
        let mut ledger = Ledger::default();
        for second in 0..36 {
            assert!(ledger.spend(ONE_PERCENT, 1_000_000, second * 1_000_000), "{second}");
        }
        assert!(!ledger.spend(ONE_PERCENT, 1, 3_599_000_000));
        assert!(ledger.spend(ONE_PERCENT, 1_000_000, 3_660_000_000 + 60_000_000));
    }

    proptest! {
        #[test]
        fn no_window_of_any_place_holds_more_than_its_share(gaps in prop::collection::vec(0u64..50_000, 1..300)) {
            let limit = DutyCycle { airtime_us: 60_000, window_us: 600_007 };
            let mut ledger = Ledger::default();
            let (mut now, mut sent) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                if ledger.spend(limit, 4_000, now) {
                    sent.push(now);
                    now += 4_000;
                }
            }
            for start in &sent {
                let end = start + limit.window_us;
                let within = sent.iter().filter(|at| *at >= start && **at < end);
                let airtime: u64 = within.map(|at| (at + 4_000).min(end) - at).sum();
                prop_assert!(airtime <= limit.airtime_us);
            }
            prop_assert!(ledger.parts.len() <= PARTS as usize + 2);
        }
    }
}
