//! Opening the store and keeping it usable. fjall refuses every write after one failed; `Kv`
//! therefore holds the open database as a *generation* that it can close and open again in place,
//! so that a disk that was full for a while needs no restart of the process.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use common::{Error, Result};
use fjall::{AbstractTree, Database, KeyspaceCreateOptions, PersistMode};

use crate::group_commit::GroupCommit;
use crate::{Batch, Keyspace, Snapshot, fault, marks};

/// Limits of memory and disk. The defaults suit a small machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Blocks kept in memory, over all keyspaces.
    pub cache_bytes: u64,
    /// A keyspace's fresh writes kept in memory before they become a file.
    pub memtable_bytes: u64,
    /// Journals on disk, over all keyspaces; at least 64 MiB.
    pub journal_bytes_max: u64,
    /// Room left on the disk for background work; a commit that would use it is refused.
    pub reserve_bytes: u64,
    /// Files kept open.
    pub files_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            memtable_bytes: 4 << 20,
            journal_bytes_max: 64 << 20,
            reserve_bytes: 16 << 20,
            files_max: 128,
        }
    }
}

/// A folder of keyspaces, open in this process only.
pub struct Kv {
    pub(crate) dir: Arc<Path>,
    pub(crate) options: Options,
    /// None only after a failed reopen.
    generation: RwLock<Option<Arc<Generation>>>,
    /// fjall's journal takes one commit at a time anyway.
    commits: Mutex<()>,
    pub(crate) group_commit: GroupCommit,
}

/// One opening of the database.
pub(crate) struct Generation {
    pub(crate) dir: Arc<Path>,
    pub(crate) db: Database,
    pub(crate) marks: fjall::Keyspace,
    /// Number of the last commit.
    pub(crate) last: AtomicU64,
    spaces: RwLock<HashMap<Arc<str>, fjall::Keyspace>>,
    broken: AtomicBool,
}

/// How long a reopening waits for reads under way, and a commit for background work.
const PATIENCE: Duration = Duration::from_secs(30);

impl Kv {
    /// Opens the store in `dir`, creating it when there is none.
    ///
    /// Fails with `Conflict` if another process has it open, `Corrupt` if it is damaged, `Denied`
    /// if the folder cannot be written and `Exhausted` if the disk is full.
    pub fn open(dir: impl Into<PathBuf>, options: Options) -> Result<Arc<Self>> {
        let dir: Arc<Path> = dir.into().into();
        let generation = Generation::open(&dir, &options)?;
        let generation = RwLock::new(Some(Arc::new(generation)));
        let (commits, group_commit) = Default::default();
        Ok(Arc::new(Self { dir, options, generation, commits, group_commit }))
    }

    /// The keyspace of that name, created when there is none.
    pub fn keyspace(self: &Arc<Self>, name: &str) -> Result<Keyspace> {
        if name.is_empty() || name.len() > 255 || name.starts_with('_') {
            let text = format!("'{name}' cannot name a keyspace");
            return Err(Error::invalid(text).hint("use 1 to 255 bytes, the first not '_'"));
        }
        let name: Arc<str> = name.into();
        let _one = self.commits();
        let generation = self.current()?;
        if generation.find(&name)?.is_none() {
            fault::ensure_room(&self.dir, self.options.reserve_bytes)?;
            generation.create(&name, &self.options)?;
        }
        Ok(Keyspace { kv: self.clone(), name })
    }

    /// Names of all keyspaces, sorted.
    pub fn keyspaces(&self) -> Result<Vec<String>> {
        let names = self.current()?.db.list_keyspace_names();
        let mut names: Vec<String> =
            names.iter().map(|n| n.to_string()).filter(|n| !n.starts_with('_')).collect();
        names.sort();
        Ok(names)
    }

    /// Deletes a keyspace with all in it; succeeds if there is none. Survives a crash midway.
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        let _one = self.commits();
        let generation = self.healthy()?;
        marks::drop_keyspace(&generation, name)
    }

    pub fn batch(self: &Arc<Self>) -> Batch {
        Batch::new(self.clone())
    }

    /// All keyspaces as of the last commit. Cheap; but while it lives, what it shows stays on disk.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(&self.current()?))
    }

    /// Bytes on disk, journals included.
    pub fn disk_bytes(&self) -> Result<u64> {
        self.current()?.db.disk_space().map_err(|e| fault::error(&self.dir, "measure", e))
    }

    /// Closes and opens the store in place. Commits do this by themselves after a failed write;
    /// snapshots taken before then answer `Unavailable`.
    pub fn reopen(&self) -> Result<()> {
        let _one = self.commits();
        self.replace(true).map(|_| ())
    }

    pub(crate) fn commits(&self) -> MutexGuard<'_, ()> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For reads: these go on in a generation that can no longer write.
    pub(crate) fn current(&self) -> Result<Arc<Generation>> {
        let now = self.generation.read().unwrap_or_else(PoisonError::into_inner).clone();
        match now {
            Some(generation) => Ok(generation),
            None => self.replace(false),
        }
    }

    /// For writes.
    pub(crate) fn healthy(&self) -> Result<Arc<Generation>> {
        let generation = self.current()?;
        if !generation.is_broken() {
            return Ok(generation);
        }
        drop(generation);
        // Recovery writes too: on a full disk the old generation keeps serving reads instead.
        fault::ensure_room(&self.dir, self.options.reserve_bytes)?;
        self.replace(false)
    }

    fn replace(&self, force: bool) -> Result<Arc<Generation>> {
        let mut slot = self.generation.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = slot.take() {
            if !force && !old.is_broken() {
                *slot = Some(old.clone());
                return Ok(old);
            }
            // The file lock is free only once the last use of the old database has ended.
            let since = Instant::now();
            while Arc::strong_count(&old) > 1 {
                if since.elapsed() > PATIENCE {
                    *slot = Some(old);
                    return Err(Error::unavailable("the keyed store is busy with reads"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let generation = Arc::new(Generation::open(&self.dir, &self.options)?);
        *slot = Some(generation.clone());
        Ok(generation)
    }
}

impl Generation {
    fn open(dir: &Arc<Path>, options: &Options) -> Result<Self> {
        let config = || {
            Database::builder(dir)
                .cache_size(options.cache_bytes)
                .max_journaling_size(options.journal_bytes_max.max(64 << 20))
                .max_cached_files(Some(options.files_max.max(16)))
                // One worker needs least memory, and with two fjall spins while one compacts.
                .worker_threads(1)
        };
        ensure_keyspace_folders(dir)?;
        // fjall panics on some kinds of damage.
        let db = catch_unwind(AssertUnwindSafe(|| config().open()))
            .map_err(|_| fault::corrupt(dir, "its folders are not as the store left them"))?
            .map_err(|e| fault::error(dir, "open", e))?;
        let marks = db
            .keyspace(marks::SPACE, || space_options(1 << 20))
            .map_err(|e| fault::error(dir, "open", e))?;
        let generation = Self {
            dir: dir.clone(),
            db,
            marks,
            last: AtomicU64::new(0),
            spaces: RwLock::default(),
            broken: AtomicBool::new(false),
        };
        let last = marks::check(&generation)?;
        generation.last.store(last, Ordering::Relaxed);
        Ok(generation)
    }

    /// An existing keyspace.
    pub(crate) fn find(&self, name: &str) -> Result<Option<fjall::Keyspace>> {
        if let Some(space) = self.spaces.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Some(space.clone()));
        }
        if !self.db.keyspace_exists(name) {
            return Ok(None);
        }
        // The options of an existing keyspace are those it was created with.
        self.create(name, &Options::default()).map(Some)
    }

    pub(crate) fn get(&self, name: &str) -> Result<fjall::Keyspace> {
        self.find(name)?.ok_or_else(|| Error::not_found(format!("unknown keyspace '{name}'")))
    }

    fn create(&self, name: &str, options: &Options) -> Result<fjall::Keyspace> {
        let space = self
            .db
            .keyspace(name, || space_options(options.memtable_bytes))
            .map_err(|e| fault::error(&self.dir, "create a keyspace in", e))?;
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        spaces.insert(name.into(), space.clone());
        Ok(space)
    }

    pub(crate) fn forget(&self, name: &str) {
        self.spaces.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// True once a write failed, here or in the background.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.db.persist(PersistMode::Buffer).is_err()
    }

    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Waits until fjall would take a write at once. It waits by itself too, but for ever, should
    /// its background thread have died of a full disk. False means broken.
    pub(crate) fn wait_for_background(&self, space: &fjall::Keyspace) -> Result<bool> {
        let since = Instant::now();
        while space.sealed_memtable_count() >= 3 || space.tree.l0_run_count() >= 20 {
            if self.is_broken() {
                return Ok(false);
            }
            if since.elapsed() > PATIENCE {
                return Err(Error::unavailable("the keyed store cannot keep up with its writes")
                    .hint("its disk is slow or busy; the same commit may succeed later"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(true)
    }
}

/// What fjall itself would answer with harm: it deletes every keyspace that its list (keyspace 0)
/// does not name, which are all if the list is gone; and a foreign folder among them makes it
/// panic in a way that ends the process.
fn ensure_keyspace_folders(dir: &Path) -> Result<()> {
    let keyspaces = dir.join("keyspaces");
    let Ok(entries) = std::fs::read_dir(&keyspaces) else { return Ok(()) };
    let mut empty = true;
    for entry in entries.flatten() {
        empty = false;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && name.parse::<u64>().is_err() {
            return Err(fault::corrupt(dir, format!("'keyspaces/{name}' does not belong there")));
        }
    }
    if !empty && !keyspaces.join("0/current").exists() {
        return Err(fault::corrupt(dir, "its list of keyspaces is gone"));
    }
    Ok(())
}

fn space_options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
