//! The only way to write: changes to any number of keyspaces that become true and durable
//! together. A batch can be committed again after a failure, which is how a commit in doubt is
//! settled: its changes are absolute, so twice is the same as once.

use std::sync::Arc;

use common::Result;

use crate::{Keyspace, Kv, Value};

pub struct Batch {
    kv: Arc<Kv>,
    changes: Arc<Vec<Change>>,
    bytes: u64,
}

#[derive(Clone)]
pub(crate) struct Change {
    pub space: Arc<str>,
    pub key: Value,
    /// None deletes.
    pub value: Option<Value>,
}

impl Batch {
    pub(crate) fn new(kv: Arc<Kv>) -> Self {
        Self { kv, changes: Arc::default(), bytes: 0 }
    }

    pub fn put(&mut self, space: &Keyspace, key: impl Into<Value>, value: impl Into<Value>) {
        self.push(space, key.into(), Some(value.into()));
    }

    pub fn delete(&mut self, space: &Keyspace, key: impl Into<Value>) {
        self.push(space, key.into(), None);
    }

    /// Deletes what is stored now under the prefix (not what this batch puts there).
    pub fn delete_prefix(&mut self, space: &Keyspace, prefix: &[u8]) -> Result<()> {
        for pair in space.prefix(prefix)? {
            self.delete(space, pair?.0);
        }
        Ok(())
    }

    /// The store this batch will be committed to.
    pub fn kv(&self) -> &Arc<Kv> {
        &self.kv
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes all changes true at once; when it returns they survive a crash of the machine. Of two
    /// changes to one key the later holds. Batches that are committed at one time share a sync.
    ///
    /// `Exhausted` by the reserve (the usual case of a full disk) means nothing was written. After
    /// any other failure the commit is in doubt: committing the same batch again settles it.
    pub fn commit_durable(&self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.kv.group_commit.commit(&self.kv, self.changes.clone(), self.bytes)
    }

    fn push(&mut self, space: &Keyspace, key: Value, value: Option<Value>) {
        self.bytes += (key.len() + value.as_ref().map_or(0, |v| v.len())) as u64;
        let change = Change { space: space.name.clone(), key, value };
        Arc::make_mut(&mut self.changes).push(change);
    }
}
