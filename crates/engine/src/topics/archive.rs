//! Moves durable stretches of the log into the lake, each offset once: the Delta commit that adds
//! the rows also records up to which offset of each partition they go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Offset, Partition, Result, fail_point};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::ingest::TopicWriter;
use crate::topics::rows::{RowDecoder, declared, read_range};
use crate::topics::within_log;

const READ_BYTES: usize = 4 << 20;

/// Runs until the platform closes.
pub async fn run(platform: Arc<Inner>) {
    let config = &platform.project.config;
    let (interval, bytes) = (config.archive_interval.to_std(), config.archive_bytes.0);
    let mut closing = platform.closing.subscribe();
    let mut last = Instant::now();
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = closing.wait_for(|c| *c) => return,
            () = tokio::time::sleep(Duration::from_secs(1).min(interval)) => {}
        }
        let appended = crate::topics::topic_stats::topic_stats(&platform)
            .values()
            .map(|s| s.bytes_appended)
            .sum::<u64>();
        if last.elapsed() < interval && appended.saturating_sub(seen) < bytes {
            continue;
        }
        (last, seen) = (Instant::now(), appended);
        let turn = archive_all(&platform).await;
        platform.archive.ended(turn);
    }
}

/// Archives everything that is durable now. A topic that fails does not keep the others from it.
pub async fn archive_all(platform: &Arc<Inner>) -> Result<()> {
    let writers: Vec<Arc<TopicWriter>> = platform
        .registry()
        .all()
        .map(|(_, writer): (_, &Arc<TopicWriter>)| writer.clone())
        .collect();
    let mut failure = None;
    for writer in writers {
        if !writer.topic.archive {
            forget_rows(&writer);
            continue;
        }
        if let Err(e) = archive_topic(platform, &writer).await {
            failure.get_or_insert(e.context(format!("topic '{}'", writer.topic.name)));
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Views have read by now what came before this turn.
fn forget_rows(writer: &TopicWriter) {
    for p in writer.log.partitions() {
        writer.reader.forget_rows(p.id(), p.high_watermark());
    }
}

pub(crate) async fn archive_topic(platform: &Arc<Inner>, writer: &Arc<TopicWriter>) -> Result<()> {
    while platform.check_open().is_ok() && archive_some(platform, writer).await? {}
    Ok(())
}

/// One commit of at most `lake.archive_bytes`; false when there was nothing.
async fn archive_some(platform: &Arc<Inner>, writer: &Arc<TopicWriter>) -> Result<bool> {
    let inner = platform;
    let name = writer.topic.name.clone();
    let _turn = inner.archive.turn().await;
    let is_there = |there: &Arc<TopicWriter>| Arc::ptr_eq(there, writer);
    if !inner.registry().get(&name).is_some_and(is_there) {
        return Ok(false);
    }
    let from = match inner.archive.of(&name) {
        Some(offsets) => offsets,
        None => inner.lake.archived(&name).await?,
    };
    within_log::archive(&writer.log, &from)?;
    let (budget, copy) = (inner.project.config.archive_bytes.0 as usize, writer.clone());
    let starts = from.clone();
    let (batches, ranges) = blocking(move || gather(&copy, &starts, budget)).await?;
    let mut done = from;
    if ranges.is_empty() {
        inner.archive.set(&name, done);
        return Ok(false);
    }
    fail_point("archive.gathered");
    let appended = inner.lake.append(&name, &declared(&writer.topic)?, batches, &ranges).await?;
    fail_point("archive.committed");
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
    ranges.iter().for_each(|(p, _, to)| writer.reader.forget_rows(*p, *to));
    inner.archive.set(&name, done);
    Ok(true)
}

type Gathered = (Vec<arrow::array::RecordBatch>, Vec<(Partition, Offset, Offset)>);

fn gather(
    writer: &TopicWriter,
    starts: &BTreeMap<Partition, Offset>,
    mut budget: usize,
) -> Result<Gathered> {
    let mut decoder = RowDecoder::new(&writer.topic)?;
    let (mut batches, mut ranges) = (vec![], vec![]);
    for p in writer.log.partitions() {
        let from = starts.get(&p.id()).copied().unwrap_or_default().max(p.start_offset());
        let mut to = from;
        let end = writer.reader.end(&p)?;
        read_range(&writer.reader, &mut decoder, p.id(), from, end, READ_BYTES, |batch, next| {
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

/// Archives everything that is durable now, without waiting for the next turn.
pub async fn archive_now(inner: &Arc<Inner>) -> Result<()> {
    archive_all(inner).await
}
