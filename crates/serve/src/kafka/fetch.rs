//! Fetch: whole batches from the one that has the offset on, as they are stored; only what is
//! durable. Without enough the answer waits for more (`fetch.min.bytes`, `fetch.max.wait.ms`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::{Error, Offset, Partition, Result};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchResponse, ProducerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use log::Header;
use tokio::time::Instant;

use super::connection::{Answer, Request};
use super::list_offsets::READ_COMMITTED;
use crate::app::App;

/// No client waits longer, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// No answer is larger, but for a single batch.
const BYTES_MAX: usize = 64 << 20;

struct Wanted {
    name: String,
    partitions: Vec<(Partition, Offset, usize)>,
}

pub fn answer(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    body.i32()?;
    let wait = Duration::from_millis(u64::try_from(body.i32()?).unwrap_or(0)).min(WAIT_MAX);
    let bytes_min = body.i32()?;
    let bytes_max = usize::try_from(body.i32()?).unwrap_or(0).min(BYTES_MAX);
    let committed = body.i8()? == READ_COMMITTED;
    if version >= 7 {
        // Sessions: the answer's id 0 says that there are none, and each request names all.
        body.i32()?;
        body.i32()?;
    }
    let topics = body.array(|r| {
        let name = r.string()?;
        let partitions = r.array(|r| {
            let partition = Partition(r.i32()?);
            if version >= 9 {
                r.i32()?;
            }
            let from = Offset(r.i64()?);
            if version >= 12 {
                r.i32()?;
            }
            if version >= 5 {
                r.i64()?;
            }
            let max = usize::try_from(r.i32()?).unwrap_or(0);
            r.tags()?;
            Ok((partition, from, max))
        })?;
        r.tags()?;
        Ok(Wanted { name, partitions })
    })?;
    let (app, topics) = (app.clone(), std::sync::Arc::new(topics));
    Ok(Box::pin(async move {
        let deadline = Instant::now() + wait;
        let mut commits = app.platform.log_commits();
        loop {
            commits.mark_unchanged();
            let (platform, wanted) = (app.platform.clone(), topics.clone());
            let read = move || read(&platform, &wanted, bytes_max, committed);
            let (responses, bytes, failed) = super::blocking(read).await?;
            let enough = failed || i64::try_from(bytes).unwrap_or(i64::MAX) >= bytes_min.into();
            if !enough && tokio::time::timeout_at(deadline, commits.changed()).await.is_ok() {
                continue;
            }
            return request.encode(&FetchResponse::default().with_responses(responses)).map(Some);
        }
    }))
}

/// What there is now: the answer, its bytes, and whether a partition has an error to tell.
fn read(
    platform: &engine::Platform,
    wanted: &[Wanted],
    bytes_max: usize,
    committed: bool,
) -> (Vec<FetchableTopicResponse>, usize, bool) {
    let (mut bytes, mut failed) = (0, false);
    let mut responses = vec![];
    for topic in wanted {
        let log = platform.topic_log(&topic.name);
        let mut partitions = vec![];
        for (partition, from, max) in &topic.partitions {
            let log = log.as_ref().ok().and_then(|l| l.partition(*partition).ok());
            let room = bytes_max.saturating_sub(bytes).min(*max);
            let data = match log {
                None => fault(ResponseError::UnknownTopicOrPartition),
                // The first batch is sent whatever its size, or the client would never get on.
                Some(log) => partition_data(&log, *from, room, bytes == 0, committed),
            };
            bytes += data.records.as_ref().map_or(0, Bytes::len);
            failed |= data.error_code != 0;
            partitions.push(data.with_partition_index(partition.0));
        }
        let name = TopicName(StrBytes::from_string(topic.name.clone()));
        responses
            .push(FetchableTopicResponse::default().with_topic(name).with_partitions(partitions));
    }
    (responses, bytes, failed)
}

fn partition_data(
    log: &log::PartitionLog,
    from: Offset,
    room: usize,
    at_least_one: bool,
    committed: bool,
) -> PartitionData {
    // In this order: the stable offset is never beyond the watermark.
    let stable = log.last_stable_offset();
    let (start, end) = (log.start_offset(), log.high_watermark());
    let readable = if committed { stable } else { end };
    let described = |data: PartitionData| {
        data.with_high_watermark(end.0)
            .with_last_stable_offset(stable.0)
            .with_log_start_offset(start.0)
            .with_preferred_read_replica(BrokerId(-1))
    };
    if from < start || from > end {
        return described(fault(ResponseError::OffsetOutOfRange));
    }
    let mut records = BytesMut::new();
    let mut next = from;
    let mut has_transactions = false;
    if from < readable && (room > 0 || at_least_one) {
        match log.read_below(from, readable, room) {
            Ok(batches) => {
                for batch in &batches {
                    let fits = records.len() + batch.len() <= room;
                    if fits || (at_least_one && records.is_empty()) {
                        records.extend_from_slice(batch);
                        if let Some(header) = Header::parse(batch) {
                            next = header.last_offset().next();
                            has_transactions |= header.is_transactional();
                        }
                    } else {
                        break;
                    }
                }
            }
            Err(e) => return described(failed(log, &e)),
        }
    }
    let data = PartitionData::default().with_records(Some(records.freeze()));
    if !committed {
        return described(data);
    }
    if !has_transactions {
        return described(data.with_aborted_transactions(Some(vec![])));
    }
    match log.aborted_between(from, next) {
        Ok(aborted) => {
            let one = |a: log::AbortedTransaction| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(a.producer_id))
                    .with_first_offset(a.first.0)
            };
            described(data.with_aborted_transactions(Some(aborted.into_iter().map(one).collect())))
        }
        Err(e) => described(failed(log, &e)),
    }
}

fn failed(log: &log::PartitionLog, e: &Error) -> PartitionData {
    tracing::error!(topic = log.topic(), "a fetch failed: {e}");
    fault(ResponseError::KafkaStorageError)
}

fn fault(code: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_error_code(code.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(Bytes::new()))
}
