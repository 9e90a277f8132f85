//! Live changes over server-sent events: snapshot, changes, resuming by epoch.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{MINUTES, PATIENCE, Project, READINGS, Server, read_head};

struct Stream(BufReader<TcpStream>);

#[derive(Debug, Default)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut socket = TcpStream::connect(&server.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", server.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        socket.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        let answer = read_head(&mut reader).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        Stream(reader)
    }

    /// The next event; chunk borders fall between events, so their lines are skipped.
    fn next(&mut self) -> Event {
        let mut event = Event::default();
        // Data may come in several lines.
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended");
            match line.trim_end().split_once(':') {
                Some(("event", name)) => event.name = name.trim().into(),
                Some(("id", id)) => event.id = id.trim().into(),
                Some(("data", data)) => text.push_str(data),
                _ if line == "\n" && !event.name.is_empty() => {
                    event.data = serde_json::from_str(&text).unwrap();
                    return event;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_view_is_followed_and_resumed() {
    let server = Project::new(&format!("{READINGS}{MINUTES}")).serve(&[]);
    let send = |celsius: f64| {
        let event =
            format!("{{\"sensor\":\"a\",\"celsius\":{celsius},\"at\":\"2026-01-01T10:00:00Z\"}}");
        assert_eq!(server.post("/api/topics/readings", event).status, 200);
    };
    send(20.0);
    server.wait_until("counted", |s| s.get("/api/views/minute_avg").json()["rows"][0]["n"] == 1);
    let path = "/api/views/minute_avg/changes";
    let mut stream = Stream::open(&server, path, &[]);
    let snapshot = stream.next();
    assert_eq!(snapshot.name, "snapshot");
    assert_eq!(snapshot.data["rows"][0]["n"], 1);
    assert_eq!(snapshot.data["columns"][0]["name"], "sensor");
    send(22.0);
    let changes = stream.next();
    assert_eq!(changes.name, "changes");
    let mut ops: Vec<(String, i64)> = changes.data["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["op"].as_str().unwrap().to_string(), c["row"]["n"].as_i64().unwrap()))
        .collect();
    ops.sort();
    assert_eq!(ops, [("+".to_string(), 2), ("-".to_string(), 1)]);
    drop(stream);
    send(24.0);
    server.wait_until("counted", |s| s.get("/api/views/minute_avg").json()["rows"][0]["n"] == 3);
    // Cut off and back: only what was missed.
    let mut stream = Stream::open(&server, path, &[("last-event-id", &changes.id)]);
    let missed = stream.next();
    assert_eq!(missed.name, "changes", "{missed:?}");
    assert!(missed.data["epoch"].as_u64() > changes.data["epoch"].as_u64());
    // An epoch nobody knows: a snapshot.
    let mut stream = Stream::open(&server, &format!("{path}?after=999999"), &[]);
    assert_eq!(stream.next().name, "snapshot");
}

#[test]
fn the_status_comes_each_second() {
    let server = Project::new(READINGS).serve(&[]);
    let mut stream = Stream::open(&server, "/api/status/changes", &[]);
    for _ in 0..2 {
        let event = stream.next();
        assert_eq!(event.name, "status");
        assert_eq!(event.data["topics"], 1);
    }
}

#[test]
fn an_unknown_view_is_no_stream() {
    let server = Project::new(&format!("{READINGS}{MINUTES}")).serve(&[]);
    let answer = server.get("/api/views/minute_av/changes");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("minute_avg"), "{}", answer.text());
}

#[test]
fn a_large_snapshot_comes_in_parts_and_a_larger_one_not_at_all() {
    let view = "CREATE MATERIALIZED VIEW all_of_it AS SELECT sensor, celsius FROM readings;\n";
    let project = Project::new(&format!("{READINGS}{view}"));
    let server = project.serve(&["--set", "query.rows_max=30000"]);
    let line = "{\"sensor\":\"a\",\"celsius\":1}\n";
    let path = "/api/views/all_of_it/changes";
    assert_eq!(server.post("/api/topics/readings", line.repeat(20_000)).status, 200);
    server.settle();
    let mut stream = Stream::open(&server, path, &[]);
    let snapshot = stream.next();
    assert_eq!(snapshot.data["rows"].as_array().unwrap().len(), 20_000);
    assert_eq!(server.post("/api/topics/readings", line.repeat(20_000)).status, 200);
    server.settle();
    let refused = Stream::open(&server, path, &[]).next();
    assert_eq!((refused.name.as_str(), &refused.data["code"]), ("error", &"too_large".into()));
    assert!(refused.data["hint"].as_str().unwrap().contains("query.rows_max"), "{refused:?}");
}
