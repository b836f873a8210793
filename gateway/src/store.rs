//! What survives `kill -9`: records as bytes under (table, key), written in one transaction per step of the driver.
//!
//! The cores only ever name records; the store never interprets them.

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};

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
}

impl Table {
    fn from_number(number: u8) -> Option<Self> {
        use Table::*;
        let all = [
            Meta, Agent, Task, Framework, Session, Command, Image, Intake, Document, Progress, Executor,
            Reserved, Operation,
        ];
        all.get(usize::from(number)).copied()
    }
}

/// One change. The driver commits all changes of a step, in order, before it sends what the step produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Insert or replace.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Remove; no error if it is not there.
    Delete(Table, Vec<u8>),
}

/// All records, as read when the gateway starts.
pub type Records = Vec<(Table, Vec<u8>, Vec<u8>)>;

/// Key: the table's number and the record's key.
const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("micro-gateway-records-2");

/// The store cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("store {0} is in use: another gateway runs on it")]
    InUse(PathBuf),
    /// Not a store of this gateway, or damaged. It is left as it is.
    #[error("store {path} cannot be read ({why}): restore it from a copy, or move it away to start empty")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A write failed: the disk is full or broken.
    #[error("store {path}: {why}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The records in one redb file.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the file and reads all records. A file that is something else is refused, never overwritten.
    pub fn open(path: &Path) -> Result<(Self, Records), StoreError> {
        let foreign = |why: String| StoreError::Foreign { path: path.to_owned(), why };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|error| foreign(error.to_string()))?;
        }
        let exists = std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
            other => foreign(other.to_string()),
        })?;
        let store = Self { database, path: path.to_owned() };
        if !exists {
            store.commit(&[])?; // makes the table
        }
        let records = store.read().map_err(|error| foreign(error.to_string()))?;
        Ok((store, records))
    }

    fn read(&self) -> Result<Records, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let mut records = Records::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let Some((number, key)) = key.value().split_first() else { continue };
            match Table::from_number(*number) {
                Some(table) => records.push((table, key.to_vec(), value.value().to_vec())),
                None => tracing::warn!(number, "the store has a record of a newer kind; it is left alone"),
            }
        }
        Ok(records)
    }

    /// Makes all changes, or none, and returns when they would survive a loss of power.
    pub fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let work = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for write in writes {
                    match write {
                        Write::Put(kind, key, value) => drop(table.insert(&*name(*kind, key), &**value)?),
                        Write::Delete(kind, key) => drop(table.remove(&*name(*kind, key))?),
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        work().map_err(|error| StoreError::Write { path: self.path.clone(), why: error.to_string() })
    }
}

fn name(table: Table, key: &[u8]) -> Vec<u8> {
    [&[table as u8], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.redb");
        let (store, records) = Store::open(&path).unwrap();
        assert!(records.is_empty());
        let put = |key: u8, value: u8| Write::Put(Table::Task, vec![key], vec![value]);
        store.commit(&[put(1, 1), put(2, 2), put(1, 3), Write::Delete(Table::Task, vec![2])]).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse(_))));
        drop(store);
        let (_, records) = Store::open(&path).unwrap();
        assert_eq!(records, [(Table::Task, vec![1], vec![3])]);
    }

    #[test]
    fn a_foreign_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter.txt");
        std::fs::write(&path, "Dear Mesos, ".repeat(1000)).unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("letter.txt") && error.contains("move it away"), "{error}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("Dear Mesos"));
    }
}
