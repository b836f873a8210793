//! Records and images as files of one directory. Each change is whole or not at all: written beside, synced,
//! renamed.

use agent_core::{Digest, Record, StorageError};
use node_proto::TaskHandle;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The node's storage.
#[derive(Debug)]
pub(crate) struct Storage {
    dir: PathBuf,
    /// The image written to last, kept open: blocks come in hundreds.
    open: Option<(Digest, File)>,
    /// Lengths of images asked for lately, so that a poll need not ask the file system.
    lengths: std::collections::BTreeMap<Digest, u32>,
    // Held for as long as the node runs.
    _lock: File,
}

impl Storage {
    /// Opens or makes the directory and takes its lock: two nodes on one state would run tasks twice.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another node uses this state directory")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self { dir: dir.to_owned(), open: None, lengths: Default::default(), _lock: lock })
    }

    fn record_path(&self, record: Record) -> PathBuf {
        self.dir.join(match record {
            Record::Boot => "boot".to_owned(),
            Record::Seen => "seen".to_owned(),
            Record::Images => "images".to_owned(),
            Record::Releases => "releases".to_owned(),
            Record::Sequence => "sequence".to_owned(),
            Record::Slot(slot) => format!("slot-{slot}"),
        })
    }

    fn image_path(&self, image: &Digest) -> PathBuf {
        let name: String = image.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{name}.img"))
    }

    pub fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        match fs::read(self.record_path(record)) {
            Ok(bytes) => match buffer.get_mut(..bytes.len()) {
                Some(room) => {
                    room.copy_from_slice(&bytes);
                    Ok(Some(bytes.len()))
                }
                None => Err(StorageError::Failed),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(classify(&error)),
        }
    }

    pub fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError> {
        Self::replace(&self.record_path(record), bytes)
    }

    fn values_path(&self, task: TaskHandle) -> PathBuf {
        self.dir.join(format!("values-{task}"))
    }

    /// What a task kept by key; nothing if there is none.
    pub fn values(&self, task: TaskHandle) -> Vec<u8> {
        fs::read(self.values_path(task)).unwrap_or_default()
    }

    pub fn keep_values(&self, task: TaskHandle, bytes: &[u8]) -> Result<(), StorageError> {
        Self::replace(&self.values_path(task), bytes)
    }

    pub fn forget_values(&self, task: TaskHandle) {
        if let Err(error) = remove(&self.values_path(task)) {
            tracing::warn!(task, ?error, "values that a task kept are still there");
        }
    }

    fn replace(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        let beside = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error| classify(&error))
    }

    pub fn delete(&mut self, record: Record) -> Result<(), StorageError> {
        remove(&self.record_path(record))
    }

    pub fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError> {
        if let Some(len) = self.lengths.get(image) {
            return Ok(*len);
        }
        let len = match fs::metadata(self.image_path(image)) {
            Ok(meta) => u32::try_from(meta.len()).map_err(|_| StorageError::Failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(classify(&error)),
        };
        self.lengths.insert(*image, len);
        Ok(len)
    }

    pub fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        self.lengths.remove(image);
        let path = self.image_path(image);
        let file = match &mut self.open {
            Some((held, file)) if held == image => file,
            other => {
                let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&path);
                &mut other.insert((*image, file.map_err(|error| classify(&error))?)).1
            }
        };
        let mut write = || -> io::Result<()> {
            file.set_len(u64::from(offset))?;
            file.seek(SeekFrom::Start(u64::from(offset)))?;
            file.write_all(bytes)
        };
        write().map_err(|error| classify(&error))
    }

    pub fn image_read(
        &mut self,
        image: &Digest,
        offset: u32,
        buffer: &mut [u8],
    ) -> Result<usize, StorageError> {
        let mut read = || -> io::Result<usize> {
            let mut file = File::open(self.image_path(image))?;
            file.seek(SeekFrom::Start(u64::from(offset)))?;
            file.read(buffer)
        };
        read().map_err(|error| classify(&error))
    }

    /// The first `len` bytes of an image, for the executor.
    pub fn image(&self, image: &Digest, len: u32) -> io::Result<Vec<u8>> {
        let mut bytes = fs::read(self.image_path(image))?;
        bytes.truncate(len as usize);
        Ok(bytes)
    }

    pub fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError> {
        self.lengths.remove(image);
        self.open.take_if(|(held, _)| held == image);
        remove(&self.image_path(image))
    }
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(classify(&error)),
        _ => Ok(()),
    }
}

fn classify(error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
        _ => StorageError::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_replaced_whole_and_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = Storage::open(dir.path()).unwrap();
        storage.put(Record::Slot(3), b"first, and long").unwrap();
        storage.put(Record::Slot(3), b"second").unwrap();
        drop(storage);
        let mut storage = Storage::open(dir.path()).unwrap();
        let mut buffer = [0; Record::MAX];
        assert_eq!(storage.get(Record::Slot(3), &mut buffer).unwrap(), Some(6));
        assert_eq!(&buffer[..6], b"second");
        storage.delete(Record::Slot(3)).unwrap();
        assert_eq!(storage.get(Record::Slot(3), &mut buffer).unwrap(), None);
    }

    #[test]
    fn a_write_cuts_off_what_was_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = Storage::open(dir.path()).unwrap();
        let image = [7; 16];
        storage.image_write(&image, 0, &[1; 64]).unwrap();
        storage.image_write(&image, 64, &[2; 64]).unwrap();
        storage.image_write(&image, 64, &[3; 10]).unwrap();
        assert_eq!(storage.image_len(&image).unwrap(), 74);
        assert_eq!(storage.image(&image, 74).unwrap()[60..70], [1, 1, 1, 1, 3, 3, 3, 3, 3, 3]);
        storage.image_remove(&image).unwrap();
        assert_eq!(storage.image_len(&image).unwrap(), 0);
    }

    #[test]
    fn a_second_node_on_the_same_state_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Storage::open(dir.path()).unwrap();
        assert_eq!(Storage::open(dir.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
}
