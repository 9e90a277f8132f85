//! Two small files that spare a start the reading of old segments: `<offset>.producers`, all that
//! was known of producers at an offset (written when a segment begins there, and at a clean stop),
//! and `<base>.txn`, the transactions aborted in a sealed segment. Either is made anew from the
//! headers when it is missing or damaged. Bytes: `docs/formats/log.md`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Disk, Error, Offset, Result, disk};

use crate::batch::Header;
use crate::index::{Extent, Index};
use crate::lock::read;
use crate::partition::PartitionLog;
use crate::producers::{AbortedTransaction, Producer, Producers, SENT_MAX, Sent};
use crate::scan;
use crate::segment::Segment;

const PRODUCERS_MAGIC: &[u8; 8] = b"WSPRODU1";
const ABORTED_MAGIC: &[u8; 8] = b"WSABORT1";
const NONE: i64 = -1;

/// The transactions aborted in one sealed segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AbortedIndex {
    pub aborted: Vec<AbortedTransaction>,
    /// The first offset that was undecided at the segment's end, or that end: markers further on
    /// end no transaction that began before it.
    pub stable: i64,
    /// Where the segment ends.
    pub end: i64,
}

impl AbortedIndex {
    pub fn store(&self, disk: &dyn Disk, log_path: &Path) -> io::Result<()> {
        let mut out = ABORTED_MAGIC.to_vec();
        put_i64s(&mut out, [self.end, self.stable, self.aborted.len() as i64]);
        for a in &self.aborted {
            put_i64s(&mut out, [a.producer_id, a.first.0, a.last.0]);
        }
        store(disk, &log_path.with_extension("txn"), out)
    }

    /// Nothing if the file is missing or damaged.
    pub fn load(disk: &dyn Disk, log_path: &Path) -> Option<Self> {
        let bytes = disk::read(disk, &log_path.with_extension("txn")).ok()?;
        let mut fields = Fields::open(&bytes, ABORTED_MAGIC)?;
        let (end, stable) = (fields.i64()?, fields.i64()?);
        let count = fields.i64()?;
        let aborted = (0..count).map(|_| fields.aborted()).collect::<Option<Vec<_>>>()?;
        fields.is_over().then_some(Self { aborted, stable, end })
    }
}

impl Producers {
    /// The file's bytes as of `offset`.
    pub fn encode(&self, offset: i64) -> Vec<u8> {
        let mut out = PRODUCERS_MAGIC.to_vec();
        put_i64s(&mut out, [offset, self.len() as i64, self.aborted.len() as i64]);
        let mut producers: Vec<_> = self.iter().collect();
        producers.sort_unstable_by_key(|(id, _)| *id);
        for (id, p) in producers {
            put_i64s(&mut out, [id, p.transaction.unwrap_or(NONE)]);
            put_i64s(&mut out, [p.last_timestamp_ms, p.used_ms]);
            out.extend(p.epoch.to_be_bytes());
            out.push(p.sent.len() as u8);
            for s in &p.sent {
                out.extend(s.first_sequence.to_be_bytes());
                out.extend(s.last_sequence.to_be_bytes());
                put_i64s(&mut out, [s.first, s.last]);
            }
        }
        for a in &self.aborted {
            put_i64s(&mut out, [a.producer_id, a.first.0, a.last.0]);
        }
        out
    }

    /// What was stored as of `offset`, in the segment at `base`.
    pub fn load(disk: &dyn Disk, dir: &Path, offset: i64, base: i64) -> Option<Self> {
        let bytes = disk::read(disk, &producers_path(dir, offset)).ok()?;
        let mut fields = Fields::open(&bytes, PRODUCERS_MAGIC)?;
        if fields.i64()? != offset {
            return None;
        }
        let (producers, aborted) = (fields.i64()?, fields.i64()?);
        let mut state = Self::empty(base);
        for _ in 0..producers {
            let id = fields.i64()?;
            state.insert(id, fields.producer()?);
        }
        for _ in 0..aborted {
            state.aborted.push(fields.aborted()?);
        }
        fields.is_over().then_some(state)
    }
}

pub(crate) fn producers_path(dir: &Path, offset: i64) -> PathBuf {
    dir.join(format!("{offset:020}.producers"))
}

/// The bytes of such a file.
pub(crate) fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

/// Writes and syncs a file, its checksum behind its bytes.
pub(crate) fn store(disk: &dyn Disk, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let bytes = with_checksum(bytes);
    let file = disk.open(path, true)?;
    file.set_len(0)?;
    file.write_at(&bytes, 0)?;
    file.sync()
}

/// The producers as they were where the segment at `base` begins: from its file, or else from an
/// older one and the segments since. `segments` are the sealed ones.
pub(crate) fn at_base(
    disk: &dyn Disk,
    dir: &Path,
    segments: &BTreeMap<i64, Arc<Segment>>,
    base: i64,
    now_ms: i64,
) -> Result<Producers> {
    if let Some(state) = Producers::load(disk, dir, base, base) {
        return Ok(state);
    }
    let mut since = vec![];
    let mut state = None;
    for segment in segments.range(..base).rev().map(|(_, segment)| segment) {
        since.push(segment);
        state = Producers::load(disk, dir, segment.base, segment.base);
        if state.is_some() {
            break;
        }
    }
    let Some(oldest) = since.last() else { return Ok(Producers::empty(base)) };
    tracing::warn!(dir = %dir.display(), base, "what is known of producers is read from segments");
    let mut state = state.unwrap_or_else(|| Producers::empty(oldest.base));
    for segment in since.iter().rev() {
        replay(segment, &mut state, now_ms)?;
        segment.keep_aborted(state.seal(segment.end()));
    }
    if let Err(e) = store(disk, &producers_path(dir, base), state.encode(base)) {
        tracing::warn!(dir = %dir.display(), base, "producers are not stored: {e}");
    }
    Ok(state)
}

/// Takes in all batches of a sealed segment.
fn replay(segment: &Arc<Segment>, state: &mut Producers, now_ms: i64) -> Result<()> {
    let failed = |e| Error::io(format!("read '{}'", segment.path.display()), e);
    let file = segment.file().map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let trusted = Extent { len, next_offset: segment.end(), max_timestamp_ms: i64::MIN };
    let index = Index::new(segment.base);
    let see = |header: &Header, bytes: &[u8]| state.saw(header, bytes, now_ms);
    scan::scan(&*file, len, index, trusted, Some(segment.end()), segment.is_compacted(), see)
        .map_err(failed)?;
    state.settle(i64::MAX);
    Ok(())
}

impl Producers {
    /// The segment ends: what was aborted in it leaves this state.
    pub fn seal(&mut self, end: i64) -> AbortedIndex {
        let stable = self.first_open().min(end);
        AbortedIndex { aborted: self.begin_segment(end), stable, end }
    }
}

impl PartitionLog {
    /// What was aborted in a sealed segment.
    pub(crate) fn aborted_in(&self, segment: &Arc<Segment>) -> Result<Arc<AbortedIndex>> {
        if let Some(index) = segment.aborted() {
            return Ok(index);
        }
        let file = segment.path.with_extension("txn");
        tracing::warn!(file = %file.display(), "transaction index is missing, making it anew");
        let now_ms = self.shared.clock.now_us().div_euclid(1000);
        let segments = read(&self.segments).clone();
        let disk = &*self.shared.disk;
        let mut state = at_base(disk, &self.dir, &segments, segment.base, now_ms)?;
        replay(segment, &mut state, now_ms)?;
        Ok(segment.keep_aborted(state.seal(segment.end())))
    }

    /// What is known of producers where a segment begins, stored by the way if it was not: what
    /// lies before the segment is about to go, and must not take it along.
    pub(crate) fn producers_from(&self, base: i64) -> Option<Producers> {
        let now_ms = self.shared.clock.now_us().div_euclid(1000);
        let segments = read(&self.segments).clone();
        let known = at_base(&*self.shared.disk, &self.dir, &segments, base, now_ms);
        known.inspect_err(|e| tracing::warn!(base, "producers are forgotten: {e}")).ok()
    }

    /// Stores that at last: before, the disk was full perhaps.
    pub(crate) fn keep_producers(&self, base: i64, producers: Option<Producers>) {
        let disk = &*self.shared.disk;
        let Some(state) = producers else { return };
        if Producers::load(disk, &self.dir, base, base).is_none()
            && let Err(e) = store(disk, &producers_path(&self.dir, base), state.encode(base))
        {
            tracing::warn!(dir = %self.dir.display(), base, "producers are not stored: {e}");
        }
    }

    /// What the batches of the active segment up to `durable` say, after what was behind it had
    /// to be cut off.
    pub(crate) fn producers_at(&self, active: &Arc<Segment>, durable: Extent) -> Result<Producers> {
        let failed = |e| Error::io(format!("read '{}'", active.path.display()), e);
        let now_ms = self.shared.clock.now_us().div_euclid(1000);
        let segments = read(&self.segments).clone();
        let disk = &*self.shared.disk;
        let mut state = at_base(disk, &self.dir, &segments, active.base, now_ms)?;
        let file = active.file().map_err(failed)?;
        let index = Index::new(active.base);
        let see = |header: &Header, bytes: &[u8]| state.saw(header, bytes, now_ms);
        scan::scan(&*file, durable.len, index, durable, None, false, see).map_err(failed)?;
        state.settle(durable.next_offset);
        Ok(state)
    }
}

fn put_i64s<const N: usize>(out: &mut Vec<u8>, values: [i64; N]) {
    for value in values {
        out.extend(value.to_be_bytes());
    }
}

/// What is left of a file.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Nothing if the bytes are not as they were written.
    fn open(bytes: &'a [u8], magic: &[u8; 8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let fields = body.strip_prefix(magic)?;
        (crc32c::crc32c(body) == u32::from_be_bytes(*crc)).then_some(Self(fields))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn aborted(&mut self) -> Option<AbortedTransaction> {
        let (producer_id, first, last) = (self.i64()?, self.i64()?, self.i64()?);
        Some(AbortedTransaction { producer_id, first: Offset(first), last: Offset(last) })
    }

    fn producer(&mut self) -> Option<Producer> {
        let transaction = Some(self.i64()?).filter(|first| *first != NONE);
        let (last_timestamp_ms, used_ms) = (self.i64()?, self.i64()?);
        let epoch = i16::from_be_bytes(self.take()?);
        let [count] = self.take()?;
        if usize::from(count) > SENT_MAX {
            return None;
        }
        let mut sent = VecDeque::with_capacity(SENT_MAX);
        for _ in 0..count {
            let (first_sequence, last_sequence) = (self.i32()?, self.i32()?);
            let (first, last) = (self.i64()?, self.i64()?);
            sent.push_back(Sent { first_sequence, last_sequence, first, last });
        }
        Some(Producer { epoch, sent, transaction, last_timestamp_ms, used_ms })
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}
