//! One task on the node: where it is in its life, and what the gateway has not confirmed of it yet.

use crate::os::{Event, Record};
use alloc::vec::Vec;
use heapless::{Deque, String};
use node_proto::limits::STATUS_NOTE_MAX;
use node_proto::{CommandSeq, Launch, State, Status};
use serde::{Deserialize, Serialize};

/// Starting, Running and the last one; a task has no more statuses.
const STATUSES_MAX: usize = 4;

/// Where a task is. What survives a restart of the node is this without the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The document and the image are coming.
    Fetching,
    /// The executor has it. Found in storage after a restart it means that the task was cut off.
    Running,
    /// It has ended; statuses may still be on their way.
    Ended,
}

/// The part of a task that is kept in a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The command that ordered it: found in a record, it counts as seen.
    pub order: CommandSeq,
    pub launch: Launch,
    pub phase: Phase,
    pub next_status: u16,
    pub statuses: Deque<Status, STATUSES_MAX>,
}

/// One occupied slot.
#[derive(Debug)]
pub(crate) struct Task {
    pub slot: u8,
    pub kept: Kept,
    /// What has come of the document.
    pub document: Vec<u8>,
    /// A message or a piece of log that the gateway has not confirmed.
    pub outbox: Option<Event>,
    pub message_seq: u32,
    pub log_offset: u32,
    /// Requests for a block that timed out or were refused in a row.
    pub fetch_failures: u8,
}

impl Task {
    pub fn new(slot: u8, order: CommandSeq, launch: Launch) -> Self {
        let kept = Kept { order, launch, phase: Phase::Fetching, next_status: 1, statuses: Deque::new() };
        Self::restored(slot, kept)
    }

    pub fn restored(slot: u8, kept: Kept) -> Self {
        Self {
            slot,
            kept,
            document: Vec::new(),
            outbox: None,
            message_seq: 1,
            log_offset: 0,
            fetch_failures: 0,
        }
    }

    pub fn record(&self) -> Record {
        Record::Slot(self.slot)
    }

    /// Queues a status. After a terminal one nothing is taken: a task ends once.
    pub fn report(&mut self, state: State, note: &str) {
        if self.kept.phase == Phase::Ended {
            return;
        }
        let status =
            Status { task: self.kept.launch.task, seq: self.kept.next_status, state, note: cut(note) };
        if self.kept.statuses.push_back(status).is_ok() {
            self.kept.next_status = self.kept.next_status.saturating_add(1);
        }
        match state {
            State::Starting | State::Health(_) | State::Checked(_) => {}
            State::Running => self.kept.phase = Phase::Running,
            State::Exited(_) | State::Killed | State::Failed(_) => {
                self.kept.phase = Phase::Ended;
                self.document = Vec::new();
            }
        }
    }

    /// True when the gateway knows everything about a task that has ended.
    pub fn is_done(&self) -> bool {
        self.kept.phase == Phase::Ended && self.kept.statuses.is_empty()
    }
}

/// As much of `text` as a status holds, cut between characters.
fn cut(text: &str) -> String<STATUS_NOTE_MAX> {
    let mut note = String::new();
    for c in text.chars() {
        if note.push(c).is_err() {
            break;
        }
    }
    note
}
