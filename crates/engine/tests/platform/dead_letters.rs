//! What could not be taken in: there with its reason, once, and not for ever.

use engine::DeadLetterQuery;

use super::support::*;

const READINGS: &str = "CREATE TOPIC readings (
  sensor TEXT NOT NULL, celsius DOUBLE, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '5 seconds',
  CHECK (celsius BETWEEN -60 AND 200)
) WITH (key = 'sensor', partitions = 1);
CREATE MATERIALIZED VIEW minutes AS
SELECT sensor, window(at, '1 minute') AS w, count(*) AS n
FROM readings GROUP BY sensor, window(at, '1 minute');
";

fn reading(celsius: &str, at: &str) -> String {
    format!("{{\"sensor\":\"a\",\"celsius\":{celsius},\"at\":\"2025-12-31T{at}Z\"}}\n")
}

#[test]
fn each_refused_line_has_its_reason() {
    let bench = Bench::new(READINGS);
    let future = "{\"sensor\":\"a\",\"celsius\":1,\"at\":\"2026-01-02T00:00:00Z\"}\n";
    let body = [
        &reading("1", "23:00:00"),
        "{oops\n",
        "{\"celsius\":1}\n",
        &reading("900", "23:00:00"),
        &reading("\"warm\"", "23:00:00"),
        future,
    ]
    .concat();
    let answer = bench.send("readings", &body);
    assert_eq!((answer.accepted, answer.refused), (1, 5));
    let kinds = "SELECT line, kind, \"column\" FROM dead_letters ORDER BY line";
    let shown = bench.sql(kinds);
    let told: Vec<String> = answer
        .errors
        .iter()
        .map(|e| format!("{}|{}|{}", e.line, e.code, e.column.as_deref().unwrap_or("NULL")))
        .collect();
    assert_eq!(shown, told);
    assert_eq!(shown.len(), 5);
    let reason = "SELECT reason FROM dead_letters WHERE line = 4";
    assert_eq!(bench.sql(reason), ["breaks CHECK (celsius BETWEEN -60 AND 200)"]);
    let bench = bench.reopen();
    assert_eq!(bench.sql(kinds), shown);
}

#[test]
fn a_late_row_is_there_once_and_the_view_is_the_rest() {
    let bench = Bench::new(READINGS);
    let count = "SELECT n FROM minutes WHERE w.start = TIMESTAMP '2025-12-31 23:00:00'";
    bench.send("readings", &reading("1", "23:00:10"));
    bench.until(count, &strings([1]));
    bench.send("readings", &reading("1", "23:30:00"));
    bench.until("SELECT count(*) FROM minutes", &strings([2]));
    bench.send("readings", &reading("2", "23:00:20"));
    bench.until("SELECT count(*) FROM dead_letters", &strings([1]));
    let letter = "SELECT topic, view, partition, \"offset\", kind FROM dead_letters";
    assert_eq!(bench.sql(letter), ["readings|minutes|0|2|late"]);
    let bench = bench.reopen();
    assert_eq!(bench.sql(letter), ["readings|minutes|0|2|late"]);
    assert_eq!(bench.sql(count), ["1"]);
    assert_eq!(bench.sql("SELECT count(*) FROM readings"), ["3"]);
}

#[test]
fn they_are_kept_as_long_as_configured() {
    let settings: Settings =
        &[("dead_letters.retention", "1 hour"), ("dead_letters.rows_max", "50")];
    let bench = Place::new(EVENTS, settings).start();
    bench.send("events", "one\ntwo\n");
    bench.clock.advance(30 * 60 * SECOND);
    bench.send("events", "three\n");
    bench.retention();
    assert_eq!(bench.platform.status().dead_letters, 3);
    bench.clock.advance(31 * 60 * SECOND);
    bench.retention();
    let raw = "SELECT CAST(raw AS STRING) FROM dead_letters ORDER BY id";
    assert_eq!(bench.sql(raw), ["three"]);
    // And no more than so many, the newest.
    let body: String = (0..120).map(|i| format!("bad {i}\n")).collect();
    bench.send("events", &body);
    bench.retention();
    assert_eq!(bench.sql("SELECT count(*), min(line), max(line) FROM dead_letters"), ["50|71|120"]);
    let bench = bench.reopen();
    assert_eq!(bench.platform.status().dead_letters, 50);
    bench.send("events", "bad\n");
    assert_eq!(bench.platform.status().dead_letters, 51);
}

#[test]
fn they_are_listed_page_by_page() {
    let bench = Bench::new(EVENTS);
    let body: String = (0..25).map(|i| format!("bad {i}\n")).collect();
    bench.send("events", &body);
    let mut query = DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() };
    let mut lines = vec![];
    loop {
        let (platform, asked) = (bench.platform.clone(), query.clone());
        let page = bench.on(async move { platform.dead_letters(asked).await }).unwrap();
        lines.extend(page.rows.iter().filter_map(|r| r.line));
        assert_eq!(page.total, 25);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(lines, (1..=25).rev().collect::<Vec<_>>());
}
