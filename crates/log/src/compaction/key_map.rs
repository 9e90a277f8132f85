//! The latest offset of each key, in bounded memory: 128 bits of a keyed hash stand for the key.
//! Two keys with the same hash would cost the older one's record; with 128 bits that does not
//! happen, and the hash's secret is drawn anew for each map, so nobody can look for such keys.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Keys with the offsets of their latest records.
pub(super) struct KeyMap {
    latest: HashMap<u128, i64>,
    keys_max: usize,
    hashers: [RandomState; 2],
}

impl KeyMap {
    /// Holds about `keys_max` keys, of some 40 bytes each.
    pub fn new(keys_max: usize) -> Self {
        Self { latest: HashMap::new(), keys_max, hashers: [RandomState::new(), RandomState::new()] }
    }

    /// Whether there is room for so many more keys. An empty map has room for any one batch: else
    /// a batch larger than the map could never be compacted.
    pub fn has_room(&self, keys: usize) -> bool {
        self.latest.is_empty() || self.latest.len().saturating_add(keys) <= self.keys_max
    }

    /// Offsets are to be noted in their order.
    pub fn note(&mut self, key: &[u8], offset: i64) {
        self.latest.insert(self.hash(key), offset);
    }

    /// Whether a later record with the key was noted.
    pub fn is_outdated(&self, key: &[u8], offset: i64) -> bool {
        self.latest.get(&self.hash(key)).is_some_and(|latest| *latest > offset)
    }

    fn hash(&self, key: &[u8]) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|h| u128::from(h.hash_one(key)));
        high << 64 | low
    }
}
