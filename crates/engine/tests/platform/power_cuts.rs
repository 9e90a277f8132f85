//! Power cuts with archive and sinks running: the newest commit of the lake may be there by name
//! alone, without its bytes. Each event is there once afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::*;

/// The newest entry of a table's log.
fn newest(table: &Path) -> PathBuf {
    let entries = fs::read_dir(table.join("_delta_log")).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.extension().is_some_and(|x| x == "json")).max().unwrap()
}

#[test]
fn twelve_of_them_cost_nothing_that_was_archived() {
    let sink = "CREATE SINK out FROM (SELECT id, v FROM events)
      WITH (connector = 'file', path = 'out', format = 'ndjson');\n";
    let mut bench = Bench::new(&format!("{EVENTS}{TOTALS}{sink}"));
    for round in 0..12_u64 {
        bench.send("events", &events(round * 50..(round + 1) * 50));
        bench.archive().unwrap();
        let lasting = 600.min((round + 1) * 50);
        bench.until_equal();
        assert_eq!(bench.sql("SELECT count(DISTINCT id) FROM events"), strings([lasting]));
        // What the log has let go is only in commits that were synced before.
        if round == 5 {
            bench.retention();
        }
        let place = bench.close();
        let table = place.path().join("data/lake/events");
        let entry = newest(&table);
        if round % 3 < 2 {
            fs::write(&entry, b"").unwrap();
        }
        bench = place.start();
        let counts = "SELECT count(*), count(DISTINCT id) FROM events";
        assert_eq!(bench.sql(counts), [format!("{lasting}|{lasting}")], "round {round}");
        bench.until_equal();
    }
    bench.archive().unwrap();
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT id) FROM events"), ["600|600"]);
    bench.wait("all is delivered", |b| b.platform.status().sinks[0].waiting_epochs == 0);
    let files = fs::read_dir(bench.place.path().join("out")).unwrap().map(|e| e.unwrap().path());
    let parts = files.filter(|p| p.extension().is_some_and(|x| x == "ndjson"));
    let rows: usize = parts.map(|p| fs::read_to_string(p).unwrap().lines().count()).sum();
    assert_eq!(rows, 600, "each event was delivered once");
}

#[test]
fn an_entry_in_the_middle_is_no_power_cut() {
    let bench = Bench::new(EVENTS);
    bench.send("events", &events(0..10));
    bench.archive().unwrap();
    let place = bench.close();
    let first = newest(&place.path().join("data/lake/events"));
    let bench = place.start();
    bench.send("events", &events(10..20));
    bench.archive().unwrap();
    let place = bench.close();
    fs::write(&first, b"").unwrap();
    let bench = place.start();
    let e = bench.refused("SELECT count(*) FROM events");
    assert_kind(&e, common::Kind::Corrupt, &["events"]);
}
