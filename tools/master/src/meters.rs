//! What is measured around the core, which has no clock: how long its writes take, and what waits for it. The names are
//! those of Mesos' registrar (src/master/registrar.cpp), of which this master's store takes the place.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Counted by the driver, read by whoever answers requests.
#[derive(Default)]
pub(crate) struct Meters {
    commits: AtomicU64,
    last_us: AtomicU64,
    longest_us: AtomicU64,
    waiting: AtomicU64,
}

impl Meters {
    /// Does a commit, and remembers how long it took.
    pub fn store<T>(&self, commit: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = commit();
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Relaxed);
        self.last_us.store(took, Relaxed);
        self.longest_us.fetch_max(took, Relaxed);
        done
    }

    /// Messages that have arrived and not been looked at.
    pub fn messages_waiting(&self, count: usize) {
        self.waiting.store(count as u64, Relaxed);
    }

    /// All of it.
    pub fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let value = |number: &AtomicU64| number.load(Relaxed) as f64;
        let all = [
            ("master/event_queue_messages", value(&self.waiting)),
            ("registrar/log/recovered", 1.0),
            // Commits are done one after the other, each before anything else is.
            ("registrar/queued_operations", 0.0),
            ("registrar/state_store_ms", value(&self.last_us) / 1000.0),
            ("registrar/state_store_ms/count", value(&self.commits)),
            ("registrar/state_store_ms/max", value(&self.longest_us) / 1000.0),
        ];
        all.into_iter()
    }
}
