//! One partition: the single writer of its active segment, and group commit's view of it. Reading
//! is in `read.rs`, opening after a crash in `recovery.rs`, forgetting in `retention.rs`.
//!
//! Locks, in this order: `sync` (one sync or roll at a time), `writer`, `producers`, then those
//! inside of segments and `durability`. No append waits for a sync, except the one that begins a
//! segment.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use common::{Clock, Disk, DiskFile, Error, Offset, Partition, Result};

use crate::batch::{self, Header};
use crate::checkpoint::Checkpoint;
use crate::commits::Commits;
use crate::compaction::cleaner::Cleaner;
use crate::config::LogConfig;
use crate::durability::{Appended, Durability, Failure};
use crate::flusher::Flusher;
use crate::handles::Handles;
use crate::index::{Extent, Index};
use crate::keys;
use crate::lock::{lock, read, write};
use crate::pins::Pins;
use crate::producers::Producers;
use crate::segment::Segment;
use crate::segment_list::{self, MissingSegment};
use crate::settings::Settings;
use crate::snapshot_file::{self, AbortedIndex};

/// Bytes of one append: with a full segment before it, positions stay within 32 bits.
const APPEND_BYTES_MAX: usize = 1 << 30;
/// Upper bounds of `PartitionStats::sync_buckets`, in microseconds; the last bucket has none.
pub const SYNC_BUCKETS_US: [u64; 9] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];
/// An active segment this large gets index files when the log is closed.
const INDEXED_AT_CLOSE: u64 = 1 << 20;

/// What all partitions of a log use.
pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub config: LogConfig,
    pub handles: Arc<Handles>,
    pub flusher: Arc<Flusher>,
    pub commits: Commits,
}

/// A partition of a topic.
pub struct PartitionLog {
    pub(crate) topic: Arc<str>,
    pub(crate) id: Partition,
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) segments: RwLock<BTreeMap<i64, Arc<Segment>>>,
    /// The file with the segments' bases. Written under the writer's lock.
    pub(crate) list: PathBuf,
    /// Segments that should be there, as found at the opening; a lock that is held for a look only.
    pub(crate) missing: RwLock<Vec<MissingSegment>>,
    pub(crate) start: AtomicI64,
    /// Retention removes nothing from here on.
    pub(crate) held_from: AtomicI64,
    pub(crate) pins: Pins,
    pub(crate) counters: Counters,
    pub(crate) cleaner: Cleaner,
    pub(crate) settings: Arc<Settings>,
    /// Changed under the writer's lock only.
    pub(crate) producers: Mutex<Producers>,
    /// A copy of `Producers::first_unstable`, for readers.
    pub(crate) first_unstable: AtomicI64,
    pub(crate) durability: Durability,
    end: AtomicI64,
    pub(crate) is_dirty: AtomicBool,
    pub(crate) sync: Mutex<()>,
    writer: Mutex<Writer>,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub records_appended: AtomicU64,
    pub bytes_appended: AtomicU64,
    pub bytes_read: AtomicU64,
    pub syncs: AtomicU64,
    pub sync_us: AtomicU64,
    pub sync_buckets: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
    pub sync_failures: AtomicU64,
}

/// Figures of a partition; counters count from when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStats {
    pub topic: Arc<str>,
    pub partition: Partition,
    pub start_offset: Offset,
    pub high_watermark: Offset,
    pub end_offset: Offset,
    pub segments: u64,
    /// Bytes of record batches on disk.
    pub bytes: u64,
    pub records_appended: u64,
    pub bytes_appended: u64,
    pub bytes_read: u64,
    pub syncs: u64,
    /// Time spent in syncs.
    pub sync_us: u64,
    /// Syncs by how long they took: each is counted once, at the first bound it does not pass.
    pub sync_buckets: [u64; SYNC_BUCKETS_US.len() + 1],
    pub sync_failures: u64,
}

pub(crate) struct Writer {
    pub(crate) active: Option<Arc<Segment>>,
    /// Held while there are unsynced writes, so that the sync reports their errors.
    file: Option<Arc<dyn DiskFile>>,
    /// What of the active segment is written, and what of that is synced.
    pub(crate) written: Extent,
    pub(crate) durable: Extent,
    /// A failed write left bytes behind `written` that could not be cut off yet.
    must_cut: bool,
    /// A sync failed and nothing was cut: the system may take the unsynced bytes for synced.
    pub(crate) must_rewrite: bool,
    /// The next segment's file may exist already, so nothing may be added to this one.
    must_roll: bool,
}

/// What recovery found; the partition is built from it.
pub(crate) struct Opened {
    pub segments: BTreeMap<i64, Arc<Segment>>,
    pub list: PathBuf,
    pub missing: Vec<MissingSegment>,
    pub active: Option<Arc<Segment>>,
    pub extent: Extent,
    pub start: i64,
    pub producers: Producers,
}

/// A segment that was just closed, and what is to be stored of it without locks.
pub(crate) struct Sealed {
    segment: Arc<Segment>,
    aborted: AbortedIndex,
    /// The producers where the next segment begins.
    producers: Vec<u8>,
}

impl Writer {
    pub fn is_active(&self, segment: &Arc<Segment>) -> bool {
        self.active.as_ref().is_some_and(|active| Arc::ptr_eq(active, segment))
    }
}

impl fmt::Debug for PartitionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionLog({}-{})", self.topic, self.id)
    }
}

impl PartitionLog {
    pub(crate) fn new(
        topic: Arc<str>,
        id: Partition,
        dir: PathBuf,
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        opened: Opened,
    ) -> Arc<Self> {
        let end = opened.extent.next_offset;
        let partition = Arc::new(Self {
            topic,
            id,
            dir,
            shared,
            segments: RwLock::new(opened.segments),
            list: opened.list,
            missing: RwLock::new(opened.missing),
            start: AtomicI64::new(opened.start),
            held_from: AtomicI64::new(i64::MAX),
            pins: Pins::default(),
            counters: Counters::default(),
            cleaner: Cleaner::default(),
            settings,
            first_unstable: AtomicI64::new(opened.producers.first_unstable()),
            producers: Mutex::new(opened.producers),
            durability: Durability::new(end),
            end: AtomicI64::new(end),
            is_dirty: AtomicBool::new(false),
            sync: Mutex::new(()),
            writer: Mutex::new(Writer {
                active: opened.active,
                file: None,
                written: opened.extent,
                durable: opened.extent,
                must_cut: false,
                must_rewrite: false,
                must_roll: false,
            }),
        });
        partition.refuse_appends_without_end();
        partition
    }

    /// Without the newest segment nobody knows which offsets were given out.
    fn refuse_appends_without_end(&self) {
        if let Err(e) = self.check_newest() {
            self.stop(&e);
        }
    }

    /// An error if the newest segment is missing: then nobody knows where the partition ends.
    pub fn check_newest(&self) -> Result<()> {
        let newest = read(&self.missing).last().filter(|m| m.end.is_none()).copied();
        newest.map_or(Ok(()), |m| Err(m.error(&self.topic, self.id, &self.dir)))
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn id(&self) -> Partition {
        self.id
    }

    /// The oldest offset that is kept.
    pub fn start_offset(&self) -> Offset {
        Offset(self.start.load(Ordering::Acquire))
    }

    /// The next offset to become durable as its topic's durability means it: readers see all
    /// offsets below it.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.durability.high_watermark())
    }

    /// The next offset to be written.
    pub fn end_offset(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    /// Waits for the disk until readers see all that is written by now.
    pub async fn all_durable(&self) -> Result<()> {
        let generation = self.durability.generation();
        let (end, shown) = (self.end_offset(), self.high_watermark());
        if end <= shown {
            return Ok(());
        }
        let last = Offset(end.0 - 1);
        let all = Appended { first: shown, last, log_append_time_ms: None, generation };
        self.durability.wait_async(all).await
    }

    /// Writes one or more complete batches; they are checked as a whole before. The result is no
    /// promise yet: acknowledge after `durable` or `wait_durable`. A `Bytes` without other owners
    /// is used in place, else copied.
    pub fn append(self: &Arc<Self>, batch: Bytes) -> Result<Appended> {
        if batch.len() > APPEND_BYTES_MAX {
            return Err(Error::too_large(format!(
                "append of {} bytes to one partition",
                batch.len()
            ))
            .hint("send less than 1 GiB at once"));
        }
        let records = batch::check_sent(&batch, self.shared.config.batch_bytes_max)?;
        if self.settings.is_compacted() {
            keys::check(&batch).map_err(|refusal| Error::invalid(refusal.message))?;
        }
        match self.place(batch, records, || None::<Infallible>, |_| {})? {
            Ok(appended) => Ok(appended),
            Err(never) => match never {},
        }
    }

    /// Writes a batch of another log, of which this one is a copy, at the offsets it has there. The
    /// error's kind is `Conflict` if those are not the next ones here.
    pub fn append_copy(self: &Arc<Self>, first: Offset, batch: Bytes) -> Result<Appended> {
        let records = Header::parse(&batch).map_or(0, |h| i64::from(h.count));
        let end = || Some(self.end_offset()).filter(|end| *end != first);
        self.place(batch, records, end, |_| {})?.map_err(|end| {
            Error::conflict(format!("the copy of '{}' ends at {end}, not at {first}", self.topic))
        })
    }

    /// Writes checked batches. `admit` is asked first, under the writer's lock: if it gives
    /// something, nothing is written and that is the answer. `written` is told, under the same
    /// lock, where they are.
    pub(crate) fn place<T>(
        self: &Arc<Self>,
        batch: Bytes,
        records: i64,
        admit: impl FnOnce() -> Option<T>,
        written: impl FnOnce(Appended),
    ) -> Result<std::result::Result<Appended, T>> {
        let mut bytes = batch.try_into_mut().unwrap_or_else(|b| BytesMut::from(&b[..]));
        let mut sealed = None;
        let mut writer = self.writer()?;
        if self.must_roll(&writer, &bytes) {
            drop(writer);
            (writer, sealed) = self.roll(|w| self.must_roll(w, &bytes))?;
        }
        if let Some(e) = self.durability.stopped() {
            return Err(e);
        }
        let outcome = match admit() {
            Some(instead) => Err(instead),
            None => Ok(self.write(&mut writer, &mut bytes).inspect(|a| {
                written(*a);
                if self.settings.is_page_cache() {
                    self.show_written(&writer);
                }
            })),
        };
        drop(writer);
        let appended = match outcome {
            Ok(appended) => appended,
            Err(instead) => {
                self.after_roll(sealed);
                return Ok(Err(instead));
            }
        };
        if appended.is_ok() {
            self.queue_sync();
        }
        self.after_roll(sealed);
        let appended = appended?;
        self.counters.records_appended.fetch_add(records as u64, Ordering::Relaxed);
        self.counters.bytes_appended.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(Ok(appended))
    }

    /// Keeps what is not yet needed elsewhere: retention removes nothing from `offset` on.
    pub fn hold_from(&self, offset: Offset) {
        self.held_from.store(offset.0, Ordering::Release);
    }

    /// Completes when the append is synced to disk (at once in a topic with `page_cache`), or with
    /// the error that undid it.
    pub fn durable(
        self: &Arc<Self>,
        appended: Appended,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let partition = self.clone();
        async move {
            partition.sync_if_manual();
            partition.durability.wait_async(appended).await
        }
    }

    /// As `durable`, for threads.
    pub fn wait_durable(&self, appended: Appended) -> Result<()> {
        self.sync_if_manual();
        self.durability.wait(appended)
    }

    /// What has become of an append, if that is known already.
    pub fn outcome(&self, appended: Appended) -> Option<Result<()>> {
        self.durability.outcome(appended)
    }

    /// Records and bytes appended since the log was opened; unlike `stats` it looks at no file.
    pub fn appended(&self) -> (u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (get(&self.counters.records_appended), get(&self.counters.bytes_appended))
    }

    /// What is wrong with the partition as a whole: the first of its segments that is missing.
    pub fn damage(&self) -> Option<Error> {
        let missing = read(&self.missing);
        missing.first().map(|m| m.error(&self.topic, self.id, &self.dir))
    }

    pub fn stats(&self) -> Result<PartitionStats> {
        let segments = self.extents()?;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(PartitionStats {
            topic: self.topic.clone(),
            partition: self.id,
            start_offset: self.start_offset(),
            high_watermark: self.high_watermark(),
            end_offset: self.end_offset(),
            segments: segments.len() as u64,
            bytes: segments.iter().map(|(_, extent)| extent.len).sum(),
            records_appended: get(&self.counters.records_appended),
            bytes_appended: get(&self.counters.bytes_appended),
            bytes_read: get(&self.counters.bytes_read),
            syncs: get(&self.counters.syncs),
            sync_us: get(&self.counters.sync_us),
            sync_buckets: std::array::from_fn(|i| get(&self.counters.sync_buckets[i])),
            sync_failures: get(&self.counters.sync_failures),
        })
    }

    /// Syncs what is written by now; whether readers see more after it.
    pub(crate) fn sync(&self) -> bool {
        let _sync = lock(&self.sync);
        // Before looking at what is written: a later append queues the partition again.
        self.is_dirty.store(false, Ordering::Release);
        let Ok(writer) = self.writer() else {
            return false;
        };
        let (file, target) = match &writer.file {
            Some(file) if writer.written != writer.durable => (file.clone(), writer.written),
            _ => return false,
        };
        let rewrite_from = writer.rewrite_from();
        drop(writer);
        let result = self.sync_file(&*file, rewrite_from, target.len);
        let Ok(mut writer) = self.writer() else {
            return false;
        };
        match result {
            Ok(()) => self.settle(&mut writer, target),
            Err(e) => {
                self.cut_back(&mut writer, &*file, e);
                return false;
            }
        }
        let base = writer.active.as_ref().map_or(0, |active| active.base);
        drop(writer);
        self.store_checkpoint(Checkpoint { base, durable: target });
        true
    }

    /// Takes no more appends and tells all who wait.
    pub(crate) fn stop(&self, e: &Error) {
        self.durability.stop(Failure::of(e));
    }

    /// Syncs and takes no more appends. The index of a large active segment is stored, so that the
    /// next start need not read the segment.
    pub(crate) fn close(&self) {
        self.stop_compaction();
        self.sync();
        self.stop(&Error::unavailable("the log is closed"));
        self.drain();
        // Whatever came between: a stored index vouches for all that it reaches to.
        self.sync();
        let active = self.active().filter(|(_, durable)| durable.len >= INDEXED_AT_CLOSE);
        if let Some(Err(e)) = active.map(|(active, durable)| self.store_state(&active, durable)) {
            let dir = self.dir.display();
            tracing::warn!(%dir, "index is not stored, the next start takes longer: {e}");
        }
    }

    /// Index and producers as of the end of the active segment.
    fn store_state(&self, active: &Segment, durable: Extent) -> io::Result<()> {
        let end = durable.next_offset;
        let producers = lock(&self.producers).encode(end);
        let path = snapshot_file::producers_path(&self.dir, end);
        snapshot_file::store(&*self.shared.disk, &path, producers)?;
        active.store_index()
    }

    /// Begins a new segment if `wanted` still holds under the locks. Returns the sealed one:
    /// `after_roll` is to store its index, without locks.
    pub(crate) fn roll(
        &self,
        wanted: impl Fn(&Writer) -> bool,
    ) -> Result<(MutexGuard<'_, Writer>, Option<Sealed>)> {
        let _sync = lock(&self.sync);
        let mut writer = self.writer()?;
        let Some(active) = writer.active.clone().filter(|_| wanted(&writer)) else {
            return Ok((writer, None));
        };
        if let Some(e) = self.durability.stopped() {
            return Err(e);
        }
        // A sealed segment is synced as a whole, also the cutting off of a failed write: recovery
        // needs to look at the last segment only.
        let failed = |e| Error::io(format!("seal '{}'", active.path.display()), e);
        let file = match &writer.file {
            Some(file) => file.clone(),
            None => active.file().map_err(failed)?,
        };
        if writer.must_cut {
            file.set_len(writer.written.len).map_err(failed)?;
            writer.must_cut = false;
        }
        if let Err(e) = self.sync_file(&*file, writer.rewrite_from(), writer.written.len) {
            return Err(self.cut_back(&mut writer, &*file, e));
        }
        let target = writer.written;
        self.settle(&mut writer, target);
        let next = self.create_segment(writer.written.next_offset);
        writer.must_roll = next.is_err();
        let next = next?;
        active.seal(next.base);
        let (aborted, producers) = {
            let mut state = lock(&self.producers);
            (state.seal(next.base), state.encode(next.base))
        };
        writer.written = Extent::empty(next.base);
        writer.durable = writer.written;
        writer.active = Some(next);
        Ok((writer, Some(Sealed { segment: active, aborted, producers })))
    }

    /// Returns when no append is under way; after `stop` there will be none any more.
    pub(crate) fn drain(&self) {
        drop(lock(&self.sync));
        drop(self.writer());
    }

    /// The segment that is written to, and how far it is durable.
    pub(crate) fn active(&self) -> Option<(Arc<Segment>, Extent)> {
        let writer = self.writer().ok()?;
        Some((writer.active.clone()?, writer.durable))
    }

    pub(crate) fn after_roll(&self, sealed: Option<Sealed>) {
        let Some(Sealed { segment, aborted, producers }) = sealed else { return };
        self.shared.commits.note();
        let path = snapshot_file::producers_path(&self.dir, aborted.end);
        segment.keep_aborted(aborted);
        let stored = segment.store_index();
        let stored =
            stored.and_then(|()| snapshot_file::store(&*self.shared.disk, &path, producers));
        if let Err(e) = stored {
            tracing::warn!(file = %segment.path.display(), "index is not stored: {e}");
        }
    }

    /// Takes note of a batch with a producer, under the writer's lock.
    pub(crate) fn note_produced(&self, header: &Header, bytes: &[u8]) {
        let mut producers = lock(&self.producers);
        producers.saw(header, bytes, self.shared.clock.now_us().div_euclid(1000));
        self.first_unstable.store(producers.first_unstable(), Ordering::Release);
    }

    fn must_roll(&self, writer: &Writer, bytes: &[u8]) -> bool {
        let written = writer.written;
        let max = self.settings.segment_bytes_max();
        let offsets = written.next_offset - writer.active.as_ref().map_or(0, |a| a.base);
        writer.must_roll
            || written.len > 0 && written.len + bytes.len() as u64 > max
            || offsets > i64::from(i32::MAX)
            || self.is_too_young(writer, bytes)
    }

    fn write(&self, writer: &mut Writer, bytes: &mut [u8]) -> Result<Appended> {
        let active = match &writer.active {
            Some(active) => active.clone(),
            None => self.create_first(writer)?,
        };
        let failed = |e| Error::io(format!("append to '{}'", active.path.display()), e);
        let file = match &writer.file {
            Some(file) => file.clone(),
            None => writer.file.insert(active.file().map_err(failed)?).clone(),
        };
        if writer.must_cut {
            file.set_len(writer.written.len).map_err(failed)?;
            writer.must_cut = false;
        }
        let first = writer.written.next_offset;
        batch::patch(bytes, first);
        if let Err(e) = file.write_at(bytes, writer.written.len) {
            // Only this append failed: what others wrote before it stays.
            writer.must_cut = file.set_len(writer.written.len).is_err();
            return Err(failed(e));
        }
        active.update_index(|index| {
            let mut at = 0;
            while let Some(header) = bytes.get(at..).and_then(Header::parse) {
                let len = header.batch_len().unwrap_or(batch::HEADER_LEN);
                index.add(&header, len as u64);
                at += len;
            }
            writer.written = index.extent();
        });
        let end = writer.written.next_offset;
        self.end.store(end, Ordering::Release);
        let generation = self.durability.generation();
        let (first, last) = (Offset(first), Offset(end - 1));
        Ok(Appended { first, last, log_append_time_ms: None, generation })
    }

    fn create_first(&self, writer: &mut Writer) -> Result<Arc<Segment>> {
        self.shared
            .disk
            .create_dir_all(&self.dir)
            .map_err(|e| Error::io(format!("create '{}'", self.dir.display()), e))?;
        let segment = self.create_segment(writer.written.next_offset)?;
        writer.active = Some(segment.clone());
        Ok(segment)
    }

    fn create_segment(&self, base: i64) -> Result<Arc<Segment>> {
        let path = Segment::path_of(&self.dir, base);
        let failed = format!("create '{}'", path.display());
        let (disk, handles) = (self.shared.disk.clone(), self.shared.handles.clone());
        let segment = Segment::active(disk, handles, path, Index::new(base), base);
        segment.create().map_err(|e| Error::io(failed, e))?;
        self.list_segment(base)?;
        write(&self.segments).insert(base, segment.clone());
        Ok(segment)
    }

    /// Stores that a segment begins at `base`, before anything is written to it.
    fn list_segment(&self, base: i64) -> Result<()> {
        let mut bases: Vec<i64> = read(&self.segments).keys().copied().collect();
        // What is missing stays missing.
        bases.extend(read(&self.missing).iter().map(|m| m.base.0));
        bases.push(base);
        bases.sort_unstable();
        bases.dedup();
        segment_list::store(&*self.shared.disk, &self.list, &bases)
            .map_err(|e| Error::io(format!("write '{}'", self.list.display()), e))
    }

    /// Everything up to `target` is synced.
    fn settle(&self, writer: &mut Writer, target: Extent) {
        writer.durable = target;
        writer.must_rewrite = false;
        if writer.written == target {
            writer.file = None;
        }
        if let Some(active) = &writer.active {
            active.set_durable_len(target.len);
        }
        self.advance(target.next_offset);
    }

    /// Moves the high watermark, and with it the last stable offset.
    pub(crate) fn advance(&self, high_watermark: i64) {
        {
            let mut producers = lock(&self.producers);
            producers.settle(high_watermark);
            self.first_unstable.store(producers.first_unstable(), Ordering::Release);
        }
        self.durability.advance(high_watermark);
    }

    /// After a failed sync nobody knows which of the unsynced bytes are on disk, and the next sync
    /// would not tell (Linux reports an error once). So all of them go.
    fn cut_back(&self, writer: &mut Writer, file: &dyn DiskFile, e: io::Error) -> Error {
        let durable = writer.durable;
        if self.durability.high_watermark() > durable.next_offset {
            return self.keep_unsynced(writer, e);
        }
        let lost = writer.written.next_offset - durable.next_offset;
        let name = format!("{}-{}", self.topic, self.id);
        let mut e = Error::io(format!("sync partition '{name}'"), e);
        tracing::error!("{e}; {lost} records that were not acknowledged are cut back");
        let cut = file.set_len(durable.len).and_then(|()| file.sync());
        if let Some(active) = &writer.active {
            active.update_index(|index| index.cut(durable));
        }
        let cut = cut.map_err(|e| e.to_string());
        let cut = cut.and_then(|()| self.cut_producers(writer, durable));
        writer.written = durable;
        writer.must_cut = false;
        writer.file = None;
        self.end.store(durable.next_offset, Ordering::Release);
        if let Err(second) = cut {
            e = Error::new(
                e.kind(),
                format!(
                    "partition '{name}' takes no more appends: {}; then: {second}",
                    e.message()
                ),
            )
            .hint("check the disk, then restart");
            tracing::error!("{e}");
            self.durability.stop(Failure::of(&e));
        }
        self.durability.cut(Failure::of(&e));
        e
    }

    /// Forgets what cut batches said of their producers.
    fn cut_producers(&self, writer: &Writer, durable: Extent) -> std::result::Result<(), String> {
        let Some(active) = &writer.active else { return Ok(()) };
        if lock(&self.producers).changed_at < durable.next_offset {
            return Ok(());
        }
        let state = self.producers_at(active, durable).map_err(|e| e.to_string())?;
        self.first_unstable.store(state.first_unstable(), Ordering::Release);
        let mut producers = lock(&self.producers);
        *producers = state.cut_back(mem::take(&mut producers), durable.next_offset);
        Ok(())
    }

    pub(crate) fn timed_sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        let began = Instant::now();
        let result = file.sync();
        let took = began.elapsed().as_micros() as u64;
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.sync_us.fetch_add(took, Ordering::Relaxed);
        let bucket = SYNC_BUCKETS_US.partition_point(|bound| *bound < took);
        self.counters.sync_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.counters.sync_failures.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        result
    }

    fn store_checkpoint(&self, checkpoint: Checkpoint) {
        let path = Checkpoint::path(&self.dir);
        if let Err(e) = checkpoint.store(&*self.shared.disk, &path) {
            // It only tells recovery more than the segment itself does.
            tracing::debug!(file = %path.display(), "checkpoint is not stored: {e}");
        }
    }

    fn sync_if_manual(&self) {
        let is_manual = self.shared.config.sync_threads == 0 && !self.settings.is_page_cache();
        if is_manual && self.sync() {
            self.shared.commits.note();
        }
    }

    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        self.writer.lock().map_err(|_| {
            let name = format!("{}-{}", self.topic, self.id);
            Error::internal(format!("an append to partition '{name}' ended half-way"))
                .hint("restart; the log is checked then")
        })
    }
}
