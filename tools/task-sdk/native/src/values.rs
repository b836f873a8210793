//! What a task keeps by key, in the one piece of storage that its slot has for that.
//!
//! Entry after entry: length of the key (1 to 16), length of the value (0 to 64), key, value. What is no entry ends the
//! list, be it 0, erased flash or the end of the storage. The two lengths count: where a module may keep 512 bytes of
//! keys and values, this holds two less for each entry.

use task_sdk::{KEPT_MAX, KEY_MAX, VALUE_MAX};

/// Bytes before the key.
const LENGTHS: usize = 2;

/// Why a value is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Key or value is too long, or the key empty.
    Invalid,
    /// There is no room.
    Full,
}

/// All entries.
pub struct Values {
    bytes: [u8; KEPT_MAX],
    len: usize,
}

/// Where an entry stands.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Values {
    pub const fn new() -> Self {
        Self { bytes: [0; KEPT_MAX], len: 0 }
    }

    /// Takes what storage holds: `fill` reads into a buffer and says how much there was.
    pub fn load<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        self.len = 0;
        let filled = fill(&mut self.bytes)?.min(KEPT_MAX);
        self.len = filled;
        let mut end = 0;
        while let Some(entry) = self.entry_at(end) {
            end = entry.end;
        }
        self.len = end;
        Ok(())
    }

    /// As storage is to hold it, with an end that is none by accident.
    pub fn stored(&mut self) -> &[u8] {
        if let Some(end) = self.bytes.get_mut(self.len) {
            *end = 0;
        }
        self.bytes.get(..(self.len + 1).min(KEPT_MAX)).unwrap_or_default()
    }

    fn entry_at(&self, start: usize) -> Option<Entry> {
        let bytes = self.bytes.get(..self.len)?;
        let key_len = usize::from(*bytes.get(start)?);
        let value_len = usize::from(*bytes.get(start + 1)?);
        let key_end = start + LENGTHS + key_len;
        let end = key_end + value_len;
        let sound = (1..=KEY_MAX).contains(&key_len) && value_len <= VALUE_MAX && end <= bytes.len();
        sound.then_some(Entry { start, key_end, end })
    }

    fn find(&self, key: &[u8]) -> Option<Entry> {
        let mut at = 0;
        loop {
            let entry = self.entry_at(at)?;
            if self.bytes.get(entry.start + LENGTHS..entry.key_end) == Some(key) {
                return Some(entry);
            }
            at = entry.end;
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let entry = self.find(key)?;
        self.bytes.get(entry.key_end..entry.end)
    }

    /// Keeps a value in place of the one before; nothing has changed after an error.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if !(1..=KEY_MAX).contains(&key.len()) || value.len() > VALUE_MAX {
            return Err(Refusal::Invalid);
        }
        let before = self.find(key).map_or(0, |entry| entry.end - entry.start);
        let needed = LENGTHS + key.len() + value.len();
        if self.len - before + needed > KEPT_MAX {
            return Err(Refusal::Full);
        }
        self.delete(key);
        let lengths = [key.len() as u8, value.len() as u8];
        for byte in lengths.iter().chain(key).chain(value) {
            if let Some(room) = self.bytes.get_mut(self.len) {
                *room = *byte;
                self.len += 1;
            }
        }
        Ok(())
    }

    /// Forgets a value; false if there is none.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let Some(entry) = self.find(key) else { return false };
        self.bytes.copy_within(entry.end..self.len, entry.start);
        self.len -= entry.end - entry.start;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(stored: &[u8]) -> Values {
        let mut values = Values::new();
        let Ok(()) = values.load(|buffer| {
            buffer[..stored.len()].copy_from_slice(stored);
            Ok::<_, core::convert::Infallible>(stored.len())
        });
        values
    }

    #[test]
    fn what_is_kept_survives_storage() {
        let mut values = Values::new();
        assert_eq!(
            (values.set(b"a", b"1"), values.set(b"bb", b""), values.set(b"a", b"22")),
            (Ok(()), Ok(()), Ok(()))
        );
        let mut again = loaded(values.stored());
        assert_eq!(
            (again.get(b"a"), again.get(b"bb"), again.get(b"c")),
            (Some(&b"22"[..]), Some(&b""[..]), None)
        );
        assert!(again.delete(b"bb") && !again.delete(b"bb"));
        assert_eq!(loaded(again.stored()).get(b"bb"), None);
    }

    #[test]
    fn limits_hold() {
        let mut values = Values::new();
        assert_eq!(values.set(b"", b"x"), Err(Refusal::Invalid));
        assert_eq!(values.set(&[1; KEY_MAX + 1], b"x"), Err(Refusal::Invalid));
        assert_eq!(values.set(b"k", &[0; VALUE_MAX + 1]), Err(Refusal::Invalid));
        for n in 0..6 {
            assert_eq!(values.set(&[n; KEY_MAX], &[n; VALUE_MAX]), Ok(()));
        }
        assert_eq!(values.set(&[9; KEY_MAX], &[9; 3]), Err(Refusal::Full));
        assert_eq!(values.set(&[9; KEY_MAX], &[9; 2]), Ok(()));
        assert_eq!(values.set(&[9; KEY_MAX], &[8; 2]), Ok(()), "in place of another there is room");
        assert_eq!(values.stored().len(), KEPT_MAX);
        assert_eq!(loaded(values.stored()).get(&[9; KEY_MAX]), Some(&[8; 2][..]));
    }

    #[test]
    fn storage_that_holds_anything_else_is_empty() {
        for stored in [&[0xff; KEPT_MAX][..], &[], &[0], &[1], &[1, 64, b'k'], &[17, 0], &[1, 65]] {
            let mut values = loaded(stored);
            assert_eq!((values.len, values.set(b"k", b"v")), (0, Ok(())), "{stored:?}");
        }
    }
}
