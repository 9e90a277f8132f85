//! Open, take in, look, close, open again; definitions typed over SQL; DROP.

use common::Kind;

use super::support::*;

#[test]
fn a_restart_changes_no_answer() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    bench.send("events", &events(0..100));
    bench.until_equal();
    let before = bench.sorted("SELECT * FROM totals");
    let bench = bench.reopen();
    assert_eq!(bench.sorted("SELECT * FROM totals"), before);
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT id) FROM events"), ["100|100"]);
    bench.send("events", &events(100..150));
    bench.until_equal();
    let bench = bench.reopen().reopen();
    bench.until_equal();
    assert_eq!(bench.sql("SELECT sum(n) FROM totals"), ["150"]);
}

#[test]
fn what_was_typed_is_there_after_a_restart() {
    let bench = Bench::new("");
    for statement in [
        EVENTS.trim().trim_end_matches(';'),
        "CREATE SOURCE made WITH (connector = 'generator', rows = 20, rows_per_second = 0)
         INTO events",
        TOTALS.trim().trim_end_matches(';'),
        "CREATE SINK out FROM totals WITH (connector = 'file', path = 'out')",
    ] {
        bench.sql(statement);
    }
    bench.until("SELECT count(*) FROM events", &strings([20]));
    let bench = bench.reopen();
    bench.until_equal();
    let status = bench.platform.status();
    assert_eq!((status.sources.len(), status.sinks.len(), status.views.len()), (1, 1, 1));
    // A source that came to its end has not begun again.
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["20"]);
    bench.sql("DROP SINK out");
    bench.sql("DROP MATERIALIZED VIEW totals");
    let bench = bench.reopen();
    assert_eq!(bench.refused("SELECT * FROM totals").kind(), Kind::NotFound);
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["20"]);
    // Made anew it starts from the first event, once.
    bench.sql(TOTALS.trim().trim_end_matches(';'));
    bench.until_equal();
    // The same name twice, or with IF NOT EXISTS.
    let e = bench.refused(EVENTS.trim().trim_end_matches(';'));
    assert_kind(&e, Kind::AlreadyExists, &["events"]);
}

#[test]
fn what_is_used_is_not_dropped() {
    let bench = Bench::new("");
    bench.sql(EVENTS.trim().trim_end_matches(';'));
    bench.sql(TOTALS.trim().trim_end_matches(';'));
    bench.sql("CREATE MATERIALIZED VIEW big AS SELECT * FROM totals WHERE n > 1");
    let e = bench.refused("DROP TOPIC events");
    assert_kind(
        &e,
        Kind::Conflict,
        &["'events'", "view 'totals'", "DROP MATERIALIZED VIEW totals"],
    );
    let e = bench.refused("DROP MATERIALIZED VIEW totals");
    assert_kind(&e, Kind::Conflict, &["'totals'", "view 'big'"]);
    let e = bench.refused("DROP TOPIC totals");
    assert_kind(&e, Kind::Invalid, &["DROP MATERIALIZED VIEW totals"]);
    let e = bench.refused("DROP TOPIC evnts");
    assert_kind(&e, Kind::NotFound, &["evnts", "events"]);
    // All still runs.
    bench.send("events", &events(0..10));
    bench.until_equal();
    let bench = bench.reopen();
    for statement in
        ["DROP MATERIALIZED VIEW big", "DROP MATERIALIZED VIEW totals", "DROP TOPIC events"]
    {
        bench.sql(statement);
    }
    assert_eq!(bench.sql("DROP TOPIC IF EXISTS events"), ["there is no topic 'events'"]);
}

#[test]
fn what_stands_in_a_file_is_dropped_there() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    bench.send("events", &events(0..10));
    let e = bench.refused("DROP MATERIALIZED VIEW totals");
    assert_kind(&e, Kind::Conflict, &["sql/project.sql"]);
    bench.place.write("sql/project.sql", "");
    let report = bench.apply().unwrap();
    assert_eq!(report.dropped.len(), 2, "{report:?}");
    // The events stay until they are dropped by hand: a line taken out by mistake loses nothing.
    bench.place.write("sql/project.sql", &format!("{EVENTS}{TOTALS}"));
    bench.apply().unwrap();
    bench.until_equal();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["10"]);
    bench.place.write("sql/project.sql", "");
    bench.apply().unwrap();
    bench.sql("DROP TOPIC events");
    bench.place.write("sql/project.sql", &format!("{EVENTS}{TOTALS}"));
    bench.apply().unwrap();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["0"]);
    bench.send("events", &events(0..3));
    bench.until_equal();
}

#[test]
fn a_topic_made_anew_begins_empty() {
    let bench = Bench::new("");
    bench.sql(EVENTS.trim().trim_end_matches(';'));
    bench.sql("CREATE SOURCE made WITH (connector = 'generator', rows = 5, rows_per_second = 0) INTO events");
    bench.until("SELECT count(*) FROM events", &strings([5]));
    bench.import("events", 1, &events(0..50)).unwrap();
    bench.import("events", 2, &events(50..60)).unwrap();
    bench.archive().unwrap();
    bench.sql("DROP SOURCE made");
    bench.sql("DROP TOPIC events");
    bench.sql(EVENTS.trim().trim_end_matches(';'));
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["0"]);
    // Neither an import nor a source nor the archive believes that it was here before.
    let answer = bench.import("events", 1, &events(0..50)).unwrap();
    assert_eq!(answer.accepted, 50);
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["50"]);
    bench.archive().unwrap();
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT id) FROM events"), ["50|50"]);
    bench.sql("CREATE SOURCE made WITH (connector = 'generator', rows = 5, rows_per_second = 0) INTO events");
    bench.until("SELECT count(*) FROM events", &strings([55]));
    let bench = bench.reopen();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["55"]);
}

/// A child that makes, fills and drops a topic.
pub fn dropping(bench: &Bench) {
    bench.sql(EVENTS.trim().trim_end_matches(';'));
    bench.sql(TOTALS.trim().trim_end_matches(';'));
    bench.import("events", 1, &events(0..20)).unwrap();
    bench.until_equal();
    bench.archive().unwrap();
    bench.sql("DROP MATERIALIZED VIEW totals");
    bench.sql("DROP TOPIC events");
}

#[test]
fn a_drop_cut_short_is_finished() {
    for (at, gone) in [
        ("drop.begun:2", false),
        ("drop.applied:2", true),
        ("drop.log", true),
        ("drop.lake", true),
        ("retire.state", false),
    ] {
        let place = Place::new("", &[]);
        place.crash("drop", at);
        let bench = place.start();
        match gone {
            true => {
                assert_eq!(bench.refused("SELECT * FROM events").kind(), Kind::NotFound, "{at}");
                bench.sql(EVENTS.trim().trim_end_matches(';'));
                assert_eq!(bench.sql("SELECT count(*) FROM events"), ["0"], "{at}");
            }
            false => assert_eq!(bench.sql("SELECT count(*) FROM events"), ["20"], "{at}"),
        }
        if bench.try_sql("SELECT * FROM totals").is_err() {
            bench.sql(TOTALS.trim().trim_end_matches(';'));
        }
        bench.import("events", if gone { 1 } else { 2 }, &events(20..30)).unwrap();
        bench.until_equal();
        let n = if gone { 10 } else { 30 };
        assert_eq!(bench.sql("SELECT count(*) FROM events"), [n.to_string()], "{at}");
        bench.archive().unwrap();
        assert_eq!(bench.sql("SELECT count(*) FROM events"), [n.to_string()], "{at}");
    }
}

#[test]
fn the_folder_is_free_once_it_is_closed() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    let second = bench.place.clone().open();
    assert_kind(&second.err().unwrap(), Kind::Conflict, &["in use"]);
    bench.close().start();
}

/// What a join computes for one read of the log takes minutes: to drop the view is to end it, and
/// other definitions don't wait.
#[test]
fn a_view_is_dropped_in_the_middle_of_a_join_that_has_no_end() {
    let topic = "CREATE TOPIC pairs (a BIGINT NOT NULL, b BIGINT) WITH (partitions = 1);\n";
    let bench = Bench::new(topic);
    for from in [0, 20_000, 40_000] {
        let row = |a: i64| format!("{{\"a\":{a},\"b\":1}}\n");
        bench.send("pairs", &(from..from + 20_000).map(row).collect::<String>());
    }
    for on in ["l.b = r.b AND l.a + r.a < 0", "l.b = r.b"] {
        bench.sql(&format!(
            "CREATE MATERIALIZED VIEW endless AS
             SELECT l.a, count(*) AS n FROM pairs l JOIN pairs r ON {on} GROUP BY l.a"
        ));
        // It is in the middle of the first read, which no look at its figures shows.
        std::thread::sleep(std::time::Duration::from_secs(2));
        let begun = std::time::Instant::now();
        bench.sql("DROP MATERIALIZED VIEW endless");
        bench.sql("CREATE TOPIC other (a BIGINT)");
        bench.sql("DROP TOPIC other");
        let took = begun.elapsed().as_secs();
        assert!(took < 10, "dropping took {took} s: {on}");
    }
}

/// What a lag of 0 promises is there for the next reader.
#[test]
fn without_lag_every_row_is_readable() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    for round in 1..=60 {
        bench.send("events", &events((round - 1) * 3..round * 3));
        bench.wait("no lag", |b| b.platform.views().iter().all(|v| v.lag_events == 0));
        let counted = bench.sql("SELECT sum(n) FROM totals");
        assert_eq!(counted, [(round * 3).to_string()], "round {round}");
    }
}
