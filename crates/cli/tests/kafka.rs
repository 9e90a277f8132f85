//! The Kafka door, with a real client (kcat, which is librdkafka) and byte by byte where a client
//! would never send such a thing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use serde_json::json;

use crate::support::{MINUTES, PATIENCE, Project, READINGS, Server, free_port};

/// Requests that are served.
const REQUESTS: usize = 48;

/// A server with a Kafka port.
pub struct Broker {
    pub server: Server,
    pub port: u16,
}

/// The machine's kcat, with the machine's librdkafka: cargo's search path has another one first, the
/// one built for the `kafka` connector, which knows neither TLS nor SASL.
pub fn kcat() -> Command {
    let mut command = Command::new("kcat");
    command.env_remove("LD_LIBRARY_PATH");
    command
}

impl Broker {
    pub fn start(sql: &str, more: &[&str]) -> Broker {
        Broker::on(Project::new(sql), more)
    }

    pub fn on(project: Project, more: &[&str]) -> Broker {
        let port = free_port();
        let text = port.to_string();
        let arguments: Vec<&str> =
            ["--kafka-port", &text].into_iter().chain(more.iter().copied()).collect();
        Broker { server: project.serve(&arguments), port }
    }

    /// Runs kcat; what it prints, or what it complains about.
    pub fn kcat(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = kcat()
            .args(["-b", &format!("127.0.0.1:{}", self.port), "-m", "30"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kcat is needed: install the package kcat");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        if output.status.success() {
            Ok(String::from_utf8_lossy(out).into_owned())
        } else {
            Err(err)
        }
    }

    pub fn produce(&self, topic: &str, more: &[&str], lines: &str) {
        let arguments = [&["-P", "-t", topic], more].concat();
        self.kcat(&arguments, lines).unwrap_or_else(|e| panic!("{topic} {more:?}: {e}"));
    }

    /// Records from the start (or as `more` says) to the end, as `offset value`.
    pub fn consume(&self, topic: &str, more: &[&str]) -> Vec<String> {
        let arguments = [&["-C", "-e", "-q", "-f", "%o %s\n", "-t", topic], more].concat();
        let text = self.kcat(&arguments, "").unwrap_or_else(|e| panic!("{topic} {more:?}: {e}"));
        text.lines().map(str::to_string).collect()
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub fn rows(&self, query: &str) -> String {
        self.server.sql(query).to_string()
    }
}

const EVENTS: &str = r#"{"sensor":"a","celsius":1,"at":"2026-01-01T00:00:00Z"}
{"sensor":"a","celsius":900,"at":"2026-01-01T00:00:01Z"}
no json
{"sensor":"b","celsius":3,"at":"2026-01-01T00:00:02Z"}
"#;

#[test]
fn records_reach_views_and_what_does_not_fit_the_dead_letters() {
    let broker = Broker::start(&format!("{READINGS}{MINUTES}"), &[]);
    broker.produce("readings", &["-z", "lz4"], EVENTS);
    let counts = "SELECT sensor, n FROM minute_avg ORDER BY sensor";
    broker.server.wait_until("rows in the view", |s| s.sql(counts) == json!([["a", 1], ["b", 1]]));
    let letters = "SELECT \"offset\", kind FROM dead_letters ORDER BY id";
    assert_eq!(broker.rows(letters), r#"[[1,"check"],[2,"parse"]]"#);
    assert_eq!(broker.rows("SELECT _offset FROM readings ORDER BY 1"), "[[0],[3]]");
    // A Kafka consumer gets what was sent, all of it.
    let sent: Vec<String> = EVENTS.lines().enumerate().map(|(i, l)| format!("{i} {l}")).collect();
    assert_eq!(broker.consume("readings", &[]), sent);
}

#[test]
fn headers_keep_their_order_repeats_and_nulls() {
    let view = "CREATE TOPIC orders (id INT) WITH (partitions = 1);
        CREATE MATERIALIZED VIEW by_source AS
          SELECT CAST(_headers[0].value AS TEXT) AS source, count(*) AS n FROM orders GROUP BY 1;";
    let broker = Broker::start(view, &["--set", "lake.archive_interval=1 s"]);
    let headers = ["-H", "from=web", "-H", "a", "-H", "b=", "-H", "a=second"];
    broker.produce("orders", &headers, "{\"id\":1}\n");
    broker.produce("orders", &[], "{\"id\":2}\n");
    let pairs = "SELECT h.key, CAST(h.value AS TEXT) FROM (SELECT unnest(_headers) h FROM orders)";
    let all = json!([["from", "web"], ["a", null], ["b", ""], ["a", "second"]]);
    assert_eq!(broker.server.sql(pairs), all);
    // From the archive too.
    broker.server.wait_until("all in the archive", |server| {
        server.get("/api/status").json()["archive"][0]["archived_offset_sum"] == 2
    });
    assert_eq!(broker.server.sql(pairs), all);
    let rows = "SELECT id, _headers IS NULL, cardinality(_headers) FROM orders ORDER BY id";
    assert_eq!(broker.server.sql(rows), json!([[1, false, 4], [2, true, null]]));
    let sources = json!([[null, 1], ["web", 1]]);
    let by_source = "SELECT * FROM by_source ORDER BY source";
    broker.server.wait_until("the view", |server| server.sql(by_source) == sources);
}

#[test]
fn every_compression_goes_through_unchanged() {
    let broker = Broker::start("", &[]);
    let lines: String =
        (0..2_000).map(|i| format!("line {i} of a text that packs well\n")).collect();
    let sent: Vec<String> = lines.lines().enumerate().map(|(i, l)| format!("{i} {l}")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("packed.{codec}-1");
        broker.produce(&topic, &["-z", codec, "-X", "acks=all"], &lines);
        assert_eq!(broker.consume(&topic, &[]), sent, "{codec}");
        let query = format!("SELECT count(*), count(DISTINCT value) FROM \"{topic}\"");
        broker.server.wait_until(codec, |s| s.sql(&query) == json!([[2000, 2000]]));
    }
}

#[test]
fn offsets_times_and_restarts() {
    let broker = Broker::start("", &[]);
    for (i, acks) in ["0", "1", "all"].iter().enumerate() {
        broker.produce("kept", &["-X", &format!("acks={acks}")], "a\nb\n");
        let records = 2 * (i + 1);
        broker.server.wait_until("records", |_| broker.consume("kept", &[]).len() == records);
    }
    let before: Vec<String> = broker.consume("kept", &[]);
    assert_eq!(broker.consume("kept", &["-o", "4"]), ["4 a", "5 b"]);
    assert_eq!(broker.consume("kept", &["-o", "-1"]), ["5 b"]);
    let asked = broker.kcat(&["-Q", "-t", "kept:0:0"], "").unwrap();
    assert_eq!(asked.trim(), "kept [0] offset 0");
    let later = broker.kcat(&["-Q", "-t", "kept:0:99999999999999"], "").unwrap();
    assert_eq!(later.trim(), "kept [0] offset -1");
    let listed = broker.kcat(&["-L"], "").unwrap();
    assert!(listed.contains("topic \"kept\" with 1 partitions"), "{listed}");
    // A crash loses nothing of what was acknowledged.
    let project = broker.server.kill();
    let broker = Broker::on(project, &[]);
    assert_eq!(broker.consume("kept", &[]), before);
    broker.produce("kept", &[], "c\n");
    assert_eq!(broker.consume("kept", &["-o", "6"]), ["6 c"]);
}

#[test]
fn topics_are_made_only_where_that_is_wanted() {
    let broker = Broker::start("", &["--set", "kafka.auto_create_topics=false"]);
    let e = broker.kcat(&["-P", "-t", "unknown", "-X", "message.timeout.ms=2000"], "x\n");
    assert!(e.is_err());
    assert_eq!(broker.rows("SELECT count(*) FROM dead_letters"), "[[0]]");
    let shown = broker.server.run(&["sql", "SHOW TOPICS"]).ok().out;
    assert!(!shown.contains("unknown"), "{shown}");
}

/// Asks in every version that is served and reads the answer with another implementation.
#[test]
fn every_version_that_is_advertised_is_answered() {
    let broker = Broker::start("", &[]);
    broker.produce("t", &[], "a\n");
    let batch = {
        let mut builder = log::BatchBuilder::new(1_767_225_600_000_000);
        builder.push(1_767_225_600_000_000, None, Some(b"x"), &[]);
        builder.build()
    };
    let topic = || TopicName(StrBytes::from_static_str("t"));
    let mut socket = broker.connect();
    let api = ask(&mut socket, 3, &ApiVersionsRequest::default());
    assert_eq!((api.error_code, api.api_keys.len()), (0, REQUESTS));
    for served in &api.api_keys {
        let key = ApiKey::try_from(served.api_key).unwrap();
        // Produce before 3 is advertised for old clients' sake only.
        let min = if key == ApiKey::Produce { 3 } else { served.min_version };
        for version in min..=served.max_version {
            match key {
                ApiKey::Produce => {
                    let data = PartitionProduceData::default().with_records(Some(batch.clone()));
                    let unknown = data.clone().with_index(9);
                    let data = TopicProduceData::default()
                        .with_name(topic())
                        .with_partition_data(vec![data, unknown]);
                    let request = ProduceRequest::default()
                        .with_acks(-1)
                        .with_timeout_ms(1_000)
                        .with_topic_data(vec![data]);
                    let answer = ask(&mut socket, version, &request);
                    let partitions = &answer.responses[0].partition_responses;
                    assert_eq!(partitions[0].error_code, 0, "Produce {version}");
                    assert!(partitions[0].base_offset > 0, "Produce {version}");
                    assert_eq!(partitions[1].error_code, 3, "Produce {version}");
                }
                ApiKey::Fetch => {
                    let wanted = FetchPartition::default().with_partition_max_bytes(1 << 20);
                    let beyond = wanted.clone().with_fetch_offset(1_000);
                    let wanted = FetchTopic::default()
                        .with_topic(topic())
                        .with_partitions(vec![wanted, beyond]);
                    let request = FetchRequest::default()
                        .with_max_bytes(1 << 20)
                        .with_session_epoch(if version >= 7 { 0 } else { -1 })
                        .with_topics(vec![wanted]);
                    let answer = ask(&mut socket, version, &request);
                    let partitions = &answer.responses[0].partitions;
                    assert_eq!(partitions[0].error_code, 0, "Fetch {version}");
                    assert!(!partitions[0].records.as_ref().unwrap().is_empty(), "Fetch {version}");
                    assert_eq!(partitions[1].error_code, 1, "Fetch {version}");
                }
                ApiKey::ListOffsets => {
                    let at = |time| ListOffsetsPartition::default().with_timestamp(time);
                    let missing = at(-1).with_partition_index(5);
                    let wanted = ListOffsetsTopic::default()
                        .with_name(topic())
                        .with_partitions(vec![at(-1), at(-2), at(0), missing]);
                    let request = ListOffsetsRequest::default().with_topics(vec![wanted]);
                    let answer = ask(&mut socket, version, &request);
                    let found: Vec<_> = answer.topics[0]
                        .partitions
                        .iter()
                        .map(|p| (p.error_code, p.offset))
                        .collect();
                    assert!(found[0].1 > 0, "ListOffsets {version}");
                    assert_eq!(found[1..], [(0, 0), (0, 0), (3, -1)], "ListOffsets {version}");
                }
                ApiKey::Metadata => {
                    let unknown = Some(TopicName(StrBytes::from_static_str("no such/topic")));
                    let named = [Some(topic()), unknown]
                        .map(|name| MetadataRequestTopic::default().with_name(name));
                    let request = MetadataRequest::default().with_topics(Some(named.to_vec()));
                    let answer = ask(&mut socket, version, &request);
                    let codes: Vec<i16> = answer.topics.iter().map(|t| t.error_code).collect();
                    assert_eq!(codes, [0, 17], "Metadata {version}");
                    assert_eq!(answer.brokers[0].port, i32::from(broker.port));
                    let all = MetadataRequest::default().with_topics(if version == 0 {
                        Some(vec![])
                    } else {
                        None
                    });
                    assert_eq!(
                        ask(&mut socket, version, &all).topics.len(),
                        1,
                        "Metadata {version}"
                    );
                }
                ApiKey::ApiVersions => {
                    let answer = ask(&mut socket, version, &ApiVersionsRequest::default());
                    assert_eq!(answer.api_keys.len(), REQUESTS, "ApiVersions {version}");
                }
                // They have tests of their own, here and in `kafka_groups`.
                _ => {}
            }
        }
    }
}

#[test]
fn topics_are_made_and_removed() {
    let sql = format!("{READINGS}{MINUTES}");
    let broker = Broker::start(&sql, &[]);
    let mut socket = broker.connect();
    let name = |text: &str| TopicName(StrBytes::from_string(text.to_string()));
    let config = |key, value| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(StrBytes::from_static_str(value)))
    };
    for version in 2..=7 {
        let made = format!("made-{version}.x");
        let topic = |text: &str, partitions, configs| {
            CreatableTopic::default()
                .with_name(name(text))
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(configs)
        };
        let request = CreateTopicsRequest::default().with_topics(vec![
            topic(&made, 3, vec![config("retention.ms", "60000")]),
            topic("readings", 1, vec![]),
            topic("a/b", 1, vec![]),
            topic("none", 0, vec![]),
            topic("strange", 1, vec![config("cleanup.policy", "shrink")]),
            topic(&format!("more-{version}"), 2, vec![]),
        ]);
        let tried = ask(&mut socket, version, &request.clone().with_validate_only(true));
        let made_ones = ask(&mut socket, version, &request);
        for answer in [tried, made_ones] {
            let codes: Vec<i16> = answer.topics.iter().map(|t| t.error_code).collect();
            assert_eq!(codes, [0, 36, 17, 37, 40, 0], "version {version}");
        }
        let query = format!("SELECT count(*) FROM \"{made}\"");
        assert_eq!(broker.rows(&query), "[[0]]");
        let listed = broker.kcat(&["-L", "-t", &made], "").unwrap();
        assert!(listed.contains("with 3 partitions"), "{listed}");
    }
    for version in 1..=6 {
        let names = [format!("made-{}.x", version + 1), "readings".into(), "unknown".into()];
        let request = match version {
            6 => DeleteTopicsRequest::default().with_topics(
                names
                    .iter()
                    .map(|n| DeleteTopicState::default().with_name(Some(name(n))))
                    .collect(),
            ),
            _ => DeleteTopicsRequest::default()
                .with_topic_names(names.iter().map(|n| name(n)).collect()),
        };
        let answer = ask(&mut socket, version, &request.with_timeout_ms(1_000));
        let codes: Vec<i16> = answer.responses.iter().map(|t| t.error_code).collect();
        // What a file of the project defines is not a client's to remove.
        assert_eq!(codes, [0, 44, 3], "version {version}");
    }
    let shown = broker.server.run(&["sql", "SHOW TOPICS"]).ok().out;
    assert!(shown.contains("readings") && !shown.contains("made-"), "{shown}");
}

pub fn ask<R: Request>(socket: &mut (impl Read + Write), version: i16, request: &R) -> R::Response {
    let mut body = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(5)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    header.encode(&mut body, R::header_version(version)).unwrap();
    request.encode(&mut body, version).unwrap();
    socket.write_all(&framed(&body)).unwrap();
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut answer).unwrap();
    let mut answer = Bytes::from(answer);
    let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 5);
    let decoded = R::Response::decode(&mut answer, version).unwrap();
    assert!(answer.is_empty(), "bytes are left of the answer to {} {version}", R::KEY);
    decoded
}

/// Sends bytes and reads what comes until the connection is closed or `wanted` bytes are there.
pub fn exchange(socket: &mut TcpStream, bytes: &[u8], wanted: usize) -> Vec<u8> {
    let _ = socket.write_all(bytes);
    let mut got = vec![0; wanted];
    let mut n = 0;
    while n < wanted {
        match socket.read(&mut got[n..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => n += more,
        }
    }
    got.truncate(n);
    got
}

pub fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

#[test]
fn an_unknown_version_of_api_versions_is_told_what_there_is() {
    let broker = Broker::start("", &[]);
    let request = framed(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff]);
    let head = exchange(&mut broker.connect(), &request, 14);
    // Correlation id 7, error 35, all requests with six bytes each (version 0).
    assert_eq!(head[4..10], [0, 0, 0, 7, 0, 35]);
    let requests = REQUESTS as u32;
    assert_eq!(head[10..14], requests.to_be_bytes());
    assert_eq!(head[..4], (4 + 2 + 4 + requests * 6).to_be_bytes());
}
