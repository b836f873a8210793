//! Images in memory, so that a block costs no reading: the ones used last, up to a number of bytes.

use node_proto::ImageHandle;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Bytes of images in memory.
const BYTES_MAX: usize = 16 << 20;
/// Handles remembered that there is nothing behind.
const GONE_MAX: usize = 64;

/// What is known of an image.
#[derive(Debug)]
pub(super) enum Sought {
    /// Here it is.
    Found(Arc<[u8]>),
    /// There is none.
    Gone,
    /// It has been asked for; `first` if only now.
    Asked { first: bool },
}

/// The images.
#[derive(Debug, Default)]
pub(super) struct Hot {
    held: BTreeMap<ImageHandle, (u64, Arc<[u8]>)>,
    bytes: usize,
    clock: u64,
    asked: BTreeSet<ImageHandle>,
    gone: VecDeque<ImageHandle>,
}

impl Hot {
    pub fn add(&mut self, handle: ImageHandle, bytes: Arc<[u8]>) {
        self.asked.remove(&handle);
        self.gone.retain(|gone| *gone != handle);
        self.clock += 1;
        self.bytes += bytes.len();
        if let Some((_, old)) = self.held.insert(handle, (self.clock, bytes)) {
            self.bytes -= old.len();
        }
        while self.bytes > BYTES_MAX && self.held.len() > 1 {
            let oldest = self.held.iter().min_by_key(|(_, (used, _))| *used).map(|(handle, _)| *handle);
            let Some((_, old)) = oldest.and_then(|oldest| self.held.remove(&oldest)) else { return };
            self.bytes -= old.len();
        }
    }

    pub fn is_gone(&mut self, handle: ImageHandle) {
        self.asked.remove(&handle);
        if !self.gone.contains(&handle) {
            if self.gone.len() >= GONE_MAX {
                self.gone.pop_front();
            }
            self.gone.push_back(handle);
        }
    }

    pub fn seek(&mut self, handle: ImageHandle) -> Sought {
        self.clock += 1;
        match self.held.get_mut(&handle) {
            Some((used, bytes)) => {
                *used = self.clock;
                Sought::Found(bytes.clone())
            }
            None if self.gone.contains(&handle) => Sought::Gone,
            None => Sought::Asked { first: self.asked.insert(handle) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_stay_and_the_rest_is_asked_for_once() {
        let mut hot = Hot::default();
        let third: Arc<[u8]> = vec![0; BYTES_MAX / 3 + 1].into();
        for handle in 1..=2 {
            hot.add(handle, third.clone());
        }
        assert!(matches!(hot.seek(1), Sought::Found(_)));
        hot.add(3, third.clone());
        assert!(matches!(hot.seek(2), Sought::Asked { first: true }), "used before the others");
        assert!(matches!(hot.seek(2), Sought::Asked { first: false }));
        assert!(matches!(hot.seek(1), Sought::Found(_)));
        hot.is_gone(2);
        assert!(matches!(hot.seek(2), Sought::Gone));
        hot.add(2, third);
        assert!(matches!(hot.seek(2), Sought::Found(_)));
    }
}
