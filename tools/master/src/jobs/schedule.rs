//! When a periodic job runs next. Times are UTC; nothing here knows what runs.

use super::span::Span;
use chrono::{DateTime, Utc};
use croner::Cron;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The shortest period.
const LEAST_MS: u64 = 1_000;
/// Bytes of a cron expression.
const MAX_CRON: usize = 128;

/// When a job runs: `every` or `cron`, not both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// From the job's acceptance on, at once and then so far apart; a second at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Minute, hour, day of the month, month, day of the week, in UTC; with a sixth field in front, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// What happens if the run before has not ended.
    #[serde(default)]
    pub overlap: Overlap,
}

/// What happens to a run that is due while another is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// It is left out, and counted.
    #[default]
    Skip,
    /// Both run; 8 at most.
    Allow,
}

impl Schedule {
    /// What is wrong, with the field.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.every, &self.cron) {
            (None, None) => Err(("every", "expected a period like 15m, or schedule.cron".into())),
            (Some(_), Some(_)) => Err(("every", "expected this or schedule.cron, not both".into())),
            (Some(every), None) if every.ms() < LEAST_MS => {
                Err(("every", format!("{every}: expected at least 1s")))
            }
            (Some(_), None) => Ok(()),
            (None, Some(text)) => {
                let cron = cron(text).map_err(|why| ("cron", format!("'{text}': {why}")))?;
                match next(&cron, 0) {
                    Some(_) => Ok(()),
                    None => Err(("cron", format!("'{text}' never comes"))),
                }
            }
        }
    }

    /// The first run of a job accepted now.
    pub(super) fn first_ms(&self, now_ms: u64) -> Option<u64> {
        if self.every.is_some() { Some(now_ms) } else { self.after(now_ms, now_ms) }
    }

    /// The next run after now, of a job whose last one was due at `last_ms`: those that were missed are not made up for.
    pub(super) fn after(&self, last_ms: u64, now_ms: u64) -> Option<u64> {
        if let Some(every) = &self.every {
            let every = every.ms().max(LEAST_MS);
            let passed = now_ms.saturating_sub(last_ms) / every + 1;
            return Some(last_ms.saturating_add(passed.saturating_mul(every)));
        }
        next(&cron(self.cron.as_deref()?).ok()?, now_ms)
    }
}

fn cron(text: &str) -> Result<Cron, String> {
    if text.len() > MAX_CRON {
        return Err(format!("longer than {MAX_CRON} bytes"));
    }
    let expected = "expected MINUTE HOUR DAY MONTH WEEKDAY, for example */15 * * * *";
    Cron::from_str(text).map_err(|error| format!("{error}; {expected}"))
}

/// The first time after this one.
fn next(cron: &Cron, after_ms: u64) -> Option<u64> {
    let after: DateTime<Utc> = DateTime::from_timestamp_millis(i64::try_from(after_ms).ok()?)?;
    let next = cron.find_next_occurrence(&after, false).ok()?;
    u64::try_from(next.timestamp_millis()).ok().filter(|next| *next > after_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(text: &str) -> Schedule {
        Schedule { every: Some(text.parse().unwrap()), cron: None, overlap: Overlap::Skip }
    }

    fn cron(text: &str) -> Schedule {
        Schedule { every: None, cron: Some(text.into()), overlap: Overlap::Skip }
    }

    #[test]
    fn a_period_keeps_its_phase_and_makes_up_for_nothing() {
        let schedule = every("10s");
        assert_eq!(schedule.first_ms(5_000), Some(5_000));
        assert_eq!(schedule.after(5_000, 5_000), Some(15_000));
        assert_eq!(schedule.after(5_000, 14_999), Some(15_000));
        assert_eq!(schedule.after(5_000, 15_000), Some(25_000));
        assert_eq!(schedule.after(5_000, 86_400_000), Some(86_405_000));
    }

    #[test]
    fn cron_is_utc_and_strictly_after() {
        let day = 86_400_000;
        assert_eq!(cron("*/15 * * * *").first_ms(0), Some(900_000));
        assert_eq!(cron("0 3 * * *").after(0, 3 * 3_600_000), Some(day + 3 * 3_600_000));
        // The epoch was a Thursday.
        assert_eq!(cron("0 0 * * FRI").first_ms(0), Some(day));
        assert_eq!(cron("*/10 * * * * *").first_ms(1), Some(10_000));
        // 2000-02-29, from 1999 on.
        assert_eq!(cron("0 0 29 2 *").first_ms(915_148_800_000), Some(951_782_400_000));
    }
}
