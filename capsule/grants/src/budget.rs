//! CPU time per window.
//!
//! A tick is whatever the executor measures time in: a microsecond of the core, a unit of fuel.

/// One task's CPU budget. Each window adds its share; what is left over is carried, up to a bound; what was used
/// beyond is owed by the next windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    per_window: u64,
    carry_max: u64,
    balance: u64,
    debt: u64,
    used: u64,
    granted: u64,
}

impl Budget {
    /// `share` thousandths of windows of `window_ticks`, carrying over at most `carry_max` ticks. The first window
    /// has begun.
    pub const fn new(share_permille: u16, window_ticks: u64, carry_max: u64) -> Self {
        let per_window = (window_ticks / 1000).saturating_mul(share_permille as u64)
            + (window_ticks % 1000) * share_permille as u64 / 1000;
        Self { per_window, carry_max, balance: per_window, debt: 0, used: 0, granted: per_window }
    }

    /// A new budget of whose first window only `left` of `window_ticks` ticks are still to come: as much less of it.
    pub const fn joining(self, left: u64, window_ticks: u64) -> Self {
        if left >= window_ticks {
            return self;
        }
        let part = self.per_window.saturating_mul(left) / window_ticks;
        Self { balance: part, granted: part, ..self }
    }

    /// The same budget with another share from the next window on; what is left of this one, and what is owed, stays.
    pub const fn with_share(self, share_permille: u16, window_ticks: u64) -> Self {
        let per_window = Self::new(share_permille, window_ticks, self.carry_max).per_window;
        Self { per_window, ..self }
    }

    /// Ticks that may be used before the next window.
    pub const fn remaining(&self) -> u64 {
        self.balance
    }

    /// Books `ticks` that were used. What exceeds the balance is a debt: a scheduler cannot always stop on the tick.
    pub fn charge(&mut self, ticks: u64) {
        self.used = self.used.saturating_add(ticks);
        self.debt = self.debt.saturating_add(ticks.saturating_sub(self.balance));
        self.balance = self.balance.saturating_sub(ticks);
    }

    /// Begins a window.
    pub fn start_window(&mut self) {
        self.granted = self.granted.saturating_add(self.per_window);
        let pay = self.debt.min(self.per_window);
        self.debt -= pay;
        self.balance = self.balance.min(self.carry_max).saturating_add(self.per_window - pay);
    }

    /// Begins the last of `windows` that passed in which nothing was used but what is booked: the same as so many calls
    /// of [`start_window`](Self::start_window), in one step.
    pub fn start_windows(&mut self, windows: u64) {
        if windows == 0 {
            return;
        }
        let added = self.per_window.saturating_mul(windows);
        self.granted = self.granted.saturating_add(added);
        let pay = self.debt.min(added);
        self.debt -= pay;
        let most = self.carry_max.saturating_add(self.per_window);
        self.balance = self.balance.saturating_add(added - pay).min(most);
    }

    /// Ticks used since the start.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Ticks granted since the start, those that lapsed among them.
    pub const fn granted(&self) -> u64 {
        self.granted
    }

    /// Ticks granted per window.
    pub const fn per_window(&self) -> u64 {
        self.per_window
    }
}
