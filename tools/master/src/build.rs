//! What this binary was made of, as `/version` says it (src/version/version.cpp).

use crate::MESOS_VERSION;
use serde_json::{Value, json};

/// When it was compiled, or what SOURCE_DATE_EPOCH said then; seconds since the epoch.
pub(crate) const TIME: &str = env!("MASTER_BUILD_TIME");

/// The same as `2026-01-31 12:00:00`, UTC.
pub(crate) const DATE: &str = env!("MASTER_BUILD_DATE");

/// Where Mesos names whoever compiled it: the package, so that nobody takes this for Apache's master.
pub(crate) const USER: &str = concat!("micro-", env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION"));

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "version": MESOS_VERSION,
        "build_date": DATE,
        "build_time": TIME.parse::<f64>().unwrap_or_default(),
        "build_user": USER,
    })
}
