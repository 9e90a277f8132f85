//! Records with key, headers and partition, as a Kafka producer sends them, from the platform's
//! own doors. They are held against the topic's definition before they are appended, so that who
//! sends them hears what does not fit; an ingest (`ingest.rs`) sends rows instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use common::{Error, Kind, Partition, Result};
use log::{BatchBuilder, CleanupPolicy, ErrorCode, Refusal};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::ingest::{
    IngestContext, Ingested, PartitionRange, Refused, TopicWriter, ranges,
};
use crate::topics::log_batches::{BATCH_BYTES, partition_of};
use crate::topics::validation::misfits;

/// What a batch of one record takes beyond the record's own bytes, at most.
const OVERHEAD_BYTES: usize = 128;

/// A record to be appended.
#[derive(Clone, Debug, Default)]
pub struct ProducerRecord {
    pub key: Option<Bytes>,
    /// None is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
    /// None: by the key as Kafka's default partitioner chooses; without a key one partition for
    /// all records of the call, each call the next one.
    pub partition: Option<Partition>,
}

/// Batches by partition, and what is not in them.
struct Batches {
    partitions: BTreeMap<Partition, Vec<Bytes>>,
    accepted: u64,
    refused: Refused,
}

/// Appends records; returns once they are durable, and what does not fit the topic is with the
/// dead letters (its line is the record's number, from 1). Errors: `NotFound` for an unknown
/// topic or partition, `Invalid` for a record without a key in a compacted topic.
pub async fn produce(
    inner: &Arc<Inner>,
    topic: &str,
    records: Vec<ProducerRecord>,
) -> Result<Ingested> {
    inner.check_open()?;
    let writer = inner.topic_writer(topic)?;
    let ctx = inner.ingest.clone();
    let (writer2, ctx2) = (writer.clone(), ctx.clone());
    let checked = blocking(move || check(&writer2, &ctx2, &records)).await?;
    let Batches { partitions, accepted, refused } = checked;
    let appended = match &writer.external {
        _ if partitions.is_empty() => vec![],
        Some(kafka) => ranges(kafka.append(topic, &partitions).await?),
        None => append(&writer, partitions).await?,
    };
    writer.answer(&ctx, accepted, appended, refused).await
}

/// Records of one call: each costs some memory, however short it is.
const RECORDS_MAX: usize = 500_000;

/// Chooses partitions, and takes out what is no row of the topic.
fn check(writer: &TopicWriter, ctx: &IngestContext, records: &[ProducerRecord]) -> Result<Batches> {
    if records.len() > RECORDS_MAX {
        let n = records.len();
        return Err(Error::too_large(format!("{n} records at once; {RECORDS_MAX} is the limit"))
            .hint("send them in several requests"));
    }
    let config = writer.log.config();
    let count = i32::try_from(config.partitions).unwrap_or(i32::MAX);
    let needs_key = config.cleanup_policy != CleanupPolicy::Delete;
    let largest = (writer.log.message_bytes_max() as usize).min(ctx.event_bytes_max);
    let pairs: Vec<_> = records.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    let mut refused = Refused::default();
    let mut faulty = BTreeSet::new();
    let mut refuse = |i: usize, column, kind: &str, reason| {
        let (line, raw) = (i as u64 + 1, pairs[i].1.unwrap_or_default().to_vec());
        // One fault of a record is enough.
        if faulty.insert(i) {
            refused.push(writer.letter(ctx, line, column, kind, reason, raw), ctx);
        }
    };
    for (i, record) in records.iter().enumerate() {
        let bytes = record.bytes();
        if bytes + OVERHEAD_BYTES > largest {
            let reason = format!("the record has {bytes} bytes, the topic takes {largest}");
            refuse(i, None, "too_large", reason);
        }
    }
    for (i, column, kind, reason) in misfits(writer, ctx, &pairs)? {
        refuse(i, column, kind, reason);
    }
    let (now, unkeyed) = (ctx.clock.now_us(), writer.turn(count));
    let mut open: BTreeMap<Partition, BatchBuilder> = BTreeMap::new();
    let mut partitions: BTreeMap<Partition, Vec<Bytes>> = BTreeMap::new();
    for (i, record) in records.iter().enumerate() {
        if needs_key && record.key.is_none() {
            let what = format!("record {} has no key, and the topic is compacted", i + 1);
            return Err(Error::invalid(what).hint("give each record a key"));
        }
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => writer.log.partition(partition)?.id(),
            (None, Some(key)) => partition_of(key, count),
            (None, None) => unkeyed,
        };
        if faulty.contains(&i) {
            continue;
        }
        let full = BATCH_BYTES.min(largest);
        if let Some(builder) = open.get(&partition)
            && builder.bytes() + record.bytes() + OVERHEAD_BYTES > full
            && let Some(builder) = open.remove(&partition)
        {
            partitions.entry(partition).or_default().push(builder.build());
        }
        let headers: Vec<(&str, &[u8])> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect();
        let builder = open.entry(partition).or_insert_with(|| BatchBuilder::new(now));
        builder.push(now, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    for (partition, builder) in open {
        partitions.entry(partition).or_default().push(builder.build());
    }
    refused.finish(writer, ctx);
    Ok(Batches { partitions, accepted: (records.len() - faulty.len()) as u64, refused })
}

/// Appends as a client's batches are: the validation looks at them, and counts them.
async fn append(
    writer: &TopicWriter,
    partitions: BTreeMap<Partition, Vec<Bytes>>,
) -> Result<Vec<PartitionRange>> {
    let (mut ranges, mut waits) = (vec![], vec![]);
    for (partition, batches) in partitions {
        let log = writer.log.partition(partition)?;
        let mut range: Option<PartitionRange> = None;
        for batch in batches {
            let appended = log.append_produced(batch).map_err(|e| not_taken(writer, &e))?;
            let (first, last) = (appended.first.0, appended.last.0);
            range
                .get_or_insert(PartitionRange {
                    partition: partition.0,
                    first_offset: first,
                    last_offset: last,
                })
                .last_offset = last;
            waits.push(log.durable(appended));
        }
        ranges.extend(range);
    }
    for wait in waits {
        wait.await?;
    }
    Ok(ranges)
}

fn not_taken(writer: &TopicWriter, refusal: &Refusal) -> Error {
    let kind = match refusal.code {
        ErrorCode::MessageTooLarge => Kind::TooLarge,
        ErrorCode::KafkaStorageError => Kind::Io,
        _ => Kind::Invalid,
    };
    let topic = &writer.topic.name;
    Error::new(kind, format!("topic '{topic}' does not take the records: {}", refusal.message))
}

impl ProducerRecord {
    /// Bytes of key, value and headers, with room for their lengths.
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len() + 10).sum();
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + headers
    }
}
