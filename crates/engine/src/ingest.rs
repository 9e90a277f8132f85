//! The way in: decodes what was sent, checks it against the topic, appends what is good to the
//! log and puts what is not, with the reason, to the dead letters. Returns once both are durable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use catalog::Topic;
use common::{Clock, Error, Offset, Partition, Result};
use formats::BodyKind;
use serde::{Deserialize, Serialize};

use crate::dead_letters::{DeadLetter, DeadLetters};
use crate::external_log::ExternalLog;
use crate::feed::Feed;
use crate::planning::Checks;
use crate::rules;

/// Errors listed in one answer; the dead letters have all.
const ERRORS_MAX: usize = 100;
/// Records are gathered into log batches of about this size.
pub(crate) const BATCH_BYTES: usize = 512 << 10;

/// A topic ready to take events.
pub struct Inlet {
    pub topic: Topic,
    pub log: Arc<log::Topic>,
    /// What may be read of the log.
    pub feed: Arc<Feed>,
    pub checks: Checks,
    /// Where the records go first, when the log is a copy.
    pub external: Option<Arc<ExternalLog>>,
    pub events: AtomicU64,
    pub refused: AtomicU64,
    next_partition: AtomicU64,
    newest: Mutex<BTreeMap<Partition, Newest>>,
}

/// The last event of a partition, as it was looked up last.
#[derive(Clone, Copy)]
struct Newest {
    /// The partition's end then.
    end: Offset,
    arrived_us: i64,
}

/// Limits and helpers that all topics share.
pub struct IngestContext {
    pub clock: Arc<dyn Clock>,
    pub dead_letters: Arc<DeadLetters>,
    pub event_bytes_max: usize,
    pub future_max_us: i64,
}

/// Answer to an ingest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ingested {
    pub accepted: u64,
    pub refused: u64,
    pub partitions: Vec<PartitionRange>,
    pub errors: Vec<RefusedLine>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub errors_omitted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionRange {
    pub partition: i32,
    pub first_offset: i64,
    pub last_offset: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusedLine {
    pub line: u64,
    pub column: Option<String>,
    pub reason: String,
    pub code: String,
}

/// Events that passed all checks, gathered by partition and not yet appended.
pub struct Checked {
    pub partitions: BTreeMap<Partition, Vec<Bytes>>,
    pub accepted: u64,
    pub letters: Vec<DeadLetter>,
}

struct Row {
    /// Line in the body, from 1.
    line: u64,
    value: Bytes,
}

impl Inlet {
    pub fn new(
        topic: Topic,
        log: Arc<log::Topic>,
        feed: Arc<Feed>,
        checks: Checks,
        external: Option<Arc<ExternalLog>>,
    ) -> Inlet {
        let zero = || AtomicU64::new(0);
        let newest = Mutex::default();
        Inlet {
            topic,
            log,
            feed,
            checks,
            external,
            events: zero(),
            refused: zero(),
            next_partition: zero(),
            newest,
        }
    }

    /// When the newest event in the log arrived, µs since 1970.
    pub fn last_arrived(&self) -> Option<i64> {
        let mut known = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = |p: &Arc<log::PartitionLog>| {
            let end = p.high_watermark();
            if end <= p.start_offset() {
                return None;
            }
            if let Some(n) = known.get(&p.id()).filter(|n| n.end == end) {
                return Some(n.arrived_us);
            }
            let arrived_us = last_record_us(p, end)?;
            known.insert(p.id(), Newest { end, arrived_us });
            Some(arrived_us)
        };
        self.log.partitions().iter().filter_map(arrived).max()
    }

    /// Decodes and checks a body.
    pub fn check_body(
        &self,
        ctx: &IngestContext,
        body: &Bytes,
        kind: BodyKind,
        mark: Option<&str>,
    ) -> Result<Checked> {
        let split = crate::body::decode(body, kind, &self.topic, ctx.event_bytes_max)?;
        let mut letters: Vec<DeadLetter> = split
            .refused
            .into_iter()
            .map(|r| self.letter(ctx, r.line, r.column, r.kind.name(), r.reason, r.raw))
            .collect();
        let rows: Vec<Row> =
            split.rows.into_iter().map(|(line, value)| Row { line, value }).collect();
        let keep = self.check_rows(ctx, &split.batch, &rows, &mut letters)?;
        self.gather(ctx, &split.batch, &rows, keep.as_ref(), letters, mark)
    }

    pub(crate) fn letter(
        &self,
        ctx: &IngestContext,
        line: u64,
        column: Option<String>,
        kind: &str,
        reason: String,
        raw: Vec<u8>,
    ) -> DeadLetter {
        DeadLetter {
            at: ctx.clock.now_us(),
            topic: self.topic.name.clone(),
            line: Some(line),
            column,
            kind: kind.into(),
            reason,
            raw,
            ..DeadLetter::default()
        }
    }

    /// The good rows, none when all are; the others become letters.
    fn check_rows(
        &self,
        ctx: &IngestContext,
        batch: &RecordBatch,
        rows: &[Row],
        letters: &mut Vec<DeadLetter>,
    ) -> Result<Option<BooleanArray>> {
        let (now, future) = (ctx.clock.now_us(), ctx.future_max_us);
        let verdict = rules::check(&self.topic, &self.checks, batch, now, future)?;
        letters.extend(verdict.broken.into_iter().map(|b| {
            let row = &rows[b.row];
            self.letter(ctx, row.line, b.column, b.kind, b.reason, row.value.to_vec())
        }));
        Ok(verdict.keep)
    }

    /// Builds the log batches, one or more per partition.
    fn gather(
        &self,
        ctx: &IngestContext,
        batch: &RecordBatch,
        rows: &[Row],
        keep: Option<&BooleanArray>,
        letters: Vec<DeadLetter>,
        mark: Option<&str>,
    ) -> Result<Checked> {
        let keys = self.keys(batch)?;
        let now = ctx.clock.now_us();
        let n = self.topic.partitions.max(1);
        // Without a key a request stays together; a repeat of a marked one must choose the same.
        let unkeyed = match mark {
            Some(mark) => partition_of(mark.as_bytes(), n),
            None => self.turn(n),
        };
        let headers: Vec<(&str, &[u8])> =
            mark.iter().map(|m| (MARK_HEADER, m.as_bytes())).collect();
        let mut open: BTreeMap<Partition, log::BatchBuilder> = BTreeMap::new();
        let mut done: BTreeMap<Partition, Vec<Bytes>> = BTreeMap::new();
        let mut accepted = 0;
        for (i, row) in rows.iter().enumerate() {
            if keep.is_some_and(|k| !k.value(i)) {
                continue;
            }
            accepted += 1;
            let key = keys.as_ref().and_then(|k| k.get(i));
            let partition = key.map_or(unkeyed, |k| partition_of(k, n));
            let builder = open.entry(partition).or_insert_with(|| log::BatchBuilder::new(now));
            builder.push(now, key, Some(&row.value), &headers);
            if builder.bytes() >= BATCH_BYTES
                && let Some(full) = open.remove(&partition)
            {
                done.entry(partition).or_default().push(full.checked().build());
            }
        }
        for (partition, builder) in open {
            done.entry(partition).or_default().push(builder.checked().build());
        }
        Ok(Checked { partitions: done, accepted, letters })
    }

    /// The partition whose turn it is to get what has no key.
    pub(crate) fn turn(&self, partitions: i32) -> Partition {
        let turn = self.next_partition.fetch_add(1, Ordering::Relaxed);
        Partition((turn % partitions.max(1) as u64) as i32)
    }

    fn keys(&self, batch: &RecordBatch) -> Result<Option<Keys>> {
        let Some(name) = &self.topic.key else { return Ok(None) };
        let column = batch
            .column_by_name(name)
            .ok_or_else(|| Error::internal(format!("the key column '{name}' is missing")))?;
        Keys::new(column).map(Some)
    }

    /// Appends checked events and waits until they and the dead letters are durable. Those with a
    /// mark can be found by it after a crash (see `once.rs`).
    pub async fn append(
        &self,
        ctx: &IngestContext,
        checked: Checked,
        mark: Option<&str>,
    ) -> Result<Ingested> {
        let Checked { partitions, accepted, letters } = checked;
        let topic = &self.topic.name;
        let ranges = match (&self.external, mark) {
            _ if partitions.is_empty() => vec![],
            (None, _) => self.append_here(partitions).await?,
            (Some(kafka), None) => ranges(kafka.append(topic, &partitions).await?),
            (Some(kafka), Some(mark)) => {
                ranges(kafka.append_marked(topic, mark, &partitions).await?)
            }
        };
        // What comes back from elsewhere is counted then.
        if self.external.is_none() {
            self.events.fetch_add(accepted, Ordering::Relaxed);
        }
        self.answer(ctx, accepted, ranges, letters).await
    }

    /// The answer, once what was refused is with the dead letters.
    pub(crate) async fn answer(
        &self,
        ctx: &IngestContext,
        accepted: u64,
        partitions: Vec<PartitionRange>,
        letters: Vec<DeadLetter>,
    ) -> Result<Ingested> {
        if !letters.is_empty() {
            let store = ctx.dead_letters.clone();
            let copy = letters.clone();
            tokio::task::spawn_blocking(move || store.write(&copy))
                .await
                .map_err(|e| Error::internal(format!("writing dead letters: {e}")))??;
        }
        self.count_refused(letters.len());
        let mut answer = Ingested { accepted, partitions, ..Ingested::default() };
        answer.set_refused(&letters);
        Ok(answer)
    }

    async fn append_here(
        &self,
        partitions: BTreeMap<Partition, Vec<Bytes>>,
    ) -> Result<Vec<PartitionRange>> {
        let mut ranges = vec![];
        let mut waits = vec![];
        for (partition, batches) in partitions {
            let log = self.log.partition(partition)?;
            let mut first: Option<Offset> = None;
            let mut last = None;
            for batch in batches {
                let appended = log.append(batch)?;
                first = first.or(Some(appended.first));
                last = Some(appended.last);
                self.feed.appended(partition, appended)?;
                waits.push(log.durable(appended));
            }
            if let (Some(first), Some(last)) = (first, last) {
                ranges.push(PartitionRange {
                    partition: partition.0,
                    first_offset: first.0,
                    last_offset: last.0,
                });
            }
        }
        for wait in waits {
            wait.await?;
        }
        Ok(ranges)
    }

    pub fn count_refused(&self, n: usize) {
        self.refused.fetch_add(n as u64, Ordering::Relaxed);
    }
}

impl Ingested {
    /// Says what was refused; of many only the first lines.
    pub fn set_refused(&mut self, letters: &[DeadLetter]) {
        let mut errors: Vec<RefusedLine> = letters
            .iter()
            .map(|l| RefusedLine {
                line: l.line.unwrap_or_default(),
                column: l.column.clone(),
                reason: l.reason.clone(),
                code: l.kind.clone(),
            })
            .collect();
        errors.sort_by_key(|e| e.line);
        self.errors_omitted = errors.len().saturating_sub(ERRORS_MAX) as u64;
        errors.truncate(ERRORS_MAX);
        (self.refused, self.errors) = (letters.len() as u64, errors);
    }
}

/// As an answer tells them.
pub fn ranges(ranges: connectors::kafka::Ranges) -> Vec<PartitionRange> {
    let one = |(partition, (first, last)): (Partition, (Offset, Offset))| PartitionRange {
        partition: partition.0,
        first_offset: first.0,
        last_offset: last.0,
    };
    ranges.into_iter().map(one).collect()
}

/// Time of the batch in front of `end`; none where it cannot be read.
fn last_record_us(partition: &log::PartitionLog, end: Offset) -> Option<i64> {
    let batches = partition.read(Offset(end.0 - 1), 1).ok()?;
    log::Header::parse(batches.first()?).map(|h| h.max_timestamp_ms.saturating_mul(1_000))
}

/// Header that marks the records of an import or source batch, so that a repeat is recognised.
pub const MARK_HEADER: &str = "watershed-batch";

/// Record keys of a batch: text and binary as they are, other types as they print.
enum Keys {
    Column(ArrayRef),
    Text(Vec<Option<String>>),
}

impl Keys {
    fn new(column: &ArrayRef) -> Result<Keys> {
        use arrow::datatypes::DataType;
        if matches!(column.data_type(), DataType::Utf8 | DataType::Binary) {
            return Ok(Keys::Column(column.clone()));
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column, &options)
            .map_err(|e| Error::internal(format!("reading keys: {e}")))?;
        let text = |i| column.is_valid(i).then(|| formatter.value(i).to_string());
        Ok(Keys::Text((0..column.len()).map(text).collect()))
    }

    fn get(&self, i: usize) -> Option<&[u8]> {
        match self {
            Keys::Column(c) if c.is_null(i) => None,
            Keys::Column(c) => match c.as_string_opt::<i32>() {
                Some(strings) => Some(strings.value(i).as_bytes()),
                None => Some(c.as_binary::<i32>().value(i)),
            },
            Keys::Text(t) => t[i].as_deref().map(str::as_bytes),
        }
    }
}

/// The partition Kafka's default partitioner would choose: murmur2, sign bit cleared.
pub fn partition_of(key: &[u8], partitions: i32) -> Partition {
    Partition((murmur2(key) & 0x7fff_ffff) as i32 % partitions.max(1))
}

/// MurmurHash2 as in Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for c in &mut chunks {
        let mut k = u32::from_le_bytes([c[0], c[1], c[2], c[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, b) in rest.iter().enumerate() {
            h ^= u32::from(*b) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn partitions_as_kafka_does() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
