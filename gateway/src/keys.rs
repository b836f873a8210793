//! The file of nodes' keys: one commissioned node a line, written by `micro commission` and `micro revoke`, read by the
//! gateway whenever it changes.
//!
//! ```text
//! # EUI-64         id    master secret                    master salt
//! 020000000000000a 01    6f1e...                          90ab...
//! revoked 020000000000000b 02
//! ```

use crate::bridge::NodeId;
use crate::session::Keyring;
use node_oscore::{Credential, Id};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of a file: 100,000 nodes have 7 MB.
const FILE_MAX: u64 = 64 << 20;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read or written.
    #[error("keys {0}: {1}")]
    File(PathBuf, io::Error),
    /// Something in it. The line itself is not told: it holds a secret.
    #[error("keys {path}, line {line}: {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The node has a key.
    #[error("node {0} is commissioned already; revoke it first, or give --again to replace its key")]
    Known(NodeId),
    /// The node has none.
    #[error("node {0} is not commissioned")]
    Unknown(NodeId),
}

/// Where a gateway has its keys from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file that may change; none there means no nodes yet.
    File(PathBuf),
    /// Given at the start.
    Held(Keyring),
}

/// Reads keys; a file that is not there has none.
pub fn read(path: &Path) -> Result<Keyring, KeysError> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => {
            let read = file.take(FILE_MAX).read_to_string(&mut text);
            read.map_err(|error| KeysError::File(path.to_owned(), error))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(KeysError::File(path.to_owned(), error)),
    }
    Ok(lines(path, &text)?.0)
}

/// Keys, and the nodes whose keys were revoked.
fn lines(path: &Path, text: &str) -> Result<(Keyring, Vec<(NodeId, Id)>), KeysError> {
    let (mut keyring, mut revoked) = (Keyring::default(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    let mut ids = std::collections::HashSet::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let fail = |why: String| KeysError::Content { path: path.to_owned(), line: number + 1, why };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A revoked key is read as one with a secret of zeros.
        let gone = line.strip_prefix("revoked ");
        let padded = gone.map(|gone| format!("{gone} {:032} {:016}", 0, 0));
        let credential: Credential = padded.as_deref().unwrap_or(line).parse().map_err(|error| {
            let error: node_oscore::CredentialError = error;
            fail(error.to_string())
        })?;
        if !ids.insert(credential.kid) {
            return Err(fail("another line has the same key identifier".into()));
        }
        if gone.is_some() {
            revoked.push((NodeId(credential.eui64), credential.kid));
            keyring.revoked.push(credential.kid);
        } else if seen.insert(credential.eui64) {
            keyring.credentials.push(credential);
        } else {
            return Err(fail("another line has a key for the same node".into()));
        }
    }
    Ok((keyring, revoked))
}

/// Makes a key for a node and adds it to the file. With `again` a key that the node has is revoked.
pub fn commission(path: &Path, node: NodeId, again: bool) -> Result<Credential, KeysError> {
    change(path, |keyring, revoked| {
        if let Some(at) = keyring.credentials.iter().position(|held| held.eui64 == node.0) {
            if !again {
                return Err(KeysError::Known(node));
            }
            let old = keyring.credentials.remove(at);
            revoked.push((node, old.kid));
        }
        let used = |kid: &Id| {
            keyring.credentials.iter().any(|held| held.kid == *kid) || revoked.iter().any(|(_, id)| id == kid)
        };
        // Identifiers are not used again: what a revoked key said is not mistaken for another node's words.
        let first = keyring.credentials.len() as u32 + 1;
        let kid = (first..).chain(1..first).filter_map(short_id).find(|kid| !used(kid)).unwrap_or_default();
        let credential = Credential { eui64: node.0, kid, secret: rand::random(), salt: rand::random() };
        keyring.credentials.push(credential.clone());
        Ok(credential)
    })
}

/// Takes a node's key away; its identifier stays taken.
pub fn revoke(path: &Path, node: NodeId) -> Result<(), KeysError> {
    change(path, |keyring, revoked| {
        let at = keyring.credentials.iter().position(|held| held.eui64 == node.0);
        let old = keyring.credentials.remove(at.ok_or(KeysError::Unknown(node))?);
        revoked.push((node, old.kid));
        Ok(())
    })
}

/// A number without leading zero bytes.
fn short_id(number: u32) -> Option<Id> {
    let bytes = number.to_be_bytes();
    Id::new(&bytes[(number.leading_zeros() as usize / 8).min(3)..])
}

/// Changes the file, whole or not at all, one process at a time.
fn change<T>(
    path: &Path,
    work: impl FnOnce(&mut Keyring, &mut Vec<(NodeId, Id)>) -> Result<T, KeysError>,
) -> Result<T, KeysError> {
    let fail = |error| KeysError::File(path.to_owned(), error);
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(fail)?;
    }
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false).mode(0o600);
    let lock = open.open(path.with_extension("lock")).map_err(fail)?;
    lock.lock().map_err(fail)?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(fail(error)),
    };
    let (mut keyring, mut revoked) = lines(path, &text)?;
    let done = work(&mut keyring, &mut revoked)?;
    let half = path.with_extension("half");
    let mut file = open.truncate(true).open(&half).map_err(fail)?;
    let comments = text.lines().filter(|line| line.trim().starts_with('#'));
    let keys = keyring.credentials.iter().map(Credential::to_line);
    let gone = revoked.iter().map(|(node, kid)| format!("revoked {node} {kid:?}"));
    let all: Vec<String> = comments.map(str::to_owned).chain(keys).chain(gone).collect();
    file.write_all((all.join("\n") + "\n").as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&half, path).map_err(fail)?;
    Ok(done)
}

/// Notices when the file changes.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl Watched {
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// The keys, if the file has changed since it was last read. What cannot be read changes nothing.
    pub fn changed(&mut self) -> Option<Keyring> {
        let now =
            std::fs::metadata(&self.path).ok().and_then(|data| Some((data.modified().ok()?, data.len())));
        if now == self.seen {
            return None;
        }
        self.seen = now;
        match read(&self.path) {
            Ok(keyring) => {
                tracing::info!(keys = %self.path.display(), nodes = keyring.credentials.len(), "read the nodes' keys");
                Some(keyring)
            }
            Err(error) => {
                tracing::error!(%error, "the keys stay as they were");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([2, 0, 0, 0, 0, 0, 0, 10]);
    const B: NodeId = NodeId([2, 0, 0, 0, 0, 0, 0, 11]);

    #[test]
    fn keys_are_added_replaced_and_revoked_and_no_identifier_comes_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/nodes.keys");
        assert!(read(&path).unwrap().credentials.is_empty());
        let a = commission(&path, A, false).unwrap();
        let b = commission(&path, B, false).unwrap();
        assert!(a.kid != b.kid && a.secret != b.secret);
        assert!(matches!(commission(&path, A, false), Err(KeysError::Known(A))));
        let again = commission(&path, A, true).unwrap();
        assert!(again.kid != a.kid && again.kid != b.kid && again.secret != a.secret);
        revoke(&path, B).unwrap();
        assert!(matches!(revoke(&path, B), Err(KeysError::Unknown(B))));
        let keyring = read(&path).unwrap();
        assert!(keyring.credentials == [again]);
        assert_eq!(keyring.revoked, [a.kid, b.kid]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_no_secret_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes.keys");
        let line = commission(&path, A, false).unwrap().to_line();
        let error = |text: String| {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(!error.contains(&line[20..40]));
            error
        };
        assert!(error(format!("# x\n{line}\n{line}\n")).contains("line 3: another line has the same key"));
        assert!(error(format!("\n{}", &line[..30])).contains("line 2: field 3"));
        assert!(error("revoked 02".into()).contains("line 1: field 1"));
    }

    #[test]
    fn a_change_is_noticed_and_a_damaged_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes.keys");
        let mut watched = Watched::new(path.clone());
        assert!(watched.changed().is_none());
        commission(&path, A, false).unwrap();
        assert_eq!(watched.changed().unwrap().credentials.len(), 1);
        assert!(watched.changed().is_none());
        std::fs::write(&path, "what?").unwrap();
        assert!(watched.changed().is_none());
    }
}
