//! The kinds of record that the gateway keeps; [`durable`] keeps them.

pub use durable::{Commit, StoreError};

/// The kinds of record. A new kind goes to the end: the number is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Gateway-wide: format version, counters.
    Meta = 0,
    /// One per node: actor number, agent id, newest [`node_proto::Register`].
    Agent = 1,
    /// One per task: what the master sent.
    Task = 2,
    /// One per framework and node.
    Framework = 3,
    /// One per node: its session.
    Session = 4,
    /// One per undelivered command, keyed by node and sequence number.
    Command = 5,
    /// One per image in the cache, keyed by SHA-256.
    Image = 6,
    /// One per task: highest status and message number taken from the node.
    Intake = 7,
    /// One per task: its encoded document.
    Document = 8,
    /// One per task: its state and its stream of unacknowledged updates.
    Progress = 9,
    /// One per executor that a framework named.
    Executor = 10,
    /// One per node with reservations: the whole list.
    Reserved = 11,
    /// One per operation on resources whose status is not acknowledged.
    Operation = 12,
    /// One per node's key: the gateway's own OSCORE numbers below this bound may have been used.
    Sequence = 13,
}

impl durable::Table for Table {
    const OWNER: &'static str = "gateway";
    const FORMAT: u32 = 2;

    fn number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u8) -> Option<Self> {
        use Table::*;
        let all = [
            Meta, Agent, Task, Framework, Session, Command, Image, Intake, Document, Progress, Executor,
            Reserved, Operation, Sequence,
        ];
        all.get(usize::from(number)).copied()
    }
}

/// One change. The driver commits all changes of a step, in order, before it sends what the step produced.
pub type Write = durable::Write<Table>;

/// All records, as read when the gateway starts.
pub type Records = durable::Records<Table>;

/// The gateway's store.
pub type Store = durable::Store<Table>;
