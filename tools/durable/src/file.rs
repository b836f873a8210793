//! A store in one redb file.

use crate::{Commit, PROBE, Records, Stage, StoreError, Table, Write};
use redb::{
    Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, TableHandle,
};
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The records in one redb file.
#[derive(Debug)]
pub struct Store<T> {
    database: Database,
    path: PathBuf,
    commits: AtomicU64,
    tables: PhantomData<fn(T)>,
}

/// Before its format in the name of a program's table.
fn prefix<T: Table>() -> String {
    format!("micro-{}-records-", T::OWNER)
}

impl<T: Table> Store<T> {
    /// Opens or makes the file and reads all records. A file that is something else or damaged is refused, never
    /// overwritten.
    pub fn open(path: &Path) -> Result<(Self, Records<T>), StoreError> {
        let foreign = |why: String| StoreError::Foreign { path: path.to_owned(), why };
        let in_use = || StoreError::InUse { path: path.to_owned(), owner: T::OWNER };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|error| foreign(error.to_string()))?;
        }
        if std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0) {
            // Looked at without writing first: what cannot be read stays as it is, for whoever can mend it.
            match guarded(|| ReadOnlyDatabase::open(path)) {
                Ok(Ok(database)) => drop(load::<T>(&database, path)?),
                // Stopped in mid work: opening it for writing brings it in order.
                Ok(Err(DatabaseError::RepairAborted)) => {}
                Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => return Err(in_use()),
                Ok(Err(error)) => return Err(foreign(error.to_string())),
                Err(why) => return Err(foreign(why)),
            }
        } else {
            make::<T>(path).map_err(|error| foreign(error.to_string()))?;
        }
        let database =
            guarded(|| Database::create(path)).map_err(&foreign)?.map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => in_use(),
                other => foreign(other.to_string()),
            })?;
        let records = load(&database, path)?;
        Ok((
            Self { database, path: path.to_owned(), commits: AtomicU64::new(0), tables: PhantomData },
            records,
        ))
    }
}

impl<T: Table> Commit<T> for Store<T> {
    fn commit(&self, writes: &[Write<T>]) -> Result<(), StoreError> {
        let number = self.commits.fetch_add(1, Relaxed) + 1;
        let probe = |stage| PROBE.get().into_iter().for_each(|probe| probe(T::OWNER, stage, number));
        probe(Stage::Before);
        let work = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let name = table_name::<T>();
                let mut table = transaction.open_table(definition(&name))?;
                for write in writes {
                    match write {
                        Write::Put(kind, key, value) => {
                            drop(table.insert(&*record_key(*kind, key), &*sealed(value))?);
                        }
                        Write::Delete(kind, key) => drop(table.remove(&*record_key(*kind, key))?),
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

fn table_name<T: Table>() -> String {
    format!("{}{}", prefix::<T>(), T::FORMAT)
}

/// Key: the table's number and the record's key. Value: see [`sealed`].
fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// Runs what reads a file that may be damaged: a library that gives up on it gives an error here.
fn guarded<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| "its inner order is broken".to_owned())
}

/// Makes an empty store beside and moves it in place: one that is there is whole.
fn make<T: Table>(path: &Path) -> Result<(), redb::Error> {
    let beside = path.with_extension("new");
    if beside.exists() {
        std::fs::remove_file(&beside)?; // left by one that was stopped here
    }
    let database = Database::create(&beside)?;
    let transaction = database.begin_write()?;
    transaction.open_table(definition(&table_name::<T>()))?;
    transaction.commit()?;
    drop(database);
    std::fs::rename(&beside, path)?;
    Ok(())
}

fn load<T: Table>(database: &impl ReadableDatabase, path: &Path) -> Result<Records<T>, StoreError> {
    let foreign = |why: String| StoreError::Foreign { path: path.to_owned(), why };
    let transaction =
        guarded(|| database.begin_read()).map_err(&foreign)?.map_err(|error| foreign(error.to_string()))?;
    if let Some(found) = guarded(|| other_format::<T>(&transaction)).map_err(&foreign)? {
        let (path, owner, known) = (path.to_owned(), T::OWNER, T::FORMAT);
        return Err(StoreError::OtherFormat { path, owner, found, known });
    }
    guarded(|| read(&transaction)).and_then(|read| read).map_err(foreign)
}

/// The format of a store that another version of this program wrote.
fn other_format<T: Table>(transaction: &ReadTransaction) -> Option<u32> {
    let formats = transaction.list_tables().ok()?;
    let formats: Vec<u32> =
        formats.filter_map(|table| table.name().strip_prefix(prefix::<T>().as_str())?.parse().ok()).collect();
    if formats.contains(&T::FORMAT) { None } else { formats.first().copied() }
}

fn read<T: Table>(transaction: &ReadTransaction) -> Result<Records<T>, String> {
    let work = || -> Result<Result<Records<T>, String>, redb::Error> {
        let name = table_name::<T>();
        let table = transaction.open_table(definition(&name))?;
        let mut records = Records::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let Some((number, key)) = key.value().split_first() else { continue };
            let Some(value) = unsealed(value.value()) else {
                return Ok(Err(format!("a record of kind {number} is damaged")));
            };
            match T::from_number(*number) {
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

fn record_key<T: Table>(table: T, key: &[u8]) -> Vec<u8> {
    [&[table.number()], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Kind<const FORMAT: u32>(u8);

    impl<const FORMAT: u32> Table for Kind<FORMAT> {
        const OWNER: &'static str = "tester";
        const FORMAT: u32 = FORMAT;

        fn number(self) -> u8 {
            self.0
        }

        fn from_number(number: u8) -> Option<Self> {
            (number < 8).then_some(Self(number))
        }
    }

    const TASK: Kind<2> = Kind(2);

    #[test]
    fn another_format_is_refused_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tester.redb");
        drop(Store::<Kind<3>>::open(&path).unwrap());
        let before = std::fs::read(&path).unwrap();
        let error = Store::<Kind<2>>::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::OtherFormat { found: 3, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("run the version that wrote it"), "{error}");
        assert!(std::fs::read(&path).unwrap() == before);
    }

    #[test]
    fn records_of_a_newer_kind_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tester.redb");
        let (store, _) = Store::open(&path).unwrap();
        store
            .commit(&[Write::Put(Kind::<2>(9), vec![1], vec![1]), Write::Put(TASK, vec![1], vec![2])])
            .unwrap();
        drop(store);
        for _ in 0..2 {
            let (store, records) = Store::open(&path).unwrap();
            assert_eq!(records, [(TASK, vec![1], vec![2])]);
            store.commit(&[Write::Delete(TASK, vec![7])]).unwrap();
        }
    }

    #[test]
    fn what_is_committed_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tester.redb");
        let (store, records) = Store::open(&path).unwrap();
        assert!(records.is_empty());
        let put = |key: u8, value: u8| Write::Put(TASK, vec![key], vec![value]);
        store.commit(&[put(1, 1), put(2, 2), put(1, 3), Write::Delete(TASK, vec![2])]).unwrap();
        assert!(matches!(Store::<Kind<2>>::open(&path), Err(StoreError::InUse { .. })));
        drop(store);
        let (_, records) = Store::open(&path).unwrap();
        assert_eq!(records, [(TASK, vec![1], vec![3])]);
    }

    /// A file that is not whole: refused or read to the last record, and in the first case not changed by a byte.
    fn look_at(path: &Path, expected: &Records<Kind<2>>, what: &str) -> bool {
        let before = std::fs::read(path).unwrap();
        match Store::<Kind<2>>::open(path) {
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
        let path = dir.path().join("tester.redb");
        let (store, _) = Store::open(&path).unwrap();
        let writes: Vec<Write<Kind<2>>> =
            (0..200u8).map(|key| Write::Put(TASK, vec![key], vec![key; 100])).collect();
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
        assert!(matches!(Store::<Kind<2>>::open(dir.path()), Err(StoreError::Foreign { .. })), "a directory");
    }

    #[test]
    fn a_foreign_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter.txt");
        std::fs::write(&path, "Dear Mesos, ".repeat(1000)).unwrap();
        let error = Store::<Kind<2>>::open(&path).unwrap_err().to_string();
        assert!(error.contains("letter.txt") && error.contains("move it away"), "{error}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("Dear Mesos"));
    }
}
