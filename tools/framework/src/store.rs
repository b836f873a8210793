//! Where a framework's id outlives its process, so that the next one takes its tasks over.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Longest id read, bytes (`NAME_MAX`, src/common/validation.cpp).
const ID_MAX: u64 = 255;

/// Keeps one framework id. The methods may block: drivers call them where that is no harm.
pub trait FrameworkIdStore: Send + Sync + 'static {
    /// The id, if one is kept.
    fn load(&self) -> io::Result<Option<String>>;
    /// Keeps an id. After this returned it is there even if the machine stops.
    fn save(&self, id: &str) -> io::Result<()>;
    /// Forgets the id; the framework was removed.
    fn clear(&self) -> io::Result<()>;
}

/// In a file that is either the old one or the new one, never half of it.
#[derive(Clone, Debug)]
pub struct FileStore(PathBuf);

impl FileStore {
    /// Keeps the id in `path`; its directory has to be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn directory(&self) -> &Path {
        self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.0.display()))
    }

    fn write(&self, id: &str) -> io::Result<()> {
        let mut name = self.0.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(".new");
        let new = self.0.with_file_name(name);
        let mut file = File::create(&new)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        std::fs::rename(&new, &self.0)?;
        File::open(self.directory())?.sync_all()
    }
}

impl FrameworkIdStore for FileStore {
    fn load(&self) -> io::Result<Option<String>> {
        let mut file = match File::open(&self.0) {
            Ok(file) => file.take(ID_MAX + 2),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.named(error)),
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| self.named(error))?;
        let id = text.trim();
        let valid = id.len() as u64 <= ID_MAX && !id.chars().any(|c| c.is_control() || "/\\ ".contains(c));
        match valid {
            true => Ok(Some(id.to_owned()).filter(|id| !id.is_empty())),
            false => Err(self.named(io::Error::new(
                io::ErrorKind::InvalidData,
                "holds no framework id; remove it to begin as a new framework",
            ))),
        }
    }

    fn save(&self, id: &str) -> io::Result<()> {
        self.write(id).map_err(|error| self.named(error))
    }

    fn clear(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.named(error)),
            _ => File::open(self.directory())?.sync_all(),
        }
    }
}

/// In memory: for a framework whose tasks end with its process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Option<String>>);

impl MemoryStore {
    fn held(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl FrameworkIdStore for MemoryStore {
    fn load(&self) -> io::Result<Option<String>> {
        Ok(self.held().clone())
    }

    fn save(&self, id: &str) -> io::Result<()> {
        *self.held() = Some(id.to_owned());
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        *self.held() = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_an_id_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("framework.id"));
        assert_eq!(store.load().unwrap(), None);
        store.clear().unwrap();
        for id in ["b4aee8c9-0000", "other"] {
            store.save(id).unwrap();
            assert_eq!(store.load().unwrap().as_deref(), Some(id));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        store.clear().unwrap();
        assert_eq!(store.load().unwrap(), None);
    }

    #[test]
    fn what_is_no_id_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("framework.id");
        for text in ["two words", "a/b", &"x".repeat(300)] {
            std::fs::write(&path, text).unwrap();
            let error = FileStore::new(&path).load().unwrap_err().to_string();
            assert!(error.contains("framework.id") && error.contains("remove it"), "{error}");
        }
        let nowhere = FileStore::new(dir.path().join("none/framework.id"));
        assert!(nowhere.save("x").unwrap_err().to_string().contains("none"));
    }
}
