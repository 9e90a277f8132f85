//! Metadata: which topics there are and where their partitions live, which is here. A topic that a
//! client asks for may be made on the way, as Kafka does (`auto.create.topics.enable`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::Result;
use engine::RawTopic;
use kafka_protocol::ResponseError::{
    self, InvalidTopicException, LeaderNotAvailable, PolicyViolation, TopicAlreadyExists,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::connection::{Answer, Request};
use super::errors::Fault;
use super::topics::{create_together, is_name};
use super::{NODE_ID, authorized, text};
use crate::App;

/// Topics made for one request.
const CREATED_MAX: usize = 1_000;

/// A topic that is asked for, by name or by id.
struct Wanted {
    id: Uuid,
    name: Option<String>,
    /// Why it could not be made.
    fault: Option<ResponseError>,
}

pub fn answer(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let topics = body.nullable_array(|r| {
        let id = if version >= 10 { r.uuid()? } else { Uuid::nil() };
        let name = if version >= 10 { r.nullable_string()? } else { Some(r.string()?) };
        r.tags()?;
        Ok(Wanted { id, name, fault: None })
    })?;
    // Before version 1 no names meant all.
    let topics = topics.filter(|t| version > 0 || !t.is_empty());
    let may_create = version < 4 || body.bool()?;
    let of_cluster = authorized::cluster((8..=10).contains(&version) && body.bool()?);
    let of_topics = authorized::topic(version >= 8 && body.bool()?);
    let app = app.clone();
    Ok(Box::pin(async move {
        let topics = match topics {
            None => app.session.topic_logs().iter().map(|log| described(log, of_topics)).collect(),
            Some(mut wanted) => {
                if may_create && app.limits.auto_create {
                    create(&app, &mut wanted).await;
                }
                let logs = match wanted.iter().any(|one| one.name.is_none()) {
                    true => app.session.topic_logs(),
                    false => vec![],
                };
                let by_id = logs.into_iter().map(|log| (log.id(), log)).collect();
                wanted.into_iter().map(|one| topic(&app, &by_id, one, of_topics)).collect()
            }
        };
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(NODE_ID))
            .with_host(StrBytes::from_string(request.client.endpoint.host.to_string()))
            .with_port(i32::from(request.client.endpoint.port));
        let answer = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(app.session.cluster_id())))
            .with_controller_id(BrokerId(NODE_ID))
            .with_topics(topics)
            .with_cluster_authorized_operations(of_cluster);
        request.encode(&answer).map(Some)
    }))
}

/// Makes the topics that are not there, in one step. A client asks again for those that are too
/// many for one request, as it does while a cluster elects leaders.
async fn create(app: &App, wanted: &mut [Wanted]) {
    let is_new = |name: &&str| is_name(name) && app.session.topic_log(name).is_err();
    let names: BTreeSet<&str> =
        wanted.iter().filter_map(|one| one.name.as_deref()).filter(is_new).collect();
    if names.is_empty() {
        return;
    }
    let partitions = app.limits.partitions;
    let raw = |name: &&str| RawTopic { name: (*name).to_string(), partitions, options: vec![] };
    let topics: Vec<RawTopic> = names.iter().take(CREATED_MAX).map(raw).collect();
    let made = create_together(app, &topics.iter().collect::<Vec<_>>()).await;
    let mut faults: BTreeMap<String, ResponseError> =
        names.iter().skip(CREATED_MAX).map(|n| ((*n).into(), LeaderNotAvailable)).collect();
    let mut n = 0;
    for (topic, made) in topics.into_iter().zip(made) {
        match made {
            Ok(()) => n += 1,
            Err(Fault { code, .. }) if code == TopicAlreadyExists.code() => {}
            Err(Fault { code, message }) => {
                let (topic, why) = (topic.name, message.unwrap_or_default());
                tracing::debug!(topic, "a Kafka client's topic could not be made: {}", &*why);
                let is_full = code == PolicyViolation.code();
                faults.insert(topic, if is_full { PolicyViolation } else { InvalidTopicException });
            }
        }
    }
    if n > 0 {
        tracing::info!(topics = n, "made for a Kafka client, with format = 'raw'");
    }
    if !faults.is_empty() {
        tracing::info!(topics = faults.len(), "not made for a Kafka client");
    }
    for one in wanted {
        one.fault = one.name.as_ref().and_then(|name| faults.get(name)).copied();
    }
}

fn topic(
    app: &App,
    by_id: &BTreeMap<Uuid, Arc<log::Topic>>,
    wanted: Wanted,
    operations: i32,
) -> MetadataResponseTopic {
    let found = match &wanted.name {
        Some(name) => app.session.topic_log(name).ok(),
        None => by_id.get(&wanted.id).cloned(),
    };
    if let Some(log) = found {
        return described(&log, operations);
    }
    let code = match &wanted.name {
        None => ResponseError::UnknownTopicId,
        Some(name) if !is_name(name) => ResponseError::InvalidTopicException,
        Some(_) => wanted.fault.unwrap_or(ResponseError::UnknownTopicOrPartition),
    };
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        .with_topic_id(wanted.id)
        .with_name(wanted.name.map(|name| TopicName(StrBytes::from_string(name))))
        .with_topic_authorized_operations(authorized::NOT_SAID)
}

fn described(log: &Arc<log::Topic>, operations: i32) -> MetadataResponseTopic {
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
        .with_topic_authorized_operations(operations)
}
