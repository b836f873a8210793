//! One task on the node: where it is in its life, and what the gateway has not confirmed of it yet.

use crate::intake::Intake;
use crate::manifest::Release;
use crate::os::Record;
use alloc::vec::Vec;
use heapless::{Deque, String};
use node_coap::Upload;
use node_proto::limits::{MESSAGE_BLOCK_SZX, MESSAGE_DATA_MAX, STATUS_NOTE_MAX};
use node_proto::{CommandSeq, Failure, Launch, LongMessage, State, Status};
use serde::{Deserialize, Serialize};

/// Starting, Running, one of its health, and the last one: see [`Task::report_health`].
const STATUSES_MAX: usize = 4;
/// Numbers kept free for the statuses that a task cannot do without.
const NUMBERS_KEPT: u16 = 16;
/// Times that a task is started again: one that takes the node down with it has to end some day.
const RESUMES_MAX: u8 = 16;
/// Messages of the framework that wait for a task to start.
const INBOX_MAX: usize = 4;
/// Bytes of them.
const INBOX_BYTES_MAX: usize = 1024;

/// When a running task is ended, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub at_ms: u64,
    pub failure: Option<Failure>,
}

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
    /// How often it was started again after the node restarted.
    pub resumed: u8,
    pub next_status: u16,
    pub statuses: Deque<Status, STATUSES_MAX>,
}

/// What a task says and the gateway has not confirmed.
#[derive(Debug)]
pub(crate) enum Outbox {
    /// A message of one frame.
    Message(Vec<u8>),
    /// An encoded [`LongMessage`], and how far it has been sent.
    Long { body: Vec<u8>, upload: Upload },
    /// A piece of log.
    Log(Vec<u8>),
}

/// One occupied slot.
#[derive(Debug)]
pub(crate) struct Task {
    pub slot: u8,
    pub kept: Kept,
    /// What has come of the document.
    pub document: Vec<u8>,
    /// A message or a piece of log that the gateway has not confirmed.
    pub outbox: Option<Outbox>,
    pub message_seq: u32,
    pub log_offset: u32,
    /// Bytes of blocks, messages and log that went over the radio since the node started.
    pub radio_bytes: u32,
    /// What its publisher says of its image, once that was found good; `Some(None)` if nobody is asked.
    pub release: Option<Option<Release>>,
    /// How much of its image was looked at.
    pub intake: Intake,
    /// Requests for a block that timed out or were refused in a row.
    pub fetch_failures: u8,
    /// What the framework sent before the task ran.
    pub inbox: Vec<Vec<u8>>,
    /// The health that the gateway has not been told yet.
    pub health: Option<State>,
    /// When its time is up.
    pub time_limit: Option<Deadline>,
    /// It was told to stop, and when it is ended if it does not.
    pub stopping: Option<Deadline>,
    /// It was ended, and as what.
    pub ended_as: Option<Failure>,
}

impl Task {
    pub fn new(slot: u8, order: CommandSeq, launch: Launch) -> Self {
        let kept = Kept {
            order,
            launch,
            phase: Phase::Fetching,
            resumed: 0,
            next_status: 1,
            statuses: Deque::new(),
        };
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
            radio_bytes: 0,
            release: None,
            intake: Intake::default(),
            fetch_failures: 0,
            inbox: Vec::new(),
            health: None,
            time_limit: None,
            stopping: None,
            ended_as: None,
        }
    }

    /// Takes a message of the task's to be sent; one that is too long for any is lost.
    pub fn send(&mut self, data: Vec<u8>, block_szx: u8) {
        if data.len() <= MESSAGE_DATA_MAX {
            self.outbox = Some(Outbox::Message(data));
            return;
        }
        let message = LongMessage { task: self.kept.launch.task, seq: self.message_seq, data: &data };
        if let Ok(body) = message.encode() {
            let upload = Upload::new(block_szx.min(MESSAGE_BLOCK_SZX));
            self.outbox = Some(Outbox::Long { body: body.as_slice().into(), upload });
        }
    }

    /// Keeps a message until the task runs; what is too many is lost.
    pub fn keep_message(&mut self, data: &[u8]) {
        let held: usize = self.inbox.iter().map(Vec::len).sum();
        if self.inbox.len() < INBOX_MAX && held + data.len() <= INBOX_BYTES_MAX {
            self.inbox.push(data.into());
        }
    }

    /// Queues the newest report of health, if that takes nothing from the statuses that must not be lost: one at a
    /// time, behind at most one other, so that the last status always finds a place; and not with the last numbers.
    pub fn report_health(&mut self) -> bool {
        let crowded = self.kept.statuses.len() > 1 || self.kept.next_status > u16::MAX - NUMBERS_KEPT;
        match self.health.take() {
            Some(state) if self.kept.phase == Phase::Running && !crowded => {
                self.report(state, "");
                true
            }
            Some(state) if self.kept.phase == Phase::Running => {
                self.health = Some(state);
                false
            }
            _ => false,
        }
    }

    /// The next moment at which the task is to be ended.
    pub fn deadline(&self) -> Option<Deadline> {
        let both = [self.stopping, self.time_limit];
        both.into_iter().flatten().min_by_key(|deadline| deadline.at_ms)
    }

    /// Whether a task that ran when the node went down is started again, from its beginning; if so it is on its way
    /// there.
    pub fn resume(&mut self) -> bool {
        let may = self.kept.launch.resume && self.kept.resumed < RESUMES_MAX;
        if may {
            self.kept.resumed += 1;
            self.kept.phase = Phase::Fetching;
        }
        may
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
        // One that is started again and again while nobody hears of it must leave a place for its end.
        let crowded = !state.is_terminal() && self.kept.statuses.len() + 1 >= STATUSES_MAX;
        if !crowded && self.kept.statuses.push_back(status).is_ok() {
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
