//! `emit = 'on_close'`: a row is given once its window has closed, and never changes: after any
//! batches, commits and crashes the view is what batch says of the windows that ended.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use engine::replay::Replay;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::support::{SECOND, T0, assert_kind};

const TOPIC: &str = "CREATE TOPIC sales (k TEXT, v INT, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '5 seconds') WITH (partitions = 1);";
const VIEWS: &str = "
CREATE MATERIALIZED VIEW closed WITH (emit = 'on_close') AS
SELECT window(at, '10 seconds').end AS ended, k, sum(v) AS total, count(*) AS n
FROM sales GROUP BY k, window(at, '10 seconds');
CREATE MATERIALIZED VIEW sliding WITH (emit = 'on_close') AS
SELECT w.end AS ended, n, w FROM (
  SELECT window(at, '10 seconds', '4 seconds') AS w, count(*) AS n FROM sales
  GROUP BY window(at, '10 seconds', '4 seconds')) AS x WHERE n > 1;
CREATE MATERIALIZED VIEW per_key AS SELECT k, count(*) AS windows, max(total) AS most
FROM closed GROUP BY k;
";

fn lines(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let line = |i| columns.iter().map(|c| c.value(i).to_string()).collect();
    let mut lines: Vec<Vec<String>> = (0..batch.num_rows()).map(line).collect();
    lines.sort();
    lines
}

fn time(us: i64) -> String {
    let s = (us - T0).div_euclid(SECOND);
    format!("2026-01-01T00:{:02}:{:02}Z", s / 60, s % 60)
}

/// What batch says of windows that ended at or before `until`, which is the first column.
async fn ended(replay: &Replay, view: &str, until: i64) -> Vec<Vec<String>> {
    let mut all = lines(&replay.batch_rows(view).await.unwrap());
    all.retain(|row| row[0] <= time(until));
    all
}

fn per_key(closed: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut keys: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in closed {
        let total: i64 = row[2].parse().unwrap();
        let of = keys.entry(row[1].clone()).or_insert((0, i64::MIN));
        *of = (of.0 + 1, of.1.max(total));
    }
    let line = |(k, (n, most)): (String, (i64, i64))| vec![k, n.to_string(), most.to_string()];
    let mut lines: Vec<Vec<String>> = keys.into_iter().map(line).collect();
    lines.sort();
    lines
}

async fn one(seed: u64) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let texts = [sql::Text { file: None, text: format!("{TOPIC}{VIEWS}").as_str().into() }];
    let mut replay = Replay::open(dir.path(), &texts, T0).await.unwrap();
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut newest, mut shown) = (T0, 0);
    for round in 0..30_i64 {
        let mut body = String::new();
        for _ in 0..rng.random_range(1..8) {
            // Out of order by less than the watermark waits.
            let at = T0 + round * 2 * SECOND + rng.random_range(0..4) * SECOND;
            newest = newest.max(at);
            let (k, v) = (rng.random_range(b'a'..=b'c') as char, rng.random_range(-5..9));
            body.push_str(&format!("{{\"k\":\"{k}\",\"v\":{v},\"at\":\"{}\"}}\n", time(at)));
        }
        assert_eq!(replay.ingest("sales", Bytes::from(body)).await.unwrap().refused, 0);
        for view in ["closed", "sliding", "per_key"] {
            replay.catch_up(view).unwrap();
            replay.commit(view).unwrap();
            if rng.random_bool(0.2) {
                replay.crash(view).unwrap();
            }
        }
        // Batch takes its time.
        if round % 3 != 0 {
            continue;
        }
        let watermark = newest - 5 * SECOND;
        let closed = ended(&replay, "closed", watermark).await;
        shown = closed.len();
        assert_eq!(lines(&replay.rows("closed").unwrap()), closed, "seed {seed}, round {round}");
        // A row may come for the last of its windows, and so change those before.
        let sliding = ended(&replay, "sliding", watermark - 8 * SECOND).await;
        assert_eq!(lines(&replay.rows("sliding").unwrap()), sliding, "seed {seed}, {round}");
        assert_eq!(lines(&replay.rows("per_key").unwrap()), per_key(&closed), "seed {seed}");
    }
    for view in ["closed", "sliding", "per_key"] {
        replay.advance_watermark(view, "sales", newest + 100 * SECOND).unwrap();
        replay.commit(view).unwrap();
    }
    let all = ended(&replay, "closed", i64::MAX / 2).await;
    assert_eq!(lines(&replay.rows("closed").unwrap()), all, "seed {seed}, at the end");
    assert_eq!(lines(&replay.rows("per_key").unwrap()), per_key(&all), "seed {seed}, at the end");
    assert!(replay.dead_letters().unwrap().is_empty());
    shown
}

#[tokio::test]
async fn what_is_given_is_final() {
    let mut shown = 0;
    for seed in 0..6 {
        shown += one(seed).await;
    }
    assert!(shown > 50, "only {shown} windows closed before the end");
}

#[tokio::test]
async fn a_view_without_a_window_that_closes_is_refused() {
    for query in [
        "SELECT k, sum(v) AS total FROM sales GROUP BY k",
        "SELECT k, sum(v) AS total FROM sales GROUP BY k, window(at, '10 seconds')",
        "SELECT * FROM sales",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let view = format!("CREATE MATERIALIZED VIEW v WITH (emit = 'on_close') AS {query}");
        let texts = [sql::Text { file: None, text: format!("{TOPIC}{view}").as_str().into() }];
        let Err(faults) = Replay::open(dir.path(), &texts, T0).await else {
            panic!("{query} is taken");
        };
        assert_kind(&faults[0], common::Kind::Unsupported, &["needs a window that closes"]);
    }
}
