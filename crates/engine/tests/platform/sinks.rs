//! Sinks: what was promised holds when the target is down and when the process ends anywhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use common::Kind;
use serde_json::Value;

use super::support::*;

const OUT: &str = "CREATE SINK out FROM totals WITH (connector = 'file', path = 'out');\n";

/// The rows that a folder of files with `_op` leaves, and how many lines there were.
fn folded(place: &Place) -> (Vec<String>, usize) {
    let dir = place.path().join("out");
    let (mut rows, mut lines) = (BTreeMap::<String, i64>::new(), 0);
    let names = if dir.is_dir() { files(&dir) } else { vec![] };
    let hidden = |p: &std::path::Path| p.file_name().unwrap().to_string_lossy().starts_with('.');
    for path in names.iter().filter(|p| !hidden(p)) {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let mut row: Value = serde_json::from_str(line).unwrap();
            let op = row.as_object_mut().unwrap().remove("_op");
            let weight = if op == Some("-".into()) { -1 } else { 1 };
            let shown = format!("{}|{}|{}", row["k"].as_str().unwrap(), row["n"], row["total"]);
            *rows.entry(shown).or_default() += weight;
            lines += 1;
        }
    }
    rows.retain(|_, n| *n != 0);
    assert!(rows.values().all(|n| *n == 1), "{rows:?}");
    (rows.into_keys().collect(), lines)
}

fn until_delivered(bench: &Bench) {
    bench.until_equal();
    let expected = bench.sorted(BATCH);
    bench.wait("delivered", |b| {
        b.platform.status().sinks[0].waiting_epochs == 0 && folded(&b.place).0 == expected
    });
}

#[test]
fn a_file_sink_goes_on_after_a_restart() {
    let mut bench = Bench::new(&format!("{EVENTS}{TOTALS}{OUT}"));
    for i in 0..4 {
        bench.send("events", &events(i * 10..(i + 1) * 10));
        until_delivered(&bench);
        let before = folded(&bench.place);
        bench = bench.reopen();
        assert_eq!(folded(&bench.place), before, "nothing is delivered again");
    }
}

pub fn delivering(bench: &Bench) {
    for i in 0..20 {
        bench.send("events", &events(i * 10..(i + 1) * 10));
        bench.until_equal();
    }
}

#[test]
fn a_crash_repeats_no_file() {
    for at in ["sink.prepared:1", "sink.committed:1", "sink.prepared:4", "sink.committed:4"] {
        let place = Place::new(&format!("{EVENTS}{TOTALS}{OUT}"), &[]);
        place.crash("sink", at);
        let bench = place.start();
        until_delivered(&bench);
        bench.send("events", &events(500..520));
        until_delivered(&bench);
    }
}

#[test]
fn a_target_that_fails_is_tried_again() {
    let quick = OUT.replace("'out')", "'out', retry_delay_min = '1 ms', retry_delay_max = '5 ms')");
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}{quick}"));
    bench.send("events", &events(0..10));
    until_delivered(&bench);
    // The folder goes, a file stands in its place.
    let out = bench.place.path().join("out");
    let aside = bench.place.path().join("aside");
    std::fs::rename(&out, &aside).unwrap();
    std::fs::write(&out, "").unwrap();
    bench.send("events", &events(10..20));
    bench.wait("the sink says so", |b| b.platform.status().sinks[0].state == "failing");
    assert!(bench.platform.status().sinks[0].error.is_some());
    bench.send("events", &events(20..30));
    bench.until_equal();
    std::fs::remove_file(&out).unwrap();
    std::fs::rename(&aside, &out).unwrap();
    until_delivered(&bench);
    bench.wait("healthy", |b| b.platform.status().sinks[0].error.is_none());
}

#[test]
fn a_target_that_fails_too_often_is_given_up_until_the_next_start() {
    let few = OUT.replace("'out')", "'out', retry_delay_min = '1 ms', retry_attempts_max = 2)");
    let place = Place::new(&format!("{EVENTS}{TOTALS}{few}"), &[]);
    // Before anybody looks there.
    let out = place.path().join("out");
    std::fs::write(&out, "").unwrap();
    let bench = place.start();
    bench.send("events", &events(0..10));
    bench.wait("it is given up", |b| b.platform.status().sinks[0].state == "failed");
    let why = bench.platform.status().sinks[0].error.clone().unwrap().detail;
    assert!(why.contains("gave up after 2 attempts"), "{why}");
    std::fs::remove_file(&out).unwrap();
    bench.send("events", &events(10..20));
    bench.until_equal();
    let sink = bench.platform.status().sinks[0].clone();
    assert!(sink.state == "failed" && sink.waiting_epochs > 0, "{sink:?}");
    // Nothing is lost by it.
    let bench = bench.reopen();
    until_delivered(&bench);
}

/// An HTTP server that answers with a status of the test's choice.
struct Target {
    url: String,
    status: Arc<AtomicU16>,
    bodies: Arc<Mutex<Vec<(u16, String)>>>,
}

impl Target {
    fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let (status, bodies) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new(vec![])));
        let (answer, taken) = (status.clone(), bodies.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, taken) = (answer.clone(), taken.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &answer, &taken));
            }
        });
        Target { url, status, bodies }
    }

    /// Accepted rows in their order, without what is sent again.
    fn values(&self) -> Vec<(String, i64)> {
        let bodies = self.bodies.lock().unwrap();
        let accepted = bodies.iter().filter(|(status, _)| *status == 200);
        let lines = accepted.flat_map(|(_, body)| body.lines());
        let row = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap();
            (row["k"].as_str().unwrap().to_string(), row["id"].as_i64().unwrap())
        };
        lines.map(row).collect()
    }
}

fn serve(stream: std::net::TcpStream, answer: &AtomicU16, taken: &Mutex<Vec<(u16, String)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
            if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            line.clear();
        }
        if line.is_empty() {
            return;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let status = answer.load(Ordering::SeqCst);
        taken.lock().unwrap().push((status, String::from_utf8(body).unwrap()));
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        if reader.get_mut().write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn an_http_target_that_is_down_gets_all_in_order() {
    let target = Target::start();
    let sink = format!(
        "CREATE SINK out FROM (SELECT k, id FROM events WHERE v >= 0) WITH (connector = 'http',
         url = '{}', retry_delay_min = '1 ms', retry_delay_max = '5 ms');\n",
        target.url
    );
    let bench = Bench::new(&format!("{EVENTS}{sink}"));
    bench.send("events", &events(0..20));
    bench.wait("the first", |_| target.values().len() == 20);
    target.status.store(503, Ordering::SeqCst);
    for i in 2..8 {
        bench.send("events", &events(i * 10..(i + 1) * 10));
    }
    bench.wait("it is told", |b| b.platform.status().sinks[0].state == "failing");
    // The process ends while the target is down.
    let bench = bench.reopen();
    bench.send("events", &events(80..100));
    target.status.store(200, Ordering::SeqCst);
    bench.wait("all", |_| {
        target.values().iter().map(|(_, id)| *id).collect::<std::collections::BTreeSet<_>>().len()
            == 100
    });
    // At least once, and the events of a key in their order.
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for (key, id) in target.values() {
        let before = last.insert(key.clone(), id).unwrap_or(-1);
        assert!(id > before, "{key}: {id} after {before}");
    }
    let status = bench.platform.status();
    assert_eq!(status.sinks[0].delivery, "at_least_once");
}

#[test]
fn a_promise_that_can_not_be_kept_is_refused() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    let make = |connector: &str, delivery: &str| {
        format!("CREATE SINK out FROM totals WITH ({connector}, delivery = '{delivery}')")
    };
    let http = "connector = 'http', url = 'http://127.0.0.1:1/'";
    for delivery in ["exactly_once", "at_most_once"] {
        let e = bench.refused(&make(http, delivery));
        assert_kind(&e, Kind::Unsupported, &[delivery, "'http'", "at_least_once"]);
        assert!(e.place().is_some(), "{e}");
    }
    let e = bench.refused(&make(http, "once"));
    assert!(e.to_string().contains("once"), "{e}");
    for delivery in ["exactly_once", "at_least_once", "at_most_once"] {
        bench.sql(&make("connector = 'file', path = 'out'", delivery));
        assert_eq!(bench.platform.status().sinks[0].delivery, delivery);
        bench.sql("DROP SINK out");
    }
}

#[test]
fn at_most_once_never_sends_twice() {
    let once = OUT.replace("'out')", "'out', delivery = 'at_most_once')");
    for at in ["sink.prepared:1", "sink.committed:2"] {
        let place =
            Place::new(&format!("{EVENTS}{once}").replace("FROM totals", "FROM events"), &[]);
        place.write("sql/totals.sql", TOTALS);
        place.crash("sink", at);
        let bench = place.start();
        bench.wait("all is tried", |b| {
            let status = b.platform.status();
            status.sinks[0].waiting_epochs == 0 && status.sinks[0].lag_events == 0
        });
        let dir = bench.place.path().join("out");
        let place = bench.close();
        let mut ids = vec![];
        for path in files(&dir)
            .iter()
            .filter(|p| !p.file_name().unwrap().to_string_lossy().starts_with('.'))
        {
            for line in std::fs::read_to_string(path).unwrap().lines() {
                ids.push(serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap());
            }
        }
        let n = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), n, "{at}: a row was sent twice");
        drop(place);
    }
}
