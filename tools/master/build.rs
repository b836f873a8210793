//! Notes when this was compiled, for `/version`; SOURCE_DATE_EPOCH makes that reproducible.

use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=src");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let seconds: u64 = given.unwrap_or_else(now);
    println!("cargo::rustc-env=MASTER_BUILD_TIME={seconds}");
    println!("cargo::rustc-env=MASTER_BUILD_DATE={}", date(seconds));
}

/// `2026-01-31 12:00:00` of seconds since the epoch, in UTC.
fn date(seconds: u64) -> String {
    let at =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (month, (hour, minute, second)) = (u8::from(at.month()), at.to_hms());
    format!("{:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", at.year(), at.day())
}
