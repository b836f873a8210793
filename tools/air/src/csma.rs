//! How a radio waits for the channel: unslotted CSMA-CA (IEEE 802.15.4-2020, 6.2.5.1), with the default constants of
//! the MAC PIB (8.4.3.1) at 62.5 ksymbol/s, 16 us a symbol.

use crate::random::Random;

/// aUnitBackoffPeriod, 20 symbols, microseconds.
const UNIT_US: u64 = 320;
/// How long the channel is listened to, 8 symbols (aCcaTime), microseconds.
const ASSESSMENT_US: u64 = 128;
/// aTurnaroundTime, 12 symbols, microseconds: from listening to sending. A frame that another begins meanwhile goes
/// unnoticed.
pub(crate) const TURNAROUND_US: u64 = 192;
/// macMinBe.
const EXPONENT_MIN: u32 = 3;
/// macMaxBe.
const EXPONENT_MAX: u32 = 5;
/// macMaxCsmaBackoffs.
const RETRIES_MAX: u32 = 4;

/// Longest time from wanting to send to sending or giving up, microseconds, were all steps the longest.
pub(crate) const LONGEST_US: u64 =
    (RETRIES_MAX as u64 + 1) * (((1 << EXPONENT_MAX) - 1) * UNIT_US + ASSESSMENT_US) + TURNAROUND_US;

/// A frame's way to the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    retries: u32,
    exponent: u32,
}

impl Backoff {
    pub fn new() -> Self {
        Self { retries: 0, exponent: EXPONENT_MIN }
    }

    /// From now until the channel has been listened to, microseconds.
    pub fn wait_us(self, random: &mut Random) -> u64 {
        random.up_to((1 << self.exponent) - 1) * UNIT_US + ASSESSMENT_US
    }

    /// The next attempt after the channel was busy, or none.
    pub fn again(self) -> Option<Self> {
        let next = Self { retries: self.retries + 1, exponent: (self.exponent + 1).min(EXPONENT_MAX) };
        (next.retries <= RETRIES_MAX).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_looks_at_the_channel_and_no_more() {
        let all: Vec<_> = std::iter::successors(Some(Backoff::new()), |backoff| backoff.again()).collect();
        let exponents: Vec<_> = all.iter().map(|backoff| backoff.exponent).collect();
        assert_eq!(exponents, [3, 4, 5, 5, 5]);
        let mut random = Random::new(3);
        for _ in 0..1000 {
            let total: u64 = all.iter().map(|backoff| backoff.wait_us(&mut random)).sum();
            assert!((5 * ASSESSMENT_US..=LONGEST_US).contains(&total));
        }
    }
}
