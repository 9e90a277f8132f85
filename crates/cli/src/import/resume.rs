//! What an import wrote down after each acknowledged batch: a small file in the person's state
//! folder, named after file, topic and platform. A crash between acknowledgement and this note is
//! covered by the batch's number, which the server takes once.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use common::{Error, Result};
use serde::{Deserialize, Serialize};

use super::Arguments;

/// So much of a file's beginning belongs to its identity.
const HEAD_BYTES: u64 = 64 << 10;

/// How far an import is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The import's id in the header `Watershed-Import`.
    pub id: String,
    /// Number of the last acknowledged batch.
    pub sequence: u64,
    /// Byte (row, for Parquet) behind it, and the line that begins there.
    pub position: u64,
    pub line: u64,
    /// Where that batch begins: sent again to see whether the platform still knows this import.
    pub last: (u64, u64),
    pub rows: u64,
    pub accepted: u64,
    pub refused: u64,
    pub done: bool,
    #[serde(skip)]
    path: PathBuf,
}

impl Progress {
    /// What is known of this file, topic and platform; a fresh start when nothing is, when asked
    /// for, or when the topic had to be made.
    pub fn load(arguments: &Arguments, file: &Path, topic_is_new: bool) -> Result<Progress> {
        // Of standard input nothing is known the next time.
        let is_stdin = file.as_os_str() == "-";
        let path = if is_stdin { PathBuf::new() } else { note_path(arguments, file)? };
        if arguments.again || topic_is_new || is_stdin {
            return Ok(Progress::fresh(path));
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Progress::fresh(path)),
            Err(e) => return Err(Error::io(format!("reading '{}'", path.display()), e)),
        };
        let mut found: Progress = serde_json::from_str(&text).map_err(|e| {
            let shown = path.display();
            Error::corrupt(format!("the note '{shown}' of an import does not parse: {e}"))
                .hint("remove it if the topic holds nothing of this file; else count first")
        })?;
        found.path = path;
        Ok(found)
    }

    fn fresh(path: PathBuf) -> Progress {
        Progress {
            id: uuid::Uuid::new_v4().simple().to_string(),
            sequence: 0,
            position: 0,
            line: 1,
            last: (0, 1),
            rows: 0,
            accepted: 0,
            refused: 0,
            done: false,
            path,
        }
    }

    /// Forgets all: the platform does not know this import.
    pub fn restart(&mut self) {
        *self = Progress::fresh(std::mem::take(&mut self.path));
    }

    /// Durable before the next batch is sent.
    pub fn save(&self) -> Result<()> {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        let shown = self.path.display();
        let failed = |e| Error::io(format!("writing '{shown}'"), e);
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::internal(format!("encoding the note of an import: {e}")))?;
        let new = self.path.with_extension("new");
        let mut file = fs::File::create(&new).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(failed)?;
        fs::rename(&new, &self.path).map_err(failed)
    }
}

fn note_path(arguments: &Arguments, file: &Path) -> Result<PathBuf> {
    let dir = crate::run::state_dir().ok_or_else(|| {
        Error::invalid("there is no place to note how far the import is")
            .hint("set HOME or XDG_STATE_HOME")
    })?;
    let identity = identity(file)?;
    let mut hasher = DefaultHasher::new();
    (identity, &arguments.into, arguments.target.url().trim_end_matches('/')).hash(&mut hasher);
    Ok(dir.join("imports").join(format!("{:016x}.json", hasher.finish())))
}

/// The same file at the same place with the same beginning, size and time of change.
fn identity(path: &Path) -> Result<(PathBuf, u64, u128, Vec<u8>)> {
    let failed = |e| Error::io(format!("reading '{}'", path.display()), e);
    let full = path.canonicalize().map_err(failed)?;
    let file = fs::File::open(&full).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let modified = meta.modified().ok();
    let modified = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let mut head = vec![];
    file.take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    Ok((full, meta.len(), modified.map_or(0, |d| d.as_nanos()), head))
}
