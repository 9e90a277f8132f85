//! The partitions of a topic for an operator: offsets, size, segments, rates; and the deletion of
//! their oldest records (KIP-107).

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Error, Offset, Partition, Result};
use log::PartitionLog;
use schemars::JsonSchema;
use serde::Serialize;

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::stores::text::rfc3339;

/// Figures of a partition.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Partition")]
pub struct PartitionInfo {
    pub partition: i32,
    /// The oldest offset that is kept.
    pub log_start_offset: i64,
    /// Below it all records are durable and all transactions have ended (KIP-98).
    pub last_stable_offset: i64,
    /// The high watermark: after the last durable record.
    pub log_end_offset: i64,
    /// Offsets between start and end, also where a compacted log has no records.
    pub records: u64,
    /// On disk.
    pub bytes: u64,
    pub segments: u64,
    /// Over the last ten seconds; none before there are two samples.
    pub records_per_second: Option<f64>,
    pub bytes_per_second: Option<f64>,
    /// The largest timestamp of its records (KIP-734).
    pub max_timestamp: Option<String>,
}

/// Where a partition begins after a deletion.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DeletedRecords {
    pub partition: i32,
    /// Kafka's name for the new start offset.
    pub low_watermark: i64,
}

/// The partitions of a topic, in order. Error: `NotFound` for an unknown topic.
pub async fn partition_list(inner: &Arc<Inner>, topic: &str) -> Result<Vec<PartitionInfo>> {
    let (writer, inner) = (inner.topic_writer(topic)?, inner.clone());
    blocking(move || {
        let logs = writer.log.partitions();
        logs.iter().map(|log| partition_info(&inner, log)).collect()
    })
    .await
}

/// Deletes the records of partitions below the given offsets; None stands for all that are
/// durable. Everything is checked before the first is deleted. Errors: `NotFound` for an
/// unknown topic, partition or offset, `Conflict` when records are not archived yet,
/// `Unsupported` for a copy of an external log.
pub async fn delete_records(
    inner: &Arc<Inner>,
    topic: &str,
    before: BTreeMap<Partition, Option<Offset>>,
) -> Result<Vec<DeletedRecords>> {
    inner.check_open()?;
    let writer = inner.topic_writer(topic)?;
    if let Some(kafka) = &writer.external {
        let what = format!("the records of '{topic}' are in Kafka at {}", kafka.brokers());
        return Err(Error::unsupported(what).hint("delete them there: kafka-delete-records"));
    }
    blocking(move || {
        let mut wanted = vec![];
        for (partition, before) in before {
            let end = writer.log.partition(partition)?.high_watermark();
            let before = before.unwrap_or(end);
            if before > end {
                let name = &writer.topic.name;
                let what = format!(
                    "offset {before} of topic '{name}' partition {partition} does not exist"
                );
                return Err(Error::not_found(what).hint(format!("the log ends at {end}")));
            }
            wanted.push((partition, before));
        }
        let mut deleted = vec![];
        for (partition, before) in wanted {
            let start = writer.log.delete_records(partition, before)?;
            deleted.push(DeletedRecords { partition: partition.0, low_watermark: start.0 });
        }
        Ok(deleted)
    })
    .await
}

fn partition_info(inner: &Inner, log: &PartitionLog) -> Result<PartitionInfo> {
    let stats = log.stats()?;
    let (start, end) = (stats.start_offset.0, stats.high_watermark.0);
    Ok(PartitionInfo {
        partition: log.id().0,
        log_start_offset: start,
        last_stable_offset: log.last_stable_offset().0,
        log_end_offset: end,
        records: end.saturating_sub(start).max(0).unsigned_abs(),
        bytes: stats.bytes,
        segments: stats.segments,
        records_per_second: inner.rate(&records_counter(log)),
        bytes_per_second: inner.rate(&bytes_counter(log)),
        max_timestamp: log.max_timestamp()?.map(|(ms, _)| rfc3339(ms.saturating_mul(1_000))),
    })
}

/// Under which name a partition's records are sampled (`rates.rs`).
pub(crate) fn records_counter(log: &PartitionLog) -> String {
    format!("records {}-{}", log.topic(), log.id())
}

/// The same for its bytes.
pub(crate) fn bytes_counter(log: &PartitionLog) -> String {
    format!("bytes {}-{}", log.topic(), log.id())
}
