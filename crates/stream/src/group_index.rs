//! Key bytes → dense group number. Numbers of removed groups are used again, so that what is
//! kept for groups can stand in plain vectors.

use ahash::RandomState;
use arrow::buffer::NullBuffer;
use arrow::row::Rows;
use hashbrown::HashTable;

/// A hash must not differ between runs only for the sake of repeatable tests; it is never stored.
const SEEDS: [u64; 4] = [0x5741_5445, 0x5253_4845, 0x4431_3233, 0x3435_3637];

/// Stands for the group of a row that has none.
pub(crate) const NO_GROUP: u32 = u32::MAX;

pub(crate) struct GroupIndex {
    table: HashTable<(u64, u32)>,
    hasher: RandomState,
    keys: Vec<Box<[u8]>>,
    live: Vec<bool>,
    free: Vec<u32>,
    key_bytes: usize,
}

impl GroupIndex {
    pub fn new() -> Self {
        let [a, b, c, d] = SEEDS;
        Self {
            table: HashTable::new(),
            hasher: RandomState::with_seeds(a, b, c, d),
            keys: vec![],
            live: vec![],
            free: vec![],
            key_bytes: 0,
        }
    }

    /// The group of `key`, and whether it is new.
    pub fn intern(&mut self, key: &[u8]) -> (u32, bool) {
        let hash = self.hasher.hash_one(key);
        let keys = &self.keys;
        let found = self.table.find(hash, |(h, g)| *h == hash && *keys[*g as usize] == *key);
        if let Some((_, group)) = found {
            return (*group, false);
        }
        let group = match self.free.pop() {
            Some(group) => group,
            None => {
                self.keys.push(Box::default());
                self.live.push(false);
                (self.keys.len() - 1) as u32
            }
        };
        self.keys[group as usize] = key.into();
        self.live[group as usize] = true;
        self.key_bytes += key.len();
        self.table.insert_unique(hash, (hash, group), |(h, _)| *h);
        (group, true)
    }

    /// The group of each row, none for those that `skip` has as NULL; `new` gets (group, row) of
    /// those not seen before.
    pub fn intern_rows(
        &mut self,
        rows: &Rows,
        skip: Option<&NullBuffer>,
        groups: &mut Vec<u32>,
        new: &mut Vec<(u32, usize)>,
    ) {
        groups.reserve(rows.num_rows());
        for (i, row) in rows.iter().enumerate() {
            if skip.is_some_and(|s| s.is_null(i)) {
                groups.push(NO_GROUP);
                continue;
            }
            let (group, is_new) = self.intern(row.data());
            if is_new {
                new.push((group, i));
            }
            groups.push(group);
        }
    }

    pub fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let same = |e: &(u64, u32)| e.0 == hash && *self.keys[e.1 as usize] == *key;
        self.table.find(hash, same).map(|e| e.1)
    }

    /// Forgets a group and gives its key.
    pub fn remove(&mut self, group: u32) -> Box<[u8]> {
        let key = std::mem::take(&mut self.keys[group as usize]);
        let hash = self.hasher.hash_one(&*key);
        if let Ok(entry) = self.table.find_entry(hash, |(_, g)| *g == group) {
            entry.remove();
        }
        self.live[group as usize] = false;
        self.key_bytes -= key.len();
        self.free.push(group);
        key
    }

    pub fn key(&self, group: u32) -> &[u8] {
        &self.keys[group as usize]
    }

    pub fn is_live(&self, group: u32) -> bool {
        self.live[group as usize]
    }

    /// All groups there are.
    pub fn groups(&self) -> impl Iterator<Item = u32> {
        (0..self.keys.len() as u32).filter(|g| self.live[*g as usize])
    }

    pub fn len(&self) -> usize {
        self.keys.len() - self.free.len()
    }

    /// One more than the greatest group number ever used.
    pub fn capacity(&self) -> usize {
        self.keys.len()
    }

    pub fn bytes(&self) -> usize {
        self.key_bytes + self.keys.capacity() * 17 + self.table.capacity() * 17
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_used_again() {
        let mut index = GroupIndex::new();
        assert_eq!(index.intern(b"a"), (0, true));
        assert_eq!(index.intern(b"b"), (1, true));
        assert_eq!(index.intern(b"a"), (0, false));
        assert_eq!(&*index.remove(0), b"a");
        assert_eq!(index.find(b"a"), None);
        assert_eq!(index.intern(b"c"), (0, true));
        assert_eq!(index.groups().collect::<Vec<_>>(), [0, 1]);
        assert_eq!((index.key(0), index.len(), index.capacity()), (&b"c"[..], 2, 2));
    }
}
