//! What survives `kill -9`: records as bytes under (table, key), written in one transaction per step of the driver.
//!
//! The cores only ever name records; the store never interprets them.

use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTable, TableDefinition};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

impl Table {
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
    commits: AtomicU64,
}

/// Where in a commit a [`set_probe`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it is done.
    Before,
    /// It would survive a loss of power.
    After,
}

static PROBE: OnceLock<fn(Stage, u64)> = OnceLock::new();

/// Has a function called before and after every commit of this process, with the commit's number from 1: how tests stop
/// the process at each of them. Only the first call counts.
pub fn set_probe(probe: fn(Stage, u64)) {
    let _ = PROBE.set(probe); // the first one stays
}

impl Store {
    /// Opens or makes the file and reads all records. A file that is something else or damaged is refused, never
    /// overwritten.
    pub fn open(path: &Path) -> Result<(Self, Records), StoreError> {
        let foreign = |why: String| StoreError::Foreign { path: path.to_owned(), why };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|error| foreign(error.to_string()))?;
        }
        if std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0) {
            // Looked at without writing first: what cannot be read stays as it is, for whoever can mend it.
            match guarded(|| ReadOnlyDatabase::open(path)) {
                Ok(Ok(database)) => {
                    guarded(|| read(&database)).and_then(|read| read).map_err(&foreign)?;
                }
                // Stopped in mid work: opening it for writing brings it in order.
                Ok(Err(DatabaseError::RepairAborted)) => {}
                Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
                    return Err(StoreError::InUse(path.to_owned()));
                }
                Ok(Err(error)) => return Err(foreign(error.to_string())),
                Err(why) => return Err(foreign(why)),
            }
        } else {
            make(path).map_err(|error| foreign(error.to_string()))?;
        }
        let database =
            guarded(|| Database::create(path)).map_err(&foreign)?.map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
                other => foreign(other.to_string()),
            })?;
        let store = Self { database, path: path.to_owned(), commits: AtomicU64::new(0) };
        let records = guarded(|| read(&store.database)).and_then(|read| read).map_err(&foreign)?;
        Ok((store, records))
    }

    /// Makes all changes, or none, and returns when they would survive a loss of power.
    pub fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let number = self.commits.fetch_add(1, Relaxed) + 1;
        let probe = |stage| PROBE.get().into_iter().for_each(|probe| probe(stage, number));
        probe(Stage::Before);
        let work = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for write in writes {
                    match write {
                        Write::Put(kind, key, value) => {
                            drop(table.insert(&*name(*kind, key), &*sealed(value))?);
                        }
                        Write::Delete(kind, key) => drop(table.remove(&*name(*kind, key))?),
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        work().map_err(|error| StoreError::Write { path: self.path.clone(), why: error.to_string() })?;
        probe(Stage::After);
        Ok(())
    }
}

/// Runs what reads a file that may be damaged: a library that gives up on it gives an error here.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| "its inner order is broken".to_owned())
}

/// Makes an empty store beside and moves it in place: one that is there is whole.
fn make(path: &Path) -> Result<(), redb::Error> {
    let beside = path.with_extension("new");
    if beside.exists() {
        std::fs::remove_file(&beside)?; // left by a gateway that was stopped here
    }
    let database = Database::create(&beside)?;
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    transaction.commit()?;
    drop(database);
    std::fs::rename(&beside, path)?;
    Ok(())
}

fn read(database: &impl ReadableDatabase) -> Result<Records, String> {
    let work = || -> Result<Result<Records, String>, redb::Error> {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let mut records = Records::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let Some((number, key)) = key.value().split_first() else { continue };
            let Some(value) = unsealed(value.value()) else {
                return Ok(Err(format!("a record of kind {number} is damaged")));
            };
            match Table::from_number(*number) {
                Some(table) => records.push((table, key.to_vec(), value.to_vec())),
                None => tracing::warn!(number, "the store has a record of a newer kind; it is left alone"),
            }
        }
        Ok(Ok(records))
    };
    work().map_err(|error| error.to_string())?
}

/// A value with its check sum before it.
fn sealed(value: &[u8]) -> Vec<u8> {
    [&crc32fast::hash(value).to_le_bytes(), value].concat()
}

fn unsealed(sealed: &[u8]) -> Option<&[u8]> {
    let (sum, value) = sealed.split_first_chunk::<4>()?;
    (crc32fast::hash(value) == u32::from_le_bytes(*sum)).then_some(value)
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

    /// A file that is not whole: refused or read to the last record, and in the first case not changed by a byte.
    fn look_at(path: &Path, expected: &Records, what: &str) -> bool {
        let before = std::fs::read(path).unwrap();
        match Store::open(path) {
            Ok((_, records)) => {
                assert_eq!(records, *expected, "{what}: taken and not what was written");
                false
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("restore it") && text.contains("move it away"), "{text}");
                assert!(std::fs::read(path).unwrap() == before, "{what}: refused and changed");
                true
            }
        }
    }

    #[test]
    fn a_damaged_store_is_refused_and_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.redb");
        let (store, _) = Store::open(&path).unwrap();
        let writes: Vec<Write> =
            (0..200u8).map(|key| Write::Put(Table::Task, vec![key], vec![key; 100])).collect();
        store.commit(&writes).unwrap();
        drop(store);
        let (store, expected) = Store::open(&path).unwrap();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let copy = dir.path().join("copy.redb");
        let mut refused = 0;
        for number in 0..48usize {
            let mut bytes = whole.clone();
            // Bytes in the middle of a value are the easiest to miss.
            let at = if number % 2 == 0 {
                let value = whole.windows(50).position(|window| window == [number as u8 + 20; 50]).unwrap();
                value + 25
            } else {
                number * whole.len() / 48
            };
            bytes[at] ^= 0x55;
            std::fs::write(&copy, &bytes).unwrap();
            refused += usize::from(look_at(&copy, &expected, &format!("byte {at}")));
        }
        assert!(refused >= 24, "every damaged value is found: {refused}");
        for len in [1, 100, 4096, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&copy, &whole[..len]).unwrap();
            assert!(look_at(&copy, &expected, &format!("cut to {len}")));
        }
        let other = dir.path().join("other.redb");
        let database = Database::create(&other).unwrap();
        drop(database);
        assert!(look_at(&other, &Vec::new(), "another program's"));
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Foreign { .. })), "a directory");
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
