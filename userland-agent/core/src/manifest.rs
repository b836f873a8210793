//! The publisher's word for an image: a node that knows publishers starts nothing that none of them signed for it, and
//! no release older than one that it has run.

use crate::os::{Os, Record, StorageError};
use crate::record;
use heapless::Vec;
use node_proto::{Document, Failure, Inventory, Launch, Sealed};
use sha2::{Digest as _, Sha256};

/// Names of images whose newest release is remembered. One more is refused: to forget one would let old releases of it
/// run again.
pub const RELEASES_MAX: usize = 24;

/// Publishers that a node may know.
pub const PUBLISHERS_MAX: usize = 4;

/// A publisher's key and an image's name, hashed.
type Line = [u8; 8];

/// What a manifest that was found good says, as far as it is needed at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    line: Line,
    sequence: u32,
    /// SHA-256 of the image.
    pub digest: [u8; 32],
}

/// Why an image is not started.
pub(crate) type Refused = (Failure, &'static str);

/// The newest release of each image that ran here.
#[derive(Debug, Default)]
pub(crate) struct Releases(Vec<(Line, u32), RELEASES_MAX>);

impl Releases {
    pub fn load(os: &mut impl Os) -> Result<Self, StorageError> {
        Ok(Self(record::load(os, Record::Releases)?.unwrap_or_default()))
    }

    /// Whether this release may run: it is not older than what did, and can be remembered.
    pub fn admit(&self, release: &Release) -> Result<(), Refused> {
        match self.0.iter().find(|(line, _)| *line == release.line) {
            Some((_, newest)) if release.sequence < *newest => {
                Err((Failure::Rollback, "a newer release ran here"))
            }
            None if self.0.is_full() => Err((Failure::Resources, "too many names of images")),
            _ => Ok(()),
        }
    }

    /// Remembers a release that is about to run. Unless it is on storage, it does not run.
    pub fn raise(&mut self, os: &mut impl Os, release: &Release) -> Result<(), StorageError> {
        let before = self.0.clone();
        match self.0.iter_mut().find(|(line, _)| *line == release.line) {
            Some((_, newest)) if *newest >= release.sequence => return Ok(()),
            Some((_, newest)) => *newest = release.sequence,
            None => self.0.push((release.line, release.sequence)).map_err(|_| StorageError::Full)?,
        }
        let saved = record::save(os, Record::Releases, &self.0);
        if saved.is_err() {
            self.0 = before;
        }
        saved
    }
}

/// Checks the manifest in a task's document against the launch and the node. `None` if the node knows no publisher and
/// asks for none.
pub(crate) fn check(
    os: &mut impl Os,
    document: &[u8],
    launch: &Launch,
    node: &Inventory,
    publishers: &[[u8; 32]],
) -> Result<Option<Release>, Refused> {
    if publishers.is_empty() {
        return Ok(None);
    }
    let signed = postcard::from_bytes::<Document<'_>>(document).map_or(&[][..], |document| document.manifest);
    if signed.is_empty() {
        return Err((Failure::Signature, "image is not signed"));
    }
    let sealed = Sealed::read(signed).map_err(|_| (Failure::Signature, "manifest cannot be read"))?;
    let key = publishers
        .iter()
        .find(|key| sealed.names(key) && os.verify(key, sealed.signature, &sealed.message))
        .ok_or((Failure::Signature, "not signed by a publisher known"))?;
    let manifest = sealed.manifest;
    let same = manifest.digest[..launch.digest.len()] == launch.digest
        && manifest.size == launch.image_len
        && manifest.kind == launch.kind;
    if !same {
        return Err((Failure::Signature, "manifest of another image"));
    }
    let for_this = manifest.arch.is_none_or(|arch| arch == node.arch)
        && (manifest.board.is_empty() || manifest.board == node.board);
    if !for_this {
        return Err((Failure::Signature, "image is for another target"));
    }
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(manifest.name);
    let whole: [u8; 32] = hash.finalize().into();
    let mut line = Line::default();
    line.copy_from_slice(&whole[..8]);
    Ok(Some(Release { line, sequence: manifest.sequence, digest: manifest.digest }))
}
