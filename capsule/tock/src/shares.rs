//! What the scheduler and the capsule tell each other: who may have how much of the core, and how much each had.
//!
//! Plain cells in a table that both refer to: the kernel is one thread.

use crate::slots::Used;
use core::cell::Cell;
use grants::{Budget, Grant};

/// Length of a window, microseconds.
pub const WINDOW_US: u64 = 100_000;
/// The most that is carried from one window into the next, microseconds: what a slice cannot be cut to.
pub const CARRY_US: u64 = 2_000;

/// Pause between two statuses of a native task, microseconds: the agent keeps each on flash until the gateway has it, which
/// wears out, and no grant meters that.
const STATUS_PAUSE_US: u64 = 10_000_000;

/// One process's share of the core.
#[derive(Debug)]
pub struct Share {
    budget: Cell<Budget>,
    /// Microseconds that it had because nobody else wanted them.
    extra: Cell<u64>,
    strict: Cell<bool>,
    active: Cell<bool>,
    /// Identity of the process that runs on it, which changes when it starts anew.
    process: Cell<usize>,
    /// When it may report a status again.
    report_us: Cell<u64>,
}

impl Share {
    const fn new() -> Self {
        Self {
            budget: Cell::new(Budget::new(0, WINDOW_US, CARRY_US)),
            extra: Cell::new(0),
            strict: Cell::new(true),
            active: Cell::new(false),
            process: Cell::new(0),
            report_us: Cell::new(0),
        }
    }

    /// Begins to count at a time, microseconds, in the middle of a window.
    fn begin(&self, now_us: u64, cpu_permille: u16, strict: bool, process: usize) {
        let budget = Budget::new(cpu_permille, WINDOW_US, CARRY_US);
        self.budget.set(budget.joining(WINDOW_US - now_us % WINDOW_US, WINDOW_US));
        self.extra.set(0);
        self.strict.set(strict);
        self.process.set(process);
        self.report_us.set(0);
        self.active.set(true);
    }

    /// Changes the share and leaves what is left of this window.
    fn change(&self, cpu_permille: u16, strict: bool) {
        self.budget.set(self.budget.get().with_share(cpu_permille, WINDOW_US));
        self.strict.set(strict);
    }

    /// No time any more; what was counted stays.
    pub fn end(&self) {
        self.active.set(false);
    }

    /// Which process it is for, as long as it is for one.
    pub fn process(&self) -> Option<usize> {
        self.active.get().then(|| self.process.get())
    }

    /// True if a status may be reported now; then not again for [`STATUS_PAUSE_US`].
    pub(crate) fn reports(&self, now_us: u64) -> bool {
        let may = now_us >= self.report_us.get();
        if may {
            self.report_us.set(now_us.saturating_add(STATUS_PAUSE_US));
        }
        may
    }

    /// Whether what nobody wants may be had on top.
    pub(crate) fn strict(&self) -> bool {
        self.strict.get()
    }

    /// Microseconds that are left in this window.
    pub fn remaining(&self) -> u64 {
        if self.active.get() { self.budget.get().remaining() } else { 0 }
    }

    pub(crate) fn charge(&self, us: u64, extra: bool) {
        if extra {
            self.extra.set(self.extra.get().saturating_add(us));
        } else {
            let mut budget = self.budget.get();
            budget.charge(us);
            self.budget.set(budget);
        }
    }

    fn start_windows(&self, windows: u64) {
        let mut budget = self.budget.get();
        budget.start_windows(windows);
        self.budget.set(budget);
    }

    /// Microseconds used, and granted, since it began.
    pub fn used(&self) -> (u64, u64) {
        let budget = self.budget.get();
        (budget.used().saturating_add(self.extra.get()), budget.granted())
    }

    pub(crate) fn usage(&self) -> Used {
        let (cpu_us, granted_us) = self.used();
        Used { cpu_us, granted_us, ..Used::default() }
    }
}

/// The shares of the host and of `NATIVES` native slots, counted among those alone, and the node's clock.
#[derive(Debug)]
pub struct Shares<const NATIVES: usize> {
    /// The host's.
    pub host: Share,
    /// The native slots'.
    pub natives: [Share; NATIVES],
    now_us: Cell<u64>,
}

impl<const NATIVES: usize> Shares<NATIVES> {
    /// Nobody has anything.
    pub const fn new() -> Self {
        Self { host: Share::new(), natives: [const { Share::new() }; NATIVES], now_us: Cell::new(0) }
    }

    /// Microseconds since the start of the node, as of the last decision of the scheduler.
    pub fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    pub(crate) fn set_now_us(&self, now: u64) {
        self.now_us.set(now);
    }

    /// The host's share, or its new one.
    pub(crate) fn host(&self, permille: u16, strict: bool) {
        if self.host.active.get() {
            self.host.change(permille, strict);
        } else {
            self.host.begin(self.now_us(), permille, strict, 0);
        }
    }

    /// Begins the last of so many windows.
    pub(crate) fn start_windows(&self, windows: u64) {
        for share in self.natives.iter().chain([&self.host]) {
            if share.active.get() {
                share.start_windows(windows);
            }
        }
    }

    /// Begins to give a native slot's process its grant; `process` is its identity, [`kernel::ProcessId::id`].
    pub fn begin(&self, native: usize, grant: &Grant, process: usize) {
        if let Some(share) = self.natives.get(native) {
            share.begin(self.now_us(), grant.cpu_permille, grant.strict, process);
        }
    }
}

impl<const NATIVES: usize> Default for Shares<NATIVES> {
    fn default() -> Self {
        Self::new()
    }
}
