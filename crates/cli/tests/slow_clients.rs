//! Clients that are slow on purpose, or do not read: bodies a byte at a time, heads without an end,
//! answers and events that nobody takes. The others are served, memory is bounded, and each is
//! given up after a time.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FetchRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::{Broker, ask, framed};
use crate::support::{PATIENCE, Project, READINGS, Server, read_answer, read_head};

const ROWS: &str = "CREATE TOPIC big (id BIGINT, text TEXT) WITH (partitions = 1);
CREATE MATERIALIZED VIEW big_rows AS SELECT id, text FROM big;
";

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn begin(server: &Server, method: &str, path: &str, length: usize) -> TcpStream {
    let mut socket = connect(server);
    let host = &server.address;
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

/// Megabytes that the server has in use, at most so far.
fn peak_mb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn send_rows(server: &Server, n: usize, bytes: usize) {
    let text = "x".repeat(bytes);
    let lines: Vec<String> =
        (0..n).map(|i| format!("{{\"id\":{i},\"text\":\"{text}\"}}\n")).collect();
    for some in lines.chunks((16 << 20) / (bytes + 30)) {
        assert_eq!(server.post("/api/topics/big", some.concat()).status, 200);
    }
    server.settle();
}

/// Waits for the end of a connection and gives what came.
fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut got = vec![];
    let mut piece = [0; 4096];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return got,
            Ok(n) => got.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return got,
            Err(e) => panic!("the connection is still open: {e}"),
        }
    }
}

#[test]
fn slow_bodies_keep_nobody_else_waiting() {
    let server = Project::new(READINGS).serve(&["--set", "http.body_grace=3 s"]);
    let mut slow: Vec<TcpStream> =
        (0..300).map(|_| begin(&server, "POST", "/api/topics/readings", 100_000)).collect();
    let mut refused = 0;
    for _ in 0..3 {
        slow.iter_mut().for_each(|socket| refused += i32::from(socket.write_all(b"{").is_err()));
        assert_eq!(server.get("/api/topics").status, 200);
    }
    assert_eq!(refused, 0);
    for mut socket in slow {
        let mut reader = BufReader::new(&mut socket);
        let answer = read_answer(&mut reader).unwrap();
        assert_eq!(answer.status, 499, "{}", answer.text());
        assert!(answer.text().contains("http.body_rate_min"), "{}", answer.text());
    }
}

#[test]
fn heads_that_do_not_end_are_given_up() {
    let set = ["http.head_timeout=2 s", "http.idle_timeout=4 s", "http.head_bytes_max=16 KiB"];
    let server = Project::new(READINGS).serve(&["--set", set[0], "--set", set[1], "--set", set[2]]);
    let endless: Vec<TcpStream> = (0..1_000)
        .map(|_| {
            let mut socket = connect(&server);
            socket.write_all(b"GET /api/topics HTTP/1.1\r\nx-a: b\r\n").unwrap();
            socket
        })
        .collect();
    let silent = connect(&server);
    let mut kept = begin(&server, "GET", "/health", 0);
    assert_eq!(read_answer(&mut BufReader::new(&mut kept)).unwrap().status, 200);
    assert_eq!(server.get("/api/topics").status, 200);
    for socket in endless.into_iter().chain([silent, kept]) {
        rest(socket);
    }
    let long = "x".repeat(64 << 10);
    let answer = server.send("GET", "/health", &[("x-long", &long)], b"");
    assert_eq!(answer.status, 431, "{}", answer.text());
}

#[test]
fn connections_are_bounded() {
    let server = Project::new(READINGS).serve(&["--set", "http.connections_max=10"]);
    let open: Vec<TcpStream> = (0..10).map(|_| connect(&server)).collect();
    server.wait_until("full", |s| {
        let text = rest(connect(s));
        text.starts_with(b"HTTP/1.1 503") && text.ends_with(b"http.connections_max)")
    });
    drop(open);
    server.wait_until("free again", |s| s.get("/health").status == 200);
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    let set = ["http.answers_bytes_max=32 MiB", "http.write_timeout=3 s"];
    let server = Project::new(ROWS).serve(&["--set", set[0], "--set", set[1]]);
    send_rows(&server, 15_000, 1_000);
    let before = peak_mb(&server);
    let body = serde_json::json!({ "query": "SELECT * FROM big_rows" }).to_string();
    let mut refused = 0;
    let deaf: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut socket = begin(&server, "POST", "/api/sql", body.len());
            socket.write_all(body.as_bytes()).unwrap();
            let mut reader = BufReader::with_capacity(1, &mut socket);
            refused += i32::from(read_head(&mut reader).unwrap().status == 503);
            socket
        })
        .collect();
    // Two at a time find room; the others are told so.
    assert!(refused > 0);
    assert_eq!(server.get("/api/topics").status, 200);
    let used = peak_mb(&server) - before;
    assert!(used < 500, "60 unread answers of 15 MB take {used} MB");
    server.wait_until("deaf clients are given up", |s| {
        s.post("/api/sql", body.as_bytes()).status == 200
    });
    drop(deaf);
}

/// A few bytes of it now and then are not enough.
#[test]
fn a_large_answer_must_be_taken_at_a_least_rate() {
    let set = ["http.write_timeout=2 s", "http.answer_rate_min=5 MiB"];
    let server = Project::new(ROWS).serve(&["--set", set[0], "--set", set[1]]);
    send_rows(&server, 15_000, 1_000);
    let body = serde_json::json!({ "query": "SELECT * FROM big_rows" }).to_string();
    let mut slow = begin(&server, "POST", "/api/sql", body.len());
    slow.write_all(body.as_bytes()).unwrap();
    let mut piece = vec![0; 20_000];
    let mut taken = 0;
    let ended = loop {
        match slow.read(&mut piece) {
            Ok(0) | Err(_) => break true,
            Ok(n) => taken += n,
        }
        if taken > 14_000_000 {
            break false;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended, "the whole answer was taken, at 1 MB a second");
    // Who takes it as it comes gets it all.
    assert!(server.post("/api/sql", body.as_bytes()).body.len() > 15_000_000);
}

#[test]
fn an_answer_has_as_many_rows_as_fit() {
    let server = Project::new(ROWS).serve(&["--set", "query.answer_bytes_max=1 MiB"]);
    send_rows(&server, 5_000, 1_000);
    let body = serde_json::json!({ "query": "SELECT * FROM big_rows" }).to_string();
    let answer = server.post("/api/sql", body);
    assert!(answer.body.len() < (1 << 20) + 1_000, "{}", answer.body.len());
    assert_eq!(answer.json()["rows_omitted"], true);
    assert!(answer.json()["rows"].as_array().unwrap().len() > 900);
}

#[test]
fn followers_that_do_not_read_are_bounded() {
    let server = Project::new(ROWS).serve(&["--set", "http.write_timeout=5 s"]);
    send_rows(&server, 20_000, 1_000);
    let before = peak_mb(&server);
    let deaf: Vec<TcpStream> = (0..100)
        .map(|n| {
            let view = ["/api/views/big_rows/changes", "/api/status/changes"][n % 2];
            begin(&server, "GET", view, 0)
        })
        .collect();
    for _ in 0..10 {
        send_rows(&server, 2_000, 1_000);
        assert_eq!(server.get("/health").status, 200);
    }
    let used = peak_mb(&server) - before;
    assert!(used < 600, "100 deaf followers take {used} MB");
    drop(deaf);
}

fn fetch(topic: &'static str, bytes: i32) -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(bytes);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(topic)))
        .with_partitions(vec![partition]);
    FetchRequest::default().with_min_bytes(1).with_max_bytes(bytes).with_topics(vec![topic])
}

#[test]
fn fetched_records_that_nobody_takes_are_bounded() {
    let set = ["kafka.answers_bytes_max=64 MiB", "kafka.write_timeout=3 s"];
    let broker = Broker::start(ROWS, &["--set", set[0], "--set", set[1]]);
    send_rows(&broker.server, 60_000, 1_000);
    let before = peak_mb(&broker.server);
    let mut request = bytes::BytesMut::new();
    kafka_protocol::protocol::Encodable::encode(
        &kafka_protocol::messages::RequestHeader::default()
            .with_request_api_key(1)
            .with_request_api_version(4),
        &mut request,
        1,
    )
    .unwrap();
    kafka_protocol::protocol::Encodable::encode(&fetch("big", 1 << 30), &mut request, 4).unwrap();
    let deaf: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut socket = broker.connect();
            (0..5).for_each(|_| socket.write_all(&framed(&request)).unwrap());
            socket
        })
        .collect();
    // One that reads gets on beside them, when some of them are given up at the latest.
    let answer = ask(&mut broker.connect(), 4, &fetch("big", 1 << 20));
    assert!(answer.responses[0].partitions[0].records.as_ref().is_some_and(|r| !r.is_empty()));
    assert_eq!(broker.server.get("/health").status, 200);
    let used = peak_mb(&broker.server) - before;
    assert!(used < 300, "100 deaf consumers take {used} MB");
    drop(deaf);
}

fn metadata(names: impl IntoIterator<Item = String>) -> MetadataRequest {
    let topic = |name| {
        let name = TopicName(StrBytes::from_string(name));
        MetadataRequestTopic::default().with_name(Some(name))
    };
    let topics = names.into_iter().map(topic).collect();
    MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true)
}

const LEADER_NOT_AVAILABLE: i16 = 5;
const POLICY_VIOLATION: i16 = 44;

#[test]
fn many_new_topics_are_made_in_one_step_and_not_without_end() {
    let broker = Broker::start("", &["--set", "topics_max=1200"]);
    let mut socket = broker.connect();
    let count = |answer: &kafka_protocol::messages::MetadataResponse, code: i16| {
        answer.topics.iter().filter(|t| t.error_code == code).count()
    };
    let answer = ask(&mut socket, 4, &metadata((0..3_000).map(|n| format!("t{n:04}"))));
    assert_eq!((count(&answer, 0), count(&answer, LEADER_NOT_AVAILABLE)), (1_000, 2_000));
    let answer = ask(&mut socket, 4, &metadata((900..2_000).map(|n| format!("t{n:04}"))));
    assert_eq!((count(&answer, 0), count(&answer, POLICY_VIOLATION)), (300, 800));
    // SQL is told the same.
    let body = serde_json::json!({ "query": "CREATE TOPIC one_more (a INT)" }).to_string();
    let answer = broker.server.post("/api/sql", body);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("conflict")));
    assert!(answer.text().contains("topics_max"), "{}", answer.text());
}
