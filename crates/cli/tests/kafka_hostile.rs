//! Clients of the Kafka door that mean no good: nonsense, half requests, more connections than can
//! be served, and those that never read their answers. The others go on, and memory is bounded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, FetchRequest, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::kafka::{Broker, ask, exchange, framed};

/// Megabytes of memory that the server has in use.
fn resident_mb(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.server.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Whether the server closed it.
fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    matches!(socket.read(&mut [0]), Ok(0))
        || socket.take_error().is_ok_and(|e| e.is_some())
        || socket.write_all(&[0]).is_err()
}

#[test]
fn hostile_bytes_harm_nobody_else() {
    let broker = Broker::start("", &[]);
    broker.produce("good", &[], "a\n");
    let hostile: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        &[0x7f, 0xff, 0xff, 0xff, 0],
        &[0xff; 64],
        &[0, 0, 0, 0],
        // Metadata, Fetch and Produce that claim to have two thousand million elements.
        &framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        &framed(&[&[0, 1, 0, 4, 0, 0, 0, 1, 0xff, 0xff][..], &[0; 17], &[0x7f; 4]].concat()),
        &framed(
            &[&[0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 1][..], &[0x7f; 8]].concat(),
        ),
    ];
    for bytes in hostile {
        let mut socket = broker.connect();
        assert_eq!(exchange(&mut socket, bytes, 1 << 16), b"", "{bytes:?}");
        assert_eq!(broker.consume("good", &[]), ["0 a"], "after {bytes:?}");
    }
    // Half a frame, and then nothing: the others go on meanwhile.
    let mut half = broker.connect();
    half.write_all(&[0, 0, 1, 0, 0, 0]).unwrap();
    assert_eq!(broker.consume("good", &[]), ["0 a"]);
}

/// More than the server takes (its default is 4096), and more than a process may open by default.
const CONNECTIONS: usize = 10_000;

#[test]
fn ten_thousand_connections_leave_the_others_alone() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let broker = Broker::start("", &[]);
    broker.produce("good", &[], "a\n");
    let mut early = broker.connect();
    let before = resident_mb(&broker);
    let mut sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| broker.connect()).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        assert_eq!(ask(&mut early, 0, &ApiVersionsRequest::default()).error_code, 0);
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "an answer took {slowest:?}");
    let used = resident_mb(&broker) - before;
    assert!(used < 200, "{CONNECTIONS} connections take {used} MB");
    let late = sockets.last_mut().unwrap();
    assert!(is_closed(late), "beyond the limit a connection is closed");
    // The first ones are served.
    assert_eq!(ask(&mut sockets[0], 0, &ApiVersionsRequest::default()).error_code, 0);
    drop(sockets);
    broker.server.wait_until("there is room again", |_| {
        broker
            .kcat(&["-C", "-t", "good", "-e", "-o", "beginning"], "")
            .is_ok_and(|got| got == "a\n")
    });
}

#[test]
fn announced_bytes_take_no_memory_from_others() {
    let broker = Broker::start("", &[]);
    broker.produce("good", &[], "a\n");
    let before = resident_mb(&broker);
    let huge: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut socket = broker.connect();
            // 64 MiB are to come, a few bytes do.
            socket.write_all(&[&(64_u32 << 20).to_be_bytes()[..], &[0, 0, 0, 3]].concat()).unwrap();
            socket
        })
        .collect();
    let body = "x".repeat(900_000);
    let began = Instant::now();
    for _ in 0..5 {
        broker.produce("good", &[], &format!("{body}\n"));
    }
    assert!(began.elapsed() < Duration::from_secs(15), "others wait: {:?}", began.elapsed());
    let used = resident_mb(&broker).saturating_sub(before);
    assert!(used < 300, "100 announced requests take {used} MB");
    drop(huge);
}

#[test]
fn answers_nobody_reads_are_not_piled_up() {
    let broker = Broker::start("", &[]);
    let line = "x".repeat(500_000);
    for _ in 0..8 {
        broker.produce("good", &[], &format!("{line}\n"));
    }
    let before = resident_mb(&broker);
    let fetch = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 30)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(TopicName(StrBytes::from_static_str("good")))
                .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1 << 30)]),
        ]);
    let mut body = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(ApiKey::Fetch as i16)
        .with_request_api_version(4)
        .encode(&mut body, 1)
        .unwrap();
    fetch.encode(&mut body, 4).unwrap();
    let request = framed(&body);
    let deaf: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut socket = broker.connect();
            socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            // 4 GB of answers a connection, if they were made.
            for _ in 0..1_000 {
                if socket.write_all(&request).is_err() {
                    break;
                }
            }
            socket
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(broker.consume("good", &["-c", "1"]).len(), 1, "others are served");
    let used = resident_mb(&broker).saturating_sub(before);
    assert!(used < 400, "deaf clients take {used} MB");
    drop(deaf);
}
