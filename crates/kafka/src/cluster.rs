//! Where things are, which is here: FindCoordinator, DescribeCluster, OffsetForLeaderEpoch.

use common::{Partition, Result};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::offset_for_leader_epoch_response as epochs;
use kafka_protocol::messages::{
    BrokerId, DescribeClusterResponse, FindCoordinatorResponse, OffsetForLeaderEpochResponse,
};

use super::connection::{Answer, Request};
use super::reader::Reader;
use super::security::Endpoint;
use super::{NODE_ID, authorized, text, topic_name};
use crate::App;

/// Coordinators that there are: of groups and of transactions.
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

pub fn find_coordinator(mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let mut keys = if version < 4 { vec![body.string()?] } else { vec![] };
    let key_type = if version >= 1 { body.i8()? } else { 0 };
    if version >= 4 {
        keys = body.array(Reader::string)?;
    }
    let code = match KEY_TYPES.contains(&key_type) {
        true => 0,
        false => ResponseError::InvalidRequest.code(),
    };
    let Endpoint { host, port } = request.client.endpoint.clone();
    let (host, port) = (host.to_string(), i32::from(port));
    let out = FindCoordinatorResponse::default();
    let out = match version >= 4 {
        true => {
            let coordinator = |key: String| {
                Coordinator::default()
                    .with_key(text(key))
                    .with_error_code(code)
                    .with_node_id(BrokerId(NODE_ID))
                    .with_host(text(host.clone()))
                    .with_port(port)
            };
            out.with_coordinators(keys.into_iter().map(coordinator).collect())
        }
        false => out
            .with_error_code(code)
            .with_node_id(BrokerId(NODE_ID))
            .with_host(text(host))
            .with_port(port),
    };
    let frame = request.encode(&out);
    Ok(Box::pin(async move { frame.map(Some) }))
}

pub fn describe(app: &App, mut request: Request) -> Result<Answer> {
    let operations = request.body.bool()?;
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(text(request.client.endpoint.host.to_string()))
        .with_port(i32::from(request.client.endpoint.port));
    let out = DescribeClusterResponse::default()
        .with_cluster_id(text(app.session.cluster_id()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(authorized::cluster(operations));
    let frame = request.encode(&out);
    Ok(Box::pin(async move { frame.map(Some) }))
}

/// There is one epoch, 0, and it ends where the log ends.
pub fn offset_for_leader_epoch(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    if version >= 3 {
        body.i32()?;
    }
    let topics = body.topics(|r| {
        let (partition, _current, epoch) = (r.i32()?, r.i32()?, r.i32()?);
        Ok((Partition(partition), epoch))
    })?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        let topic = |(name, partitions): (String, Vec<(Partition, i32)>)| {
            let log = session.topic_log(&name).ok();
            let one = |(partition, epoch): (Partition, i32)| {
                let out = epochs::EpochEndOffset::default().with_partition(partition.0);
                match log.as_ref().and_then(|log| log.partition(partition).ok()) {
                    None => out.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
                    Some(log) if epoch == 0 => {
                        out.with_leader_epoch(0).with_end_offset(log.high_watermark().0)
                    }
                    Some(_) => out.with_leader_epoch(-1).with_end_offset(-1),
                }
            };
            epochs::OffsetForLeaderTopicResult::default()
                .with_partitions(partitions.into_iter().map(one).collect())
                .with_topic(topic_name(name))
        };
        let topics = topics.into_iter().map(topic).collect();
        request.encode(&OffsetForLeaderEpochResponse::default().with_topics(topics)).map(Some)
    }))
}
