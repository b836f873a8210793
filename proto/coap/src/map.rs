//! What an endpoint knows by peer and by time: trees for an end with many peers, and with the feature `few-peers` sorted
//! lists, which behave the same and take a tenth of the code and of the memory for the first peer.

#[cfg(not(feature = "few-peers"))]
mod chosen {
    pub(crate) use alloc::collections::{BTreeMap as Map, BTreeSet as Set};
}

#[cfg(feature = "few-peers")]
mod chosen {
    use alloc::vec::Vec;

    /// Values by key, as much of `BTreeMap` as is used.
    #[derive(Debug)]
    pub(crate) struct Map<K, V>(Vec<(K, V)>);

    impl<K: Ord, V> Map<K, V> {
        pub fn new() -> Self {
            Self(Vec::new())
        }

        fn at(&self, key: &K) -> Result<usize, usize> {
            self.0.binary_search_by(|(held, _)| held.cmp(key))
        }

        pub fn len(&self) -> usize {
            self.0.len()
        }

        pub fn contains_key(&self, key: &K) -> bool {
            self.at(key).is_ok()
        }

        pub fn get(&self, key: &K) -> Option<&V> {
            self.0.get(self.at(key).ok()?).map(|(_, value)| value)
        }

        pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
            let at = self.at(key).ok()?;
            self.0.get_mut(at).map(|(_, value)| value)
        }

        pub fn insert(&mut self, key: K, value: V) -> Option<V> {
            match self.at(&key) {
                Ok(at) => Some(core::mem::replace(&mut self.0[at].1, value)),
                Err(at) => {
                    self.0.insert(at, (key, value));
                    None
                }
            }
        }

        pub fn remove(&mut self, key: &K) -> Option<V> {
            let at = self.at(key).ok()?;
            Some(self.0.remove(at).1)
        }
    }

    /// Keys in order, as much of `BTreeSet` as is used.
    #[derive(Debug)]
    pub(crate) struct Set<K>(Vec<K>);

    impl<K: Ord> Set<K> {
        pub fn new() -> Self {
            Self(Vec::new())
        }

        pub fn insert(&mut self, key: K) -> bool {
            match self.0.binary_search(&key) {
                Ok(_) => false,
                Err(at) => {
                    self.0.insert(at, key);
                    true
                }
            }
        }

        pub fn remove(&mut self, key: &K) -> bool {
            self.0.binary_search(key).map(|at| self.0.remove(at)).is_ok()
        }

        pub fn first(&self) -> Option<&K> {
            self.0.first()
        }

        pub fn last(&self) -> Option<&K> {
            self.0.last()
        }
    }
}

pub(crate) use chosen::{Map, Set};
