//! Queries that compute for long: the doors answer as ever, and each ends, work and all, when its
//! time is over, its client leaves or the program is asked to stop.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Project, Server};

const EVENTS: usize = 200_000;
/// Forty billion pairs.
pub const ENDLESS: &str =
    "SELECT count(*) FROM big a JOIN big b ON a.id < b.id AND a.id + b.id < 0";

pub fn big(more: &[&str]) -> Server {
    let server = Project::new("CREATE TOPIC big (id BIGINT);\n").serve(more);
    let body: String = (0..EVENTS).map(|n| format!("{{\"id\":{n}}}\n")).collect();
    let answer = server.post("/api/topics/big", body.as_bytes());
    assert_eq!(answer.json()["accepted"], EVENTS);
    server
}

fn running(server: &Server) -> u64 {
    let metrics = server.get("/metrics").text();
    let line = metrics.lines().find(|l| l.starts_with("watershed_queries_running ")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Sends a query and does not wait for its answer.
fn begin(server: &Server, query: &str) -> TcpStream {
    let body = serde_json::json!({ "query": query }).to_string();
    let mut socket = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /api/sql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    socket
}

fn cpu_ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn three_at_once_stop_nothing_and_end_when_their_clients_leave() {
    let server = big(&[]);
    let clients: Vec<TcpStream> = (0..3).map(|_| begin(&server, ENDLESS)).collect();
    server.wait_until("three run", |s| running(s) == 3);
    let mut slowest = Duration::ZERO;
    for n in 0..50 {
        let asked = Instant::now();
        assert_eq!(server.get("/health").status, 200);
        slowest = slowest.max(asked.elapsed());
        let event = format!("{{\"id\":{n}}}\n");
        assert_eq!(server.post("/api/topics/big", event.as_bytes()).status, 200);
        assert_eq!(server.sql("SELECT 1")[0][0], 1);
    }
    // Generous: a machine that runs other tests is slow, a door that waits for a query is slower.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert_eq!(running(&server), 3);
    drop(clients);
    server.wait_until("their work has ended", |s| running(s) == 0);
    // Not only nobody waits: nothing computes any more.
    std::thread::sleep(Duration::from_millis(500));
    let before = cpu_ticks(&server);
    std::thread::sleep(Duration::from_secs(2));
    assert!(cpu_ticks(&server) - before < 100, "something still computes");
}

#[test]
fn one_that_takes_too_long_is_ended() {
    let server = big(&["--set", "query.timeout=1 s"]);
    let answer = server.post("/api/sql", serde_json::json!({ "query": ENDLESS }).to_string());
    assert_eq!(answer.json()["code"], "cancelled", "{}", answer.text());
    assert!(answer.text().contains("took longer than 1s"), "{}", answer.text());
    server.wait_until("its work has ended", |s| running(s) == 0);
}

#[test]
fn the_program_stops_beside_them() {
    let mut server = big(&[]);
    let _clients: Vec<TcpStream> = (0..3).map(|_| begin(&server, ENDLESS)).collect();
    server.wait_until("three run", |s| running(s) == 3);
    let asked = Instant::now();
    server.signal(15);
    let status = server.child.wait().unwrap();
    assert!(status.success(), "{status:?}");
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
}

#[test]
fn a_statement_that_is_too_deep_is_refused_at_once() {
    let server = Project::new("CREATE TOPIC t (a INT);\n").serve(&[]);
    for query in [
        format!("SELECT CAST(NULL AS {}INT", "ARRAY<".repeat(100_000)),
        format!("SELECT 1{}", " IS NULL".repeat(100_000)),
        format!("SELECT {}1", "NOT ".repeat(100_000)),
        format!("SELECT {}1", "CASE WHEN true THEN ".repeat(40_000)),
        format!("SELECT * FROM {}t{}", "(".repeat(60), ")".repeat(60)),
        "SELECT '".to_string() + &"x".repeat(5 << 20) + "'",
    ] {
        let body = serde_json::json!({ "query": query }).to_string();
        let answer = server.post("/api/sql", body.as_bytes());
        assert!([400, 413].contains(&answer.status), "{}: {}", &query[..30], answer.status);
        assert!(answer.text().len() < 200_000, "{}", answer.text().len());
    }
    assert_eq!(server.sql("SELECT 1")[0][0], 1);
}
