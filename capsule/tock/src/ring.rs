//! A queue of short records in a fixed number of bytes. What does not fit is refused whole; nothing is overwritten.

/// Records of a kind below 256 and at most 255 bytes, in `BYTES` (at most 255) bytes, two of which each record costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<const BYTES: usize> {
    bytes: [u8; BYTES],
    head: u8,
    used: u8,
}

/// Kind and length before each record.
const HEAD: usize = 2;

impl<const BYTES: usize> Ring<BYTES> {
    const FITS: () = assert!(BYTES <= u8::MAX as usize, "head and used are bytes");

    pub(crate) const fn new() -> Self {
        let () = Self::FITS;
        Self { bytes: [0; BYTES], head: 0, used: 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Appends a record, or nothing of it and says false.
    pub(crate) fn push(&mut self, kind: u8, record: &[u8]) -> bool {
        let Ok(len) = u8::try_from(record.len()) else { return false };
        if BYTES - usize::from(self.used) < HEAD + record.len() {
            return false;
        }
        for byte in [kind, len].iter().chain(record) {
            let at = (usize::from(self.head) + usize::from(self.used)) % BYTES;
            if let Some(place) = self.bytes.get_mut(at) {
                *place = *byte;
            }
            self.used += 1;
        }
        true
    }

    fn at(&self, index: usize) -> u8 {
        self.bytes.get((usize::from(self.head) + index) % BYTES).copied().unwrap_or(0)
    }

    /// Length of the oldest record.
    pub(crate) fn first(&self) -> Option<usize> {
        (!self.is_empty()).then(|| usize::from(self.at(1)))
    }

    /// Takes the oldest record out: its kind and length. `None` if there is none, or if it does not fit.
    pub(crate) fn pop(&mut self, out: &mut [u8]) -> Option<(u8, usize)> {
        let len = self.first()?;
        let kind = self.at(0);
        for (index, place) in out.get_mut(..len)?.iter_mut().enumerate() {
            *place = self.at(HEAD + index);
        }
        self.head = ((usize::from(self.head) + HEAD + len) % BYTES) as u8;
        self.used -= (HEAD + len) as u8;
        Some((kind, len))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec::Vec};

    proptest! {
        #[test]
        fn gives_back_what_it_took_in_order(steps in prop::collection::vec((any::<bool>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)), 0..200)) {
            let (mut ring, mut model) = (Ring::<100>::new(), VecDeque::<(u8, Vec<u8>)>::new());
            for (push, kind, record) in steps {
                let used: usize = model.iter().map(|(_, record)| 2 + record.len()).sum();
                if push {
                    let fits = used + 2 + record.len() <= 100;
                    prop_assert_eq!(ring.push(kind, &record), fits);
                    if fits { model.push_back((kind, record)); }
                } else {
                    let mut out = [0; 60];
                    let taken = ring.pop(&mut out).map(|(kind, len)| (kind, out[..len].to_vec()));
                    prop_assert_eq!(taken, model.pop_front());
                }
                prop_assert_eq!(ring.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_record_too_long_for_the_reader_stays() {
        let mut ring = Ring::<16>::new();
        assert!(ring.push(7, &[1, 2, 3]));
        assert_eq!(ring.pop(&mut [0; 2]), None);
        let mut out = [0; 3];
        assert_eq!((ring.pop(&mut out), out), (Some((7, 3)), [1, 2, 3]));
    }
}
