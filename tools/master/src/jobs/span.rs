//! Lengths of time as people write them: `15m`, `30s`, `1h 30m`, `250ms`.

use crate::limits::MAX_DURATION_MS;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time in whole milliseconds, of a year at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

impl Span {
    /// So many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// In milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// In nanoseconds, as Mesos has it.
    pub fn nanoseconds(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX).saturating_mul(1_000_000)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no length of time: write it like 15m, 30s or 1h 30m");
        let length = humantime::parse_duration(text.trim()).map_err(|_| wrong())?;
        let ms = u64::try_from(length.as_millis()).ok().filter(|ms| *ms <= MAX_DURATION_MS);
        ms.map(Self).ok_or_else(|| format!("'{text}' is too long: at most 365 days"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_millis(self.0)).fmt(f)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_written() {
        for (text, ms) in
            [("15m", 900_000), ("30s", 30_000), ("1h 30m", 5_400_000), ("250ms", 250), ("1day", 86_400_000)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.ms(), ms);
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        for text in ["", "15", "m", "-3s", "1e9h", "400days", "99999999999999999999s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
