//! How many of the rows that were imported came too late for which view: history that goes into a
//! topic whose views are at today's time is only counted there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::client::Platform;
use crate::render::Faults;

/// Views are waited for so long: they may be far behind, or stand still.
const PATIENCE: Duration = Duration::from_secs(10);

/// Offsets of a partition, as an answer to an ingest has them.
#[derive(Deserialize)]
pub struct Range {
    partition: i32,
    first_offset: i64,
    last_offset: i64,
}

/// First and last offset of what was sent, by partition.
#[derive(Default)]
pub struct Ranges(BTreeMap<i32, (i64, i64)>);

impl Ranges {
    pub fn add(&mut self, ranges: &[Range]) {
        for r in ranges {
            let known = self.0.entry(r.partition).or_insert((r.first_offset, r.last_offset));
            *known = (known.0.min(r.first_offset), known.1.max(r.last_offset));
        }
    }

    fn condition(&self) -> String {
        let one = |(partition, (first, last)): (&i32, &(i64, i64))| {
            format!("\"partition\" = {partition} AND \"offset\" BETWEEN {first} AND {last}")
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(" OR ")
    }
}

/// Rows by view, once the views that read the topic have taken all in.
pub fn count(
    platform: &Platform,
    topic: &str,
    ranges: &Ranges,
) -> Result<BTreeMap<String, u64>, Faults> {
    if ranges.0.is_empty() {
        return Ok(BTreeMap::new());
    }
    let started = Instant::now();
    loop {
        let status: Value = platform.get("/api/status")?;
        let views = status["views"].as_array().into_iter().flatten();
        let mut reading = views.filter(|v| v["state"] != "failed" && reads(v, topic));
        let is_behind = reading.any(|v| v["lag_events"].as_u64() != Some(0));
        if !is_behind || started.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let query = format!(
        "SELECT view, count(*) AS n FROM dead_letters \
         WHERE kind = 'late' AND topic = '{}' AND ({}) GROUP BY view ORDER BY view",
        topic.replace('\'', "''"),
        ranges.condition()
    );
    let answer: Value = platform.sql(&query)?;
    let row = |row: &Value| Some((row[0].as_str()?.to_string(), row[1].as_u64()?));
    Ok(answer["rows"].as_array().into_iter().flatten().filter_map(row).collect())
}

fn reads(view: &Value, topic: &str) -> bool {
    let depends = view["depends_on"].as_array();
    depends.is_none_or(|names| names.is_empty() || names.iter().any(|n| n == topic))
}
