//! Commit marks: each commit writes its number into every keyspace it touches and, beside that,
//! into the keyspace `_marks`. On opening both must agree. fjall takes some damage in the middle of
//! a journal for a torn end and drops what follows, which may leave one keyspace newer than
//! another; without the marks that would pass unseen.

use std::sync::atomic::Ordering;

use common::Result;
use fjall::{OwnedWriteBatch, PersistMode};

use crate::fault;
use crate::store::Generation;

pub(crate) const SPACE: &str = "_marks";

/// Where a keyspace keeps its own mark; readers never see it.
pub(crate) const KEY: &[u8] = b"\0\0watershed mark";

/// Stands in `_marks` while a keyspace is being dropped.
const DROPPED: u64 = u64::MAX;

pub(crate) fn stage(
    generation: &Generation,
    batch: &mut OwnedWriteBatch,
    spaces: &[(&str, fjall::Keyspace)],
) {
    let number = generation.last.fetch_add(1, Ordering::Relaxed) + 1;
    for (name, space) in spaces {
        batch.insert(space, KEY, number.to_be_bytes());
        batch.insert(&generation.marks, *name, number.to_be_bytes());
    }
}

/// Compares all marks, finishes interrupted drops; returns the last commit's number.
pub(crate) fn check(generation: &Generation) -> Result<u64> {
    let dir = &*generation.dir;
    let bad = |e| fault::error(dir, "read", e);
    let mut last = 0;
    let mut names: Vec<String> =
        generation.db.list_keyspace_names().iter().map(|n| n.to_string()).collect();
    names.retain(|n| n != SPACE);
    for guard in generation.marks.iter() {
        let (name, number) = guard.into_inner().map_err(bad)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        if decode(&number) == Some(DROPPED) {
            drop_keyspace(generation, &name)?;
            names.retain(|n| *n != name);
        } else if !names.contains(&name) {
            return Err(fault::corrupt(dir, format!("the keyspace '{name}' is gone")));
        }
    }
    for name in names {
        let space = generation.get(&name)?;
        let own = space.get(KEY).map_err(bad)?;
        let noted = generation.marks.get(&name).map_err(bad)?;
        if own != noted {
            let text = format!("the keyspace '{name}' has lost commits, or others have");
            return Err(fault::corrupt(dir, text));
        }
        last = last.max(own.and_then(|n| decode(&n)).unwrap_or(0));
    }
    Ok(last)
}

/// Notes the intent first, so that a crash midway is not taken for damage.
pub(crate) fn drop_keyspace(generation: &Generation, name: &str) -> Result<()> {
    let bad = |e| fault::error(&generation.dir, "drop a keyspace in", e);
    if let Some(space) = generation.find(name)? {
        let mut batch = generation.db.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&generation.marks, name, DROPPED.to_be_bytes());
        batch.commit().map_err(bad)?;
        generation.forget(name);
        generation.db.delete_keyspace(space).map_err(bad)?;
    }
    let mut batch = generation.db.batch().durability(Some(PersistMode::SyncData));
    batch.remove(&generation.marks, name);
    batch.commit().map_err(bad)
}

fn decode(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
