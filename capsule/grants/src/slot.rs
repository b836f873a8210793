//! The life of a place that a task runs in.
//!
//! ```text
//!   Free -reserve-> Reserved -stage-> Staging -verify-> Verified -start-> Running -stop-> Stopping
//!     ^                |                 |                 |                 |               |
//!     |                +---- stop -------+------ stop -----+      end        +------ end ----+
//!     +------------------------------ release <--------------- Ended <-------+
//! ```

/// Why a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its entry returned with this code.
    Exited(i32),
    /// It was stopped on request.
    Stopped,
    /// It trapped or faulted.
    Fault,
    /// It took more memory than granted.
    OverMemory,
    /// It never ran: the image is not what was named.
    BadImage,
}

/// The state of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// Nothing here.
    #[default]
    Free,
    /// A grant is reserved.
    Reserved,
    /// The image comes in pieces.
    Staging,
    /// The image is whole and checked.
    Verified,
    /// The task runs.
    Running,
    /// It was asked to stop and may run until this time, milliseconds.
    Stopping {
        /// On the node's clock.
        deadline_ms: u64,
    },
    /// It has ended; the slot still tells why.
    Ended(Cause),
}

/// What can happen to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotEvent {
    /// A grant was reserved.
    Reserve,
    /// A piece of the image arrived.
    Stage,
    /// The image passed, or did not.
    Verify {
        /// Digest and signature are right.
        good: bool,
    },
    /// The task is started.
    Start,
    /// The task is to stop.
    Stop {
        /// How long it may still run, on the node's clock.
        deadline_ms: u64,
    },
    /// The task ended.
    End(Cause),
    /// The grant is given back.
    Release,
}

/// The event cannot happen in this state. The state stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// The state.
    pub state: Slot,
    /// The event.
    pub event: SlotEvent,
}

impl Slot {
    /// The state after an event.
    pub fn on(self, event: SlotEvent) -> Result<Self, Impossible> {
        use {Slot::*, SlotEvent::*};
        Ok(match (self, event) {
            (Free, Reserve) => Reserved,
            (Reserved | Staging, Stage) => Staging,
            (Staging, Verify { good: true }) => Verified,
            (Staging, Verify { good: false }) => Ended(Cause::BadImage),
            (Verified, Start) => Running,
            (Reserved | Staging | Verified, Stop { .. }) => Ended(Cause::Stopped),
            (Running, Stop { deadline_ms }) => Stopping { deadline_ms },
            // A second request may only bring the end nearer.
            (Stopping { deadline_ms: held }, Stop { deadline_ms }) => {
                Stopping { deadline_ms: if deadline_ms < held { deadline_ms } else { held } }
            }
            (Running | Stopping { .. }, End(cause)) => Ended(cause),
            (Ended(_), Release) => Free,
            (state, event) => return Err(Impossible { state, event }),
        })
    }

    /// True while the task may use CPU time.
    pub const fn may_run(self) -> bool {
        matches!(self, Slot::Running | Slot::Stopping { .. })
    }
}
