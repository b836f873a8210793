//! The kinds of record that the master keeps, and how they are read back; [`durable`] keeps them. Numbers and keys are on
//! disk: they never change their meaning.

use durable::Table as _;
use prost::Message;

pub use durable::{Commit, Nowhere, StoreError};

/// The kinds of record. A new kind goes to the end: the number is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Of the master itself, keyed by name: its id, and which numbers have been used.
    Meta = 0,
    /// One per admitted agent, keyed by its id: [`crate::records::AgentRecord`].
    Agent = 1,
    /// One per unreachable agent, keyed by its id: since when, milliseconds since the epoch.
    Unreachable = 2,
    /// One per agent that is gone for ever, keyed by its id: since when, milliseconds since the epoch.
    Gone = 3,
    /// One per framework that may come back, keyed by its id: [`crate::records::FrameworkRecord`].
    Framework = 4,
    /// One per ended framework, keyed by its id, so that none comes back under it:
    /// [`crate::records::CompletedRecord`].
    Completed = 5,
    /// The maintenance schedule, under the empty key.
    Schedule = 6,
    /// One per machine that is not simply up, keyed by hostname and address.
    Machine = 7,
    /// One per role whose weight was set at run time, keyed by the role.
    Weight = 8,
    /// One per agent that is drained or deactivated, keyed by its id.
    Drain = 9,
    /// One per job, keyed by its name.
    Job = 10,
    /// One per instance of a job.
    Instance = 11,
}

impl durable::Table for Table {
    const OWNER: &'static str = "master";
    const FORMAT: u32 = 1;

    fn number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u8) -> Option<Self> {
        use Table::*;
        let all = [
            Meta,
            Agent,
            Unreachable,
            Gone,
            Framework,
            Completed,
            Schedule,
            Machine,
            Weight,
            Drain,
            Job,
            Instance,
        ];
        all.get(usize::from(number)).copied()
    }
}

/// One change. The driver commits all changes of a step, in order, before it does anything else that the step asks for.
pub type Write = durable::Write<Table>;

/// All records, as read when the master starts.
pub type Records = durable::Records<Table>;

/// The master's store.
pub type Store = durable::Store<Table>;

/// A record that the store gave whole, and that says nothing this master understands.
#[derive(Debug, thiserror::Error)]
#[error(
    "the master's store has a record of kind {table:?} that cannot be read: restore the state directory from a copy, or move it away to start empty"
)]
pub struct Unreadable {
    /// Its kind.
    pub table: Table,
}

/// Inserts or replaces a record.
pub fn put(table: Table, key: &str, value: &impl Message) -> Write {
    Write::Put(table, key.as_bytes().to_vec(), value.encode_to_vec())
}

/// Removes a record.
pub fn delete(table: Table, key: &str) -> Write {
    Write::Delete(table, key.as_bytes().to_vec())
}

/// The records of a kind, by key.
pub fn of_kind<M: Message + Default>(
    records: &Records,
    table: Table,
) -> Result<Vec<(String, M)>, Unreadable> {
    let unreadable = || Unreadable { table };
    records
        .iter()
        .filter(|(kind, ..)| kind.number() == table.number())
        .map(|(_, key, value)| {
            let key = std::str::from_utf8(key).map_err(|_| unreadable())?;
            Ok((key.to_owned(), M::decode(value.as_slice()).map_err(|_| unreadable())?))
        })
        .collect()
}
