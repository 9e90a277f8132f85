//! The only way to write: changes to any number of keyspaces that become true and durable
//! together. A batch can be committed again after a failure, which is how a commit in doubt is
//! settled: its changes are absolute, so twice is the same as once.

use std::collections::HashSet;
use std::sync::Arc;

use common::{Error, Result};
use fjall::PersistMode;

use crate::{Keyspace, Kv, Value, fault, marks};

/// With less room than this the files that the store makes by itself do not fit.
const FILES_BYTES: u64 = 1 << 20;

pub struct Batch {
    kv: Arc<Kv>,
    changes: Vec<Change>,
    bytes: u64,
}

struct Change {
    space: Arc<str>,
    key: Value,
    /// None deletes.
    value: Option<Value>,
}

impl Batch {
    pub(crate) fn new(kv: Arc<Kv>) -> Self {
        Self { kv, changes: vec![], bytes: 0 }
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
    /// changes to one key the later holds.
    ///
    /// `Exhausted` by the reserve (the usual case of a full disk) means nothing was written. After
    /// any other failure the commit is in doubt: committing the same batch again settles it.
    pub fn commit_durable(&self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let _one = self.kv.commits();
        let needed = self.kv.options.reserve_bytes.saturating_add(self.bytes * 2);
        for _ in 0..2 {
            fault::ensure_room(&self.kv.dir, needed)?;
            if self.try_commit()? {
                return Ok(());
            }
        }
        // Files of its own that it could not write are larger than what is asked for here.
        fault::ensure_room(&self.kv.dir, needed.max(FILES_BYTES))?;
        Err(Error::new(
            common::Kind::Io,
            format!("the keyed store in '{}' fails to write its files", self.kv.dir.display()),
        )
        .hint("look for faults of the disk; if a file is damaged, restore a backup of the folder"))
    }

    /// False if the store broke in the background and must be opened again first.
    fn try_commit(&self) -> Result<bool> {
        let generation = self.kv.healthy()?;
        let mut batch = generation.db.batch().durability(Some(PersistMode::SyncData));
        let mut spaces: Vec<(&str, fjall::Keyspace)> = vec![];
        let mut seen = HashSet::new();
        // fjall gives all of a batch one number, so of two changes to a key it must see only the
        // last: backwards that is the first met.
        for change in self.changes.iter().rev() {
            // Few keyspaces, and runs of the same one: the list is quicker than a map.
            let at = match spaces.iter().rposition(|(name, _)| **name == *change.space) {
                Some(at) => at,
                None => {
                    spaces.push((&change.space, generation.get(&change.space)?));
                    spaces.len() - 1
                }
            };
            if !seen.insert((at, &*change.key)) {
                continue;
            }
            let space = &spaces[at].1;
            match &change.value {
                Some(value) => batch.insert(space, change.key.clone(), value.clone()),
                None => batch.remove(space, change.key.clone()),
            }
        }
        for (_, space) in &spaces {
            if !generation.wait_for_background(space)? {
                return Ok(false);
            }
        }
        marks::stage(&generation, &mut batch, &spaces);
        match batch.commit() {
            Ok(()) => Ok(true),
            // It broke in the background since it was looked at.
            Err(fjall::Error::Poisoned) => {
                generation.set_broken();
                Ok(false)
            }
            Err(e) => {
                generation.set_broken();
                Err(fault::error(&self.kv.dir, "write to", e))
            }
        }
    }

    fn push(&mut self, space: &Keyspace, key: Value, value: Option<Value>) {
        self.bytes += (key.len() + value.as_ref().map_or(0, |v| v.len())) as u64;
        self.changes.push(Change { space: space.name.clone(), key, value });
    }
}
