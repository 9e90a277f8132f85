//! Writes a group of batches as one commit of fjall, with the store's promises about full disks.

use std::collections::HashSet;

use common::{Error, Result};
use fjall::PersistMode;

use crate::batch::Change;
use crate::{Kv, fault, marks};

/// With less room than this the files that the store makes by itself do not fit.
const FILES_BYTES: u64 = 1 << 20;

impl Kv {
    /// All changes of all batches at once; of two changes to one key the later holds.
    pub(crate) fn write(&self, batches: &[&[Change]], bytes: u64) -> Result<()> {
        let _one = self.commits();
        let needed = self.options.reserve_bytes.saturating_add(bytes * 2);
        for _ in 0..2 {
            fault::ensure_room(&self.dir, needed)?;
            if self.try_write(batches)? {
                return Ok(());
            }
        }
        // Files of its own that it could not write are larger than what is asked for here.
        fault::ensure_room(&self.dir, needed.max(FILES_BYTES))?;
        Err(Error::new(
            common::Kind::Io,
            format!("the keyed store in '{}' fails to write its files", self.dir.display()),
        )
        .hint("look for faults of the disk; if a file is damaged, restore a backup of the folder"))
    }

    /// False if the store broke in the background and must be opened again first.
    fn try_write(&self, batches: &[&[Change]]) -> Result<bool> {
        let generation = self.healthy()?;
        let mut batch = generation.db.batch().durability(Some(PersistMode::SyncData));
        let mut spaces: Vec<(&str, fjall::Keyspace)> = vec![];
        let mut seen = HashSet::new();
        // fjall gives all of a batch one number, so of two changes to a key it must see only the
        // last: backwards that is the first met.
        for change in batches.iter().rev().flat_map(|changes| changes.iter().rev()) {
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
                Err(fault::error(&self.dir, "write to", e))
            }
        }
    }
}
