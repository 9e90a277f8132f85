//! Reads everything in a store without changing it, for `watershed doctor --deep`. Opening writes
//! (journals are recovered, interrupted drops finished), so a copy is opened. No process may have
//! the store open.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use common::{Error, Result};

use crate::{Kv, Options};

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub keyspaces: usize,
    pub pairs: u64,
}

/// Reads all pairs of the store in `dir` from a copy at `scratch`, which must not exist and is
/// removed. An error names `dir`.
/// `look` may look at the copy.
pub fn check(
    dir: &Path,
    scratch: &Path,
    look: &mut dyn FnMut(&Arc<Kv>) -> Result<()>,
) -> Result<Checked> {
    let copied = copy(dir, scratch)
        .map_err(|e| Error::io(format!("copying '{}' to look at it", dir.display()), e));
    let checked = copied.and_then(|()| read_all(scratch, look));
    let removed = fs::remove_dir_all(scratch);
    let checked = checked.map_err(|e| {
        let own = e.message().replace(&*scratch.to_string_lossy(), &dir.to_string_lossy());
        let renamed = Error::new(e.kind(), own);
        match e.hint_text() {
            Some(hint) => renamed.hint(hint.to_string()),
            None => renamed,
        }
    })?;
    removed.map_err(|e| Error::io(format!("removing the copy '{}'", scratch.display()), e))?;
    Ok(checked)
}

fn read_all(dir: &Path, look: &mut dyn FnMut(&Arc<Kv>) -> Result<()>) -> Result<Checked> {
    // It stands for a moment only: room for background work is not asked for.
    let store = Kv::open(dir, Options { reserve_bytes: 0, ..Options::default() })?;
    let mut checked = Checked::default();
    for name in store.keyspaces()? {
        checked.keyspaces += 1;
        for pair in store.keyspace(&name)?.iter()? {
            pair?;
            checked.pairs += 1;
        }
    }
    look(&store)?;
    Ok(checked)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
