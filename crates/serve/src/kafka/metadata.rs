//! Metadata: which topics there are and where their partitions live, which is here. A topic that a
//! client asks for may be made on the way, as Kafka does (`auto.create.topics.enable`).

use std::sync::Arc;

use common::Result;
use engine::RawTopic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::connection::{Answer, Request};
use super::topics::is_name;
use super::{NODE_ID, NOT_SAID, text};
use crate::app::App;

/// A topic that is asked for, by name or by id.
struct Wanted {
    id: Uuid,
    name: Option<String>,
}

pub fn answer(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let topics = body.nullable_array(|r| {
        let id = if version >= 10 { r.uuid()? } else { Uuid::nil() };
        let name = if version >= 10 { r.nullable_string()? } else { Some(r.string()?) };
        r.tags()?;
        Ok(Wanted { id, name })
    })?;
    // Before version 1 no names meant all.
    let topics = topics.filter(|t| version > 0 || !t.is_empty());
    let may_create = version < 4 || body.bool()?;
    let app = app.clone();
    Ok(Box::pin(async move {
        let topics = match topics {
            None => app.platform.topic_logs().iter().map(described).collect(),
            Some(wanted) => {
                let mut topics = vec![];
                for one in wanted {
                    topics.push(topic(&app, one, may_create).await);
                }
                topics
            }
        };
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(NODE_ID))
            .with_host(StrBytes::from_string(request.client.endpoint.host.to_string()))
            .with_port(i32::from(request.client.endpoint.port));
        let answer = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(app.platform.cluster_id())))
            .with_controller_id(BrokerId(NODE_ID))
            .with_topics(topics)
            .with_cluster_authorized_operations(NOT_SAID);
        request.encode(&answer).map(Some)
    }))
}

async fn topic(app: &App, wanted: Wanted, may_create: bool) -> MetadataResponseTopic {
    let Some(name) = wanted.name else {
        let found = app.platform.topic_logs().into_iter().find(|t| t.id() == wanted.id);
        return match found {
            Some(log) => described(&log),
            None => MetadataResponseTopic::default()
                .with_error_code(ResponseError::UnknownTopicId.code())
                .with_topic_id(wanted.id)
                .with_topic_authorized_operations(NOT_SAID),
        };
    };
    if let Ok(log) = app.platform.topic_log(&name) {
        return described(&log);
    }
    let code = match may_create && app.limits.kafka_auto_create {
        false => ResponseError::UnknownTopicOrPartition,
        true if !is_name(&name) => ResponseError::InvalidTopicException,
        true => match create(app, &name).await {
            Ok(log) => return described(&log),
            Err(e) => {
                tracing::warn!(topic = name, "a Kafka client's topic could not be made: {e}");
                ResponseError::InvalidTopicException
            }
        },
    };
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(TopicName(StrBytes::from_string(name))))
        .with_topic_authorized_operations(NOT_SAID)
}

async fn create(app: &App, name: &str) -> Result<Arc<log::Topic>> {
    let partitions = app.limits.kafka_partitions;
    let topic = RawTopic { name: name.to_string(), partitions, options: vec![] };
    app.platform.create_raw_topic(&topic).await?;
    tracing::info!(topic = name, "made for a Kafka client, with format = 'raw'");
    app.platform.topic_log(name)
}

fn described(log: &Arc<log::Topic>) -> MetadataResponseTopic {
    let node = || vec![BrokerId(NODE_ID)];
    let partition = |p: Arc<log::PartitionLog>| {
        MetadataResponsePartition::default()
            .with_partition_index(p.id().0)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(0)
            .with_replica_nodes(node())
            .with_isr_nodes(node())
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(log.name().to_string()))))
        .with_topic_id(log.id())
        .with_partitions(log.partitions().into_iter().map(partition).collect())
        .with_topic_authorized_operations(NOT_SAID)
}
