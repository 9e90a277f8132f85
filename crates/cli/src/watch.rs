//! Tells when a project's files were saved. Editors write in several steps, so a change counts once
//! it has been quiet for a moment; the data folder is never watched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Error, Result};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Quiet time that ends a burst of events.
const QUIET: Duration = Duration::from_millis(100);

/// What was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Definitions,
    Settings,
}

/// A running watch.
pub struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<Vec<PathBuf>>,
    dir: PathBuf,
    watched: Vec<PathBuf>,
}

impl Watch {
    pub fn start(dir: &Path) -> Result<Watch> {
        let failed = |e: notify::Error| {
            Error::unavailable(format!("watching '{}': {e}", dir.display()))
                .hint("is fs.inotify.max_user_watches used up? 'watershed serve' needs no watch")
        };
        let dir = dir.canonicalize().map_err(|e| Error::io("finding the project's folder", e))?;
        let (sender, events) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event
                && !matches!(event.kind, EventKind::Access(_))
            {
                // Fails only when the program is ending.
                let _ = sender.send(event.paths);
            }
        })
        .map_err(failed)?;
        watcher.watch(&dir, RecursiveMode::NonRecursive).map_err(failed)?;
        let mut watch = Watch { watcher, events, dir, watched: vec![] };
        watch.add_folders();
        Ok(watch)
    }

    /// Watches the folders that exist; one made later is added when it appears. True when one
    /// was added.
    fn add_folders(&mut self) -> bool {
        self.watched.retain(|f| f.is_dir());
        let mut added = false;
        for name in ["sql", "dashboards"] {
            let folder = self.dir.join(name);
            if folder.is_dir()
                && !self.watched.contains(&folder)
                && self.watcher.watch(&folder, RecursiveMode::Recursive).is_ok()
            {
                self.watched.push(folder);
                added = true;
            }
        }
        added
    }

    /// The next change, when it is complete.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let mut paths = self.events.recv().await?;
            while let Ok(Some(more)) = tokio::time::timeout(QUIET, self.events.recv()).await {
                paths.extend(more);
            }
            let added = self.add_folders();
            let found = paths.iter().filter_map(|p| meaning(&self.dir, p)).max_by_key(|c| {
                // Both at once: definitions are applied, settings wait for a restart anyway.
                *c == Change::Definitions
            });
            if added {
                return Some(Change::Definitions);
            }
            if found.is_some() {
                return found;
            }
        }
    }
}

fn meaning(dir: &Path, path: &Path) -> Option<Change> {
    let inside = path.strip_prefix(dir).ok()?;
    let first = inside.components().next()?.as_os_str();
    let name = path.file_name()?.to_string_lossy();
    if inside == Path::new("watershed.toml") {
        return Some(Change::Settings);
    }
    let hidden = name.starts_with('.') || name.ends_with('~');
    let wanted = (first == "sql" && (name.ends_with(".sql") || path.extension().is_none()))
        || (first == "dashboards" && (name.ends_with(".toml") || path.extension().is_none()));
    (wanted && !hidden).then_some(Change::Definitions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_counts() {
        let dir = Path::new("/p");
        for (path, change) in [
            ("/p/sql/a.sql", Some(Change::Definitions)),
            ("/p/sql/deep/b.sql", Some(Change::Definitions)),
            ("/p/sql", Some(Change::Definitions)),
            ("/p/sql/.a.sql.swp", None),
            ("/p/sql/a.sql~", None),
            ("/p/dashboards/d.toml", Some(Change::Definitions)),
            ("/p/watershed.toml", Some(Change::Settings)),
            ("/p/data/log/x", None),
            ("/p/README.md", None),
        ] {
            assert_eq!(meaning(dir, Path::new(path)), change, "{path}");
        }
    }

    #[tokio::test]
    async fn sees_saves_renames_and_new_folders() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(dir.path()).unwrap();
        let wait = Duration::from_secs(10);
        std::fs::create_dir(dir.path().join("sql")).unwrap();
        let made = tokio::time::timeout(wait, watch.next()).await.unwrap();
        assert_eq!(made, Some(Change::Definitions));
        // As editors save: a new file, renamed over the old one.
        std::fs::write(dir.path().join("sql/.tmp"), "x").unwrap();
        std::fs::rename(dir.path().join("sql/.tmp"), dir.path().join("sql/a.sql")).unwrap();
        let saved = tokio::time::timeout(wait, watch.next()).await.unwrap();
        assert_eq!(saved, Some(Change::Definitions));
    }
}
