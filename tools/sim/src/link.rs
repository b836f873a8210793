//! One process' TCP connection to another: in order, until it breaks.

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Open,
    /// Broken, and its owner does not know yet: what it sends is lost.
    Dead,
}

/// The way from one process to another.
#[derive(Debug)]
pub(crate) struct Way {
    state: State,
    /// Number of the newest connection.
    pub opened: u64,
    /// Connections before this one carry nothing any more.
    valid_from: u64,
    linked: bool,
    last_ms: u64,
    /// No connection can be made until then.
    pub cut_until: u64,
    /// Nothing arrives until then.
    pub stalled_until: u64,
}

/// What became of an attempt to use a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It arrives then, if this connection lives.
    Arrives(u64, u64),
    /// It is lost.
    Lost,
}

impl Way {
    pub fn new() -> Self {
        Self {
            state: State::None,
            opened: 0,
            valid_from: 0,
            linked: false,
            last_ms: 0,
            cut_until: 0,
            stalled_until: 0,
        }
    }

    /// When the last of what is on its way arrives.
    pub fn last_arrival_ms(&self) -> u64 {
        self.last_ms
    }

    /// True if what was sent over this connection may still arrive.
    pub fn is_valid(&self, opened: u64) -> bool {
        opened >= self.valid_from
    }

    fn connect(&mut self, reachable: bool, now: u64) -> bool {
        if self.state == State::None && reachable && now >= self.cut_until {
            self.state = State::Open;
            self.opened += 1;
        }
        self.state != State::None
    }

    /// Watches the other end; false if it cannot be reached: its actors have exited.
    pub fn link(&mut self, reachable: bool, now: u64) -> bool {
        self.linked = self.connect(reachable, now);
        self.linked
    }

    /// Sends over it.
    pub fn send(&mut self, reachable: bool, now: u64, delay_ms: u64) -> Use {
        if !self.connect(reachable, now) || self.state == State::Dead {
            return Use::Lost;
        }
        self.last_ms = self.last_ms.max(now + delay_ms).max(self.stalled_until);
        Use::Arrives(self.last_ms, self.opened)
    }

    /// It breaks; what is on its way is lost. True if the owner will notice something.
    pub fn breaks(&mut self) -> bool {
        self.valid_from = self.opened + 1;
        self.last_ms = 0;
        let was_open = self.state == State::Open;
        if was_open {
            self.state = State::Dead;
        }
        was_open
    }

    /// The owner notices that it broke; true if it was watching.
    pub fn noticed(&mut self) -> bool {
        if self.state != State::Dead {
            return false;
        }
        self.state = State::None;
        std::mem::take(&mut self.linked)
    }

    /// The owner is gone. What it has sent may still arrive, or not.
    pub fn owner_gone(&mut self, arrives: bool) {
        if !arrives {
            self.valid_from = self.opened + 1;
        }
        self.state = State::None;
        self.linked = false;
    }
}
