//! How much a process logs, while it runs: whoever set up its log gives the master a [`LogLevel`], and operators raise
//! it for a while.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

#[derive(Default)]
struct Raised {
    level: u32,
    /// How often it was set: what puts it back must not undo what came later.
    changes: u64,
    /// Puts it back.
    end: Option<JoinHandle<()>>,
}

/// A log whose level can be changed. Clones are the same.
#[derive(Clone)]
pub struct LogLevel {
    set: Arc<dyn Fn(u32) + Send + Sync>,
    raised: Arc<Mutex<Raised>>,
}

impl LogLevel {
    /// `set` is called with 0 for what the process was started with, and with more for more.
    pub fn new(set: impl Fn(u32) + Send + Sync + 'static) -> Self {
        Self { set: Arc::new(set), raised: Arc::default() }
    }

    /// The level now.
    pub fn level(&self) -> u32 {
        self.raised().level
    }

    /// Sets the level, and puts it back after a while unless it was set again meanwhile.
    pub(crate) fn raise(&self, level: u32, duration: Duration) {
        let mut raised = self.raised();
        if let Some(end) = raised.end.take() {
            end.abort();
        }
        raised.level = level;
        raised.changes += 1;
        (self.set)(level);
        if level > 0 {
            let (this, change) = (self.clone(), raised.changes);
            raised.end = Some(tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                let mut raised = this.raised();
                if raised.changes == change {
                    raised.level = 0;
                    (this.set)(0);
                }
            }));
        }
    }

    fn raised(&self) -> std::sync::MutexGuard<'_, Raised> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.level()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_raised_level_comes_back() {
        let (sender, mut seen) = mpsc::unbounded_channel();
        let log = LogLevel::new(move |level| sender.send(level).unwrap());
        log.raise(1, Duration::from_secs(3600));
        log.raise(2, Duration::ZERO);
        for expected in [1, 2, 0] {
            assert_eq!(seen.recv().await, Some(expected));
        }
        assert_eq!(log.level(), 0);
    }
}
