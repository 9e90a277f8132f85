//! Rows of a topic that are no longer in the log, read from the archive in offset order, for
//! pipelines that start after retention has cut the log.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use common::{Error, Offset, Partition, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use lake::Lake;

use crate::topics::rows::Rows;

/// Offsets read at a time.
const OFFSETS: i64 = 65_536;

/// Reads archived rows for threads that are not async.
pub struct History {
    lake: Arc<Lake>,
    runtime: Arc<RuntimeEnv>,
    handle: tokio::runtime::Handle,
}

impl History {
    pub fn new(
        lake: Arc<Lake>,
        runtime: Arc<RuntimeEnv>,
        handle: tokio::runtime::Handle,
    ) -> History {
        History { lake, runtime, handle }
    }

    /// Some rows from `from` on, below `to`, and the offset to go on at.
    pub fn read(
        &self,
        topic: &catalog::Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
    ) -> Result<(Rows, Offset)> {
        let next = Offset(to.0.min(from.0 + OFFSETS));
        let (rows, whole_from) = self.handle.block_on(self.scan(topic, partition, from, next))?;
        let offsets = rows
            .column_by_name("_offset")
            .and_then(|c| c.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| Error::corrupt("the archive has no column '_offset'"))?;
        // Offsets without a row are none of a gap: those records were left out, or are markers.
        if from < whole_from && offsets.len() as i64 != next.0 - from.0 {
            return Err(Error::not_found(format!(
                "offsets {from} to {next} of '{}' partition {partition} are neither in the log \
                 nor all in the archive: {} of {} are there",
                topic.name,
                offsets.len(),
                next.0 - from.0
            ))
            .hint("was archive = false, or were files of the lake removed by hand?"));
        }
        let ends = ends(&rows)?;
        let offsets = offsets.values().iter().copied().map(Offset).collect();
        Ok((Rows { batch: rows, ends, offsets }, next))
    }

    async fn scan(
        &self,
        topic: &catalog::Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
    ) -> Result<(RecordBatch, Offset)> {
        let bad = |e: datafusion::error::DataFusionError| {
            Error::internal(format!("reading the archive of '{}': {e}", topic.name))
        };
        let snapshot = self
            .lake
            .snapshot(&topic.name, &crate::topics::rows::declared(topic)?)
            .await?
            .ok_or_else(|| Error::not_found(format!("topic '{}' has no archive", topic.name)))?;
        let archived = snapshot.archived.get(&partition).copied().unwrap_or_default();
        if archived < to {
            return Err(Error::not_found(format!(
                "'{}' partition {partition} is archived up to offset {archived} only, \
                 and the log has no more what follows",
                topic.name
            )));
        }
        let whole_from = snapshot.whole_from.get(&partition).copied().unwrap_or_default();
        let schema = snapshot.provider.schema();
        let config = SessionConfig::new().with_target_partitions(1);
        let ctx = SessionContext::new_with_config_rt(config, self.runtime.clone());
        let frame = ctx
            .read_table(snapshot.provider)
            .and_then(|t| {
                t.filter(
                    col("_partition")
                        .eq(lit(partition.0))
                        .and(col("_offset").gt_eq(lit(from.0)))
                        .and(col("_offset").lt(lit(to.0))),
                )
            })
            .and_then(|t| t.sort(vec![col("_offset").sort(true, true)]))
            .map_err(bad)?;
        let batches = frame.collect().await.map_err(bad)?;
        Ok((crate::topics::rows::concat(&schema, &batches)?, whole_from))
    }
}

/// Where the record batches of the log ended: all rows of one arrived at the same moment.
fn ends(rows: &RecordBatch) -> Result<Vec<usize>> {
    let arrived = rows
        .column_by_name("_arrived")
        .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| Error::corrupt("the archive has no column '_arrived'"))?;
    let times = arrived.values();
    let borders = (1..times.len()).filter(|i| times[i - 1] != times[*i]);
    Ok(borders.chain((!times.is_empty()).then_some(times.len())).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{ArrayRef, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn rows_that_arrived_together_are_a_batch() {
        let ends_of = |times: &[i64]| {
            let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
            ends(&RecordBatch::try_from_iter([("_arrived", times)]).unwrap()).unwrap()
        };
        assert_eq!(ends_of(&[]), [0_usize; 0]);
        assert_eq!(ends_of(&[5, 5, 7, 6, 6]), [2, 3, 5]);
    }
}
