//! A view that is made anew serves its old rows until the new ones have caught up.

use super::support::*;

const NOTES: &str = "CREATE TOPIC notes (k TEXT, v TEXT) WITH (partitions = 2);\n";
const QUICK: &str =
    "CREATE MATERIALIZED VIEW sums AS SELECT k, count(*) AS n FROM notes GROUP BY k;\n";
/// Takes seconds for all notes.
const SLOW: &str = "CREATE MATERIALIZED VIEW sums AS SELECT k, count(*) AS n,
    max(sha2(repeat(v, 3000), 512)) AS most FROM notes GROUP BY k;\n";

fn notes(n: std::ops::Range<u32>) -> String {
    n.map(|i| format!("{{\"k\":\"k{}\",\"v\":\"value {i}\"}}\n", i % 3)).collect()
}

/// Rows of the view; none of its readers may ever find it empty or behind what it had.
fn counted(bench: &Bench) -> u64 {
    bench.sql("SELECT coalesce(sum(n), 0) FROM sums")[0].parse().unwrap()
}

fn is_old(bench: &Bench) -> bool {
    bench.platform.views()[0].serves_previous
}

#[test]
fn readers_meet_no_gap() {
    let bench = Bench::new(&format!("{NOTES}{QUICK}"));
    bench.send("notes", &notes(0..5_000));
    bench.until("SELECT sum(n) FROM sums", &strings([5_000]));
    bench.place.write("sql/project.sql", &format!("{NOTES}{SLOW}"));
    let report = bench.apply().unwrap();
    assert_eq!(report.changed, strings(["sums"]));
    assert!(is_old(&bench), "it caught up too fast for this test");
    assert_eq!(counted(&bench), 5_000);
    // The old one goes on with what comes meanwhile.
    bench.send("notes", &notes(5_000..5_100));
    bench.until("SELECT sum(n) FROM sums", &strings([5_100]));
    let mut seen = 5_100;
    while is_old(&bench) {
        let now = counted(&bench);
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    bench.until("SELECT sum(n) FROM sums", &strings([5_100]));
    let most = "SELECT count(DISTINCT most), max(length(most)) FROM sums";
    assert_eq!(bench.sql(most), ["3|128"]);
    // Nothing of the old one is left, and a restart finds the new one.
    let bench = bench.reopen();
    bench.until("SELECT sum(n) FROM sums", &strings([5_100]));
    assert_eq!(bench.sql(most), ["3|128"]);
}

#[test]
fn what_serves_goes_with_its_view() {
    let bench = Bench::new(NOTES);
    bench.sql(QUICK.trim_end().trim_end_matches(';'));
    bench.send("notes", &notes(0..800));
    bench.until("SELECT sum(n) FROM sums", &strings([800]));
    bench.sql("DROP MATERIALIZED VIEW sums");
    bench.sql(SLOW.trim_end().trim_end_matches(';'));
    // A new view has no predecessor, and can be rebuilt before it has caught up.
    assert!(!is_old(&bench));
    let platform = bench.platform.clone();
    bench.on(async move { platform.rebuild_view("sums").await }).unwrap();
    let platform = bench.platform.clone();
    bench.on(async move { platform.rebuild_view("sums").await }).unwrap();
    bench.sql("DROP MATERIALIZED VIEW sums");
    assert!(bench.try_sql("SELECT * FROM sums").is_err());
    let unknown = bench.platform.clone();
    let e = bench.on(async move { unknown.rebuild_view("sums").await }).unwrap_err();
    assert_eq!(e.kind(), common::Kind::NotFound);
}

#[test]
fn or_replace_takes_the_place_of_what_was_typed() {
    let bench = Bench::new(NOTES);
    let typed = |sql: &str| sql.trim_end().trim_end_matches(';').to_string();
    let replacing = typed(SLOW).replace("CREATE", "CREATE OR REPLACE");
    bench.sql(&typed(QUICK));
    bench.send("notes", &notes(0..2_500));
    bench.until("SELECT sum(n) FROM sums", &strings([2_500]));
    assert!(bench.try_sql(&typed(SLOW)).is_err(), "without the words nothing is replaced");
    assert_eq!(bench.sql(&replacing), ["replaced materialized view 'sums'"]);
    assert!(is_old(&bench), "it caught up too fast for this test");
    assert_eq!(counted(&bench), 2_500, "no gap");
    bench.wait("the replacement", |bench| !is_old(bench));
    assert_eq!(bench.sql("SELECT count(DISTINCT most) FROM sums"), ["3"]);
    // What doesn't plan, is of another kind or stands in a file changes nothing.
    for (statement, why) in [
        ("CREATE OR REPLACE MATERIALIZED VIEW sums AS SELECT nope FROM notes", "nope"),
        ("CREATE OR REPLACE TOPIC sums (a INT)", "materialized view 'sums' exists already"),
        ("CREATE OR REPLACE TOPIC notes (k INT)", "defined in sql/project.sql"),
        ("CREATE OR REPLACE TOPIC IF NOT EXISTS t (a INT)", "contradict"),
    ] {
        let e = bench.try_sql(statement).unwrap_err().to_string();
        assert!(e.contains(why), "{statement}: {e}");
    }
    let new = "CREATE OR REPLACE TOPIC fresh (a INT)";
    assert_eq!(bench.sql(new), ["created topic 'fresh'"]);
    bench.send("fresh", "{\"a\":1}\n");
    assert!(bench.try_sql("CREATE OR REPLACE TOPIC fresh (a TEXT)").is_err(), "it holds events");
    assert_eq!(bench.sql(&new.replace("INT", "BIGINT")), ["replaced topic 'fresh'"]);
    bench.send("fresh", "{\"a\":5000000000}\n");
    // A restart finds the replacement, each change counted.
    let path = bench.place.path().join("data/catalog.json");
    let bench = bench.reopen();
    bench.until("SELECT sum(a) FROM fresh", &strings([5_000_000_001_i64]));
    bench.until("SELECT count(DISTINCT most) FROM sums", &strings([3]));
    let catalog: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let version = |name: &str| {
        let all = catalog["definitions"].as_array().unwrap();
        all.iter().find(|o| o["name"] == name).unwrap()["version"].clone()
    };
    assert_eq!(["sums", "fresh", "notes"].map(version), [2, 2, 1]);
}
