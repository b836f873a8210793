//! Values that a task keeps by key: a few hundred bytes that outlive the calls, not the task.

use crate::abi::{KV_KEY_MAX, KV_TOTAL_MAX, KV_VALUE_MAX};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Why a value was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvError {
    /// The key is empty or longer than [`KV_KEY_MAX`], or the value longer than [`KV_VALUE_MAX`].
    Invalid,
    /// Keys and values would have more than [`KV_TOTAL_MAX`] bytes.
    Full,
    /// What it is to be kept in failed.
    Device,
}

type Bytes = Box<[u8]>;

/// The values of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kv {
    // At most KV_TOTAL_MAX entries, and a few in practice: looking through them is fastest and smallest.
    entries: Vec<(Bytes, Bytes)>,
}

impl Kv {
    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.at(key).map(|at| &*self.entries[at].1)
    }

    /// Keeps `value` in place of the one before. Nothing has changed if it fails.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        if key.is_empty() || key.len() > KV_KEY_MAX || value.len() > KV_VALUE_MAX {
            return Err(KvError::Invalid);
        }
        let held = self.at(key);
        let freed = held.map_or(0, |at| key.len() + self.entries[at].1.len());
        if self.bytes() - freed + key.len() + value.len() > KV_TOTAL_MAX {
            return Err(KvError::Full);
        }
        match held {
            Some(at) => self.entries[at].1 = value.into(),
            None => self.entries.push((key.into(), value.into())),
        }
        Ok(())
    }

    /// Forgets the value of `key`; false if there was none.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.at(key).map(|at| self.entries.swap_remove(at)).is_some()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// Every key with its value, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(key, value)| (&**key, &**value))
    }

    fn at(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|(held, _)| **held == *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_replaces_the_one_before_and_is_forgotten() {
        let mut kv = Kv::default();
        assert_eq!((kv.set(b"a", b"1"), kv.set(b"a", b"22"), kv.set(b"b", b"")), (Ok(()), Ok(()), Ok(())));
        assert_eq!((kv.get(b"a"), kv.get(b"b"), kv.get(b"c")), (Some(&b"22"[..]), Some(&b""[..]), None));
        assert_eq!((kv.bytes(), kv.iter().count()), (4, 2));
        assert!(kv.delete(b"a") && !kv.delete(b"a"));
        assert_eq!(kv.get(b"a"), None);
    }

    #[test]
    fn what_is_too_long_or_too_much_changes_nothing() {
        let mut kv = Kv::default();
        assert_eq!(kv.set(b"", b"x"), Err(KvError::Invalid));
        assert_eq!(kv.set(&[1; KV_KEY_MAX + 1], b"x"), Err(KvError::Invalid));
        assert_eq!(kv.set(b"k", &[0; KV_VALUE_MAX + 1]), Err(KvError::Invalid));
        for n in 0..6 {
            assert_eq!(kv.set(&[n; KV_KEY_MAX], &[n; KV_VALUE_MAX]), Ok(()));
        }
        assert_eq!(kv.bytes(), 480);
        assert_eq!(kv.set(&[9; KV_KEY_MAX], &[9; 17]), Err(KvError::Full));
        assert_eq!(kv.set(&[9; KV_KEY_MAX], &[9; 16]), Ok(()));
        assert_eq!(kv.bytes(), KV_TOTAL_MAX);
        assert_eq!(kv.set(&[9; KV_KEY_MAX], &[8; 16]), Ok(()), "in place of another there is room");
        assert_eq!(kv.set(&[9; KV_KEY_MAX], &[8; 17]), Err(KvError::Full));
        assert_eq!(kv.get(&[9; KV_KEY_MAX]), Some(&[8; 16][..]));
    }
}
