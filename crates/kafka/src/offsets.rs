//! Offsets that consumers keep with their group: OffsetCommit, OffsetFetch, OffsetDelete.

use common::{Partition, Result};
use engine::Session;
use kafka_protocol::messages::offset_commit_response as commit;
use kafka_protocol::messages::offset_delete_response as delete;
use kafka_protocol::messages::offset_fetch_response as fetch;
use kafka_protocol::messages::{
    GroupId, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse,
};
use log::ErrorCode;
use log::groups as model;

use super::connection::{Answer, Request};
use super::reader::Reader;
use super::{blocking, text, topic_name};
use crate::App;

pub fn commit(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let (group_id, epoch, member_id) = (body.string()?, body.i32()?, body.string()?);
    let group_instance_id = if version >= 7 { body.nullable_string()? } else { None };
    if version <= 4 {
        // How long to keep it: the server decides (KIP-211).
        body.i64()?;
    }
    let topics = body.array(|r| committed_topic(r, version >= 6))?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        let topics = blocking(move || {
            let (topics, mut refused) = known(&session, topics);
            let asked = model::OffsetCommitRequest {
                group_id,
                generation_id_or_member_epoch: epoch,
                member_id,
                group_instance_id,
                topics,
            };
            let mut answers = match asked.topics.is_empty() && !refused.is_empty() {
                true => vec![],
                false => session.groups().commit_offsets(&asked),
            };
            answers.append(&mut refused);
            answers
        });
        let code = |code: ErrorCode| match code {
            // From version 9 on a group that is not there has its own error.
            ErrorCode::GroupIdNotFound if version < 9 => ErrorCode::IllegalGeneration,
            code => code,
        };
        let partition = |p: model::PartitionError| {
            commit::OffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(p.error_code).code())
        };
        let topic = |t: model::TopicErrors| {
            commit::OffsetCommitResponseTopic::default()
                .with_name(topic_name(t.name))
                .with_partitions(t.partitions.into_iter().map(partition).collect())
        };
        let topics = topics.await?.into_iter().map(topic).collect();
        request.encode(&OffsetCommitResponse::default().with_topics(topics)).map(Some)
    }))
}

/// A topic of OffsetCommit or TxnOffsetCommit.
pub fn committed_topic(r: &mut Reader, has_epoch: bool) -> Result<model::OffsetCommitTopic> {
    let name = r.string()?;
    let partitions = r.array(|r| {
        let (partition_index, committed_offset) = (r.i32()?, r.i64()?);
        let committed_leader_epoch = if has_epoch { r.i32()? } else { -1 };
        let committed_metadata = r.nullable_string()?;
        r.tags()?;
        Ok(model::OffsetCommitPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch,
            committed_metadata,
        })
    })?;
    r.tags()?;
    Ok(model::OffsetCommitTopic { name, partitions })
}

/// Partitions that exist, and the answers for those that don't.
pub fn known(
    session: &Session,
    topics: Vec<model::OffsetCommitTopic>,
) -> (Vec<model::OffsetCommitTopic>, Vec<model::TopicErrors>) {
    let (mut there, mut missing) = (vec![], vec![]);
    for topic in topics {
        let log = session.topic_log(&topic.name).ok();
        let exists = |p: &model::OffsetCommitPartition| {
            log.as_ref().is_some_and(|log| log.partition(Partition(p.partition_index)).is_ok())
        };
        let (known, unknown): (Vec<_>, Vec<_>) = topic.partitions.into_iter().partition(exists);
        if !known.is_empty() {
            let name = topic.name.clone();
            there.push(model::OffsetCommitTopic { name, partitions: known });
        }
        if !unknown.is_empty() {
            let refused = |p: model::OffsetCommitPartition| model::PartitionError {
                partition_index: p.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition,
            };
            let partitions = unknown.into_iter().map(refused).collect();
            missing.push(model::TopicErrors { name: topic.name, partitions });
        }
    }
    (there, missing)
}

pub fn fetch(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let mut asked = match version >= 8 {
        true => body.array(|r| {
            let group_id = r.string()?;
            let (member_id, member_epoch) = match version >= 9 {
                true => (r.nullable_string()?, r.i32()?),
                false => (None, -1),
            };
            let topics = r.nullable_array(wanted_topic)?;
            r.tags()?;
            let require_stable = false;
            Ok(model::OffsetFetchRequest {
                group_id,
                member_id,
                member_epoch,
                topics,
                require_stable,
            })
        })?,
        false => {
            let group_id = body.string()?;
            let topics = body.nullable_array(wanted_topic)?;
            // In version 1 nobody could ask for all.
            let topics = if version < 2 { Some(topics.unwrap_or_default()) } else { topics };
            vec![model::OffsetFetchRequest {
                group_id,
                member_epoch: -1,
                topics,
                ..Default::default()
            }]
        }
    };
    let require_stable = version >= 7 && body.bool()?;
    asked.iter_mut().for_each(|group| group.require_stable = require_stable);
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let look = move || {
            let fetched = |asked: model::OffsetFetchRequest| {
                (asked.group_id.clone(), groups.fetch_offsets(&asked))
            };
            asked.into_iter().map(fetched).collect::<Vec<_>>()
        };
        let mut found = blocking(look).await?;
        let out = OffsetFetchResponse::default();
        if version >= 8 {
            let groups = found.into_iter().map(|(id, group)| fetched_group(id, group)).collect();
            return request.encode(&out.with_groups(groups)).map(Some);
        }
        let group = found.pop().map(|(_, group)| group).unwrap_or_default();
        let topics = group.topics.into_iter().map(|t| fetched_topic(version, t)).collect();
        let out = out.with_topics(topics);
        let code = group.error_code.code();
        let out = if version >= 2 { out.with_error_code(code) } else { out };
        request.encode(&out).map(Some)
    }))
}

fn wanted_topic(r: &mut Reader) -> Result<model::TopicPartitions> {
    let (name, partition_indexes) = (r.string()?, r.array(Reader::i32)?);
    r.tags()?;
    Ok(model::TopicPartitions { name, partition_indexes })
}

fn fetched_group(id: String, group: model::OffsetFetchResponse) -> fetch::OffsetFetchResponseGroup {
    let partition = |p: model::OffsetFetchPartition| {
        fetch::OffsetFetchResponsePartitions::default()
            .with_partition_index(p.partition_index)
            .with_committed_offset(p.committed_offset)
            .with_committed_leader_epoch(p.committed_leader_epoch)
            .with_metadata(Some(text(p.metadata)))
            .with_error_code(p.error_code.code())
    };
    let topic = |t: model::OffsetFetchTopic| {
        fetch::OffsetFetchResponseTopics::default()
            .with_name(topic_name(t.name))
            .with_partitions(t.partitions.into_iter().map(partition).collect())
    };
    fetch::OffsetFetchResponseGroup::default()
        .with_group_id(GroupId(text(id)))
        .with_error_code(group.error_code.code())
        .with_topics(group.topics.into_iter().map(topic).collect())
}

fn fetched_topic(version: i16, t: model::OffsetFetchTopic) -> fetch::OffsetFetchResponseTopic {
    let partition = |p: model::OffsetFetchPartition| {
        let out = fetch::OffsetFetchResponsePartition::default()
            .with_partition_index(p.partition_index)
            .with_committed_offset(p.committed_offset)
            .with_metadata(Some(text(p.metadata)))
            .with_error_code(p.error_code.code());
        match version >= 5 {
            true => out.with_committed_leader_epoch(p.committed_leader_epoch),
            false => out,
        }
    };
    fetch::OffsetFetchResponseTopic::default()
        .with_name(topic_name(t.name))
        .with_partitions(t.partitions.into_iter().map(partition).collect())
}

pub fn delete(app: &App, mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    let group_id = body.string()?;
    let topics = body.array(|r| {
        let (name, partition_indexes) = (r.string()?, r.array(Reader::i32)?);
        Ok(model::TopicPartitions { name, partition_indexes })
    })?;
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let deleted = blocking(move || groups.delete_offsets(&group_id, &topics)).await?;
        let partition = |p: model::PartitionError| {
            delete::OffsetDeleteResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(p.error_code.code())
        };
        let topic = |t: model::TopicErrors| {
            delete::OffsetDeleteResponseTopic::default()
                .with_name(topic_name(t.name))
                .with_partitions(t.partitions.into_iter().map(partition).collect())
        };
        let out = OffsetDeleteResponse::default();
        let out = match deleted {
            Ok(topics) => out.with_topics(topics.into_iter().map(topic).collect()),
            Err(code) => out.with_error_code(code.code()),
        };
        request.encode(&out).map(Some)
    }))
}
