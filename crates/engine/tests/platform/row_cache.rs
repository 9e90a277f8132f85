//! What was checked on the way in is kept as columns: views and the archive need not decode it
//! again, and get the very rows that the log has.

use bytes::Bytes;
use common::Partition;

use super::support::*;

const KINDS: &str = "CREATE TOPIC kinds (
  id BIGINT NOT NULL, k TEXT, flag BOOLEAN, ratio DOUBLE, price DECIMAL(12, 3), at TIMESTAMP, day DATE,
  tags ARRAY<TEXT>, place STRUCT<lat: DOUBLE, names: ARRAY<TEXT>>, n INT DEFAULT 7,
  CHECK (ratio < 1000)
) WITH (partitions = 3, key = 'k');
CREATE TOPIC one (id BIGINT NOT NULL, text TEXT);
";

fn kinds(ids: std::ops::Range<u64>) -> String {
    let line = |i: u64| match i % 7 {
        0 => format!("{{\"id\":{i}}}\n"),
        1 => format!("{{\"id\":{i},\"k\":null,\"ratio\":{i}.5e-3,\"n\":null}}\n"),
        2 => format!("{{\"id\":{i},\"k\":\"a{}\",\"ratio\":1e9}}\n", i % 11),
        3 => "no json\n".into(),
        _ => format!(
            "{{\"id\":{i},\"k\":\"k{}\",\"flag\":{},\"ratio\":0.1,\"price\":{}.25,\"at\":\"2026-01-01T00:00:0{}.123456Z\",\
             \"day\":\"2025-12-3{}\",\"tags\":[\"x\",null,\"{i}\"],\"place\":{{\"lat\":-0.0,\"names\":[]}},\"n\":{i}}}\n",
            i % 13,
            i.is_multiple_of(2),
            i * 3,
            i % 6,
            i % 2
        ),
    };
    ids.map(line).collect()
}

/// Rows read from the cache and from the log since the start.
fn rows_read(bench: &Bench) -> (u64, u64) {
    let session = bench.platform.clone();
    let page = bench.on(async move { session.metrics().await }).unwrap();
    let of = |from: &str| {
        let sample = format!("watershed_rows_read_total{{from=\"{from}\"}} ");
        page.lines().find_map(|l| l.strip_prefix(&sample)).unwrap().parse().unwrap()
    };
    (of("cache"), of("log"))
}

#[test]
fn an_event_is_decoded_once() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    for part in 0..10 {
        bench.send("events", &events(part * 1000..part * 1000 + 1000));
    }
    bench.until_equal();
    bench.archive().unwrap();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["10000"]);
    let (cache, log) = rows_read(&bench);
    assert_eq!(log, 0, "the view, the batch queries and the archive decoded nothing");
    assert!(cache >= 20_000, "{cache}");
}

#[test]
fn kept_rows_are_those_of_the_log() {
    let bench = Bench::new(KINDS);
    let sent = bench.send("kinds", &kinds(0..3000));
    assert!(sent.refused > 500 && sent.accepted > 1500, "{sent:?}");
    let one: String = (0..500).map(|i| format!("{{\"id\":{i},\"text\":\"t{i}\"}}\n")).collect();
    bench.send("one", &one);
    let queries = [
        "SELECT * FROM kinds ORDER BY _partition, _offset",
        "SELECT n, _partition, _offset, _key FROM kinds ORDER BY _partition, _offset",
        "SELECT count(*) FROM kinds",
        "SELECT * FROM one ORDER BY _offset",
        "SELECT text FROM one WHERE _offset BETWEEN 100 AND 250 ORDER BY id",
    ];
    let answers = |bench: &Bench| queries.map(|q| bench.sql(q));
    let kept = answers(&bench);
    assert_eq!(rows_read(&bench).1, 0);
    assert_eq!(kept[0].len() as u64, sent.accepted);
    // After a restart nothing is kept.
    let bench = bench.reopen();
    assert_eq!(answers(&bench), kept);
    assert_eq!(rows_read(&bench).0, 0);
    bench.send("kinds", &kinds(3000..4000));
    let more = answers(&bench);
    bench.archive().unwrap();
    assert_eq!(answers(&bench), more, "kept rows in the archive");
    assert!(rows_read(&bench).0 > 0);
}

#[test]
fn another_definition_decodes_anew() {
    let bench = Bench::new("CREATE TOPIC one (id BIGINT NOT NULL);");
    let body: String = (0..200).map(|i| format!("{{\"id\":{i},\"n\":{i}}}\n")).collect();
    bench.send("one", &body);
    assert_eq!(bench.sql("SELECT count(*), max(id) FROM one"), ["200|199"]);
    assert_eq!(rows_read(&bench).1, 0);
    bench.place.write("sql/project.sql", "CREATE TOPIC one (id BIGINT NOT NULL, n INT DEFAULT 5);");
    bench.apply().unwrap();
    let (_, before) = rows_read(&bench);
    assert_eq!(bench.sql("SELECT count(n), max(n) FROM one"), ["200|199"]);
    assert_eq!(rows_read(&bench).1, before + 200);
    bench.send("one", &body);
    assert_eq!(bench.sql("SELECT count(n), max(n) FROM one"), ["400|199"]);
}

#[test]
fn batches_of_clients_are_kept_as_they_are_checked() {
    let bench = Bench::new(&format!(
        "{KINDS}CREATE MATERIALIZED VIEW most AS SELECT max(id) AS id FROM one;"
    ));
    let log = bench.platform.topic_log("one").unwrap().partition(Partition(0)).unwrap();
    let send = |from: i64, fault: bool| {
        let mut builder = log::BatchBuilder::new(T0);
        for id in from..from + 100 {
            let value = format!("{{\"id\":{id},\"text\":\"x\"}}");
            builder.push(T0, None, Some(Bytes::from(value).as_ref()), &[]);
        }
        if fault {
            builder.push(T0, None, Some(b"no json"), &[]);
        }
        let appended = log.append(builder.build()).unwrap();
        log.wait_durable(appended).unwrap();
    };
    send(0, false);
    bench.until("SELECT id FROM most", &strings(["99"]));
    assert_eq!(bench.sql("SELECT count(*), max(id) FROM one"), ["100|99"]);
    assert_eq!(rows_read(&bench).1, 0);
    // One with a fault is decoded by each that reads it.
    send(100, true);
    bench.until("SELECT id FROM most", &strings(["199"]));
    assert_eq!(bench.sql("SELECT count(*), max(id) FROM one"), ["200|199"]);
    assert!(rows_read(&bench).1 >= 100);
}

#[test]
fn without_room_all_is_decoded() {
    let bench = Place::new(&format!("{EVENTS}{TOTALS}"), &[("log.row_cache_bytes", "0")]).start();
    bench.send("events", &events(0..1000));
    bench.until_equal();
    let (cache, log) = rows_read(&bench);
    assert!(cache == 0 && log >= 2000, "{cache} {log}");
}
