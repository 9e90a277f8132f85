//! One segment of a partition: its `.log` file and the index over it. Opened when needed; what it
//! holds open is bounded by `Handles`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use common::{Disk, DiskFile, Error, Result};

use crate::handles::Handles;
use crate::index::{Extent, Index};
use crate::lock::lock;
use crate::scan;
use crate::segment_name::{SEGMENT_FILES, SegmentName};
use crate::snapshot_file::{self, AbortedIndex};

const END_UNKNOWN: i64 = -1;

pub(crate) struct Segment {
    pub base: i64,
    pub path: PathBuf,
    is_compacted: bool,
    disk: Arc<dyn Disk>,
    handles: Arc<Handles>,
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    index: Mutex<Option<Index>>,
    /// Kept when a sealed segment's index is let go.
    sealed_extent: OnceLock<Extent>,
    /// Of a sealed segment, while it is in use.
    aborted: Mutex<Option<Arc<AbortedIndex>>>,
    /// Readers see no further, until it is sealed.
    durable_len: AtomicU64,
    /// Where the next segment begins, once sealed.
    end: AtomicI64,
    /// What the index files reach to, as far as this process wrote them.
    stored_len: AtomicU64,
    used: AtomicU64,
    is_noted: AtomicBool,
}

impl Segment {
    /// The segment that is written to.
    pub fn active(
        disk: Arc<dyn Disk>,
        handles: Arc<Handles>,
        path: PathBuf,
        index: Index,
        base: i64,
    ) -> Arc<Self> {
        let len = index.extent().len;
        Self::new(disk, handles, path, base, Some(index), len, END_UNKNOWN)
    }

    /// A segment that is complete and synced.
    pub fn sealed(
        disk: Arc<dyn Disk>,
        handles: Arc<Handles>,
        path: PathBuf,
        base: i64,
        end: i64,
    ) -> Arc<Self> {
        Self::new(disk, handles, path, base, None, 0, end)
    }

    /// A compacted segment that was just written: complete, synced, its index at hand.
    pub fn compacted(
        disk: Arc<dyn Disk>,
        handles: Arc<Handles>,
        path: PathBuf,
        index: Index,
        end: i64,
    ) -> Arc<Self> {
        Self::new(disk, handles, path, index.base(), Some(index), 0, end)
    }

    fn new(
        disk: Arc<dyn Disk>,
        handles: Arc<Handles>,
        path: PathBuf,
        base: i64,
        index: Option<Index>,
        durable_len: u64,
        end: i64,
    ) -> Arc<Self> {
        let is_compacted = SegmentName::of(&path).is_some_and(|name| name.compacted.is_some());
        Arc::new(Self {
            base,
            is_compacted,
            path,
            disk,
            handles,
            file: Mutex::new(None),
            index: Mutex::new(index),
            sealed_extent: OnceLock::new(),
            aborted: Mutex::new(None),
            durable_len: AtomicU64::new(durable_len),
            end: AtomicI64::new(end),
            stored_len: AtomicU64::new(0),
            used: AtomicU64::new(0),
            is_noted: AtomicBool::new(false),
        })
    }

    pub fn path_of(dir: &Path, base: i64) -> PathBuf {
        SegmentName { base, compacted: None }.path(dir)
    }

    /// Whether offsets may be missing in it.
    pub fn is_compacted(&self) -> bool {
        self.is_compacted
    }

    /// The open file.
    pub fn file(self: &Arc<Self>) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_file()?;
        self.note();
        Ok(file)
    }

    fn open_file(&self) -> io::Result<Arc<dyn DiskFile>> {
        let mut slot = lock(&self.file);
        match &*slot {
            Some(file) => Ok(file.clone()),
            None => Ok(slot.insert(self.disk.open(&self.path, false)?).clone()),
        }
    }

    /// Creates the file, empty, its name synced.
    pub fn create(self: &Arc<Self>) -> io::Result<()> {
        let file = self.disk.open(&self.path, true)?;
        file.set_len(0)?;
        *lock(&self.file) = Some(file);
        self.note();
        Ok(())
    }

    /// How far readers may go.
    pub fn readable_len(self: &Arc<Self>) -> Result<u64> {
        if self.is_sealed() {
            return Ok(self.extent()?.len);
        }
        Ok(self.durable_len.load(Ordering::Acquire))
    }

    pub fn set_durable_len(&self, len: u64) {
        self.durable_len.fetch_max(len, Ordering::AcqRel);
    }

    /// No more is written here. The index is stored by the caller, outside of its locks.
    pub fn seal(&self, end: i64) {
        self.end.store(end, Ordering::Release);
    }

    pub fn is_sealed(&self) -> bool {
        self.end.load(Ordering::Acquire) != END_UNKNOWN
    }

    /// Where the next segment begins.
    pub fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// The transactions aborted in this sealed segment, from memory or from its file.
    pub fn aborted(self: &Arc<Self>) -> Option<Arc<AbortedIndex>> {
        let found = {
            let mut slot = lock(&self.aborted);
            if slot.is_none() {
                let stored = AbortedIndex::load(&*self.disk, &self.path);
                *slot = stored.filter(|index| index.end == self.end()).map(Arc::new);
            }
            slot.clone()
        };
        self.note();
        found
    }

    /// Stores them, which were found anew.
    pub fn keep_aborted(&self, index: AbortedIndex) -> Arc<AbortedIndex> {
        if let Err(e) = index.store(&*self.disk, &self.path) {
            tracing::warn!(file = %self.path.display(), "transaction index is not stored: {e}");
        }
        let index = Arc::new(index);
        *lock(&self.aborted) = Some(index.clone());
        index
    }

    /// Changes the index of the active segment.
    pub fn update_index(&self, change: impl FnOnce(&mut Index)) {
        if let Some(index) = &mut *lock(&self.index) {
            change(index);
        }
    }

    /// Stores the index files if the index is in memory and reaches further than they do.
    pub fn store_index(&self) -> io::Result<()> {
        let Some(index) = lock(&self.index).clone() else { return Ok(()) };
        let len = index.extent().len;
        if self.stored_len.load(Ordering::Acquire) == len {
            return Ok(());
        }
        index.store(&*self.disk, &self.path)?;
        self.stored_len.store(len, Ordering::Release);
        Ok(())
    }

    /// Reads from the index, which is loaded, or rebuilt when its files are not good.
    pub fn with_index<R>(self: &Arc<Self>, read: impl FnOnce(&Index) -> R) -> Result<R> {
        let result = {
            let mut slot = lock(&self.index);
            let index = match &*slot {
                Some(index) => index,
                None => slot.insert(self.load_index()?),
            };
            read(index)
        };
        self.note();
        Ok(result)
    }

    /// Length, end and newest time; for a sealed segment this is kept in memory.
    pub fn extent(self: &Arc<Self>) -> Result<Extent> {
        if let Some(extent) = self.sealed_extent.get() {
            return Ok(*extent);
        }
        // Asked before: what is appended and sealed meanwhile is not in the extent.
        let is_final = self.is_sealed();
        // Only looked at: that is no use for which files are kept open.
        let at_hand = lock(&self.index).as_ref().map(Index::extent);
        let extent = match at_hand {
            Some(extent) => extent,
            None => self.with_index(Index::extent)?,
        };
        if is_final {
            let _ = self.sealed_extent.set(extent);
        }
        Ok(extent)
    }

    /// Called with the index locked, so it must not `note`.
    fn load_index(&self) -> Result<Index> {
        let doing = || format!("read '{}'", self.path.display());
        let file = self.open_file().map_err(|e| Error::io(doing(), e))?;
        let len = file.len().map_err(|e| Error::io(doing(), e))?;
        let end = self.end.load(Ordering::Acquire);
        if let Some(index) = Index::load(&*self.disk, &self.path, self.base)
            && index.extent().len <= len
            && index.extent().next_offset == end
        {
            return Ok(index);
        }
        tracing::warn!(file = %self.path.display(), "index is missing or damaged, rebuilding it");
        let trusted = Extent { len, next_offset: end, max_timestamp_ms: i64::MIN };
        let (index, gaps) = (Index::new(self.base), self.is_compacted);
        let found = scan::scan(&*file, len, index, trusted, Some(end), gaps, |_, _| {})
            .map_err(|e| Error::io(doing(), e))?;
        for hole in &found.damaged {
            tracing::error!(file = %self.path.display(), ?hole, "damaged stretch in segment");
        }
        if let Err(e) = found.index.store(&*self.disk, &self.path) {
            tracing::warn!(file = %self.path.display(), "rebuilt index is not stored: {e}");
        }
        Ok(found.index)
    }

    fn note(self: &Arc<Self>) {
        self.used.store(self.handles.tick(), Ordering::Relaxed);
        if !self.is_noted.swap(true, Ordering::AcqRel) {
            self.handles.note(self);
        }
    }

    pub fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Lets go of the file, and of the index if the segment is sealed. A writer with unsynced
    /// bytes holds the file by itself.
    pub fn release(&self) {
        self.is_noted.store(false, Ordering::Release);
        *lock(&self.file) = None;
        if self.is_sealed() {
            *lock(&self.index) = None;
            *lock(&self.aborted) = None;
        }
    }

    /// Removes all files of the segment.
    pub fn remove(&self) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new(""));
        self.disk.remove(&snapshot_file::producers_path(dir, self.base))?;
        self.remove_replaced()
    }

    /// As `remove`, but leaves what is known of producers where the segment begins.
    pub fn remove_replaced(&self) -> io::Result<()> {
        self.release();
        for extension in SEGMENT_FILES {
            self.disk.remove(&self.path.with_extension(extension))?;
        }
        Ok(())
    }
}
