//! What operators do with topics through Kafka's admin requests, in every version that is served.

use std::net::TcpStream;

use kafka_protocol::messages::alter_configs_request as alter_all;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use serde_json::json;

use crate::kafka::{Broker, ask};
use crate::support::READINGS;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn configs(socket: &mut TcpStream, version: i16, kind: i8, name: &str) -> Vec<(String, String)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(s(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = ask(socket, version, &request);
    assert_eq!(answer.results[0].error_code, 0, "DescribeConfigs {version}");
    let shown = answer.results[0].configs.iter();
    shown.map(|c| (c.name.to_string(), c.value.clone().unwrap_or_default().to_string())).collect()
}

fn value(socket: &mut TcpStream, name: &str, config: &str) -> String {
    let all = configs(socket, 4, TOPIC, name);
    all.into_iter().find(|(name, _)| name == config).unwrap().1
}

/// Alters one configuration; the error code.
fn alter(
    socket: &mut TcpStream,
    version: i16,
    (kind, topic): (i8, &str),
    (name, operation, value): (&str, i8, Option<&str>),
) -> i16 {
    let config = incremental::AlterableConfig::default()
        .with_name(s(name))
        .with_config_operation(operation)
        .with_value(value.map(s));
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(s(topic))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    ask(socket, version, &request).responses[0].error_code
}

#[test]
fn configurations_are_described_and_altered() {
    let broker = Broker::start(READINGS, &[]);
    broker.produce("t", &["-k", "key"], "a\n");
    let mut socket = broker.connect();
    for version in 1..=4 {
        let all = configs(&mut socket, version, TOPIC, "t");
        assert_eq!(all.len(), 35, "DescribeConfigs {version}");
        assert!(all.contains(&("retention.ms".into(), "604800000".into())), "{all:?}");
        assert!(!configs(&mut socket, version, BROKER, "1").is_empty());
    }
    let t = (TOPIC, "t");
    let (set, delete, append, subtract) = (0, 1, 2, 3);
    for version in 0..=1 {
        let mut alter = |change| alter(&mut socket, version, t, change);
        assert_eq!(alter(("retention.ms", set, Some("60000"))), 0);
        assert_eq!(alter(("cleanup.policy", append, Some("compact"))), 0);
        assert_eq!(alter(("cleanup.policy", subtract, Some("delete"))), 0);
        assert_eq!(alter(("durability", set, Some("page_cache"))), 0);
        assert_eq!(alter(("min.insync.replicas", set, Some("1"))), 0);
        assert_eq!(alter(("min.insync.replicas", set, Some("0"))), 40);
        assert_eq!(alter(("compression.type", set, Some("lz4"))), 0);
        assert_eq!(alter(("retention.ms", set, Some("soon"))), 40);
        assert_eq!(alter(("no.such.config", set, Some("1"))), 40);
        assert_eq!(value(&mut socket, "t", "retention.ms"), "60000");
        assert_eq!(value(&mut socket, "t", "cleanup.policy"), "compact");
        assert_eq!(value(&mut socket, "t", "durability"), "page_cache");
        assert_eq!(value(&mut socket, "t", "compression.type"), "lz4");
        let mut alter = |change| super::kafka_admin::alter(&mut socket, version, t, change);
        assert_eq!(alter(("compression.type", delete, None)), 0);
        assert_eq!(alter(("retention.ms", delete, None)), 0);
        assert_eq!(alter(("cleanup.policy", delete, None)), 0);
        assert_eq!(value(&mut socket, "t", "retention.ms"), "604800000");
    }
    // What the project's files define is theirs; and what is no topic has none.
    let change = ("retention.ms", set, Some("60000"));
    assert_eq!(alter(&mut socket, 1, (TOPIC, "readings"), change), 44);
    assert_eq!(alter(&mut socket, 1, (TOPIC, "unknown"), change), 3);
    assert_eq!(alter(&mut socket, 1, (BROKER, "1"), change), 42);
    for version in 0..=2 {
        let config = alter_all::AlterableConfig::default()
            .with_name(s("retention.bytes"))
            .with_value(Some(s("1000000")));
        let resource = alter_all::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(s("t"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(ask(&mut socket, version, &request).responses[0].error_code, 0);
    }
    assert_eq!(value(&mut socket, "t", "durability"), "synced", "what is not named is reset");
    let project = broker.server.kill();
    let broker = Broker::on(project, &[]);
    let mut socket = broker.connect();
    assert_eq!(value(&mut socket, "t", "retention.bytes"), "1000000");
    assert_eq!(broker.consume("t", &[]), ["0 a"], "no record is touched");
}

#[test]
fn the_same_in_sql() {
    let broker = Broker::start(READINGS, &[]);
    broker.produce("t", &[], "a\n");
    let sql = |text: &str| broker.server.run(&["sql", text]);
    sql("ALTER TOPIC t SET (retention = '1 day', partitions = 2)").ok();
    let shown = sql("SHOW CREATE TOPIC t").ok().out;
    assert!(shown.contains("retention = '1 day'") && shown.contains("partitions = '2'"), "{shown}");
    assert_eq!(value(&mut broker.connect(), "t", "retention.ms"), "86400000");
    sql("ALTER TOPIC t RESET (retention)").ok();
    assert_eq!(value(&mut broker.connect(), "t", "retention.ms"), "604800000");
    let refused = sql("ALTER TOPIC readings SET (retention = '1 day')");
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("is defined in"), "{}", refused.err);
    assert_eq!(broker.server.sql("SELECT count(*) FROM t"), json!([[1]]));
}

#[test]
fn partitions_are_added_and_records_deleted() {
    let broker = Broker::start("", &[]);
    broker.produce("t", &[], "a\nb\nc\n");
    let mut socket = broker.connect();
    for version in 0..=3 {
        let count = 2 + i32::from(version);
        let topic = |name: &str, count| {
            CreatePartitionsTopic::default()
                .with_name(TopicName(s(name)))
                .with_count(count)
                .with_assignments(None)
        };
        let topics = vec![topic("t", count), topic("unknown", 2)];
        let request = CreatePartitionsRequest::default().with_topics(topics);
        let codes = |socket: &mut TcpStream| {
            let results = ask(socket, version, &request).results;
            results.iter().map(|r| r.error_code).collect::<Vec<_>>()
        };
        assert_eq!(codes(&mut socket), [0, 3], "CreatePartitions {version}");
        assert_eq!(codes(&mut socket), [37, 3], "they are there");
    }
    let listed = broker.kcat(&["-L", "-t", "t"], "").unwrap();
    assert!(listed.contains("with 5 partitions"), "{listed}");
    for version in 0..=2 {
        let at = |p, offset| {
            DeleteRecordsPartition::default().with_partition_index(p).with_offset(offset)
        };
        let before = i64::from(version) + 1;
        let topic = DeleteRecordsTopic::default()
            .with_name(TopicName(s("t")))
            .with_partitions(vec![at(0, before), at(0, 99), at(9, 0)]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
        let answer = ask(&mut socket, version, &request);
        let found: Vec<_> =
            answer.topics[0].partitions.iter().map(|p| (p.error_code, p.low_watermark)).collect();
        assert_eq!(found, [(0, before), (1, -1), (3, -1)], "DeleteRecords {version}");
    }
    let first = broker.kcat(&["-Q", "-t", "t:0:-2"], "").unwrap();
    assert!(first.contains("offset 3"), "{first}");
    for version in 1..=4 {
        let request = DescribeLogDirsRequest::default().with_topics(None);
        let dirs = ask(&mut socket, version, &request).results;
        assert_eq!(dirs[0].topics[0].partitions.len(), 5, "DescribeLogDirs {version}");
    }
    broker.produce("t", &["-p", "0"], "d\n");
    let at = ListOffsetsPartition::default().with_timestamp(-3);
    let topic = ListOffsetsTopic::default().with_name(TopicName(s("t"))).with_partitions(vec![at]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let found = &ask(&mut socket, 7, &request).topics[0].partitions[0];
    assert_eq!((found.error_code, found.offset), (0, 3));
    assert!(found.timestamp > 0);
}
