//! What the medium keeps of one radio.

use crate::duty::Ledger;
use crate::frame::Frame;
use crate::stats::Stats;
use lowpan::Eui64;
use std::collections::VecDeque;

/// Frames that wait in a radio: two datagrams of 1280 bytes in fragments, and then some.
pub const QUEUE_MAX: usize = 64;

/// What a radio is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    Idle,
    /// It waits for the channel.
    Contending,
    Sending,
}

#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// What it is called in the scene, or else called itself first.
    pub name: Option<Eui64>,
    /// Whether it is on.
    pub present: bool,
    /// Since when, microseconds: of a frame that had begun before it hears nothing.
    pub since_us: u64,
    pub activity: Activity,
    pub ledger: Ledger,
    pub stats: Stats,
    waiting: VecDeque<Frame>,
}

impl Seat {
    /// A radio that is off.
    pub fn new(name: Option<Eui64>) -> Self {
        Self {
            name,
            present: false,
            since_us: 0,
            activity: Activity::Idle,
            ledger: Ledger::default(),
            stats: Stats::default(),
            waiting: VecDeque::new(),
        }
    }

    /// A radio without a name that has just been switched on.
    pub fn attached(now_us: u64) -> Self {
        Self { present: true, since_us: now_us, ..Self::new(None) }
    }

    /// Whether there was room for one more frame.
    pub fn queue(&mut self, frame: Frame) -> bool {
        let room = self.waiting.len() < QUEUE_MAX;
        if room {
            self.waiting.push_back(frame);
        }
        room
    }

    /// The frame whose turn it is.
    pub fn take(&mut self) -> Option<Frame> {
        self.waiting.pop_front()
    }

    pub fn is_drained(&self) -> bool {
        self.waiting.is_empty()
    }
}
