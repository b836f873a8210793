//! Values that tasks keep by key, in storage: a task that is started again after a restart of the node finds them.

use crate::storage::Storage;
use agent_wasm::{Kv, KvError};
use node_proto::TaskHandle;
use std::collections::BTreeMap;

/// What storage has of tasks that have not asked for it yet.
#[derive(Debug, Default)]
pub(crate) struct Values(BTreeMap<TaskHandle, Kv>);

impl Values {
    /// A task starts: with what it had, or with nothing.
    pub fn begin(&mut self, storage: &Storage, task: TaskHandle, resumed: bool) {
        self.0.remove(&task);
        match resumed {
            true => drop(self.0.insert(task, decode(&storage.values(task)))),
            false => storage.forget_values(task),
        }
    }

    /// A task has ended, and what it kept with it.
    pub fn end(&mut self, storage: &Storage, task: TaskHandle) {
        self.0.remove(&task);
        storage.forget_values(task);
    }

    /// Puts what storage has into `held`, once.
    pub fn fill(&mut self, task: TaskHandle, held: &mut Kv) {
        if let Some(kept) = self.0.remove(&task) {
            *held = kept;
        }
    }

    /// Writes what a task has now.
    pub fn save(storage: &Storage, task: TaskHandle, held: &Kv) -> Result<(), KvError> {
        storage.keep_values(task, &encode(held)).map_err(|_| KvError::Device)
    }
}

/// Keys and values, each with its length before it: both fit a byte ([`agent_wasm::abi::KV_VALUE_MAX`]).
fn encode(held: &Kv) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in held.iter().flat_map(|(key, value)| [key, value]) {
        bytes.push(part.len() as u8);
        bytes.extend_from_slice(part);
    }
    bytes
}

/// As much as can be read.
fn decode(mut bytes: &[u8]) -> Kv {
    fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (len, rest) = bytes.split_first()?;
        let (part, rest) = rest.split_at_checked(usize::from(*len))?;
        *bytes = rest;
        Some(part)
    }
    let mut held = Kv::default();
    while let (Some(key), Some(value)) = (part(&mut bytes), part(&mut bytes)) {
        if held.set(key, value).is_err() {
            break; // more than a task may have: not of this node's making
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    const _: () = assert!(agent_wasm::abi::KV_VALUE_MAX <= 255 && agent_wasm::abi::KV_KEY_MAX <= 255);

    #[test]
    fn who_resumes_finds_what_it_kept_and_nobody_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).unwrap();
        let mut kept = Kv::default();
        kept.set(b"runs", b"7").unwrap();
        kept.set(b"empty", b"").unwrap();
        Values::save(&storage, 3, &kept).unwrap();
        let find = |task, resumed| {
            let (mut values, mut held) = (Values::default(), Kv::default());
            values.begin(&storage, task, resumed);
            values.fill(task, &mut held);
            values.fill(task, &mut Kv::default());
            held
        };
        assert_eq!((find(3, true), find(4, true)), (kept.clone(), Kv::default()));
        assert_eq!(
            (find(3, false), find(3, true)),
            (Kv::default(), Kv::default()),
            "forgotten by a new task"
        );
        Values::save(&storage, 3, &kept).unwrap();
        Values::default().end(&storage, 3);
        assert_eq!(find(3, true), Kv::default());
    }

    #[test]
    fn what_is_damaged_is_read_as_far_as_it_goes() {
        let mut kept = Kv::default();
        kept.set(b"a", b"1").unwrap();
        kept.set(b"b", b"2").unwrap();
        let bytes = encode(&kept);
        for cut in 0..=bytes.len() {
            assert!(decode(&bytes[..cut]).iter().count() <= 2);
        }
        assert_eq!((decode(&bytes), decode(&[255; 40])), (kept, Kv::default()));
    }
}
