//! Validation: records that other producers appended are decoded and held against their topic's
//! definition once, before anybody reads them. What does not fit becomes a dead letter in the same
//! write that leaves its offset out.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use catalog::{Format, Topic};
use common::{Error, Kind, Offset, Partition, Result};
use formats::RefusedKind;
use formats::json::{Changed, changed};
use log::records::RecordView;
use log::{Committed, Header};

use crate::topics::dead_letters::DeadLetter;
use crate::topics::ingest::{IngestContext, TopicWriter};
use crate::topics::row_cache::CachedRows;
use crate::topics::rows::Values;
use crate::topics::rules;
use crate::topics::topic_reader::{TopicReader, unpack};

/// Bytes looked at in one go.
const READ_BYTES: usize = 1 << 20;
/// How often the place of topics without refusals is written down.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The thread that screens. Dropping it ends it.
pub struct Validation {
    shared: Arc<Shared>,
    commits: log::Commits,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    writers: Mutex<Vec<Weak<TopicWriter>>>,
}

impl Validation {
    pub fn start(ctx: Arc<IngestContext>, commits: log::Commits) -> Result<Validation> {
        let shared = Arc::new(Shared::default());
        let (for_thread, for_waiting) = (shared.clone(), commits.clone());
        let thread = std::thread::Builder::new()
            .name("screen".into())
            .spawn(move || run(&for_thread, &ctx, &for_waiting))
            .map_err(|e| Error::io("starting the thread that checks new records", e))?;
        Ok(Validation { shared, commits, thread: Mutex::new(Some(thread)) })
    }

    /// Looks after a topic, as long as somebody uses it.
    pub fn watch(&self, writer: &Arc<TopicWriter>) {
        self.shared.writers().push(Arc::downgrade(writer));
    }

    /// Ends the thread; what was decided is written down before.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.commits.note();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Validation {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn writers(&self) -> MutexGuard<'_, Vec<Weak<TopicWriter>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_use(&self) -> Vec<Arc<TopicWriter>> {
        let mut writers = self.writers();
        writers.retain(|i| i.strong_count() > 0);
        writers.iter().filter_map(Weak::upgrade).collect()
    }
}

fn run(shared: &Shared, ctx: &IngestContext, commits: &log::Commits) {
    let mut seen = commits.count();
    let mut saved = Instant::now();
    while !shared.stop.load(Ordering::SeqCst) {
        let writers = shared.in_use();
        let mut moved = false;
        for writer in &writers {
            moved |= screen(writer, ctx).unwrap_or_else(|e| {
                let topic = &writer.topic.name;
                tracing::warn!(topic, "checking new records failed and is tried again: {e}");
                false
            });
        }
        if saved.elapsed() >= SAVE_INTERVAL {
            saved = Instant::now();
            save(&writers);
        }
        drop(writers);
        if moved {
            commits.note();
        }
        seen = commits.wait(seen, Duration::from_millis(250));
    }
    save(&shared.in_use());
}

/// Looks at everything that is new, so that a topic begins with all that it has.
pub fn catch_up(writer: &TopicWriter, ctx: &IngestContext) -> Result<()> {
    while screen(writer, ctx)? {}
    Ok(())
}

/// Looks at some of what is new in each partition; true when something became readable.
pub fn screen(writer: &TopicWriter, ctx: &IngestContext) -> Result<bool> {
    let mut moved = false;
    for log in writer.log.partitions() {
        let new = match writer.reader.undecided(&log) {
            Ok(Some(new)) => new,
            Ok(None) => continue,
            // It has lost its end: readers will meet that themselves, other partitions go on.
            Err(e) if e.kind() == Kind::Corrupt => continue,
            Err(e) => return Err(e),
        };
        match screen_some(writer, ctx, &log, &new) {
            Ok(next) => moved |= next > new.start,
            // Readers will meet the damage themselves, and say so.
            Err(e) if e.kind() == Kind::Corrupt => {
                writer.reader.pass_damage(log.id(), new.end)?;
                moved = true;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(moved)
}

fn screen_some(
    writer: &TopicWriter,
    ctx: &IngestContext,
    log: &log::PartitionLog,
    new: &Range<Offset>,
) -> Result<Offset> {
    let Committed { batches, next } = log.read_committed(new.start, READ_BYTES)?;
    let mut next = next.min(new.end);
    let unchecked = |b: &Bytes| Header::parse(b).is_some_and(|h| !h.is_checked());
    let unchecked: Vec<Bytes> = batches.into_iter().filter(unchecked).collect();
    let unpacked = unpack(&unchecked);
    if let Some(rest) = unchecked.get(unpacked.len()).and_then(|b| Header::parse(b)) {
        next = Offset(rest.base_offset);
    }
    let looked_at = unchecked.iter().take(unpacked.len()).filter_map(|b| Header::parse(b));
    let records: u64 = looked_at.map(|h| u64::try_from(h.count).unwrap_or(0)).sum();
    let refused = match unchecked.is_empty() {
        true => vec![],
        false => refused(writer, ctx, log.id(), &unchecked, unpacked)?,
    };
    let left_out = ranges(&refused);
    if !left_out.is_empty() {
        let letters: Vec<DeadLetter> = refused.into_iter().map(|(_, letter)| letter).collect();
        let mut batch = writer.reader.batch();
        writer.reader.stage(&mut batch, log.id(), &left_out, next);
        ctx.dead_letters.stage(&mut batch, &letters)?;
        batch.commit_durable()?;
        ctx.dead_letters.committed(&letters);
        writer.count_refused(letters.len() as u64);
        writer.reader.saved(log.id(), next, true)?;
    }
    writer.reader.decided(log.id(), next)?;
    let gone: i64 = left_out.iter().map(|r| r.end - r.start).sum();
    writer.events.fetch_add(records.saturating_sub(gone.unsigned_abs()), Ordering::Relaxed);
    Ok(next)
}

type RefusedRecords = Vec<(Range<i64>, DeadLetter)>;

/// Offsets that follow one another as one range.
fn ranges(refused: &[(Range<i64>, DeadLetter)]) -> Vec<Range<i64>> {
    let mut ranges: Vec<Range<i64>> = vec![];
    for (offsets, _) in refused {
        match ranges.last_mut() {
            Some(last) if last.end == offsets.start => last.end = offsets.end,
            _ => ranges.push(offsets.clone()),
        }
    }
    ranges
}

/// Decodes the records of these batches and checks them; what does not fit, in order.
fn refused(
    writer: &TopicWriter,
    ctx: &IngestContext,
    partition: Partition,
    batches: &[Bytes],
    unpacked: Vec<Result<Bytes>>,
) -> Result<RefusedRecords> {
    let letter = |offset: i64, column, kind: &str, reason, raw: &[u8]| DeadLetter {
        at: ctx.clock.now_us(),
        topic: writer.topic.name.clone(),
        partition: Some(partition.0),
        offset: Some(offset),
        column,
        kind: kind.into(),
        reason,
        raw: raw.to_vec(),
        ..DeadLetter::default()
    };
    let mut refused: RefusedRecords = vec![];
    let mut records: Vec<RecordView<'_>> = vec![];
    for (batch, unpacked) in batches.iter().zip(&unpacked) {
        let header = Header::parse(batch).ok_or_else(|| Error::corrupt("a batch has no header"))?;
        let of_batch: Result<Vec<_>, String> = match unpacked {
            Ok(unpacked) => log::records::iter(unpacked)
                .and_then(Iterator::collect)
                .map_err(|e: Error| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        match of_batch {
            Ok(of_batch) => records.extend(of_batch),
            Err(e) => {
                let offsets = header.base_offset..header.last_offset().next().0;
                let reason = format!("{e}; with it {} records are left out", header.count);
                let letter = letter(offsets.start, None, "parse", reason, batch);
                refused.push((offsets, letter));
            }
        }
    }
    let values: Vec<Record<'_>> = records.iter().map(|r| (r.key, r.value)).collect();
    let (misfits, rows) = look_at(writer, ctx, &values)?;
    if let Some(rows) = rows.filter(|_| misfits.is_empty() && refused.is_empty()) {
        keep(writer, partition, batches, &rows);
    }
    for (record, column, kind, reason) in misfits {
        let (offset, raw) = (records[record].offset.0, records[record].value.unwrap_or_default());
        refused.push((offset..offset + 1, letter(offset, column, kind, reason, raw)));
    }
    refused.sort_by_key(|(offsets, _)| offsets.start);
    Ok(refused)
}

/// Keeps the rows of batches that are all good for those who read them.
fn keep(writer: &TopicWriter, partition: Partition, batches: &[Bytes], rows: &RecordBatch) {
    let headers = batches.iter().filter_map(|b| Header::parse(b));
    let mut at = 0;
    for header in headers {
        let n = usize::try_from(header.count).unwrap_or(0).min(rows.num_rows() - at);
        let of_batch = CachedRows::new(header.crc, writer.columns_digest, vec![rows.slice(at, n)]);
        writer.reader.keep(partition, Offset(header.base_offset), of_batch);
        at += n;
    }
}

/// A value that is no row: its index, column, kind of fault and reason.
pub(crate) type Misfit = (usize, Option<String>, &'static str, String);

/// Key and value.
pub(crate) type Record<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Which of the records are no rows of the topic.
pub(crate) fn misfits(
    writer: &TopicWriter,
    ctx: &IngestContext,
    records: &[Record<'_>],
) -> Result<Vec<Misfit>> {
    Ok(look_at(writer, ctx, records)?.0)
}

/// Which of the records are no rows of the topic, and all that are, where that takes decoding.
fn look_at(
    writer: &TopicWriter,
    ctx: &IngestContext,
    records: &[Record<'_>],
) -> Result<(Vec<Misfit>, Option<RecordBatch>)> {
    // Any bytes are a row, and there is nothing to hold them against.
    if writer.topic.format == Format::Raw && writer.checks.is_empty() {
        return Ok((vec![], None));
    }
    if writer.topic.format.is_table() {
        return Ok((misfits_of_table(writer, ctx, records)?, None));
    }
    let values: Vec<Option<&[u8]>> = records.iter().map(|(_, value)| *value).collect();
    let (misfits, rows) = rows(writer, ctx, &values)?;
    let is_kept = writer.topic.format == Format::Json && writer.reader.keeps_rows();
    Ok((misfits, is_kept.then_some(rows)))
}

/// Each record has a key, and those that remove a row need no columns.
fn misfits_of_table(
    writer: &TopicWriter,
    ctx: &IngestContext,
    records: &[Record<'_>],
) -> Result<Vec<Misfit>> {
    let mut misfits: Vec<Misfit> = vec![];
    let (mut values, mut numbers) = (vec![], vec![]);
    for (number, (key, value)) in records.iter().enumerate() {
        if key.is_none() {
            let reason = "the record has no key, so it is no row of the table".to_string();
            misfits.push((number, None, RefusedKind::Missing.name(), reason));
        } else if let Some(value) = value.filter(|v| !is_gone(&writer.topic, v)) {
            values.push(Some(value));
            numbers.push(number);
        }
    }
    let (found, _) = rows(writer, ctx, &values)?;
    misfits.extend(found.into_iter().map(|(i, column, kind, why)| (numbers[i], column, kind, why)));
    misfits.sort_by_key(|(number, ..)| *number);
    Ok(misfits)
}

fn is_gone(topic: &Topic, value: &[u8]) -> bool {
    topic.format == Format::Debezium && matches!(changed(0, value), Ok(Changed::Gone(_)))
}

/// Which values are no rows, and the rows of the others.
fn rows(
    writer: &TopicWriter,
    ctx: &IngestContext,
    values: &[Option<&[u8]>],
) -> Result<(Vec<Misfit>, RecordBatch)> {
    let decoded = Values::new(&writer.topic, writer.topic.schema(), None)?.decode(values)?;
    let (now, future) = (ctx.clock.now_us(), ctx.future_max_us);
    let verdict = rules::check(&writer.topic, &writer.checks, &decoded.batch, now, future)?;
    let refused = decoded.refused.into_iter();
    let undecoded = refused.map(|r| (r.record as usize, r.column, r.kind.name(), r.reason));
    let broken = verdict.broken.into_iter();
    let broken = broken.map(|b| (decoded.kept[b.row] as usize, b.column, b.kind, b.reason));
    Ok((undecoded.chain(broken).collect(), decoded.batch))
}

/// Writes down how far the topics are decided, so that a start does not look at it all again.
fn save(writers: &[Arc<TopicWriter>]) {
    for writer in writers {
        for log in writer.log.partitions() {
            // Passes over what became durable unnoticed; nothing is lost when it can't.
            let _ = writer.reader.end(&log);
        }
    }
    let unsaved: Vec<(&Arc<TopicReader>, Partition, Offset)> = writers
        .iter()
        .flat_map(|i| i.reader.unsaved().into_iter().map(|(p, to)| (&i.reader, p, to)))
        .collect();
    let Some((first, ..)) = unsaved.first() else { return };
    let mut batch = first.batch();
    for (reader, partition, to) in &unsaved {
        reader.stage(&mut batch, *partition, &[], *to);
    }
    let written = batch.commit_durable();
    let noted = written
        .and_then(|()| unsaved.iter().try_for_each(|(reader, p, to)| reader.saved(*p, *to, false)));
    if let Err(e) = noted {
        tracing::warn!("how far topics are checked could not be written down: {e}");
    }
}
