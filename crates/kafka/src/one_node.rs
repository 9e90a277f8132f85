//! What operators ask of a cluster, answered by its only node: reassignments, elections, the quorum
//! of controllers, moves between log directories.

use common::{Partition, Result};
use kafka_protocol::ResponseError::{
    self, ElectionNotNeeded, InvalidReplicaAssignment, LogDirNotFound, NoReassignmentInProgress,
    UnknownTopicOrPartition,
};
use kafka_protocol::messages::alter_partition_reassignments_response as moved;
use kafka_protocol::messages::alter_replica_log_dirs_response as dirs;
use kafka_protocol::messages::describe_quorum_response as quorum;
use kafka_protocol::messages::elect_leaders_response as elected;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsResponse, AlterReplicaLogDirsResponse, BrokerId,
    DescribeQuorumResponse, ElectLeadersResponse, ListPartitionReassignmentsResponse,
};

use super::connection::{Answer, Request};
use super::errors::Fault;
use super::partitions::LOG_DIR;
use super::reader::Reader;
use super::{NODE_ID, topic_name};
use crate::App;

/// The log of the cluster's metadata: the one topic that DescribeQuorum knows.
const METADATA: &str = "__cluster_metadata";

fn exists(app: &App, topic: &str, partition: i32) -> std::result::Result<(), Fault> {
    match app.session.topic_log(topic).and_then(|t| t.partition(Partition(partition))) {
        Ok(_) => Ok(()),
        Err(e) => Err(Fault::of(UnknownTopicOrPartition, &e)),
    }
}

pub fn alter_reassignments(app: &App, mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    body.i32()?;
    let topics = body.topics(|r| Ok((r.i32()?, r.nullable_array(Reader::i32)?)))?;
    let one = |name: &str, (partition, replicas): (i32, Option<Vec<i32>>)| {
        let outcome = exists(app, name, partition).and_then(|()| match replicas.as_deref() {
            Some([NODE_ID]) => Ok(()),
            Some(_) => {
                let why = format!("there is one node, {NODE_ID}");
                Err(Fault::new(InvalidReplicaAssignment, why))
            }
            None => Err(Fault::new(NoReassignmentInProgress, "nothing is being moved")),
        });
        let out = moved::ReassignablePartitionResponse::default()
            .with_partition_index(partition)
            .with_error_message(None);
        match outcome {
            Ok(()) => out,
            Err(f) => out.with_error_code(f.code).with_error_message(f.message),
        }
    };
    let topic = |(name, partitions): (String, Vec<_>)| {
        let partitions = partitions.into_iter().map(|p| one(&name, p)).collect();
        moved::ReassignableTopicResponse::default()
            .with_name(topic_name(name))
            .with_partitions(partitions)
    };
    let out = AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_responses(topics.into_iter().map(topic).collect());
    let frame = request.encode(&out);
    Ok(Box::pin(async move { frame.map(Some) }))
}

pub fn list_reassignments(request: Request) -> Result<Answer> {
    let out = ListPartitionReassignmentsResponse::default().with_error_message(None);
    let frame = request.encode(&out);
    Ok(Box::pin(async move { frame.map(Some) }))
}

/// No partition needs an election: each has its only leader. Of those named the client is told so.
pub fn elect_leaders(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    if version >= 1 {
        body.i8()?;
    }
    let topics = body.nullable_array(|r| {
        let topic = (r.string()?, r.array(Reader::i32)?);
        r.tags()?;
        Ok(topic)
    })?;
    let one = |name: &str, partition: i32| {
        let not_needed = || Fault::new(ElectionNotNeeded, "the partition has its leader");
        let fault = exists(app, name, partition).err().unwrap_or_else(not_needed);
        elected::PartitionResult::default()
            .with_partition_id(partition)
            .with_error_code(fault.code)
            .with_error_message(fault.message)
    };
    let topic = |(name, partitions): (String, Vec<i32>)| {
        let results = partitions.into_iter().map(|p| one(&name, p)).collect();
        elected::ReplicaElectionResult::default()
            .with_topic(topic_name(name))
            .with_partition_result(results)
    };
    let results = topics.unwrap_or_default().into_iter().map(topic).collect();
    let frame =
        request.encode(&ElectLeadersResponse::default().with_replica_election_results(results));
    Ok(Box::pin(async move { frame.map(Some) }))
}

/// The quorum of the cluster's metadata: this node, which has all of it.
pub fn describe_quorum(mut request: Request) -> Result<Answer> {
    let topics = request.body.topics(Reader::i32)?;
    let version = request.version;
    let one = |name: &str, partition: i32| {
        let out = quorum::PartitionData::default().with_partition_index(partition);
        let out = if version >= 2 { out.with_error_message(None) } else { out };
        if (name, partition) != (METADATA, 0) {
            return out.with_error_code(ResponseError::UnknownTopicOrPartition.code());
        }
        let voter = quorum::ReplicaState::default()
            .with_replica_id(BrokerId(NODE_ID))
            .with_log_end_offset(1);
        out.with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(1)
            .with_high_watermark(1)
            .with_current_voters(vec![voter])
    };
    let topic = |(name, partitions): (String, Vec<i32>)| {
        let partitions = partitions.into_iter().map(|p| one(&name, p)).collect();
        quorum::TopicData::default().with_topic_name(topic_name(name)).with_partitions(partitions)
    };
    let out =
        DescribeQuorumResponse::default().with_topics(topics.into_iter().map(topic).collect());
    let out = if version >= 2 { out.with_error_message(None) } else { out };
    let frame = request.encode(&out);
    Ok(Box::pin(async move { frame.map(Some) }))
}

pub fn alter_log_dirs(app: &App, mut request: Request) -> Result<Answer> {
    let wanted = request.body.array(|r| {
        let path = r.string()?;
        let topics = r.array(|r| {
            let topic = (r.string()?, r.array(Reader::i32)?);
            r.tags()?;
            Ok(topic)
        })?;
        r.tags()?;
        Ok((path, topics))
    })?;
    let mut results = vec![];
    for (path, topics) in wanted {
        for (name, partitions) in topics {
            let one = |partition: i32| {
                let code = match exists(app, &name, partition) {
                    Err(fault) => fault.code,
                    Ok(()) if path == LOG_DIR => 0,
                    Ok(()) => LogDirNotFound.code(),
                };
                dirs::AlterReplicaLogDirPartitionResult::default()
                    .with_partition_index(partition)
                    .with_error_code(code)
            };
            let partitions = partitions.into_iter().map(one).collect();
            let topic = dirs::AlterReplicaLogDirTopicResult::default()
                .with_topic_name(topic_name(&*name))
                .with_partitions(partitions);
            results.push(topic);
        }
    }
    let frame = request.encode(&AlterReplicaLogDirsResponse::default().with_results(results));
    Ok(Box::pin(async move { frame.map(Some) }))
}
