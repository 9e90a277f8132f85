//! What a broker says of itself (DescribeConfigs of a broker or a group): the configurations of
//! Kafka 4 that mean something here, with what holds here. They stand in `watershed.toml`, as far
//! as they can be changed at all.

use super::NODE_ID;
use super::configs::{BOOLEAN, DOUBLE, INT, LIST, LONG, STRING};
use crate::App;

type Values = Vec<(&'static str, i8, String)>;

pub fn of_broker(app: &App) -> Values {
    let mut values = of_log();
    values.extend(of_coordinators());
    let limits = &app.limits;
    values.extend([
        ("auto.create.topics.enable", BOOLEAN, limits.auto_create.to_string()),
        ("broker.id", INT, NODE_ID.to_string()),
        ("broker.rack", STRING, String::new()),
        ("default.replication.factor", INT, "1".into()),
        ("delete.topic.enable", BOOLEAN, "true".into()),
        ("max.connections", INT, limits.connections.to_string()),
        ("min.insync.replicas", INT, "1".into()),
        ("node.id", INT, NODE_ID.to_string()),
        ("num.partitions", INT, limits.partitions.to_string()),
        ("process.roles", LIST, "broker,controller".into()),
        ("socket.request.max.bytes", INT, limits.request_bytes_max.to_string()),
        ("unclean.leader.election.enable", BOOLEAN, "false".into()),
    ]);
    values.sort_by_key(|(name, ..)| *name);
    values
}

fn of_log() -> Values {
    let log = log::LogConfig::default();
    let topic = log::TopicConfig::default();
    let ms = |us: i64| (us / 1_000).to_string();
    vec![
        ("compression.type", STRING, "producer".into()),
        ("log.cleaner.delete.retention.ms", LONG, ms(topic.delete_retention_us)),
        ("log.cleaner.enable", BOOLEAN, "true".into()),
        ("log.cleaner.min.cleanable.ratio", DOUBLE, topic.min_cleanable_dirty_ratio.to_string()),
        ("log.cleaner.min.compaction.lag.ms", LONG, ms(topic.min_compaction_lag_us)),
        ("log.cleanup.policy", LIST, "delete".into()),
        ("log.dirs", LIST, super::partitions::LOG_DIR.into()),
        ("log.message.timestamp.type", STRING, "CreateTime".into()),
        // A topic keeps its records unless it says otherwise.
        ("log.retention.bytes", LONG, "-1".into()),
        ("log.retention.ms", LONG, "-1".into()),
        ("log.segment.bytes", INT, log.segment_bytes_max.to_string()),
        ("message.max.bytes", INT, log.message_bytes_max.to_string()),
        ("producer.id.expiration.ms", INT, ms(log.producer_expiration_us)),
    ]
}

/// What holds for groups and transactions.
fn of_coordinators() -> Values {
    let groups = log::groups::GroupConfig::default();
    let transactions = log::transactions::TransactionConfig::default();
    let retention_minutes = groups.offsets_retention_ms / 60_000;
    let expiration_ms = transactions.transactional_id_expiration_ms;
    vec![
        ("group.consumer.heartbeat.interval.ms", INT, heartbeat_ms(&groups)),
        ("group.consumer.max.size", INT, groups.max_size.to_string()),
        ("group.consumer.session.timeout.ms", INT, session_ms(&groups)),
        ("group.coordinator.rebalance.protocols", LIST, "classic,consumer".into()),
        ("group.initial.rebalance.delay.ms", INT, groups.initial_rebalance_delay_ms.to_string()),
        ("group.max.session.timeout.ms", INT, groups.max_session_timeout_ms.to_string()),
        ("group.max.size", INT, groups.max_size.to_string()),
        ("group.min.session.timeout.ms", INT, groups.min_session_timeout_ms.to_string()),
        ("offset.metadata.max.bytes", INT, groups.offset_metadata_max_bytes.to_string()),
        ("offsets.retention.minutes", INT, retention_minutes.to_string()),
        ("offsets.topic.replication.factor", INT, "1".into()),
        ("transaction.max.timeout.ms", INT, transactions.max_timeout_ms.to_string()),
        ("transaction.state.log.min.isr", INT, "1".into()),
        ("transaction.state.log.replication.factor", INT, "1".into()),
        ("transactional.id.expiration.ms", INT, expiration_ms.to_string()),
    ]
}

/// What holds for each consumer group (KIP-848).
pub fn of_group() -> Values {
    let groups = log::groups::GroupConfig::default();
    vec![
        ("consumer.heartbeat.interval.ms", INT, heartbeat_ms(&groups)),
        ("consumer.session.timeout.ms", INT, session_ms(&groups)),
    ]
}

fn heartbeat_ms(groups: &log::groups::GroupConfig) -> String {
    groups.consumer_heartbeat_interval_ms.to_string()
}

fn session_ms(groups: &log::groups::GroupConfig) -> String {
    groups.consumer_session_timeout_ms.to_string()
}
