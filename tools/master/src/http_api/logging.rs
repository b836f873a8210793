//! How much the process logs, for a while: `/logging/toggle`, GET_LOGGING_LEVEL, SET_LOGGING_LEVEL
//! (3rdparty/libprocess/src/logging.cpp). 0 is what it was started with.

use super::Doors;
use crate::driver::Answer;
use http::StatusCode;
use libprocess::reply::{Asked, Reply};
use mesos_proto::v1::master::call::SetLoggingLevel;
use std::time::Duration;

/// What is said where nobody can change it.
const FIXED: &str = "the level cannot be changed in this process: start it with MICRO_LOG=debug";

/// Whether a request is for a change, which this endpoint makes with GET.
pub(super) fn is_change(path: &str, asked: &Asked) -> bool {
    path == "/logging/toggle" && (asked.value("level").is_some() || asked.value("duration").is_some())
}

/// `/logging/toggle`: shows the level, or raises it for a while.
pub(super) fn toggle(asked: &Asked, doors: &Doors) -> Reply {
    let (level, duration) = match (asked.value("level"), asked.value("duration")) {
        (None, None) => return Reply::text(StatusCode::OK, &level(doors).to_string()),
        (Some(_), None) => return Reply::bad("Expecting 'duration=value' in query."),
        (None, Some(_)) => return Reply::bad("Expecting 'level=value' in query."),
        (Some(level), Some(duration)) => (level, duration),
    };
    let Ok(level) = level.parse() else {
        return Reply::bad("level: expected a number of 0 or more");
    };
    let Some(duration) = mesos_proto::text::duration(duration) else {
        return Reply::bad("duration: expected a number with ms, secs, mins, hrs or days behind it");
    };
    match raise(level, duration, doors) {
        Ok(()) => Reply::empty(StatusCode::OK),
        Err(why) => Reply::text(StatusCode::NOT_IMPLEMENTED, why),
    }
}

/// The level now.
pub(super) fn level(doors: &Doors) -> u32 {
    doors.logging.as_ref().map_or(0, |logging| logging.level())
}

/// SET_LOGGING_LEVEL.
pub(super) fn set(call: &SetLoggingLevel, doors: &Doors) -> Answer {
    let plain = |status, why: &str| Answer::Plain { status, reason: why.to_owned() };
    match u64::try_from(call.duration.nanoseconds) {
        Err(_) => plain(400, "set_logging_level.duration: expected 0 or more"),
        Ok(nanoseconds) => match raise(call.level, Duration::from_nanos(nanoseconds), doors) {
            Ok(()) => plain(200, ""),
            Err(why) => plain(501, why),
        },
    }
}

fn raise(level: u32, duration: Duration, doors: &Doors) -> Result<(), &'static str> {
    let logging = doors.logging.as_ref().ok_or(FIXED)?;
    tracing::info!(level, ?duration, "an operator changes how much is logged");
    logging.raise(level, duration);
    Ok(())
}
