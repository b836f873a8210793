//! What survives `kill -9`: records as bytes under (table, key), written in one transaction per step of the driver.
//!
//! The cores only ever name records; the store never interprets them.

/// The kinds of record. A new kind goes to the end: the number is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Gateway-wide: format version, actor counter, image handles.
    Meta = 0,
    /// One per node: actor number, agent id, newest [`node_proto::Register`].
    Agent = 1,
    /// One per task: what the master sent, its state, its stream of unacknowledged updates.
    Task = 2,
    /// One per framework and node.
    Framework = 3,
    /// One per node: its session (command counter, boot).
    Session = 4,
    /// One per undelivered command, keyed by node and sequence number.
    Command = 5,
    /// One per image in the cache, keyed by SHA-256.
    Image = 6,
    /// One per task: highest status and message number taken from the node.
    Intake = 7,
    /// One per task: its encoded document.
    Document = 8,
}

/// One change. The driver commits all changes of a step, in order, before it sends what the step produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Insert or replace.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Remove; no error if it is not there.
    Delete(Table, Vec<u8>),
}
