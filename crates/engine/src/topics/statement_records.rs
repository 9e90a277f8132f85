//! The records of one SQL statement that writes: all of them are appended, or none. One batch is
//! one append; more of them are a transaction. As in Kafka, who reads a topic while a transaction
//! ends may have its records of one partition before those of the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Error, Kind, Offset, Partition, Result};
use log::transactions::TransactionalProducer;
use log::{BatchBuilder, ErrorCode, PartitionLog};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::ingest::{IngestContext, TopicWriter};
use crate::topics::log_batches::{BATCH_BYTES, partition_of};
use crate::topics::validation::misfits;

/// What a record takes in a batch beyond its key and value, at most.
const OVERHEAD_BYTES: usize = 128;
/// So long the records may take to be read by who asks next.
const VISIBLE_MAX: Duration = Duration::from_secs(10);
const VISIBLE_POLL: Duration = Duration::from_millis(2);

/// A record; without a value it removes the row of its key.
#[derive(Clone, Debug)]
pub struct StatementRecord {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// The batches of each partition, each with how many records it has.
type Batches = BTreeMap<Partition, Vec<(BatchBuilder, i32)>>;

/// Appends them; returns once they are durable, and read by who asks next. Errors: `Invalid` for
/// the first record that does not fit the topic, and then nothing is written.
pub async fn write_all(
    inner: &Arc<Inner>,
    writer: &Arc<TopicWriter>,
    records: Vec<StatementRecord>,
) -> Result<()> {
    inner.check_open()?;
    if records.is_empty() {
        return Ok(());
    }
    let (checking, ctx) = (writer.clone(), inner.ingest.clone());
    let batches = blocking(move || {
        check(&checking, &ctx, &records)?;
        Ok(gather(&checking, &ctx, &records))
    });
    let mut batches = batches.await?;
    if let Some(kafka) = &writer.external {
        let bytes = batches.into_iter().map(|(partition, batches)| {
            (partition, batches.into_iter().map(|(b, _)| b.build()).collect())
        });
        kafka.append(&writer.topic.name, &bytes.collect()).await?;
        return Ok(());
    }
    let is_one = batches.len() == 1 && batches.values().all(|b| b.len() == 1);
    let written = match batches.pop_first() {
        Some((partition, mut of_one)) if is_one => {
            let log = writer.log.partition(partition)?;
            let Some((batch, _)) = of_one.pop() else { return Ok(()) };
            let (digest, batch) = (writer.columns_digest, batch.checked().build());
            let appended = writer.reader.append(&log, batch, digest, vec![])?;
            log.durable(appended).await?;
            vec![(log, appended.last)]
        }
        Some((partition, of_one)) => {
            batches.insert(partition, of_one);
            let (inner, writer) = (inner.clone(), writer.clone());
            blocking(move || transaction(&inner, &writer, batches)).await?
        }
        None => vec![],
    };
    visible(writer, &written).await
}

/// The first record that is no row of the topic.
fn check(writer: &TopicWriter, ctx: &IngestContext, records: &[StatementRecord]) -> Result<()> {
    let largest = (writer.log.message_bytes_max() as usize).min(ctx.event_bytes_max);
    for (i, record) in records.iter().enumerate() {
        let bytes = record.bytes();
        if bytes + OVERHEAD_BYTES > largest {
            let what = format!("row {} has {bytes} bytes, the topic takes {largest}", i + 1);
            return Err(Error::too_large(what).hint("nothing was written"));
        }
    }
    let pairs: Vec<_> = records.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    let misfits = misfits(writer, ctx, &pairs)?;
    let Some((at, column, _, reason)) = misfits.first() else { return Ok(()) };
    let more = match misfits.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let column = column.as_ref().map(|c| format!(", column '{c}'")).unwrap_or_default();
    let topic = &writer.topic.name;
    Err(Error::invalid(format!("row {}{column} is no row of '{topic}': {reason}{more}", at + 1))
        .hint("nothing was written"))
}

fn gather(writer: &TopicWriter, ctx: &IngestContext, records: &[StatementRecord]) -> Batches {
    let count = i32::try_from(writer.log.config().partitions).unwrap_or(i32::MAX);
    let largest = (writer.log.message_bytes_max() as usize).min(ctx.event_bytes_max);
    let (now, full, unkeyed) = (ctx.clock.now_us(), BATCH_BYTES.min(largest), writer.turn(count));
    let mut batches = Batches::new();
    for record in records {
        let partition = record.key.as_ref().map_or(unkeyed, |key| partition_of(key, count));
        let of_one = batches.entry(partition).or_default();
        let takes = |b: &BatchBuilder| b.bytes() + record.bytes() + OVERHEAD_BYTES <= full;
        if !of_one.last().is_some_and(|(batch, _)| takes(batch)) {
            of_one.push((BatchBuilder::new(now), 0));
        }
        if let Some((batch, records)) = of_one.last_mut() {
            batch.push(now, record.key.as_deref(), record.value.as_deref(), &[]);
            *records += 1;
        }
    }
    batches
}

type Written = Vec<(Arc<PartitionLog>, Offset)>;

fn transaction(inner: &Inner, writer: &TopicWriter, batches: Batches) -> Result<Written> {
    let coordinator = &inner.coordination.transactions;
    let topic = &writer.topic.name;
    let producer = inner.coordination.begin_own(topic)?;
    let partitions: Vec<_> = batches.keys().map(|p| (topic.clone(), p.0)).collect();
    done(topic, coordinator.add_partitions(&producer, &partitions))?;
    let mut written = vec![];
    for (partition, of_one) in batches {
        let appended = append(writer, partition, of_one, &producer);
        match appended {
            Ok(part) => written.push(part),
            Err(e) => {
                let _ = coordinator.end_transaction(&producer, false);
                return Err(e);
            }
        }
    }
    done(topic, coordinator.end_transaction(&producer, true))?;
    Ok(written)
}

fn append(
    writer: &TopicWriter,
    partition: Partition,
    batches: Vec<(BatchBuilder, i32)>,
    producer: &TransactionalProducer,
) -> Result<(Arc<PartitionLog>, Offset)> {
    let log = writer.log.partition(partition)?;
    let (mut sequence, mut last) = (0, Offset(0));
    let mut appended = vec![];
    for (batch, records) in batches {
        let batch =
            batch.transactional(producer.producer_id, producer.producer_epoch, sequence).build();
        sequence += records;
        let at = log.append_produced(batch).map_err(|refusal| {
            let topic = &writer.topic.name;
            let what = format!("topic '{topic}' does not take the records: {}", refusal.message);
            Error::new(Kind::Io, what)
        })?;
        last = at.last;
        appended.push(at);
    }
    for at in appended {
        log.wait_durable(at)?;
    }
    Ok((log, last))
}

fn done(topic: &str, code: ErrorCode) -> Result<()> {
    match code {
        ErrorCode::None => Ok(()),
        code => Err(Error::unavailable(format!("writing to topic '{topic}': {code:?}"))
            .hint("nothing was written; try again")),
    }
}

/// Waits until the records have been passed on to those who read the topic.
async fn visible(writer: &TopicWriter, written: &Written) -> Result<()> {
    let wait = async {
        for (log, last) in written {
            while writer.reader.end(log)? <= *last {
                tokio::time::sleep(VISIBLE_POLL).await;
            }
        }
        Ok(())
    };
    // They are durable: it is only that who asks at once might not see them yet.
    tokio::time::timeout(VISIBLE_MAX, wait).await.unwrap_or(Ok(()))
}

impl StatementRecord {
    fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}
