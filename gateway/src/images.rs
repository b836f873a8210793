//! Images: fetched once by URI, kept by content, named to nodes by a 16-bit handle.
//!
//! A file of the cache is named by the SHA-256 of its content, written beside, synced and renamed; one whose content
//! no longer fits its name is dropped when it is read. Fetching blocks: the driver does it on a thread for that.

use crate::agent::Image;
use crate::store::{Records, Table, Write as StoreWrite};
use node_proto::limits::IMAGE_MAX;
use node_proto::{ImageHandle, Kind};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a server, whole download included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an image cannot be had. The text goes to the framework.
#[derive(Debug, thiserror::Error)]
#[error("{uri}: {why}")]
pub struct FetchError {
    uri: String,
    why: String,
}

/// Bytes of an image and what they are.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The image.
    pub bytes: Arc<[u8]>,
    /// Their SHA-256.
    pub digest: [u8; 32],
    /// What the first bytes say.
    pub kind: Kind,
}

/// Images found whole in the cache, with their bytes.
pub type Held = Vec<(Image, Arc<[u8]>)>;

/// The images that are known by handle.
#[derive(Debug)]
pub struct Images {
    dir: PathBuf,
    handles: BTreeMap<[u8; 32], ImageHandle>,
    next: ImageHandle,
}

impl Images {
    /// Opens the cache and gives the images that the records name and that are whole, so that transfers can go on.
    pub fn open(dir: &Path, records: &Records) -> io::Result<(Self, Held)> {
        fs::create_dir_all(dir)?;
        let mut images = Self { dir: dir.to_owned(), handles: BTreeMap::new(), next: 1 };
        let mut held = Held::new();
        for (_, key, value) in records.iter().filter(|(table, ..)| *table == Table::Image) {
            let (Ok(digest), Ok(handle)) = (<[u8; 32]>::try_from(&key[..]), <[u8; 2]>::try_from(&value[..]))
            else {
                tracing::warn!("skipping an unreadable image record");
                continue;
            };
            let handle = ImageHandle::from_be_bytes(handle);
            images.next = images.next.max(handle.saturating_add(1));
            // The handle stays bound to the digest even if the file is gone: a node may still name it.
            images.handles.insert(digest, handle);
            match fs::read(images.path(&digest)).map_err(|error| error.to_string()).and_then(examine) {
                Ok(fetched) if fetched.digest == digest => {
                    held.push((image(handle, &fetched), fetched.bytes))
                }
                Ok(_) => {
                    tracing::warn!(handle, "an image in the cache is damaged and dropped");
                    fs::remove_file(images.path(&digest))?;
                }
                Err(why) => tracing::warn!(handle, why, "an image is no longer in the cache"),
            }
        }
        Ok((images, held))
    }

    /// Keeps an image and names it; the record is to be committed before a node hears of it.
    pub fn keep(&mut self, fetched: &Fetched) -> io::Result<(Image, Option<StoreWrite>)> {
        let path = self.path(&fetched.digest);
        if !path.exists() {
            let beside = path.with_extension("new");
            let mut file = fs::File::create(&beside)?;
            file.write_all(&fetched.bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
        }
        if let Some(handle) = self.handles.get(&fetched.digest) {
            return Ok((image(*handle, fetched), None));
        }
        let handle = self.next;
        self.next = self.next.checked_add(1).ok_or_else(|| io::Error::other("65,535 images are known"))?;
        self.handles.insert(fetched.digest, handle);
        let write = StoreWrite::Put(Table::Image, fetched.digest.to_vec(), handle.to_be_bytes().to_vec());
        Ok((image(handle, fetched), Some(write)))
    }

    fn path(&self, digest: &[u8; 32]) -> PathBuf {
        self.dir.join(format!("{}.img", hex(digest)))
    }
}

fn image(handle: ImageHandle, fetched: &Fetched) -> Image {
    Image {
        handle,
        len: fetched.bytes.len() as u32,
        digest: fetched.digest,
        kind: fetched.kind,
        signature: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gets an image from `http(s)://`, `file://` or an absolute path. A fragment `#sha256=HEX` says what it has to be.
/// Blocks for as long as [`FETCH_TIMEOUT`].
pub fn fetch(uri: &str) -> Result<Fetched, FetchError> {
    let fail = |why: String| FetchError { uri: uri.to_owned(), why };
    let (place, fragment) = uri.split_once('#').unwrap_or((uri, ""));
    let bytes = match place.split_once("://") {
        Some(("http" | "https", _)) => fetch_http(place),
        Some(("file", path)) => fetch_file(path),
        Some((scheme, _)) => {
            Err(format!("unknown scheme '{scheme}': use http, https, file or an absolute path"))
        }
        None if place.starts_with('/') => fetch_file(place),
        None => Err("not a URI: use http, https, file or an absolute path".into()),
    };
    let fetched = bytes.and_then(examine).map_err(fail)?;
    match fragment.strip_prefix("sha256=") {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&hex(&fetched.digest)) => {
            Err(fail(format!("wrong digest: it is sha256={}", hex(&fetched.digest))))
        }
        _ => Ok(fetched),
    }
}

fn fetch_file(path: &str) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("not a file".into());
    }
    read(file)
}

fn fetch_http(uri: &str) -> Result<Vec<u8>, String> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(FETCH_TIMEOUT)).max_redirects(5).build();
    let mut response =
        ureq::Agent::new_with_config(agent).get(uri).call().map_err(|error| error.to_string())?;
    read(response.body_mut().as_reader())
}

fn read(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader.take(u64::from(IMAGE_MAX) + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn examine(bytes: Vec<u8>) -> Result<Fetched, String> {
    if bytes.len() > IMAGE_MAX as usize {
        return Err(format!("larger than {IMAGE_MAX} bytes"));
    }
    let kind = match bytes.get(..4) {
        Some(b"\0asm") => Kind::Wasm,
        // A Tock binary begins with its header's version, 2 (Tock's `doc/TockBinaryFormat.md`).
        Some([2, 0, ..]) => Kind::Native,
        _ => return Err("neither a WebAssembly module nor a Tock binary".into()),
    };
    let digest = Sha256::digest(&bytes).into();
    Ok(Fetched { bytes: bytes.into(), digest, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn what_cannot_be_had_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("text.wasm"), "hello, world").unwrap();
        fs::write(path("big.wasm"), vec![0; IMAGE_MAX as usize + 1]).unwrap();
        fs::write(path("ok.wasm"), MODULE).unwrap();
        for (uri, word) in [
            ("ftp://h/a.wasm".to_owned(), "unknown scheme 'ftp'"),
            ("a.wasm".to_owned(), "not a URI"),
            (path("missing.wasm"), "No such file"),
            (path(""), "not a file"),
            (path("text.wasm"), "neither"),
            (path("big.wasm"), "larger than"),
            (path("ok.wasm") + "#sha256=00", "wrong digest"),
            ("http://127.0.0.1:9/a.wasm".to_owned(), "127.0.0.1:9"),
        ] {
            let error = fetch(&uri).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(&uri), "{uri}: {error}");
        }
    }

    #[test]
    fn an_image_keeps_its_handle_and_a_damaged_file_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("a.wasm");
        fs::write(&source, MODULE).unwrap();
        let fetched = fetch(&format!("file://{}", source.display())).unwrap();
        let (mut images, _) = Images::open(&dir.path().join("cache"), &Vec::new()).unwrap();
        let (first, write) = images.keep(&fetched).unwrap();
        assert_eq!(images.keep(&fetched).unwrap(), (first, None));
        let Some(StoreWrite::Put(table, key, value)) = write else { panic!("nothing to keep") };
        let records = vec![(table, key, value)];
        let (images, held) = Images::open(&dir.path().join("cache"), &records).unwrap();
        assert_eq!((held[0].0, &*held[0].1), (first, MODULE));
        fs::write(images.path(&first.digest), b"\0asm....").unwrap();
        let (mut images, held) = Images::open(&dir.path().join("cache"), &records).unwrap();
        assert!(held.is_empty());
        assert_eq!(images.keep(&fetched).unwrap().0, first, "fetched again it has its old handle");
    }
}
