//! The way in: decodes what was sent, checks it against the topic, appends what is good to the
//! log and puts what is not, with the reason, to the dead letters. Returns once both are durable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use bytes::Bytes;
use catalog::Topic;
use common::{Clock, Offset, Partition, Result};
use formats::BodyKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::define::planning::Checks;
use crate::stores::blocking::blocking;
use crate::topics::body::Row;
use crate::topics::dead_letters::{DeadLetter, DeadLetters};
use crate::topics::external_log::ExternalLog;
use crate::topics::log_batches::{Destination, Gathered, LogBatch, bytes_of, partition_of};
use crate::topics::row_cache::columns_digest;
use crate::topics::rules;
use crate::topics::topic_reader::TopicReader;

/// Errors listed in one answer; the dead letters have all.
const ERRORS_MAX: usize = 100;

/// A topic ready to take events.
pub struct TopicWriter {
    pub topic: Topic,
    pub log: Arc<log::Topic>,
    /// What may be read of the log.
    pub reader: Arc<TopicReader>,
    pub checks: Checks,
    /// Where the records go first, when the log is a copy.
    pub external: Option<Arc<ExternalLog>>,
    pub events: AtomicU64,
    pub refused: AtomicU64,
    /// Tells rows of these columns from those of other definitions.
    pub columns_digest: u64,
    next_partition: AtomicU64,
    newest: Mutex<BTreeMap<Partition, Newest>>,
    /// Held by the statement that writes here: what it reads is what it changes.
    pub statements: tokio::sync::Mutex<()>,
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
    /// Letters kept of one request.
    pub refused_max: usize,
}

/// Answer to an ingest.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PartitionRange {
    pub partition: i32,
    pub first_offset: i64,
    pub last_offset: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RefusedLine {
    pub line: u64,
    pub column: Option<String>,
    pub reason: String,
    pub code: String,
}

/// Events that passed all checks, gathered by partition and not yet appended.
pub struct Checked {
    pub partitions: BTreeMap<Partition, Vec<LogBatch>>,
    pub accepted: u64,
    pub refused: Refused,
}

/// Where the lines of a body come from: a file that is imported.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub file: String,
    /// Line of the body and of the file, where the distance changes; ascending.
    pub lines: Vec<(u64, u64)>,
}

impl Origin {
    fn name(&self, letter: &mut DeadLetter) {
        letter.file = Some(self.file.clone());
        letter.line = letter.line.map(|line| self.line(line));
    }

    fn line(&self, of_body: u64) -> u64 {
        let after = self.lines.partition_point(|(body, _)| *body <= of_body);
        match after.checked_sub(1).and_then(|i| self.lines.get(i)) {
            Some((body, file)) => file + (of_body - body),
            None => of_body,
        }
    }
}

/// What was refused of a request: how many records, and letters of the first of them.
#[derive(Default)]
pub struct Refused {
    pub count: u64,
    pub letters: Vec<DeadLetter>,
    bytes: usize,
}

/// Raw bytes kept of what one request has refused.
const REFUSED_BYTES_MAX: usize = 32 << 20;

impl Refused {
    pub fn push(&mut self, letter: DeadLetter, ctx: &IngestContext) {
        self.count += 1;
        if self.letters.len() < ctx.refused_max && self.bytes < REFUSED_BYTES_MAX {
            self.bytes += letter.raw.len();
            self.letters.push(letter);
        }
    }

    /// What is not kept is at least counted where it would be looked for.
    pub fn finish(&mut self, writer: &TopicWriter, ctx: &IngestContext) {
        let omitted = self.count - self.letters.len() as u64;
        if omitted > 0 {
            let reason = format!(
                "{omitted} more records of the request were refused and are not kept: \
                 dead_letters.request_rows_max"
            );
            let last = self.letters.last().and_then(|l| l.line).unwrap_or_default();
            let letter = writer.letter(ctx, last + 1, None, "omitted", reason, vec![]);
            self.letters.push(letter);
        }
    }
}

impl TopicWriter {
    pub fn new(
        topic: Topic,
        log: Arc<log::Topic>,
        reader: Arc<TopicReader>,
        checks: Checks,
        external: Option<Arc<ExternalLog>>,
    ) -> TopicWriter {
        let zero = || AtomicU64::new(0);
        let newest = Mutex::default();
        TopicWriter {
            columns_digest: columns_digest(&topic),
            topic,
            log,
            reader,
            checks,
            external,
            events: zero(),
            refused: zero(),
            next_partition: zero(),
            newest,
            statements: tokio::sync::Mutex::default(),
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

    /// Decodes and checks a body, some records at a time: what waits to be appended is all that is
    /// kept of them.
    pub fn check_body(
        &self,
        ctx: &IngestContext,
        body: &Bytes,
        kind: BodyKind,
        mark: Option<&str>,
        origin: Option<&Origin>,
    ) -> Result<Checked> {
        let mut refused = Refused::default();
        let mut gathered = self.gathered(ctx, kind, mark);
        crate::topics::body::decode(body, kind, &self.topic, ctx.event_bytes_max, &mut |piece| {
            let from = refused.letters.len();
            for r in piece.refused {
                let letter = self.letter(ctx, r.line, r.column, r.kind.name(), r.reason, r.raw);
                refused.push(letter, ctx);
            }
            let keep = self.check_rows(ctx, &piece.batch, &piece.rows, &mut refused)?;
            for letter in &mut refused.letters[from..] {
                letter.header.clone_from(&piece.header);
            }
            gathered.push(&piece.batch, &piece.rows, keep.as_ref())
        })?;
        refused.finish(self, ctx);
        if let Some(origin) = origin {
            refused.letters.iter_mut().for_each(|letter| origin.name(letter));
        }
        let (partitions, accepted) = gathered.finish()?;
        Ok(Checked { partitions, accepted, refused })
    }

    fn gathered<'a>(
        &'a self,
        ctx: &IngestContext,
        kind: BodyKind,
        mark: Option<&'a str>,
    ) -> Gathered<'a> {
        let partitions = self.topic.partitions.max(1);
        // Without a key a request stays together; a repeat of a marked one chooses the same.
        let unkeyed = match mark {
            Some(mark) => partition_of(mark.as_bytes(), partitions),
            None => self.turn(partitions),
        };
        // What the log keeps of CSV is JSON, whose numbers may be read as others.
        let as_they_come = self.topic.format.is_rows() && kind != BodyKind::Csv;
        let rows = as_they_come && self.external.is_none() && self.reader.keeps_rows();
        let to = Destination { now: ctx.clock.now_us(), partitions, unkeyed, mark, rows };
        Gathered::new(to, self.topic.key.as_deref())
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
        refused: &mut Refused,
    ) -> Result<Option<BooleanArray>> {
        let (now, future) = (ctx.clock.now_us(), ctx.future_max_us);
        let verdict = rules::check(&self.topic, &self.checks, batch, now, future)?;
        for b in verdict.broken {
            let Row { line, raw, .. } = &rows[b.row];
            let letter = self.letter(ctx, *line, b.column, b.kind, b.reason, raw.to_vec());
            refused.push(letter, ctx);
        }
        Ok(verdict.keep)
    }

    /// The partition whose turn it is to get what has no key.
    pub(crate) fn turn(&self, partitions: i32) -> Partition {
        let turn = self.next_partition.fetch_add(1, Ordering::Relaxed);
        Partition((turn % partitions.max(1) as u64) as i32)
    }

    /// Appends checked events and waits until they and the dead letters are durable. Those with a
    /// mark can be found by it after a crash (see `once.rs`).
    pub async fn append(
        &self,
        ctx: &IngestContext,
        checked: Checked,
        mark: Option<&str>,
    ) -> Result<Ingested> {
        let Checked { partitions, accepted, refused } = checked;
        let topic = &self.topic.name;
        let ranges = match (&self.external, mark) {
            _ if partitions.is_empty() => vec![],
            (None, _) => self.append_here(partitions).await?,
            (Some(kafka), None) => ranges(kafka.append(topic, &bytes_of(partitions)).await?),
            (Some(kafka), Some(mark)) => {
                ranges(kafka.append_marked(topic, mark, &bytes_of(partitions)).await?)
            }
        };
        // What comes back from elsewhere is counted then.
        if self.external.is_none() {
            self.events.fetch_add(accepted, Ordering::Relaxed);
        }
        self.answer(ctx, accepted, ranges, refused).await
    }

    /// The answer, once what was refused is with the dead letters.
    pub(crate) async fn answer(
        &self,
        ctx: &IngestContext,
        accepted: u64,
        partitions: Vec<PartitionRange>,
        refused: Refused,
    ) -> Result<Ingested> {
        let mut answer = Ingested { accepted, partitions, ..Ingested::default() };
        answer.set_refused(&refused);
        if !refused.letters.is_empty() {
            let store = ctx.dead_letters.clone();
            blocking(move || store.write(&refused.letters)).await?;
        }
        self.count_refused(answer.refused);
        Ok(answer)
    }

    async fn append_here(
        &self,
        partitions: BTreeMap<Partition, Vec<LogBatch>>,
    ) -> Result<Vec<PartitionRange>> {
        let mut ranges = vec![];
        let mut waits = vec![];
        for (partition, batches) in partitions {
            let log = self.log.partition(partition)?;
            let mut first: Option<Offset> = None;
            let mut last = None;
            for LogBatch { bytes, rows } in batches {
                let appended = self.reader.append(&log, bytes, self.columns_digest, rows)?;
                first = first.or(Some(appended.first));
                last = Some(appended.last);
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

    pub fn count_refused(&self, n: u64) {
        self.refused.fetch_add(n, Ordering::Relaxed);
    }
}

impl Ingested {
    /// Says what was refused; of many only the first lines.
    pub fn set_refused(&mut self, refused: &Refused) {
        let mut errors: Vec<RefusedLine> = refused
            .letters
            .iter()
            .filter(|l| l.kind != "omitted")
            .map(|l| RefusedLine {
                line: l.line.unwrap_or_default(),
                column: l.column.clone(),
                reason: l.reason.clone(),
                code: l.kind.clone(),
            })
            .collect();
        errors.sort_by_key(|e| e.line);
        errors.truncate(ERRORS_MAX);
        self.errors_omitted = refused.count.saturating_sub(errors.len() as u64);
        (self.refused, self.errors) = (refused.count, errors);
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
