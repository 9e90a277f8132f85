//! Appending a numbered batch exactly once, for imports and for sources with positions. The
//! number is written before the append (with where the log ended) and again after it; a repeat
//! after a crash looks in the log for the batch's mark and appends only what is missing. Refused
//! lines become dead letters in the same write as the second record.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Error, Offset, Result, fail_point};
use kv::{Keyspace, Kv};
use serde::{Deserialize, Serialize};

use crate::stores::blocking::blocking;
use crate::topics::dead_letters::DeadLetter;
use crate::topics::ingest::{Checked, IngestContext, Ingested, TopicWriter, ranges};
use crate::topics::log_batches::MARK_HEADER;
use crate::topics::rows::{for_each_record, next_offset};

/// What is known of one producer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    /// Id of the topic in the log: what was sent to a dropped one says nothing of its successor.
    #[serde(default)]
    topic: String,
    sequence: u64,
    position: Option<String>,
    /// Position before this batch.
    #[serde(default)]
    position_before: Option<String>,
    /// High watermarks of the partitions before the append.
    ends: BTreeMap<i32, i64>,
    answer: Option<Ingested>,
}

/// The keyspace `producers`.
pub struct Producers {
    kv: Arc<Kv>,
    records: Keyspace,
    /// One numbered append at a time: they come from few producers, each in order.
    turn: tokio::sync::Mutex<()>,
}

impl Producers {
    pub fn open(kv: &Arc<Kv>) -> Result<Producers> {
        let records = kv.keyspace("producers")?;
        Ok(Producers { kv: kv.clone(), records, turn: tokio::sync::Mutex::new(()) })
    }

    /// Last sequence number and position of a producer whose append is known to be done.
    pub fn last(
        &self,
        writer: &TopicWriter,
        producer: &str,
    ) -> Result<Option<(u64, Option<String>, bool)>> {
        Ok(self.get(writer, producer)?.map(|r| (r.sequence, r.position, r.answer.is_some())))
    }

    /// Position to read again from when the last append was not finished.
    pub fn position_before(&self, writer: &TopicWriter, producer: &str) -> Result<Option<String>> {
        Ok(self.get(writer, producer)?.and_then(|r| r.position_before))
    }

    /// Forgets every producer whose name begins so.
    pub fn forget(&self, prefix: &str) -> Result<()> {
        let mut batch = self.kv.batch();
        batch.delete_prefix(&self.records, prefix.as_bytes())?;
        batch.commit_durable()
    }

    /// Appends batch `sequence` of `producer` unless it is there already. Sequences count from 1.
    pub async fn append(
        &self,
        writer: &TopicWriter,
        ctx: &IngestContext,
        producer: &str,
        sequence: u64,
        position: Option<String>,
        check: impl FnOnce(&str) -> Result<Checked> + Send + 'static,
    ) -> Result<Ingested> {
        let _turn = self.turn.lock().await;
        let last = self.get(writer, producer)?;
        let repeat = match &last {
            Some(r) if r.sequence == sequence => {
                if let Some(answer) = &r.answer {
                    return Ok(answer.clone());
                }
                true
            }
            Some(r) if sequence != r.sequence + 1 || r.answer.is_none() => {
                return Err(out_of_order(producer, sequence, r.sequence));
            }
            None if sequence != 1 => return Err(out_of_order(producer, sequence, 0)),
            _ => false,
        };
        let mark = format!("{producer};{sequence}");
        let for_check = mark.clone();
        let mut checked = blocking(move || check(&for_check)).await?;
        let mut there = None;
        let mut record = match last {
            Some(record) if repeat => {
                match &writer.external {
                    None => drop_present(writer, &record.ends, &mark, &mut checked)?,
                    Some(kafka) => {
                        there = kafka.committed(&writer.topic.name, &mark).await?;
                        if there.is_some() {
                            checked.partitions.clear();
                        }
                    }
                }
                record
            }
            _ => {
                // Not the ends: what is not durable yet may be cut off and its offsets used again.
                let ends = writer.log.partitions();
                let ends = ends.iter().map(|p| (p.id().0, p.high_watermark().0)).collect();
                let position_before = last.and_then(|r| r.position);
                let topic = writer.log.id().to_string();
                let record =
                    Record { topic, sequence, position, position_before, ends, answer: None };
                self.put(producer, &record, ctx, &[])?;
                record
            }
        };
        fail_point("once.begun");
        let refused = std::mem::take(&mut checked.refused);
        let mut answer = writer.append(ctx, checked, Some(&mark)).await?;
        answer.partitions.extend(there.map(ranges).unwrap_or_default());
        fail_point("once.appended");
        answer.set_refused(&refused);
        record.answer = Some(answer.clone());
        // In one write, so that a repeat adds none of the letters again.
        self.put(producer, &record, ctx, &refused.letters)?;
        writer.count_refused(refused.count);
        fail_point("once.recorded");
        Ok(answer)
    }

    fn get(&self, writer: &TopicWriter, producer: &str) -> Result<Option<Record>> {
        let Some(bytes) = self.records.get(producer.as_bytes())? else { return Ok(None) };
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| {
            Error::corrupt(format!("the record of producer '{producer}' is damaged: {e}"))
        })?;
        Ok((record.topic == writer.log.id().to_string()).then_some(record))
    }

    fn put(
        &self,
        producer: &str,
        record: &Record,
        ctx: &IngestContext,
        letters: &[DeadLetter],
    ) -> Result<()> {
        let bytes = serde_json::to_vec(record)
            .map_err(|e| Error::internal(format!("encoding a producer: {e}")))?;
        let mut batch = self.kv.batch();
        batch.put(&self.records, producer.as_bytes(), bytes);
        ctx.dead_letters.stage(&mut batch, letters)?;
        batch.commit_durable()?;
        ctx.dead_letters.committed(letters);
        Ok(())
    }
}

fn out_of_order(producer: &str, sequence: u64, last: u64) -> Error {
    Error::conflict(format!("batch {sequence} of '{producer}' does not follow batch {last}"))
        .hint("another import of the same file may be running; wait for it, then start again")
}

/// Removes from `checked` the partitions whose part of the batch is in the log already.
fn drop_present(
    writer: &TopicWriter,
    ends: &BTreeMap<i32, i64>,
    mark: &str,
    checked: &mut Checked,
) -> Result<()> {
    for (partition, batches) in &mut checked.partitions {
        let log = writer.log.partition(*partition)?;
        let from = Offset(ends.get(&partition.0).copied().unwrap_or_default());
        // Batches of a partition are appended in order, so those there are the first ones.
        let mut there = count_marked(&log, from, mark)?;
        let mut skip = 0;
        for batch in batches.iter() {
            let n = log::Header::parse(&batch.bytes).map_or(0, |h| h.count as usize);
            if there < n {
                break;
            }
            there -= n;
            skip += 1;
        }
        batches.drain(..skip);
    }
    checked.partitions.retain(|_, batches| !batches.is_empty());
    Ok(())
}

fn count_marked(log: &log::PartitionLog, from: Offset, mark: &str) -> Result<usize> {
    let mut at = from.max(log.start_offset());
    let mut n = 0;
    while at < log.high_watermark() {
        let mut batches = log.read(at, 4 << 20)?;
        let Some(last) = batches.last() else { break };
        let next = next_offset(last)?;
        // Other producers' may be packed, and are not what is looked for.
        batches.retain(|b| log::Header::parse(b).is_some_and(|h| h.is_checked()));
        for_each_record(&batches, |record| {
            let marked =
                record.headers().any(|(name, v)| name == MARK_HEADER && v == Some(mark.as_bytes()));
            n += usize::from(marked && record.offset >= at);
        })?;
        at = next;
    }
    Ok(n)
}

/// Under which name an import's batches are counted.
pub(crate) fn import_producer(topic: &str, import: &str) -> String {
    format!("import:{topic}:{import}")
}
