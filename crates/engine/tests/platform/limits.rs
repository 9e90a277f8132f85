//! What would take all memory is refused or stopped alone, and says so.

use common::Kind;

use super::support::*;

#[test]
fn a_view_with_ever_more_keys_stops_and_the_others_go_on() {
    let keys =
        "CREATE MATERIALIZED VIEW keys AS SELECT id, count(*) AS n FROM events GROUP BY id;\n";
    let settings = [("stream.state_bytes_max", "2 MiB")];
    let bench = Place::new(&format!("{EVENTS}{TOTALS}{keys}"), &settings).start();
    for i in 0..40 {
        bench.send("events", &events(i * 5_000..(i + 1) * 5_000));
    }
    bench.wait("it has stopped", |b| b.platform.views().iter().any(|v| v.state == "failed"));
    let e = bench.refused("SELECT count(*) FROM keys");
    assert_kind(&e, Kind::Unavailable, &["keys", "2 MiB"]);
    bench.until_equal();
    assert!(bench.platform.ready().is_ok());
}

#[test]
fn a_query_that_takes_too_much_is_refused_alone() {
    let settings = [("query.memory_max", "8 MiB")];
    let bench = Place::new(EVENTS, &settings).start();
    for i in 0..20 {
        bench.send("events", &events(i * 5_000..(i + 1) * 5_000));
    }
    let e = bench.refused("SELECT id, array_agg(k) FROM events GROUP BY id ORDER BY id");
    assert_kind(&e, Kind::OutOfMemory, &["memory"]);
    assert_eq!(e.kind().sqlstate(), "53200");
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["100000"]);
}

/// The rest of the process counts, too: here it alone is more than there may be.
#[test]
fn queries_end_before_the_process_has_no_memory() {
    let bench = Place::new(EVENTS, &[("memory.max", "8 MiB")]).start();
    bench.send("events", &events(0..20_000));
    let long = "SELECT count(*) FROM events a JOIN events b ON a.id + b.id < 0";
    let e = bench.refused(long);
    assert_kind(&e, Kind::OutOfMemory, &["memory.max"]);
    assert_eq!(bench.send("events", &events(0..10)).accepted, 10);
}

/// 3,000 rows of a kilobyte, each beside a thousand numbers: 3 GB at once.
#[test]
fn long_lists_are_taken_apart_some_rows_at_a_time() {
    // The peak is the whole process's: in one of its own no other test has a part in it.
    const ALONE: &str = "WATERSHED_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "platform::limits::long_lists_are_taken_apart_some_rows_at_a_time";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let ran = child.args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}{errors}");
        return;
    }
    let topic = "CREATE TOPIC texts (t TEXT);\n";
    let bench = Place::new(topic, &[]).start();
    let line = format!("{{\"t\":\"{}\"}}\n", "x".repeat(1_000));
    bench.send("texts", &line.repeat(3_000));
    let unnested = "SELECT count(*), sum(length(t)) FROM
      (SELECT t, explode(sequence(1, 1000)) AS n FROM texts) WHERE n > 0";
    assert_eq!(bench.sql(unnested), ["3000000|3000000000"]);
    let peak = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = peak.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 2_000_000, "{kib} KiB");
}

/// Eight megabytes beside each of many rows: 64 GB of a batch, if they were made at once.
#[test]
fn a_large_constant_ends_no_process() {
    let bench = Place::new(EVENTS, &[("query.timeout", "3 s")]).start();
    bench.send("events", &events(0..8_000));
    for query in [
        "SELECT count(*) FROM (SELECT unnest(sequence(1, 1000000)) AS e FROM events)",
        "SELECT max(repeat('a', 60000000)) FROM events",
        "SELECT count(*) FROM events WHERE concat(k, repeat('a', 60000000)) = 'x'",
    ] {
        match bench.try_sql(query) {
            Ok(rows) => assert_eq!(rows.len(), 1, "{query}"),
            Err(e) => assert_ne!(e.kind(), Kind::Internal, "{query}: {e}"),
        }
    }
    bench.sql(
        "CREATE MATERIALIZED VIEW x AS SELECT k, count(*) AS n FROM
         (SELECT k, unnest(sequence(1, 1000000)) AS e FROM events) q GROUP BY k",
    );
    bench.wait("it has stopped", |b| b.platform.views()[0].state == "failed");
    let bench = bench.reopen();
    bench.wait("it has stopped again", |b| b.platform.views()[0].state == "failed");
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["8000"]);
}
