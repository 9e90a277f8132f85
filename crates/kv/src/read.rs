//! Reading. Every read, also one straight from a keyspace, goes through a snapshot: fjall's own
//! plain reads may see half of a batch that is being committed.

use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Weak};

use common::{Error, Result};
use fjall::Readable;

use crate::store::Generation;
use crate::{Kv, fault, marks};

/// Bytes that are cheap to clone.
pub type Value = fjall::Slice;
pub type Pair = (Value, Value);

/// A handle on a named set of sorted keys. It outlives a reopening of the store.
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) kv: Arc<Kv>,
    pub(crate) name: Arc<str>,
}

impl Keyspace {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.kv.snapshot()?.get(self, key)
    }

    /// Pairs whose key starts with `prefix`, in order of the key; `.rev()` walks backwards.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Pairs> {
        self.kv.snapshot()?.prefix(self, prefix)
    }

    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Pairs> {
        self.kv.snapshot()?.range(self, range)
    }

    pub fn iter(&self) -> Result<Pairs> {
        self.prefix(b"")
    }

    /// Exact, by walking all keys.
    pub fn len(&self) -> Result<usize> {
        let mut n = 0;
        for pair in self.iter()? {
            pair?;
            n += 1;
        }
        Ok(n)
    }

    pub fn is_empty(&self) -> Result<bool> {
        self.iter()?.next().transpose().map(|first| first.is_none())
    }

    /// At once, but counts overwritten and deleted entries until they are compacted away.
    pub fn approximate_len(&self) -> Result<usize> {
        Ok(self.kv.current()?.get(&self.name)?.approximate_len())
    }

    /// Bytes in files, without what is still only in the journal.
    pub fn disk_bytes(&self) -> Result<u64> {
        Ok(self.kv.current()?.get(&self.name)?.disk_space())
    }
}

/// All keyspaces as they were at one commit.
#[derive(Clone)]
pub struct Snapshot {
    inner: fjall::Snapshot,
    /// Weak, for a reopening must be able to close the database under a snapshot.
    generation: Weak<Generation>,
}

impl Snapshot {
    pub(crate) fn new(generation: &Arc<Generation>) -> Self {
        Self { inner: generation.db.snapshot(), generation: Arc::downgrade(generation) }
    }

    pub fn get(&self, space: &Keyspace, key: &[u8]) -> Result<Option<Value>> {
        let (generation, tree) = self.tree(space)?;
        self.inner.get(&tree, key).map_err(|e| fault::error(&generation.dir, "read", e))
    }

    pub fn prefix(&self, space: &Keyspace, prefix: &[u8]) -> Result<Pairs> {
        let (generation, tree) = self.tree(space)?;
        Ok(Pairs { inner: self.inner.prefix(&tree, prefix), dir: generation.dir.clone() })
    }

    pub fn range<K: AsRef<[u8]>>(
        &self,
        space: &Keyspace,
        range: impl RangeBounds<K>,
    ) -> Result<Pairs> {
        let (generation, tree) = self.tree(space)?;
        Ok(Pairs { inner: self.inner.range(&tree, range), dir: generation.dir.clone() })
    }

    /// False after a reopening of the store: take a new one then.
    pub fn is_valid(&self) -> bool {
        self.generation.strong_count() > 0
    }

    fn tree(&self, space: &Keyspace) -> Result<(Arc<Generation>, fjall::Keyspace)> {
        let generation = self.generation.upgrade().ok_or_else(|| {
            Error::unavailable("the keyed store was reopened after this snapshot was taken")
                .hint("ask again")
        })?;
        let tree = generation.get(&space.name)?;
        Ok((generation, tree))
    }
}

/// Pairs in order of the key, from both ends.
pub struct Pairs {
    inner: fjall::Iter,
    dir: Arc<Path>,
}

impl Pairs {
    fn pair(&self, guard: fjall::Guard) -> Option<Result<Pair>> {
        match guard.into_inner() {
            Ok((key, _)) if *key == *marks::KEY => None,
            Ok(pair) => Some(Ok(pair)),
            Err(e) => Some(Err(fault::error(&self.dir, "read", e))),
        }
    }
}

impl Iterator for Pairs {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let guard = self.inner.next()?;
            if let Some(pair) = self.pair(guard) {
                return Some(pair);
            }
        }
    }
}

impl DoubleEndedIterator for Pairs {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let guard = self.inner.next_back()?;
            if let Some(pair) = self.pair(guard) {
                return Some(pair);
            }
        }
    }
}
