//! Moves durable stretches of the log into the lake, each offset once: the Delta commit that adds
//! the rows also records up to which offset of each partition they go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{Offset, Partition, Result};

use crate::ingest::Inlet;
use crate::platform::{Platform, blocking};
use crate::rows::{RowDecoder, read_range};

const READ_BYTES: usize = 4 << 20;

/// Next offset to archive, by topic and partition.
#[derive(Default)]
pub struct Progress(Mutex<BTreeMap<String, BTreeMap<Partition, Offset>>>);

impl Progress {
    pub fn of(&self, topic: &str) -> Option<BTreeMap<Partition, Offset>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    fn set(&self, topic: &str, offsets: BTreeMap<Partition, Offset>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.into(), offsets);
    }
}

/// Runs until the platform closes.
pub async fn run(platform: Platform) {
    let config = &platform.inner.project.config;
    let (interval, bytes) = (config.archive_interval.to_std(), config.archive_bytes.0);
    let mut closing = platform.inner.closing.subscribe();
    let mut last = Instant::now();
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = closing.wait_for(|c| *c) => return,
            () = tokio::time::sleep(Duration::from_secs(1).min(interval)) => {}
        }
        let appended = platform.inner.topic_stats().values().map(|s| s.bytes_appended).sum::<u64>();
        if last.elapsed() < interval && appended.saturating_sub(seen) < bytes {
            continue;
        }
        (last, seen) = (Instant::now(), appended);
        if let Err(e) = archive_all(&platform).await {
            tracing::warn!("archiving failed and is tried again: {e}");
        }
    }
}

/// Archives everything that is durable now.
pub async fn archive_all(platform: &Platform) -> Result<()> {
    let inlets: Vec<Arc<Inlet>> =
        platform.inner.registry().topics.values().map(|t| t.inlet.clone()).collect();
    for inlet in inlets.into_iter().filter(|i| i.topic.archive) {
        while archive_some(platform, &inlet).await? {}
    }
    Ok(())
}

/// One commit of at most `lake.archive_bytes`; false when there was nothing.
async fn archive_some(platform: &Platform, inlet: &Arc<Inlet>) -> Result<bool> {
    let inner = &platform.inner;
    let name = inlet.topic.name.clone();
    let from = match inner.archive.of(&name) {
        Some(offsets) => offsets,
        None => inner.lake.archived(&name).await?,
    };
    let (budget, copy) = (inner.project.config.archive_bytes.0 as usize, inlet.clone());
    let starts = from.clone();
    let (batches, ranges) = blocking(move || gather(&copy, &starts, budget)).await?;
    let mut done = from;
    if ranges.is_empty() {
        inner.archive.set(&name, done);
        return Ok(false);
    }
    let appended = inner.lake.append(&name, &inlet.topic.schema(), batches, &ranges).await?;
    for gap in appended.gaps {
        tracing::warn!(
            topic = name,
            partition = gap.partition.0,
            "offsets {} to {} were never archived and are gone from the log",
            gap.from,
            gap.to
        );
    }
    done.extend(ranges.iter().map(|(p, _, to)| (*p, *to)));
    inner.archive.set(&name, done);
    Ok(true)
}

type Gathered = (Vec<arrow::array::RecordBatch>, Vec<(Partition, Offset, Offset)>);

fn gather(
    inlet: &Inlet,
    starts: &BTreeMap<Partition, Offset>,
    mut budget: usize,
) -> Result<Gathered> {
    let mut decoder = RowDecoder::new(&inlet.topic)?;
    let (mut batches, mut ranges) = (vec![], vec![]);
    for p in inlet.log.partitions() {
        let from = starts.get(&p.id()).copied().unwrap_or_default().max(p.start_offset());
        let mut to = from;
        let end = p.high_watermark();
        read_range(&inlet.log, &mut decoder, p.id(), from, end, READ_BYTES, |batch, next| {
            budget = budget.saturating_sub(batch.get_array_memory_size());
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
            to = next;
            Ok(budget > 0)
        })?;
        if to > from {
            ranges.push((p.id(), from, to));
        }
        if budget == 0 {
            break;
        }
    }
    Ok((batches, ranges))
}
