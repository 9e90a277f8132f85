//! The archive: each offset in it once, and one table with the log's tail at every moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::*;

const SMALL: Settings = &[("lake.archive_bytes", "2 KiB")];

pub fn archiving(bench: &Bench) {
    bench.send("events", &events(0..200));
    bench.archive().unwrap();
    bench.send("events", &events(200..400));
    bench.archive().unwrap();
}

#[test]
fn a_crash_while_archiving_doubles_nothing() {
    for at in
        ["archive.gathered:1", "archive.gathered:3", "archive.committed:1", "archive.committed:3"]
    {
        let place = Place::new(&format!("{EVENTS}{TOTALS}"), SMALL);
        place.crash("archive", at);
        let bench = place.start();
        let n: u64 = bench.sql("SELECT count(*) FROM events")[0].parse().unwrap();
        assert!(n == 200 || n == 400, "{at}: {n}");
        let once = "SELECT count(*), count(DISTINCT id), count(DISTINCT (_partition, _offset)) FROM events";
        assert_eq!(bench.sql(once), [format!("{n}|{n}|{n}")], "{at}");
        bench.archive().unwrap();
        assert_eq!(bench.sql(once), [format!("{n}|{n}|{n}")], "{at}");
        bench.send("events", &events(400..450));
        bench.archive().unwrap();
        let bench = bench.reopen();
        let n = n + 50;
        assert_eq!(bench.sql(once), [format!("{n}|{n}|{n}")], "{at}");
        bench.until_equal();
    }
}

#[test]
fn columns_that_no_table_can_have_are_refused_at_once() {
    let bench = Place::new(EVENTS, SMALL).start();
    for columns in ["\"a b\" INT", "\"a=b\" INT", "\"a(b)\" TEXT"] {
        let create = format!("CREATE TOPIC odd ({columns})");
        let e = bench.refused(&create).to_string();
        assert!(e.contains("archive = 'false'"), "{columns}: {e}");
        bench.sql(&format!("{create} WITH (archive = 'false')"));
        bench.sql("DROP TOPIC odd");
    }
}

/// Every query sees all that was acknowledged before it, each offset once, while events arrive and
/// the archive takes them over.
#[test]
fn every_query_sees_each_offset_once() {
    let bench = Place::new(EVENTS, SMALL).start();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (platform, count) = (bench.platform.clone(), acknowledged.clone());
    let sending = bench.spawn(async move {
        for i in 0..150 {
            let body = events(i * 10..(i + 1) * 10);
            platform.ingest("events", body.into(), ndjson()).await.unwrap();
            count.store((i + 1) * 10, Ordering::SeqCst);
        }
    });
    let platform = bench.platform.clone();
    let archiving = bench.spawn(async move {
        for _ in 0..30 {
            platform.archive_now().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut queries = 0;
    while !sending.is_finished() || !archiving.is_finished() || queries < 10 {
        let before = acknowledged.load(Ordering::SeqCst);
        let answer = bench.sql("SELECT count(*), count(DISTINCT id), max(id) + 1 FROM events");
        let numbers: Vec<u64> = answer[0].split('|').map(|n| n.parse().unwrap_or(0)).collect();
        assert_eq!(numbers[0], numbers[1], "doubled: {answer:?}");
        assert!(numbers[0] >= before, "{before} were acknowledged: {answer:?}");
        queries += 1;
    }
    bench.archive().unwrap();
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT id) FROM events"), ["1500|1500"]);
    let status = bench.platform.status();
    assert_eq!((status.archive[0].archived_offset_sum, status.archive[0].lag_events), (1500, 0));
}

#[test]
fn a_topic_that_fails_does_not_keep_others_from_it() {
    let other = EVENTS.replace("events", "others");
    let bench = Bench::new(&format!("{EVENTS}{other}"));
    bench.send("events", &events(0..10));
    bench.send("others", &events(0..10));
    let lake = bench.place.path().join("data/lake");
    std::fs::create_dir_all(&lake).unwrap();
    // Where the table of 'events' would be stands a file.
    std::fs::write(lake.join("events"), "").unwrap();
    let e = bench.archive().unwrap_err();
    assert!(e.to_string().contains("events"), "{e}");
    let others = |b: &Bench| {
        b.platform.status().archive.iter().find(|a| a.topic == "others").unwrap().lag_events
    };
    assert_eq!(others(&bench), 0);
    std::fs::remove_file(lake.join("events")).unwrap();
    bench.archive().unwrap();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["10"]);
}
