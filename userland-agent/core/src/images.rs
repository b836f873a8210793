//! Which images are in storage, and which goes when room is needed: the one unused for longest.

use crate::os::{Digest, Os, Record, StorageError};
use crate::record;
use heapless::Vec;
use node_proto::limits::TASKS_MAX;

/// Images that storage may hold at once: every task's, and as many again kept for their next run.
const IMAGES_MAX: usize = 2 * TASKS_MAX;

/// The index of the image store, oldest use first.
pub(crate) struct Images {
    held: Vec<(Digest, u32), IMAGES_MAX>,
}

/// Why an image found no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Images in use leave too little.
    InUse,
    /// Storage failed.
    Storage(StorageError),
}

impl Images {
    pub fn load(os: &mut impl Os) -> Result<Self, StorageError> {
        let images = Self { held: record::load(os, Record::Images)?.unwrap_or_default() };
        // What the index does not name would take its room for ever.
        os.image_retain(&|image| images.held.iter().any(|(held, _)| held == image))?;
        Ok(images)
    }

    /// Makes room for `image` of `len` bytes among `capacity`, removing what no task uses.
    pub fn admit(
        &mut self,
        os: &mut impl Os,
        image: Digest,
        len: u32,
        capacity: u32,
        in_use: impl Fn(&Digest) -> bool,
    ) -> Result<(), NoRoom> {
        if let Some(at) = self.held.iter().position(|(held, _)| *held == image) {
            let entry = self.held.remove(at);
            let _ = self.held.push(entry); // room was just made
            return Ok(());
        }
        let mut changed = false;
        let most = IMAGES_MAX.min(os.image_limits().count);
        while self.held.len() >= most || self.total().saturating_add(u64::from(len)) > u64::from(capacity) {
            let Some(at) = self.held.iter().position(|(held, _)| !in_use(held)) else {
                return Err(NoRoom::InUse);
            };
            let (old, _) = self.held.remove(at);
            os.image_remove(&old).map_err(NoRoom::Storage)?;
            changed = true;
        }
        let _ = self.held.push((image, len)); // the loop left room
        let saved = record::save(os, Record::Images, &self.held).map_err(NoRoom::Storage);
        if saved.is_err() && !changed {
            self.held.pop();
        }
        saved
    }

    /// Removes one image, because what was fetched is not what was named.
    pub fn discard(&mut self, os: &mut impl Os, image: &Digest) -> Result<(), StorageError> {
        self.held.retain(|(held, _)| held != image);
        os.image_remove(image)?;
        record::save(os, Record::Images, &self.held)
    }

    fn total(&self) -> u64 {
        self.held.iter().map(|(_, len)| u64::from(*len)).sum()
    }
}
