//! ListOffsets: the first offset, the next one, or the first record of a time or later (KIP-79).

use common::{Offset, Partition, Result};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::connection::{Answer, Request};
use super::errors::Fault;
use crate::App;

/// Times that mean something else.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the largest time (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The isolation level that sees finished transactions only.
pub const READ_COMMITTED: i8 = 1;

pub fn answer(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    body.i32()?;
    let committed = version >= 2 && body.i8()? == READ_COMMITTED;
    let topics = body.topics(|r| {
        let partition = Partition(r.i32()?);
        if version >= 4 {
            r.i32()?;
        }
        Ok((partition, r.i64()?))
    })?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        for (name, partitions) in &topics {
            super::settle(&session, name, partitions.iter().map(|(p, _)| *p)).await;
        }
        let look = move || {
            let topic = |(name, partitions): (String, Vec<(Partition, i64)>)| {
                let one =
                    |(p, time)| described(version, p, offset(&session, &name, p, time, committed));
                ListOffsetsTopicResponse::default()
                    .with_partitions(partitions.into_iter().map(one).collect())
                    .with_name(TopicName(StrBytes::from_string(name.clone())))
            };
            topics.into_iter().map(topic).collect()
        };
        let topics = super::blocking(look).await?;
        request.encode(&ListOffsetsResponse::default().with_topics(topics)).map(Some)
    }))
}

/// Offset and, of one found by time, that time.
fn offset(
    session: &engine::Session,
    topic: &str,
    partition: Partition,
    time_ms: i64,
    committed: bool,
) -> std::result::Result<(Offset, i64), Fault> {
    let log = session.topic_log(topic)?.partition(partition)?;
    match time_ms {
        LATEST if committed => Ok((log.last_stable_offset(), -1)),
        LATEST => Ok((log.high_watermark(), -1)),
        EARLIEST => Ok((log.start_offset(), -1)),
        MAX_TIMESTAMP => {
            let found = log.max_timestamp()?;
            Ok(found.map_or((Offset(-1), -1), |(time_ms, offset)| (offset, time_ms)))
        }
        time if time >= 0 => {
            let found = log.record_for_time(time.saturating_mul(1_000))?;
            let found = found.filter(|(_, o)| !committed || *o < log.last_stable_offset());
            Ok(found.map_or((Offset(-1), -1), |(time_ms, offset)| (offset, time_ms)))
        }
        other => {
            let why = format!("{other} is no time this server knows");
            Err(Fault::new(ResponseError::UnsupportedVersion, why))
        }
    }
}

fn described(
    version: i16,
    partition: Partition,
    found: std::result::Result<(Offset, i64), Fault>,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(partition.0);
    match found {
        Ok((offset, time_ms)) => answer
            .with_offset(offset.0)
            .with_timestamp(time_ms)
            .with_leader_epoch(if version >= 4 { 0 } else { -1 }),
        Err(fault) => answer.with_error_code(fault.code).with_offset(-1).with_timestamp(-1),
    }
}
