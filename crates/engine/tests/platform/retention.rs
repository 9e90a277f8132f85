//! Retention: only what is archived leaves the log, and a view made afterwards starts from history.

use super::support::*;

const DAYS: i64 = 86_400 * SECOND;

const KEPT: &str = "CREATE TOPIC events (id BIGINT NOT NULL, k TEXT, v BIGINT)
WITH (partitions = 2, key = 'k', retention = '1 day');
";

fn old(bench: &Bench) {
    bench.clock.advance(3 * DAYS);
}

#[test]
fn what_is_not_archived_stays() {
    let bench = Bench::new(KEPT);
    bench.send("events", &events(0..100));
    old(&bench);
    bench.retention();
    assert_eq!(bench.starts("events"), [0, 0]);
    let bench = bench.reopen();
    bench.retention();
    assert_eq!(bench.starts("events"), [0, 0]);
    bench.archive().unwrap();
    bench.retention();
    bench.send("events", &events(100..120));
    assert!(bench.starts("events").iter().all(|s| *s > 0), "{:?}", bench.starts("events"));
    let once = "SELECT count(*), count(DISTINCT id) FROM events";
    assert_eq!(bench.sql(once), ["120|120"]);
    let bench = bench.reopen();
    assert_eq!(bench.sql(once), ["120|120"]);
}

#[test]
fn a_new_view_starts_from_history_and_goes_on_live() {
    let bench = Bench::new(KEPT);
    bench.send("events", &events(0..200));
    old(&bench);
    bench.archive().unwrap();
    bench.retention();
    // Some in the log only, some in both.
    bench.send("events", &events(200..230));
    bench.archive().unwrap();
    bench.send("events", &events(230..260));
    let platform = bench.platform.clone();
    let sending = bench.spawn(async move {
        for i in 26..46 {
            platform.ingest("events", events(i * 10..(i + 1) * 10).into(), ndjson()).await.unwrap();
        }
    });
    bench.sql(TOTALS.trim().trim_end_matches(';'));
    bench.wait("all is sent", |_| sending.is_finished());
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT id) FROM events"), ["460|460"]);
    bench.until_equal();
    let bench = bench.reopen();
    bench.until_equal();
    assert_eq!(bench.sql("SELECT sum(n) FROM totals"), ["460"]);
}

#[test]
fn queries_are_not_torn_by_retention() {
    let bench = Place::new(KEPT, &[("log.segment_bytes_max", "1 KiB")]).start();
    let (platform, clock) = (bench.platform.clone(), bench.clock.clone());
    let working = bench.spawn(async move {
        for i in 0..40 {
            platform.ingest("events", events(i * 20..(i + 1) * 20).into(), ndjson()).await.unwrap();
            clock.advance(2 * DAYS);
            platform.archive_now().await.unwrap();
            platform.retention_now().await.unwrap();
        }
    });
    let mut seen = 0;
    while !working.is_finished() {
        let answer =
            bench.sql("SELECT count(*), count(DISTINCT id), coalesce(max(id), -1) + 1 FROM events");
        let n: Vec<u64> = answer[0].split('|').map(|n| n.parse().unwrap()).collect();
        // Both partitions grow in step with the ids of a request, so none in between is missing.
        assert!(n[0] == n[1] && n[0] >= seen, "{answer:?} after {seen}");
        seen = n[0] - n[0] % 20;
    }
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT id) FROM events"), ["800|800"]);
}

#[test]
fn a_view_of_a_topic_without_archive_starts_at_what_is_there() {
    let bench = Bench::new(&KEPT.replace("'1 day'", "'1 day', archive = false"));
    bench.send("events", &events(0..100));
    old(&bench);
    bench.retention();
    bench.send("events", &events(100..110));
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["10"]);
    bench.sql(TOTALS.trim().trim_end_matches(';'));
    // A view made now starts at what there is, as a query does.
    bench.until_equal();
    assert_eq!(bench.sql("SELECT sum(n) FROM totals"), ["10"]);
}

#[test]
fn compaction_does_not_wait_for_the_turn_of_the_archive() {
    let topic =
        "CREATE TOPIC events (id BIGINT NOT NULL, k TEXT NOT NULL, v BIGINT) WITH (partitions = 1,
        key = 'k', cleanup_policy = 'compact', segment_bytes = 2000,
        min_cleanable_dirty_ratio = 0);\n";
    let rarely = [("lake.archive_interval", "1 days"), ("lake.archive_bytes", "1024 MiB")];
    let bench = Place::new(topic, &rarely).start();
    for i in 0..40 {
        bench.send("events", &events(i * 5..(i + 1) * 5));
    }
    let in_log = |bench: &Bench| {
        let platform = bench.platform.clone();
        let from = [(common::Partition(0), common::Offset(0))].into();
        let read = async move { platform.read_topic("events", from, 1_000).await };
        bench.on(read).unwrap().len()
    };
    assert_eq!(in_log(&bench), 200);
    bench.retention();
    assert!(in_log(&bench) < 100, "{}", in_log(&bench));
    // All that there was is in the history.
    let all = "SELECT count(*), count(DISTINCT id), max(_offset) FROM events";
    assert_eq!(bench.sql(all), ["200|200|199"]);
    bench.send("events", &events(200..205));
    assert_eq!(bench.sql(all), ["205|205|204"]);
}
