//! What operators do with partitions: CreatePartitions, DeleteRecords (KIP-107), DescribeLogDirs.

use std::sync::Arc;

use common::{Kind, Offset, Partition, Result};
use engine::{Session, TopicChange};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{
    CreatePartitionsResponse, DeleteRecordsResponse, DescribeLogDirsResponse,
};

use super::connection::{Answer, Request};
use super::errors::Fault;
use super::reader::Reader;
use super::{blocking, configs, text, topic_name};
use crate::App;

/// DeleteRecords up to the high watermark.
const ALL: i64 = -1;
/// The one directory of the log, as clients see it.
pub const LOG_DIR: &str = "log";
/// Sizes of the disk are not told.
const UNKNOWN: i64 = -1;

pub fn create(app: &App, mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    let topics = body.array(|r| {
        let (name, count) = (r.string()?, r.i32()?);
        r.nullable_array(|r| {
            r.array(Reader::i32)?;
            r.tags()
        })?;
        r.tags()?;
        Ok((name, count))
    })?;
    body.i32()?;
    let validate_only = body.bool()?;
    let app = app.clone();
    Ok(Box::pin(async move {
        let mut results = vec![];
        for (name, count) in topics {
            let outcome = grow(&app, &name, count, validate_only).await;
            let out = CreatePartitionsTopicResult::default()
                .with_error_message(None)
                .with_name(topic_name(name));
            results.push(match outcome {
                Ok(()) => out,
                Err(f) => out.with_error_code(f.code).with_error_message(f.message),
            });
        }
        request.encode(&CreatePartitionsResponse::default().with_results(results)).map(Some)
    }))
}

async fn grow(
    app: &App,
    name: &str,
    count: i32,
    validate_only: bool,
) -> std::result::Result<(), Fault> {
    let now = app.session.topic_log(name)?.partitions().len();
    if usize::try_from(count).is_ok_and(|count| count > now) {
        if validate_only {
            return Ok(());
        }
        let change = ("partitions".to_string(), Some(count.to_string()));
        let change = TopicChange::Options(vec![change]);
        return app.session.alter_topic(name, &change).await.map_err(configs::refused);
    }
    let why = format!("topic '{name}' has {now} partitions, and can only get more");
    Err(Fault::new(ResponseError::InvalidPartitions, why))
}

pub fn delete_records(app: &App, mut request: Request) -> Result<Answer> {
    let topics = request.body.topics(|r| Ok((Partition(r.i32()?), r.i64()?)))?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        for (name, partitions) in &topics {
            super::settle(&session, name, partitions.iter().map(|(p, _)| *p)).await;
        }
        let delete = move || {
            let topic = |(name, partitions): (String, Vec<(Partition, i64)>)| {
                let one = |(p, before): (Partition, i64)| {
                    let out = DeleteRecordsPartitionResult::default().with_partition_index(p.0);
                    match delete_before(&session, &name, p, before) {
                        Ok(start) => out.with_low_watermark(start.0),
                        Err(fault) => out.with_low_watermark(-1).with_error_code(fault.code),
                    }
                };
                DeleteRecordsTopicResult::default()
                    .with_partitions(partitions.into_iter().map(one).collect())
                    .with_name(topic_name(name.clone()))
            };
            topics.into_iter().map(topic).collect()
        };
        let topics = blocking(delete).await?;
        request.encode(&DeleteRecordsResponse::default().with_topics(topics)).map(Some)
    }))
}

fn delete_before(
    session: &Session,
    topic: &str,
    partition: Partition,
    before: i64,
) -> std::result::Result<Offset, Fault> {
    let topic = session.topic_log(topic)?;
    let end = topic.partition(partition)?.high_watermark();
    let before = if before == ALL { end } else { Offset(before) };
    if before.0 < 0 || before > end {
        let why = format!("offset {before} is not there, the log ends at {end}");
        return Err(Fault::new(ResponseError::OffsetOutOfRange, why));
    }
    topic.delete_records(partition, before).map_err(|e| match e.kind() {
        Kind::NotFound => Fault::of(ResponseError::OffsetOutOfRange, &e),
        _ => Fault::from(e),
    })
}

pub fn describe_log_dirs(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let wanted = request.body.nullable_array(|r| {
        let topic = (r.string()?, r.array(Reader::i32)?);
        r.tags()?;
        Ok(topic)
    })?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        let look = move || {
            let is_wanted = |name: &str, p: i32| match &wanted {
                None => true,
                Some(topics) => topics.iter().any(|(n, ps)| n == name && ps.contains(&p)),
            };
            let topic = |log: Arc<log::Topic>| {
                let sizes =
                    log.partitions().into_iter().filter(|p| is_wanted(log.name(), p.id().0));
                let size = |p: Arc<log::PartitionLog>| {
                    let bytes = p.stats()?.bytes;
                    Ok(DescribeLogDirsPartition::default()
                        .with_partition_index(p.id().0)
                        .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX)))
                };
                let sizes = sizes.map(size).collect::<Result<Vec<_>>>()?;
                let name = topic_name(log.name());
                Ok(DescribeLogDirsTopic::default().with_name(name).with_partitions(sizes))
            };
            session.topic_logs().into_iter().map(topic).collect::<Result<Vec<_>>>()
        };
        let mut topics = blocking(look).await??;
        topics.retain(|t| !t.partitions.is_empty());
        let dir = DescribeLogDirsResult::default().with_log_dir(text(LOG_DIR)).with_topics(topics);
        let dir = match version >= 4 {
            true => dir.with_total_bytes(UNKNOWN).with_usable_bytes(UNKNOWN),
            false => dir,
        };
        request.encode(&DescribeLogDirsResponse::default().with_results(vec![dir])).map(Some)
    }))
}
