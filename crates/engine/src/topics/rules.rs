//! What a topic asks of a row beyond its types: CHECK constraints, and no event time that is too
//! far in the future.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use catalog::Topic;
use common::{Error, Result};

use crate::define::planning::Checks;

/// What was found in a batch of rows.
pub struct Verdict {
    /// The good rows; none when all are.
    pub keep: Option<BooleanArray>,
    /// The others, each once.
    pub broken: Vec<Broken>,
}

/// A row that must not come in.
pub struct Broken {
    pub row: usize,
    pub column: Option<String>,
    pub kind: &'static str,
    pub reason: String,
}

/// Checks rows of the declared columns; event times may be at most `future_max_us` after `now_us`.
pub fn check(
    topic: &Topic,
    checks: &Checks,
    batch: &RecordBatch,
    now_us: i64,
    future_max_us: i64,
) -> Result<Verdict> {
    let n = batch.num_rows();
    let mut keep = vec![true; n];
    let mut broken = vec![];
    for (name, check) in checks {
        let passed = check
            .evaluate(batch)
            .and_then(|v| v.into_array(n))
            .map_err(|e| Error::invalid(format!("check '{name}': {e}")))?;
        let passed = passed.as_boolean();
        for (row, keep) in keep.iter_mut().enumerate() {
            if *keep && passed.is_valid(row) && !passed.value(row) {
                *keep = false;
                let reason = breaks(topic, name);
                broken.push(Broken { row, column: None, kind: "check", reason });
            }
        }
    }
    if let Some(watermark) = &topic.watermark
        && let Some(at) = batch.column_by_name(&watermark.column)
        && let Some(at) = at.as_primitive_opt::<TimestampMicrosecondType>()
    {
        let latest = now_us.saturating_add(future_max_us);
        for (row, keep) in keep.iter_mut().enumerate() {
            if *keep && at.is_valid(row) && at.value(row) > latest {
                *keep = false;
                let reason = format!(
                    "event time {} is more than {} s in the future",
                    crate::stores::text::rfc3339(at.value(row)),
                    future_max_us / 1_000_000
                );
                let column = Some(watermark.column.clone());
                broken.push(Broken { row, column, kind: "future", reason });
            }
        }
    }
    Ok(Verdict { keep: (!broken.is_empty()).then(|| BooleanArray::from(keep)), broken })
}

fn breaks(topic: &Topic, name: &str) -> String {
    match topic.checks.iter().find(|c| c.name == name) {
        Some(check) => format!("breaks CHECK ({})", check.sql),
        None => format!("breaks {name}"),
    }
}
