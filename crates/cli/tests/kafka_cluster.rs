//! What tools ask of a cluster, answered by its only node, in every version that is served; and what
//! clients that do the same thing at once are told.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::ResponseError::{
    ElectionNotNeeded, InvalidConfig, InvalidRecord, InvalidReplicaAssignment, InvalidTimestamp,
    LogDirNotFound, NoReassignmentInProgress, SecurityDisabled, TopicAlreadyExists,
    UnknownTopicOrPartition,
};
use kafka_protocol::messages::alter_partition_reassignments_request as moved;
use kafka_protocol::messages::alter_replica_log_dirs_request as dirs;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_quorum_request as quorum;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use serde_json::json;

use crate::kafka::{Broker, ask, kcat};

fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn name(text: &str) -> TopicName {
    TopicName(s(text))
}

fn create(
    socket: &mut TcpStream,
    topic: &str,
    configs: &[(&str, &str)],
) -> (i16, Option<StrBytes>) {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(s(name)).with_value(Some(s(value)))
    };
    let wanted = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect());
    let answer = ask(socket, 7, &CreateTopicsRequest::default().with_topics(vec![wanted]));
    (answer.topics[0].error_code, answer.topics[0].error_message.clone())
}

#[test]
fn of_those_who_make_a_topic_at_once_one_makes_it() {
    let broker = Broker::start("", &[]);
    for round in 0..4 {
        let topic = format!("t{round}");
        let mut codes = std::thread::scope(|scope| {
            let sockets: Vec<TcpStream> = (0..6).map(|_| broker.connect()).collect();
            let topic = topic.as_str();
            let one =
                |mut socket: TcpStream| scope.spawn(move || create(&mut socket, topic, &[]).0);
            let all: Vec<_> = sockets.into_iter().map(one).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        codes.sort_unstable();
        let exists = TopicAlreadyExists.code();
        assert_eq!(codes, [0, exists, exists, exists, exists, exists]);
    }
    // Made by producing.
    let address = format!("127.0.0.1:{}", broker.port);
    let start = |_| {
        let mut command = kcat();
        command.args(["-P", "-b", &address, "-t", "fresh"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"x\n".repeat(20).as_slice()).unwrap();
        child
    };
    let children: Vec<_> = (0..6).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(broker.consume("fresh", &[]).len(), 120);
}

#[test]
fn names_are_what_kafka_takes() {
    let broker = Broker::start("", &["--set", "lake.archive_interval=1 s"]);
    let long = ".".repeat(249);
    for topic in ["_schemas", "__debezium-heartbeat.x", "1", "SELECT", &long] {
        broker.produce(topic, &[], "a\n");
        assert_eq!(broker.consume(topic, &[]), ["0 a"], "{topic}");
        let rows = format!("SELECT CAST(value AS TEXT) FROM \"{topic}\"");
        assert_eq!(broker.server.sql(&rows), json!([["a"]]));
    }
    assert_eq!(create(&mut broker.connect(), &".".repeat(250), &[]).0, 17);
    broker.server.wait_until("all are archived", |server| {
        let status = server.get("/api/status").json();
        status["archive"].as_array().unwrap().iter().all(|a| a["archived_offset_sum"] == 1)
    });
}

fn described(socket: &mut TcpStream, kind: i8, resource: &str) -> Vec<(String, String)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(s(resource))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = ask(socket, 4, &request).results.remove(0);
    assert_eq!((answer.error_code, answer.error_message), (0, None));
    let one = |c: describe_configs_response::DescribeConfigsResourceResult| {
        (c.name.to_string(), c.value.unwrap_or_default().to_string())
    };
    answer.configs.into_iter().map(one).collect()
}

#[test]
fn configurations_without_a_meaning_are_kept() {
    let broker = Broker::start("", &[]);
    let kept = [
        ("compression.type", "zstd"),
        ("min.insync.replicas", "2"),
        ("flush.messages", "1"),
        ("segment.jitter.ms", "100"),
        ("follower.replication.throttled.replicas", "0:1,1:1"),
    ];
    let mut socket = broker.connect();
    assert_eq!(create(&mut socket, "t", &kept), (0, None));
    for bad in [
        ("compression.type", "zip"),
        ("min.insync.replicas", "0"),
        ("flush.ms", "soon"),
        ("preallocate", "yes"),
        ("remote.storage.enable", "true"),
        ("no.such.config", "1"),
    ] {
        let (code, message) = create(&mut socket, "bad", &[bad]);
        assert_eq!(code, InvalidConfig.code(), "{bad:?}");
        // Not a place in SQL that the client never wrote.
        let message = message.unwrap().to_string();
        assert!(!message.contains("line 1"), "{message}");
    }
    let broker = Broker::on(broker.server.kill(), &[]);
    let mut socket = broker.connect();
    let all = described(&mut socket, 2, "t");
    for (name, value) in kept {
        assert!(all.contains(&(name.into(), value.into())), "{name}: {all:?}");
    }
    for (kind, resource, config) in [
        (4, "1", "log.segment.bytes"),
        (4, "", "transaction.max.timeout.ms"),
        (8, "1", "root"),
        (32, "any group", "consumer.session.timeout.ms"),
    ] {
        let all = described(&mut socket, kind, resource);
        assert!(all.iter().any(|(name, value)| name == config && !value.is_empty()), "{all:?}");
    }
    assert!(described(&mut socket, 16, "").is_empty());
}

#[test]
fn times_of_a_topic_are_what_a_client_set() {
    let broker = Broker::start("", &[]);
    let mut socket = broker.connect();
    let unlimited = i64::MAX.to_string();
    let set = [
        ("max.compaction.lag.ms", "5000"),
        ("message.timestamp.before.max.ms", "86400000"),
        ("message.timestamp.after.max.ms", &unlimited),
    ];
    assert_eq!(create(&mut socket, "t", &set), (0, None));
    let all = described(&mut socket, 2, "t");
    for (name, value) in set {
        assert!(all.contains(&(name.into(), value.into())), "{name}: {all:?}");
    }
    let old = send(&mut socket, "t", 1, batch(&[None, None]));
    assert_eq!(old.error_code, InvalidTimestamp.code(), "of more than a day ago");
    assert_eq!(old.record_errors.len(), 2);
    let both = [("min.compaction.lag.ms", "5000"), ("max.compaction.lag.ms", "4000")];
    assert_eq!(create(&mut socket, "bad", &both).0, InvalidConfig.code());
    let defaults = [
        ("max.compaction.lag.ms", unlimited.as_str()),
        ("message.timestamp.before.max.ms", &unlimited),
        ("message.timestamp.after.max.ms", "3600000"),
    ];
    assert_eq!(create(&mut socket, "plain", &defaults), (0, None));
    let all = described(&mut socket, 2, "plain");
    for (name, value) in defaults {
        assert!(all.contains(&(name.into(), value.into())), "{name}: {all:?}");
    }
}

fn send(socket: &mut TcpStream, topic: &str, acks: i16, batch: Bytes) -> PartitionProduceResponse {
    let data = PartitionProduceData::default().with_records(Some(batch));
    let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![data]);
    ask(socket, 9, &request).responses.remove(0).partition_responses.remove(0)
}

fn batch(keys: &[Option<&[u8]>]) -> Bytes {
    let mut builder = log::BatchBuilder::new(1_767_225_600_000_000);
    for key in keys {
        builder.push(1_767_225_600_000_000, *key, Some(b"x"), &[]);
    }
    builder.build()
}

#[test]
fn what_acks_1_acknowledged_is_there() {
    let broker = Broker::start("", &[]);
    let mut socket = broker.connect();
    create(&mut socket, "t", &[]);
    let at = ListOffsetsPartition::default().with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![at]);
    let latest = ListOffsetsRequest::default().with_topics(vec![topic]);
    for n in 1..=200 {
        assert_eq!(send(&mut socket, "t", 1, batch(&[None])).error_code, 0);
        assert_eq!(ask(&mut socket, 7, &latest).topics[0].partitions[0].offset, n);
    }
}

#[test]
fn produce_tells_times_and_records_at_fault() {
    let broker = Broker::start("", &[]);
    let mut socket = broker.connect();
    create(&mut socket, "stamped", &[("message.timestamp.type", "LogAppendTime")]);
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = now_ms();
    let answer = send(&mut socket, "stamped", -1, batch(&[None]));
    assert!((before..=now_ms()).contains(&answer.log_append_time_ms), "{answer:?}");
    let told = broker.kcat(&["-C", "-e", "-q", "-t", "stamped", "-f", "%T"], "").unwrap();
    assert_eq!(told, answer.log_append_time_ms.to_string());

    create(&mut socket, "compacted", &[("cleanup.policy", "compact")]);
    let refused = send(&mut socket, "compacted", -1, batch(&[Some(b"k"), None, Some(b"k"), None]));
    assert_eq!(refused.error_code, InvalidRecord.code());
    let at: Vec<i32> = refused.record_errors.iter().map(|r| r.batch_index).collect();
    assert_eq!(at, [1, 3]);
    assert!(refused.record_errors[0].batch_index_error_message.is_some());
    let good = send(&mut socket, "compacted", -1, batch(&[Some(b"k")]));
    assert_eq!((good.error_code, good.log_append_time_ms, good.error_message), (0, -1, None));
}

#[test]
fn there_are_no_access_lists() {
    let broker = Broker::start("", &[]);
    let mut socket = broker.connect();
    let disabled = SecurityDisabled.code();
    for version in 1..=3 {
        let request = DescribeAclsRequest::default().with_resource_type_filter(1);
        assert_eq!(ask(&mut socket, version, &request).error_code, disabled);
        let wanted = AclCreation::default().with_resource_type(2).with_resource_name(s("t"));
        let request = CreateAclsRequest::default().with_creations(vec![wanted.clone(), wanted]);
        let codes = ask(&mut socket, version, &request).results;
        assert_eq!(codes.iter().map(|r| r.error_code).collect::<Vec<_>>(), [disabled; 2]);
        let filters = vec![DeleteAclsFilter::default()];
        let request = DeleteAclsRequest::default().with_filters(filters);
        assert_eq!(ask(&mut socket, version, &request).filter_results[0].error_code, disabled);
    }
}

#[test]
fn the_only_node_answers_for_the_cluster() {
    let broker = Broker::start("", &[]);
    let mut socket = broker.connect();
    create(&mut socket, "t", &[]);
    let place = |partition, replicas: Option<Vec<i32>>| {
        moved::ReassignablePartition::default()
            .with_partition_index(partition)
            .with_replicas(replicas.map(|r| r.into_iter().map(BrokerId).collect()))
    };
    let places =
        vec![place(0, Some(vec![1])), place(0, Some(vec![1, 2])), place(0, None), place(7, None)];
    let topic = moved::ReassignableTopic::default().with_name(name("t")).with_partitions(places);
    let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
    let answer = ask(&mut socket, 0, &request);
    let codes: Vec<i16> = answer.responses[0].partitions.iter().map(|p| p.error_code).collect();
    let refused = [InvalidReplicaAssignment, NoReassignmentInProgress, UnknownTopicOrPartition];
    assert_eq!((codes[0], &codes[1..]), (0, &refused.map(|e| e.code())[..]));
    assert_eq!(answer.error_message, None);
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    assert!(ask(&mut socket, 0, &request).topics.is_empty());

    for version in 0..=2 {
        let topic = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0, 7]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
        let results = ask(&mut socket, version, &request).replica_election_results;
        let codes = results[0].partition_result.iter().map(|p| p.error_code);
        let expected = [ElectionNotNeeded, UnknownTopicOrPartition].map(|e| e.code());
        assert_eq!(codes.collect::<Vec<_>>(), expected, "ElectLeaders {version}");
        let all = ElectLeadersRequest::default().with_topic_partitions(None);
        assert!(ask(&mut socket, version, &all).replica_election_results.is_empty());

        let metadata = quorum::TopicData::default()
            .with_topic_name(name("__cluster_metadata"))
            .with_partitions(vec![quorum::PartitionData::default()]);
        let request = DescribeQuorumRequest::default().with_topics(vec![metadata]);
        let answer = ask(&mut socket, version, &request);
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id.0), (0, 1), "{version}");
        assert_eq!(partition.current_voters.len(), 1);
    }
    for version in 1..=2 {
        let topic =
            dirs::AlterReplicaLogDirTopic::default().with_name(name("t")).with_partitions(vec![0]);
        let dir = |path: &str| {
            dirs::AlterReplicaLogDir::default().with_path(s(path)).with_topics(vec![topic.clone()])
        };
        let request =
            AlterReplicaLogDirsRequest::default().with_dirs(vec![dir("log"), dir("elsewhere")]);
        let results = ask(&mut socket, version, &request).results;
        let codes = results.iter().map(|r| r.partitions[0].error_code).collect::<Vec<_>>();
        assert_eq!(codes, [0, LogDirNotFound.code()]);
    }
}

/// KIP-430.
#[test]
fn operations_are_told_to_those_who_ask() {
    let broker = Broker::start("", &[]);
    let mut socket = broker.connect();
    create(&mut socket, "t", &[]);
    let not_said = i32::MIN;
    for (asked, topic, cluster, group) in
        [(false, not_said, not_said, not_said), (true, 0xdf8, 0x1fa0, 0xd48)]
    {
        for version in 8..=12 {
            let request = MetadataRequest::default()
                .with_topics(None)
                .with_include_topic_authorized_operations(asked);
            let request = match version {
                8..=10 => request.with_include_cluster_authorized_operations(asked),
                _ => request,
            };
            let answer = ask(&mut socket, version, &request);
            assert_eq!(answer.topics[0].topic_authorized_operations, topic, "{version}");
            if version <= 10 {
                assert_eq!(answer.cluster_authorized_operations, cluster, "{version}");
            }
        }
        for version in 0..=1 {
            let request =
                DescribeClusterRequest::default().with_include_cluster_authorized_operations(asked);
            let answer = ask(&mut socket, version, &request);
            assert_eq!(answer.cluster_authorized_operations, cluster);
        }
        for version in 3..=6 {
            let request = DescribeGroupsRequest::default()
                .with_groups(vec![GroupId(s("g"))])
                .with_include_authorized_operations(asked);
            let answer = ask(&mut socket, version, &request);
            assert_eq!(answer.groups[0].authorized_operations, group);
        }
    }
}
