//! A copy of the store as it was at a snapshot, while it goes on. Pairs are written anew, so the
//! copy has what was current and nothing else, however the files of the store come and go.

use std::path::Path;
use std::sync::Arc;

use common::Result;

use crate::{Keyspace, Kv, Options, Snapshot};

/// Bytes written in one commit.
const BATCH_BYTES: u64 = 8 << 20;

impl Kv {
    /// Writes what `snapshot` has of `keyspaces` into a new store in `dir`; the number of pairs.
    ///
    /// Fails with `NotFound` if a keyspace was dropped after the snapshot, with `Unavailable` if
    /// the store was reopened: then another snapshot is needed.
    pub fn copy_to(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        keyspaces: &[String],
        dir: &Path,
    ) -> Result<u64> {
        let target = Kv::open(dir, Options { reserve_bytes: 0, ..Options::default() })?;
        let mut pairs = 0;
        for name in keyspaces {
            let from = Keyspace { kv: self.clone(), name: name.as_str().into() };
            let to = target.keyspace(name)?;
            let mut batch = target.batch();
            for pair in snapshot.prefix(&from, b"")? {
                let (key, value) = pair?;
                batch.put(&to, key, value);
                pairs += 1;
                if batch.bytes() >= BATCH_BYTES {
                    batch.commit_durable()?;
                    batch = target.batch();
                }
            }
            batch.commit_durable()?;
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::Kind;

    fn put(kv: &Arc<Kv>, space: &str, key: &str, value: &[u8]) {
        let space = kv.keyspace(space).unwrap();
        let mut batch = kv.batch();
        batch.put(&space, key.as_bytes(), value);
        batch.commit_durable().unwrap();
    }

    #[test]
    fn has_what_the_snapshot_had() {
        let dir = tempfile::tempdir().unwrap();
        let kv = Kv::open(dir.path().join("a"), Options::default()).unwrap();
        for i in 0..20 {
            put(&kv, "many", &format!("{i:02}"), &vec![i; 1 << 20]);
        }
        put(&kv, "few", "k", b"before");
        kv.keyspace("none").unwrap();
        let (snapshot, names) = (kv.snapshot().unwrap(), kv.keyspaces().unwrap());
        put(&kv, "few", "k", b"after");
        put(&kv, "later", "k", b"x");
        let copy = dir.path().join("b");
        assert_eq!(kv.copy_to(&snapshot, &names, &copy).unwrap(), 21);
        let copied = Kv::open(&copy, Options::default()).unwrap();
        assert_eq!(copied.keyspaces().unwrap(), ["few", "many", "none"]);
        let value = copied.keyspace("few").unwrap().get(b"k").unwrap();
        assert_eq!(value.as_deref(), Some(&b"before"[..]));
        let last = copied.keyspace("many").unwrap().get(b"19").unwrap();
        assert_eq!(last.as_deref(), Some(&vec![19; 1 << 20][..]));
    }

    #[test]
    fn a_dropped_keyspace_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let kv = Kv::open(dir.path().join("a"), Options::default()).unwrap();
        put(&kv, "one", "k", b"v");
        let (snapshot, names) = (kv.snapshot().unwrap(), kv.keyspaces().unwrap());
        kv.drop_keyspace("one").unwrap();
        let e = kv.copy_to(&snapshot, &names, &dir.path().join("b")).unwrap_err();
        assert_eq!(e.kind(), Kind::NotFound, "{e}");
        // It did not come back by being asked for.
        assert_eq!(kv.keyspaces().unwrap(), Vec::<String>::new());
    }
}
