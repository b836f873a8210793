//! An image on its way in: hashed, and looked at by the executor, piece by piece as it is stored. What this takes is
//! the same for images of any size, and at the last block nothing is left to do but to compare.

use crate::os::{Intake as Piece, Os, StartError, StorageError};
use node_proto::Launch;
use sha2::{Digest as _, Sha256};

/// Bytes read from storage at once.
const PIECE: usize = 128;

/// How much of a task's image was looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intake {
    hash: Sha256,
    taken: u32,
}

/// Why an image is not taken further.
pub(crate) enum Refused {
    /// The executor will not have it.
    Image(StartError),
    /// It cannot be read.
    Storage(StorageError),
}

impl Intake {
    /// Bytes looked at.
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// Looks at what storage holds more than was looked at, at most `most` bytes of it. It is read back from there, so
    /// that what was written wrongly is found.
    pub fn take(&mut self, os: &mut impl Os, launch: &Launch, most: u32) -> Result<(), Refused> {
        let held = os.image_len(&launch.digest).map_err(Refused::Storage)?.min(launch.image_len);
        if held < self.taken {
            *self = Self::default(); // it was removed meanwhile
        }
        let end = held.min(self.taken.saturating_add(most));
        let mut buffer = [0; PIECE];
        while self.taken < end {
            let wanted = PIECE.min((end - self.taken) as usize);
            let read = os.image_read(&launch.digest, self.taken, &mut buffer[..wanted]);
            let read = read.map_err(Refused::Storage)?.min(wanted);
            if read == 0 {
                return Err(Refused::Storage(StorageError::Failed));
            }
            let bytes = &buffer[..read];
            self.hash.update(bytes);
            let piece = Piece { task: launch.task, kind: launch.kind, offset: self.taken, bytes };
            os.intake(&piece).map_err(Refused::Image)?;
            self.taken += read as u32;
        }
        Ok(())
    }

    /// Bytes from `offset` on were written again: if they were looked at, everything is once more.
    pub fn rewritten(&mut self, offset: u32) {
        if offset < self.taken {
            *self = Self::default();
        }
    }

    /// The SHA-256 of what was looked at.
    pub fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}
