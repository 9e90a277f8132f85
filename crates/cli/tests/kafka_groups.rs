//! Consumer groups and transactions behind the Kafka door: a member's life and a transaction's
//! life in every version that is served, what the platform's own readers see of transactions, and
//! what is still known after a SIGKILL.

use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use serde_json::json;

use crate::kafka::{Broker, ask};
use crate::support::{MINUTES, READINGS};

const TRANSACTIONAL: i16 = 0x10;

fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn topic(name: &str) -> TopicName {
    TopicName(s(name))
}

/// One member joins, becomes the leader, is assigned, keeps an offset, and leaves.
fn live(socket: &mut TcpStream, group: &str, join: i16, sync: i16, other: i16) {
    let group = GroupId(s(group));
    let protocol =
        JoinGroupRequestProtocol::default().with_name(s("range")).with_metadata("m".into());
    let mut request = JoinGroupRequest::default()
        .with_group_id(group.clone())
        .with_session_timeout_ms(10_000)
        .with_protocol_type(s("consumer"))
        .with_protocols(vec![protocol]);
    if join >= 1 {
        request = request.with_rebalance_timeout_ms(10_000);
    }
    let mut joined = ask(socket, join, &request);
    if join >= 4 {
        assert_eq!(joined.error_code, 79, "a member id is given first: JoinGroup {join}");
        request = request.with_member_id(joined.member_id);
        joined = ask(socket, join, &request);
    }
    assert_eq!((joined.error_code, joined.generation_id), (0, 1), "JoinGroup {join}");
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
    assert_eq!(joined.members[0].metadata, "m");
    let member = joined.member_id;
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(member.clone())
        .with_assignment("mine".into());
    let request = SyncGroupRequest::default()
        .with_group_id(group.clone())
        .with_generation_id(1)
        .with_member_id(member.clone())
        .with_assignments(vec![assignment]);
    let synced = ask(socket, sync, &request);
    assert_eq!((synced.error_code, synced.assignment), (0, "mine".into()), "SyncGroup {sync}");
    let beat = HeartbeatRequest::default()
        .with_group_id(group.clone())
        .with_generation_id(1)
        .with_member_id(member.clone());
    let version = other.min(4);
    assert_eq!(ask(socket, version, &beat).error_code, 0, "Heartbeat {version}");
    let old = beat.with_generation_id(0);
    assert_eq!(ask(socket, version, &old).error_code, 22, "Heartbeat {version}");
    commit_and_fetch(socket, &group, &member, 1, (other + 2).min(9));
    let version = other.min(5);
    let leave = LeaveGroupRequest::default().with_group_id(group);
    let leave = match version >= 3 {
        true => leave.with_members(vec![MemberIdentity::default().with_member_id(member)]),
        false => leave.with_member_id(member),
    };
    assert_eq!(ask(socket, version, &leave).error_code, 0, "LeaveGroup {version}");
    let again = ask(socket, version, &leave);
    let code = if version >= 3 { again.members[0].error_code } else { again.error_code };
    assert_eq!(code, 25, "LeaveGroup {version}");
}

fn commit_and_fetch(
    socket: &mut TcpStream,
    group: &GroupId,
    member: &StrBytes,
    epoch: i32,
    version: i16,
) {
    let at = |p, offset| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(p)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(s("note")))
    };
    let request = OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(epoch)
        .with_member_id(member.clone())
        .with_topics(vec![
            OffsetCommitRequestTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![at(0, 7), at(9, 7)]),
        ]);
    let answer = ask(socket, version, &request);
    let mut codes: Vec<_> = answer.topics.iter().flat_map(|t| &t.partitions).collect();
    codes.sort_by_key(|p| p.partition_index);
    let codes: Vec<_> = codes.iter().map(|p| (p.partition_index, p.error_code)).collect();
    assert_eq!(codes, [(0, 0), (9, 3)], "OffsetCommit {version}");
    let request = match version >= 8 {
        true => OffsetFetchRequest::default().with_groups(vec![
            OffsetFetchRequestGroup::default().with_group_id(group.clone()).with_topics(Some(
                vec![
                    OffsetFetchRequestTopics::default()
                        .with_name(topic("t"))
                        .with_partition_indexes(vec![0, 1]),
                ],
            )),
        ]),
        false => {
            OffsetFetchRequest::default().with_group_id(group.clone()).with_topics(Some(vec![
                OffsetFetchRequestTopic::default()
                    .with_name(topic("t"))
                    .with_partition_indexes(vec![0, 1]),
            ]))
        }
    };
    let answer = ask(socket, version, &request);
    let found: Vec<_> = match version >= 8 {
        true => answer.groups[0].topics[0]
            .partitions
            .iter()
            .map(|p| (p.committed_offset, p.metadata.clone().unwrap(), p.error_code))
            .collect(),
        false => answer.topics[0]
            .partitions
            .iter()
            .map(|p| (p.committed_offset, p.metadata.clone().unwrap(), p.error_code))
            .collect(),
    };
    assert_eq!(found, [(7, s("note"), 0), (-1, s(""), 0)], "OffsetFetch {version}");
}

#[test]
fn a_member_lives_in_every_version() {
    let broker = Broker::start("", &[]);
    broker.produce("t", &[], "a\n");
    let mut socket = broker.connect();
    for version in 0..=9 {
        live(&mut socket, &format!("group-{version}"), version, version.min(5), version);
    }
    for version in 0..=5 {
        let listed = ask(&mut socket, version, &ListGroupsRequest::default());
        assert_eq!((listed.error_code, listed.groups.len()), (0, 10), "ListGroups {version}");
    }
    for version in 0..=6 {
        let ids = vec![GroupId(s("group-1")), GroupId(s("none"))];
        let request = DescribeGroupsRequest::default().with_groups(ids);
        let answer = ask(&mut socket, version, &request);
        let states: Vec<_> =
            answer.groups.iter().map(|g| (g.error_code, g.group_state.as_str())).collect();
        let missing = if version >= 6 { 69 } else { 0 };
        assert_eq!(states, [(0, "Empty"), (missing, "Dead")], "DescribeGroups {version}");
    }
    for version in 0..=2 {
        let id = GroupId(s(&format!("group-{version}")));
        let request = DeleteGroupsRequest::default().with_groups_names(vec![id]);
        let codes = |socket: &mut TcpStream| ask(socket, version, &request).results[0].error_code;
        assert_eq!((codes(&mut socket), codes(&mut socket)), (0, 69), "DeleteGroups {version}");
    }
    for version in 0..=4 {
        let keys = vec![s("a"), s("b")];
        let request = FindCoordinatorRequest::default();
        let request = match version >= 4 {
            true => request.with_coordinator_keys(keys).with_key_type(1),
            false => request.with_key(s("a")),
        };
        let answer = ask(&mut socket, version, &request);
        let port = i32::from(broker.port);
        match version >= 4 {
            true => assert!(answer.coordinators.iter().all(|c| c.port == port)),
            false => assert_eq!((answer.error_code, answer.port), (0, port)),
        }
    }
}

/// A batch of one record as a producer with an identity sends it.
fn batch(value: &str, (id, epoch): (ProducerId, i16), sequence: i32, attributes: i16) -> Bytes {
    let mut builder = log::BatchBuilder::new(1_767_225_600_000_000);
    builder.push(1_767_225_600_000_000, None, Some(value.as_bytes()), &[]);
    let mut bytes = BytesMut::from(&builder.build()[..]);
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    bytes[43..51].copy_from_slice(&id.0.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

pub struct Transaction<'a> {
    socket: &'a mut TcpStream,
    id: TransactionalId,
    producer: (ProducerId, i16),
}

impl Transaction<'_> {
    pub fn begin<'a>(socket: &'a mut TcpStream, id: &str, version: i16) -> Transaction<'a> {
        let id = TransactionalId(s(id));
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id.clone()))
            .with_transaction_timeout_ms(60_000);
        let answer = ask(socket, version, &request);
        assert_eq!(answer.error_code, 0, "InitProducerId {version}");
        let producer = (answer.producer_id, answer.producer_epoch);
        Transaction { socket, id, producer }
    }

    pub fn add(&mut self, name: &str, partition: i32, version: i16) -> i16 {
        let topics = vec![
            AddPartitionsToTxnTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![partition]),
        ];
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(self.producer.0)
            .with_v3_and_below_producer_epoch(self.producer.1)
            .with_v3_and_below_topics(topics);
        let answer = ask(self.socket, version, &request);
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    pub fn send(&mut self, name: &str, value: &str, sequence: i32) -> i16 {
        let batch = batch(value, self.producer, sequence, TRANSACTIONAL);
        let data = PartitionProduceData::default().with_records(Some(batch));
        let data =
            TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(Some(self.id.clone()))
            .with_acks(-1)
            .with_timeout_ms(1_000)
            .with_topic_data(vec![data]);
        ask(self.socket, 11, &request).responses[0].partition_responses[0].error_code
    }

    pub fn end(&mut self, commit: bool, version: i16) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(self.producer.0)
            .with_producer_epoch(self.producer.1)
            .with_committed(commit);
        ask(self.socket, version, &request).error_code
    }
}

#[test]
fn a_transaction_lives_in_every_version() {
    let broker = Broker::start("", &[]);
    broker.produce("t", &[], "plain\n");
    let mut socket = broker.connect();
    let mut committed = vec!["plain".to_string()];
    for version in 0..=5 {
        let id = format!("txn-{version}");
        let mut txn = Transaction::begin(&mut socket, &id, version);
        assert_eq!(txn.send("t", "too early", 0), 48, "not part of the transaction yet");
        assert_eq!(txn.add("t", 0, version.min(3)), 0, "AddPartitionsToTxn");
        assert_eq!(txn.add("t", 9, version.min(3)), 3, "AddPartitionsToTxn");
        let value = format!("of {version}");
        assert_eq!(txn.send("t", &value, 0), 0);
        let offsets_version = version.min(4);
        let group = GroupId(s("copied"));
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(txn.id.clone())
            .with_producer_id(txn.producer.0)
            .with_producer_epoch(txn.producer.1)
            .with_group_id(group.clone());
        assert_eq!(ask(txn.socket, version.min(3), &request).error_code, 0, "AddOffsetsToTxn");
        let at = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(i64::from(version) + 100);
        let of =
            TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![at]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(txn.id.clone())
            .with_group_id(group.clone())
            .with_producer_id(txn.producer.0)
            .with_producer_epoch(txn.producer.1)
            .with_topics(vec![of]);
        let answer = ask(txn.socket, offsets_version, &request);
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "TxnOffsetCommit");
        let commit = version % 2 == 0;
        assert_eq!(txn.end(commit, version.min(4)), 0, "EndTxn");
        assert_eq!(txn.end(commit, version.min(4)), 0, "EndTxn asked again");
        if commit {
            committed.push(value);
        }
        let request = OffsetFetchRequest::default().with_group_id(group).with_topics(Some(vec![
            OffsetFetchRequestTopic::default()
                .with_name(topic("t"))
                .with_partition_indexes(vec![0]),
        ]));
        let kept = ask(&mut socket, 5, &request).topics[0].partitions[0].committed_offset;
        assert_eq!(kept, i64::from(version - version % 2) + 100, "of the last that committed");
    }
    let all = broker.consume("t", &["-X", "isolation.level=read_uncommitted"]);
    assert_eq!(all.len(), 7);
    let seen = broker.consume("t", &["-X", "isolation.level=read_committed"]);
    let seen: Vec<_> = seen.iter().map(|l| l.split_once(' ').unwrap().1.to_string()).collect();
    assert_eq!(seen, committed);
    let rows = "SELECT CAST(value AS VARCHAR) FROM t ORDER BY _offset";
    let rows = broker.server.sql(rows).to_string();
    assert_eq!(rows, r#"[["plain"],["of 0"],["of 2"],["of 4"]]"#, "the platform sees the same");
    check_admin(&mut socket);
}

fn check_admin(socket: &mut TcpStream) {
    for version in 0..=1 {
        let listed = ask(socket, version, &ListTransactionsRequest::default());
        assert_eq!(listed.transaction_states.len(), 6, "ListTransactions {version}");
    }
    let ids = vec![TransactionalId(s("txn-0")), TransactionalId(s("none"))];
    let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
    let states = ask(socket, 0, &request).transaction_states;
    assert_eq!(states[0].transaction_state.as_str(), "CompleteCommit");
    assert_eq!(states[1].error_code, 105);
    let of = describe_producers_request::TopicRequest::default()
        .with_name(topic("t"))
        .with_partition_indexes(vec![0, 9]);
    let request = DescribeProducersRequest::default().with_topics(vec![of]);
    let answer = ask(socket, 0, &request);
    let partitions = &answer.topics[0].partitions;
    assert_eq!((partitions[0].active_producers.len(), partitions[1].error_code), (6, 3));
    let open = Transaction::begin(socket, "hanging", 5).producer;
    let mut hanging =
        Transaction { socket: &mut *socket, id: TransactionalId(s("hanging")), producer: open };
    assert_eq!((hanging.add("t", 0, 3), hanging.send("t", "x", 0)), (0, 0));
    let of = write_txn_markers_request::WritableTxnMarkerTopic::default()
        .with_name(topic("t"))
        .with_partition_indexes(vec![0, 9]);
    let marker = write_txn_markers_request::WritableTxnMarker::default()
        .with_producer_id(open.0)
        .with_producer_epoch(open.1)
        .with_topics(vec![of]);
    let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let answer = ask(socket, 1, &request);
    let codes = answer.markers[0].topics[0].partitions.iter().map(|p| p.error_code);
    assert_eq!(codes.collect::<Vec<_>>(), [0, 3]);
    for version in 0..=1 {
        let cluster = ask(socket, version, &DescribeClusterRequest::default());
        assert_eq!((cluster.error_code, cluster.brokers.len()), (0, 1));
    }
    for version in 2..=4 {
        let at = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
        let of = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(topic("t"))
            .with_partitions(vec![at]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![of]);
        let answer = ask(socket, version, &request);
        let at = &answer.topics[0].partitions[0];
        assert_eq!((at.error_code, at.leader_epoch, at.end_offset), (0, 0, 15));
    }
}

#[test]
fn an_open_transaction_is_seen_by_nobody_and_outlives_a_crash() {
    let sql = format!("{READINGS}{MINUTES}");
    let broker = Broker::start(&sql, &[]);
    let mut socket = broker.connect();
    let mut txn = Transaction::begin(&mut socket, "crashing", 5);
    assert_eq!(txn.add("readings", 0, 3), 0);
    let event = r#"{"sensor": "a", "celsius": 20.5, "at": "2026-01-01T00:00:00Z"}"#;
    assert_eq!(txn.send("readings", event, 0), 0);
    let producer = txn.producer;
    let stable = |socket: &mut TcpStream, level| {
        let at = ListOffsetsPartition::default().with_timestamp(-1);
        let of = ListOffsetsTopic::default().with_name(topic("readings")).with_partitions(vec![at]);
        let request =
            ListOffsetsRequest::default().with_isolation_level(level).with_topics(vec![of]);
        ask(socket, 7, &request).topics[0].partitions[0].offset
    };
    assert_eq!((stable(&mut socket, 0), stable(&mut socket, 1)), (1, 0));
    let at = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let of = FetchTopic::default().with_topic(topic("readings")).with_partitions(vec![at]);
    let request = FetchRequest::default()
        .with_isolation_level(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![of]);
    let answer = ask(&mut socket, 12, &request);
    let data = &answer.responses[0].partitions[0];
    assert_eq!((data.high_watermark, data.last_stable_offset), (1, 0));
    assert!(data.records.as_ref().is_none_or(Bytes::is_empty));
    assert_eq!(broker.rows("SELECT count(*) FROM readings"), "[[0]]");
    let project = broker.server.kill();
    let broker = Broker::on(project, &[]);
    assert_eq!(broker.rows("SELECT count(*) FROM readings"), "[[0]]");
    let mut socket = broker.connect();
    let mut txn = Transaction { socket: &mut socket, id: TransactionalId(s("crashing")), producer };
    assert_eq!(txn.send("readings", event, 0), 0, "sent again, and known");
    assert_eq!(txn.end(true, 4), 0);
    broker.server.wait_until("the row", |s| s.sql("SELECT count(*) FROM readings") == json!([[1]]));
    let seen = broker.consume("readings", &["-X", "isolation.level=read_committed"]);
    assert_eq!(seen, [format!("0 {event}")]);
    // Whoever takes over the id fences the one before.
    let before = Transaction::begin(&mut socket, "crashing", 5).producer;
    let mut late =
        Transaction { socket: &mut socket, id: TransactionalId(s("crashing")), producer };
    assert_eq!(late.add("readings", 0, 3), 90);
    assert!(before.1 > producer.1);
}

#[test]
fn a_group_goes_on_where_it_was_also_after_a_crash() {
    let broker = Broker::start("", &[]);
    let group = |broker: &Broker, more: &[&str]| {
        let arguments = [
            &["-G", "readers", "-q", "-e", "-X", "auto.offset.reset=earliest"][..],
            more,
            &["-f", "%s\n", "t"],
        ]
        .concat();
        broker.kcat(&arguments, "").unwrap()
    };
    broker.produce("t", &["-X", "enable.idempotence=true"], "a\nb\n");
    assert_eq!(group(&broker, &[]), "a\nb\n");
    broker.produce("t", &["-X", "enable.idempotence=true"], "c\n");
    let project = broker.server.kill();
    let broker = Broker::on(project, &[]);
    assert_eq!(group(&broker, &[]), "c\n");
}

#[test]
fn the_server_assigns_partitions_to_members_of_the_new_protocol() {
    let broker = Broker::start("", &["--set", "kafka.partitions=3"]);
    broker.produce("t", &[], "a\n");
    let mut socket = broker.connect();
    for version in 0..=1 {
        let group = GroupId(s(&format!("new-{version}")));
        let join = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_member_id(s("first"))
            .with_rebalance_timeout_ms(10_000)
            .with_subscribed_topic_names(Some(vec![topic("t")]))
            .with_topic_partitions(Some(vec![]));
        let joined = ask(&mut socket, version, &join);
        assert_eq!((joined.error_code, joined.member_epoch), (0, 1), "version {version}");
        let assigned = &joined.assignment.unwrap().topic_partitions[0];
        assert_eq!(assigned.partitions, [0, 1, 2]);
        commit_and_fetch_of_member(&mut socket, &group, 1);
        let described = ask(
            &mut socket,
            version,
            &ConsumerGroupDescribeRequest::default().with_group_ids(vec![group.clone()]),
        );
        let one = &described.groups[0];
        assert_eq!((one.error_code, one.members.len()), (0, 1));
        assert_eq!(one.members[0].assignment.topic_partitions[0].partitions, [0, 1, 2]);
        let leave = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group)
            .with_member_id(s("first"))
            .with_member_epoch(-1);
        assert_eq!(ask(&mut socket, version, &leave).error_code, 0);
    }
}

fn commit_and_fetch_of_member(socket: &mut TcpStream, group: &GroupId, epoch: i32) {
    let commit = |epoch| {
        let at = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let of =
            OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![at]);
        OffsetCommitRequest::default()
            .with_group_id(group.clone())
            .with_member_id(s("first"))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![of])
    };
    let mut code = |epoch| ask(socket, 9, &commit(epoch)).topics[0].partitions[0].error_code;
    assert_eq!((code(epoch), code(epoch + 7)), (0, 113), "the epoch of another time is stale");
}
