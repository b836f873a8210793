//! Images: fetched by URI, kept by content, named to nodes by a 16-bit handle.
//!
//! A file of the cache is named by the SHA-256 of its content, written beside, synced and renamed; one whose content no
//! longer fits its name is dropped when it is read, and fetched again. The cache has a size limit: what no task needs
//! and was not used for the longest time goes first. Fetching blocks: the driver does it on threads ([`Fetcher`]).

mod fetch;
mod trust;

pub use fetch::{FetchError, Fetched, Fetcher, demanded, parse_manifest};
pub use trust::{Trust, parse_key};

use crate::agent::Image;
use crate::store::{Records, Table, Write as StoreWrite};
use node_proto::{ImageHandle, Kind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of files in a cache that was told no other limit.
pub const CACHE_BYTES: u64 = 64 << 20;

/// What of an image is on disk, under its digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    handle: ImageHandle,
    len: u32,
    wasm: bool,
    /// Where it came from, to get it again.
    uri: String,
    /// The publisher's signed manifest; empty for none.
    manifest: Vec<u8>,
}

/// One image that is known by its handle.
#[derive(Debug)]
struct Known {
    digest: [u8; 32],
    record: Record,
    /// Grows with each use.
    used: u64,
    /// Unix time of the last use since the start, milliseconds.
    used_ms: Option<u64>,
}

/// What operators see of an image.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub digest: [u8; 32],
    pub bytes: u32,
    pub uri: String,
    pub kind: &'static str,
    /// The publisher's signed manifest; empty for none.
    pub manifest: Vec<u8>,
    pub used_ms: Option<u64>,
}

/// The images that are known by handle.
#[derive(Debug)]
pub struct Images {
    dir: PathBuf,
    limit: u64,
    known: BTreeMap<ImageHandle, Known>,
    by_digest: BTreeMap<[u8; 32], ImageHandle>,
    next: ImageHandle,
    clock: u64,
}

impl Images {
    /// Opens the cache. What the records do not name is left from a crash and removed.
    pub fn open(dir: &Path, limit: u64, records: &Records) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut images = Self {
            dir: dir.to_owned(),
            limit,
            known: BTreeMap::new(),
            by_digest: BTreeMap::new(),
            next: 1,
            clock: 0,
        };
        for (_, key, value) in records.iter().filter(|(table, ..)| *table == Table::Image) {
            let (Ok(digest), Ok(record)) = (<[u8; 32]>::try_from(&key[..]), postcard::from_bytes(value))
            else {
                tracing::warn!("skipping an unreadable image record");
                continue;
            };
            images.insert(digest, record);
        }
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let is_image = path.extension().is_some_and(|extension| extension == "img" || extension == "new");
            if is_image && !images.by_digest.keys().any(|digest| images.path(digest) == path) {
                fs::remove_file(path)?;
            }
        }
        Ok(images)
    }

    fn insert(&mut self, digest: [u8; 32], record: Record) {
        let handle = record.handle;
        self.by_digest.insert(digest, handle);
        self.known.insert(handle, Known { digest, record, used: 0, used_ms: None });
        self.next = self.next.max(handle).checked_add(1).unwrap_or(1);
    }

    fn touch(&mut self, handle: ImageHandle) {
        self.clock += 1;
        if let Some(known) = self.known.get_mut(&handle) {
            known.used = self.clock;
            known.used_ms = Some(page::now_ms());
        }
    }

    /// Keeps an image and names it. The writes are to be committed before a node hears of it. `needed` are the images
    /// of tasks that have not ended: they stay, whatever the limit says.
    pub fn keep(
        &mut self,
        uri: &str,
        fetched: &Fetched,
        needed: impl Fn() -> BTreeSet<ImageHandle>,
    ) -> io::Result<(Image, Vec<StoreWrite>)> {
        let path = self.path(&fetched.digest);
        if !path.exists() {
            let beside = path.with_extension("new");
            let mut file = fs::File::create(&beside)?;
            file.write_all(&fetched.bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
        }
        let mut writes = Vec::new();
        let handle = match self.by_digest.get(&fetched.digest) {
            Some(handle) => *handle,
            None => self.free_handle(&needed, &mut writes)?,
        };
        let record = Record {
            handle,
            len: fetched.bytes.len() as u32,
            wasm: fetched.kind == Kind::Wasm,
            uri: uri.to_owned(),
            manifest: fetched.manifest.clone().unwrap_or_default(),
        };
        if self.known.get(&handle).is_none_or(|known| known.record != record) {
            let value = postcard::to_allocvec(&record).map_err(io::Error::other)?;
            writes.push(StoreWrite::Put(Table::Image, fetched.digest.to_vec(), value));
            self.insert(fetched.digest, record);
            self.evict(handle, &needed, &mut writes)?;
        }
        self.touch(handle);
        let image = Image {
            handle,
            len: fetched.bytes.len() as u32,
            digest: fetched.digest,
            kind: fetched.kind,
            manifest: fetched.manifest.clone(),
        };
        Ok((image, writes))
    }

    fn free_handle(
        &mut self,
        needed: impl Fn() -> BTreeSet<ImageHandle>,
        writes: &mut Vec<StoreWrite>,
    ) -> io::Result<ImageHandle> {
        if self.known.len() >= usize::from(ImageHandle::MAX) {
            let oldest =
                self.oldest(0, &needed()).ok_or_else(|| io::Error::other("65,535 images are needed"))?;
            self.forget(oldest, writes)?;
        }
        while self.next == 0 || self.known.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        Ok(self.next)
    }

    fn oldest(&self, but: ImageHandle, needed: &BTreeSet<ImageHandle>) -> Option<ImageHandle> {
        let free = self.known.iter().filter(|(handle, _)| **handle != but && !needed.contains(handle));
        free.min_by_key(|(_, known)| known.used).map(|(handle, _)| *handle)
    }

    /// Lets images go until the rest is within the limit.
    fn evict(
        &mut self,
        newest: ImageHandle,
        needed: impl Fn() -> BTreeSet<ImageHandle>,
        writes: &mut Vec<StoreWrite>,
    ) -> io::Result<()> {
        let mut sum: u64 = self.known.values().map(|known| u64::from(known.record.len)).sum();
        if sum <= self.limit {
            return Ok(()); // what is needed is only asked if it matters: it means a look at all tasks
        }
        let needed = needed();
        while sum > self.limit {
            let Some(oldest) = self.oldest(newest, &needed) else {
                tracing::warn!(
                    bytes = sum,
                    limit = self.limit,
                    "the images in use are more than the cache may hold"
                );
                return Ok(());
            };
            sum -= self.known.get(&oldest).map_or(0, |known| u64::from(known.record.len));
            self.forget(oldest, writes)?;
        }
        Ok(())
    }

    fn forget(&mut self, handle: ImageHandle, writes: &mut Vec<StoreWrite>) -> io::Result<()> {
        let Some(known) = self.known.remove(&handle) else { return Ok(()) };
        self.by_digest.remove(&known.digest);
        writes.push(StoreWrite::Delete(Table::Image, known.digest.to_vec()));
        match fs::remove_file(self.path(&known.digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// An image of the cache by the digest that a URI demands.
    pub fn find(&mut self, digest: &[u8; 32]) -> Option<Fetched> {
        let handle = *self.by_digest.get(digest)?;
        let bytes = self.load(handle).ok()?;
        let record = &self.known.get(&handle)?.record;
        Some(Fetched {
            bytes,
            digest: *digest,
            kind: if record.wasm { Kind::Wasm } else { Kind::Native },
            manifest: Some(record.manifest.clone()).filter(|manifest| !manifest.is_empty()),
        })
    }

    /// The bytes of an image, checked; if they are not there, the URI to get them from again.
    pub fn load(&mut self, handle: ImageHandle) -> Result<Arc<[u8]>, Option<String>> {
        self.touch(handle);
        let known = self.known.get(&handle).ok_or(None)?;
        let path = self.path(&known.digest);
        let again = Some(known.record.uri.clone());
        match fs::read(&path) {
            Ok(bytes) if <[u8; 32]>::from(Sha256::digest(&bytes)) == known.digest => Ok(bytes.into()),
            Ok(_) => {
                tracing::warn!(handle, "an image in the cache is damaged and dropped");
                let _ = fs::remove_file(&path); // it is written anew, whatever is there
                Err(again)
            }
            Err(error) => {
                tracing::warn!(handle, %error, "an image is no longer in the cache");
                Err(again)
            }
        }
    }

    /// What an image is: `wasm` or `native`.
    pub fn kind(&self, handle: ImageHandle) -> Option<&'static str> {
        self.known.get(&handle).map(|known| if known.record.wasm { "wasm" } else { "native" })
    }

    /// All of them, each with a number that is the greater the later it was used.
    pub(crate) fn list(&self) -> impl Iterator<Item = (ImageHandle, u64)> {
        self.known.iter().map(|(handle, known)| (*handle, known.used))
    }

    /// One image.
    pub(crate) fn about(&self, handle: ImageHandle) -> Option<About> {
        let Known { digest, record, used_ms, .. } = self.known.get(&handle)?;
        Some(About {
            digest: *digest,
            bytes: record.len,
            uri: record.uri.clone(),
            kind: self.kind(handle)?,
            manifest: record.manifest.clone(),
            used_ms: *used_ms,
        })
    }

    /// Bytes of all, and how many they may be.
    pub fn size(&self) -> (u64, u64) {
        (self.known.values().map(|known| u64::from(known.record.len)).sum(), self.limit)
    }

    /// The handle of an image by its digest.
    pub fn handle(&self, digest: &[u8; 32]) -> Option<ImageHandle> {
        self.by_digest.get(digest).copied()
    }

    fn path(&self, digest: &[u8; 32]) -> PathBuf {
        self.dir.join(format!("{}.img", hex(digest)))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits; `None` if it is something else.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(number: u8, len: usize) -> Fetched {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.resize(len, number);
        Fetched {
            digest: Sha256::digest(&bytes).into(),
            bytes: bytes.into(),
            kind: Kind::Wasm,
            manifest: None,
        }
    }

    fn records(writes: Vec<StoreWrite>) -> Records {
        let put = |write| match write {
            StoreWrite::Put(table, key, value) => Some((table, key, value)),
            StoreWrite::Delete(..) => None,
        };
        writes.into_iter().filter_map(put).collect()
    }

    #[test]
    fn an_image_keeps_its_handle_and_a_damaged_file_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let none = BTreeSet::new;
        let mut images = Images::open(dir.path(), 1000, &Vec::new()).unwrap();
        let (first, writes) = images.keep("/a.wasm", &module(1, 100), none).unwrap();
        assert_eq!(images.keep("/a.wasm", &module(1, 100), none).unwrap().0, first);
        std::fs::write(dir.path().join("left.new"), b"half").unwrap();
        let records = records(writes);
        let mut images = Images::open(dir.path(), 1000, &records).unwrap();
        assert!(!dir.path().join("left.new").exists());
        assert_eq!(*images.load(first.handle).unwrap(), *module(1, 100).bytes);
        assert!(images.find(&first.digest).is_some());
        fs::write(images.path(&first.digest), b"\0asm....").unwrap();
        assert_eq!(images.load(first.handle), Err(Some("/a.wasm".into())));
        let (again, _) = images.keep("/a.wasm", &module(1, 100), none).unwrap();
        assert_eq!(again, first, "fetched again it has its old handle");
        assert_eq!(images.load(99), Err(None));
    }

    #[test]
    fn the_oldest_that_nobody_needs_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut images = Images::open(dir.path(), 250, &Vec::new()).unwrap();
        let mut keep = |number, needed: &[ImageHandle]| {
            images
                .keep("/x.wasm", &module(number, 100), || needed.iter().copied().collect())
                .unwrap()
                .0
                .handle
        };
        let (a, b) = (keep(1, &[]), keep(2, &[]));
        let c = keep(3, &[a]);
        assert!(images.load(a).is_ok() && images.load(c).is_ok());
        assert_eq!(images.load(b), Err(None), "a is older, but needed");
        let mut keep = |number, needed: &[ImageHandle]| {
            images
                .keep("/x.wasm", &module(number, 100), || needed.iter().copied().collect())
                .unwrap()
                .0
                .handle
        };
        let d = keep(4, &[a, c]);
        assert!([a, c, d].iter().all(|handle| images.load(*handle).is_ok()), "all needed: over the limit");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn handles_are_used_again_when_they_run_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut images = Images::open(dir.path(), 150, &Vec::new()).unwrap();
        images.next = ImageHandle::MAX;
        let first = images.keep("/x", &module(1, 100), BTreeSet::new).unwrap().0.handle;
        let second = images.keep("/x", &module(2, 100), BTreeSet::new).unwrap().0.handle;
        assert_eq!((first, second), (ImageHandle::MAX, 1));
    }
}
