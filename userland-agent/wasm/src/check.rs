//! When a module is asked whether it is well, and what its answers come to (src/checks/health_checker.cpp).

use crate::engine::Call;
use crate::event::Event;
use node_proto::Check;

/// A call of the check under way.
pub(crate) enum Probe {
    /// There is none.
    Idle,
    Ready(Call),
    /// A device has answered.
    Answered(Call, i32),
}

/// The check of one module.
pub(crate) struct Checker {
    interval_ms: u64,
    timeout_ms: u64,
    /// Failures before the first success do not count until then.
    grace_until_ms: u64,
    /// Failures in a row that end the module; 0 if results are only told.
    failures_max: u8,
    /// When it is called next; in the past while it is due or under way.
    pub next_ms: u64,
    begun_ms: Option<u64>,
    probe: Probe,
    failures: u8,
    healthy: Option<bool>,
    value: Option<i32>,
    news: Option<Event>,
}

impl Checker {
    pub fn new(check: &Check<'_>, now_ms: u64) -> Self {
        let ms = |seconds: u16| u64::from(seconds) * 1000;
        Self {
            interval_ms: ms(check.interval_s.max(1)),
            timeout_ms: if check.timeout_s == 0 { u64::MAX } else { ms(check.timeout_s) },
            grace_until_ms: now_ms + ms(check.grace_s),
            failures_max: check.failures,
            next_ms: now_ms + ms(check.delay_s),
            begun_ms: None,
            probe: Probe::Idle,
            failures: 0,
            healthy: None,
            value: None,
            news: None,
        }
    }

    /// True if a check has been due or under way for too long.
    pub fn is_overdue(&self, suspended: bool, now_ms: u64) -> bool {
        let since = match self.begun_ms {
            Some(begun) => begun,
            None if !suspended => self.next_ms,
            None => return false, // it can be called now
        };
        now_ms.saturating_sub(since) >= self.timeout_ms
    }

    /// The call to go on with; a new one if there is none.
    pub fn take_probe(&mut self, now_ms: u64) -> Probe {
        self.begun_ms.get_or_insert(now_ms);
        core::mem::replace(&mut self.probe, Probe::Idle)
    }

    pub fn go_on(&mut self, probe: Probe) {
        self.probe = probe;
    }

    /// Takes a result, 0 for well, `None` for a check that trapped, waited or took too long. True if the module is to
    /// be ended. A call that is under way is left: the module's own functions set its stack pointer right again.
    pub fn done(&mut self, result: Option<i32>, now_ms: u64) -> bool {
        self.probe = Probe::Idle;
        self.begun_ms = None;
        self.next_ms = now_ms + self.interval_ms;
        if self.failures_max == 0 {
            // A general check tells what it returned; what returned nothing tells nothing.
            if let Some(value) = result.filter(|value| self.value != Some(*value)) {
                self.value = Some(value);
                self.news = Some(Event::Checked(value));
            }
            return false;
        }
        let well = result == Some(0);
        if well {
            self.failures = 0;
        } else if self.healthy.is_none() && now_ms < self.grace_until_ms {
            return false;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        if self.healthy != Some(well) {
            self.healthy = Some(well);
            self.news = Some(Event::Health(well));
        }
        self.failures >= self.failures_max
    }

    pub fn has_news(&self) -> bool {
        self.news.is_some()
    }

    /// The newest change that has not been told.
    pub fn news(&mut self) -> Option<Event> {
        self.news.take()
    }
}
