//! The value of the OSCORE option (RFC 8613 §6.1).
//!
//! ```text
//!   0 0 0 h k n n n | n bytes partial IV | if h: length s, s bytes ID context | if k: the rest is the key id
//! ```

use crate::keys::{Id, Piv};
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OscoreOption {
    pub piv: Option<Piv>,
    pub kid: Option<Id>,
}

impl OscoreOption {
    /// `None` if it is malformed or has flags that nobody has defined. An ID context is skipped: whoever sends one has
    /// other keys, and what it says does not verify.
    pub fn read(value: &[u8]) -> Option<Self> {
        let Some((flags, rest)) = value.split_first() else { return Some(Self { piv: None, kid: None }) };
        if flags & 0xe0 != 0 || *flags == 0 {
            return None;
        }
        let (piv, rest) = rest.split_at_checked(usize::from(flags & 7))?;
        let piv = match piv {
            [] => None,
            bytes => Some(Piv::from_bytes(bytes)?),
        };
        let rest = match flags & 0x10 {
            0 => rest,
            _ => {
                let (len, rest) = rest.split_first()?;
                rest.get(usize::from(*len)..)?
            }
        };
        let kid = match flags & 0x08 {
            0 if rest.is_empty() => None,
            0 => return None,
            _ => Some(Id::new(rest)?),
        };
        Some(Self { piv, kid })
    }

    pub fn write(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(16);
        value.push(0);
        if let Some(piv) = self.piv {
            value[0] |= piv.write(&mut value);
        }
        if let Some(kid) = self.kid {
            value[0] |= 0x08;
            value.extend_from_slice(kid.as_bytes());
        }
        if value == [0] {
            value.clear();
        }
        value
    }
}

/// The key identifier in an OSCORE option's value: who says to have sent a request, before anything is proved.
pub fn key_id(value: &[u8]) -> Option<Id> {
    OscoreOption::read(value)?.kid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_is_refused() {
        let option = OscoreOption { piv: Piv::new(0x1234), kid: Id::new(&[7, 8]) };
        assert_eq!(option.write(), [0x0a, 0x12, 0x34, 7, 8]);
        assert_eq!(OscoreOption::read(&option.write()), Some(option));
        let empty = OscoreOption { piv: None, kid: None };
        assert_eq!((empty.write(), OscoreOption::read(&[])), (Vec::new(), Some(empty)));
        let with_context = OscoreOption::read(&[0x19, 0x14, 2, 9, 9, 5]).unwrap();
        assert_eq!(with_context.kid, Id::new(&[5]));
        for wrong in [
            &[0][..],
            &[0x20],
            &[0x09],
            &[0x0a, 0, 1],
            &[0x01, 1, 2],
            &[0x18, 5, 1],
            &[0x0e, 1, 1, 1, 1, 1, 1],
        ] {
            assert_eq!(OscoreOption::read(wrong), None, "{wrong:?}");
        }
    }
}
