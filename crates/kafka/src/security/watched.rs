//! Files that are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use common::{Error, Result};

/// Files that belong together, and what they looked like when last seen.
pub struct Watched {
    paths: Vec<PathBuf>,
    seen: Mutex<Vec<Look>>,
}

/// Time and length; none of a file that is not there. A link is looked through, so that one set to
/// another file is a change.
type Look = Option<(SystemTime, u64)>;

impl Watched {
    pub fn new(paths: Vec<PathBuf>) -> Watched {
        let seen = Mutex::new(look_at(&paths));
        Watched { paths, seen }
    }

    /// Whether one of them changed since the last call.
    pub fn changed(&self) -> bool {
        let now = look_at(&self.paths);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != now;
        *seen = now;
        changed
    }
}

fn look_at(paths: &[PathBuf]) -> Vec<Look> {
    let look = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.iter().map(look).collect()
}

/// Reads a file that a configuration key names.
pub fn read(key: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(format!("'{key}': reading '{}'", path.display()), e))
}
