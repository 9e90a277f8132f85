//! Record batches that did not come through the platform's own doors, as Kafka clients append
//! them: checked before anybody reads them, once, with the same outcome for every reader.

use bytes::Bytes;
use common::Partition;

use super::support::*;

const READINGS: &str = "CREATE TOPIC readings (
  sensor TEXT NOT NULL, celsius DOUBLE, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '5 seconds',
  CHECK (celsius BETWEEN -60 AND 200)
) WITH (partitions = 1);
CREATE MATERIALIZED VIEW counts AS SELECT sensor, count(*) AS n FROM readings GROUP BY sensor;
";
const ROWS: &str = "SELECT _offset, sensor, celsius FROM readings ORDER BY _offset";
const LETTERS: &str = "SELECT \"offset\", kind, \"column\" FROM dead_letters ORDER BY id";

/// A batch as a client sends it, with the compression that its attributes name.
fn batch(values: &[&str]) -> Bytes {
    let mut builder = log::BatchBuilder::new(T0);
    for value in values {
        builder.push(T0, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

fn produce(bench: &Bench, topic: &str, batch: Bytes) {
    let log = bench.platform.topic_log(topic).unwrap().partition(Partition(0)).unwrap();
    let appended = log.append(batch).unwrap();
    log.wait_durable(appended).unwrap();
}

const MIXED: [&str; 6] = [
    r#"{"sensor":"a","celsius":1,"at":"2026-01-01T00:00:00Z"}"#,
    "{oops",
    r#"{"celsius":1}"#,
    r#"{"sensor":"a","celsius":900}"#,
    r#"{"sensor":"a","celsius":1,"at":"2026-01-02T00:00:00Z"}"#,
    r#"{"sensor":"b","celsius":2,"at":"2026-01-01T00:00:00Z"}"#,
];

#[test]
fn records_are_checked_once_for_all_readers() {
    let bench = Bench::new(READINGS);
    bench.send("readings", "{\"sensor\":\"a\",\"celsius\":7}\n");
    produce(&bench, "readings", batch(&MIXED));
    bench.send("readings", "{\"sensor\":\"b\",\"celsius\":8}\n");
    bench.until("SELECT sensor, n FROM counts ORDER BY sensor", &strings(["a|2", "b|2"]));
    let rows = ["0|a|7.0", "1|a|1.0", "6|b|2.0", "7|b|8.0"];
    assert_eq!(bench.sql(ROWS), rows);
    let letters = ["2|parse|NULL", "3|missing|sensor", "4|check|NULL", "5|future|at"];
    assert_eq!(bench.sql(LETTERS), letters);
    bench.archive().unwrap();
    assert_eq!(bench.sql(ROWS), rows, "from the archive");
    // A restart decides nothing again, and a view made later reads the same.
    let bench = bench.reopen();
    assert_eq!(bench.sql(ROWS), rows);
    assert_eq!(bench.sql(LETTERS), letters);
    let later = "CREATE MATERIALIZED VIEW later AS
        SELECT sensor, count(*) AS n FROM readings GROUP BY sensor";
    bench.sql(later);
    bench.until("SELECT sensor, n FROM later ORDER BY sensor", &strings(["a|2", "b|2"]));
}

#[test]
fn a_batch_that_cannot_be_read_stops_nobody() {
    let bench = Bench::new(READINGS);
    let mut broken = batch(&MIXED).to_vec();
    // The length of the first record, with a checksum that fits: a client's mistake, not damage.
    broken[61] = 0x7f;
    let checksum = crc32c::crc32c(&broken[21..]);
    broken[17..21].copy_from_slice(&checksum.to_be_bytes());
    produce(&bench, "readings", broken.into());
    produce(&bench, "readings", batch(&MIXED[5..]));
    bench.until("SELECT sensor, n FROM counts", &strings(["b|1"]));
    assert_eq!(bench.sql(ROWS), ["6|b|2.0"]);
    assert_eq!(bench.sql(LETTERS), ["0|parse|NULL"]);
    bench.archive().unwrap();
    let bench = bench.reopen();
    assert_eq!(bench.sql(ROWS), ["6|b|2.0"]);
}

#[test]
fn raw_topics_take_any_bytes() {
    let bench = Bench::new(
        "CREATE TOPIC blobs (value BINARY) WITH (format = 'raw');
         CREATE MATERIALIZED VIEW counts AS
         SELECT hex(value) AS v, count(*) AS n FROM blobs GROUP BY hex(value);",
    );
    let mut builder = log::BatchBuilder::new(T0);
    builder.push(T0, Some(b"k"), Some(&[0xff, 0, 1]), &[]);
    builder.push(T0, None, None, &[]);
    produce(&bench, "blobs", builder.build());
    assert_eq!(bench.send("blobs", "one\n\ntwo\n").accepted, 2);
    let rows = ["0|ff0001", "1|NULL", "2|6f6e65", "3|74776f"];
    let query = "SELECT _offset, lower(hex(value)) FROM blobs ORDER BY _offset";
    assert_eq!(bench.sql(query), rows);
    let counts = ["6F6E65|1", "74776F|1", "FF0001|1", "NULL|1"];
    bench.until("SELECT v, n FROM counts", &strings(counts));
    bench.archive().unwrap();
    assert_eq!(bench.reopen().sql(query), rows);
}
