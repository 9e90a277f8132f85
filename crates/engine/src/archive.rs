//! Moves durable stretches of the log into the lake, each offset once: the Delta commit that adds
//! the rows also records up to which offset of each partition they go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Error, Offset, Partition, Result, fail_point};

use crate::ingest::Inlet;
use crate::platform::{Platform, blocking};
use crate::rows::{RowDecoder, declared, read_range};

const READ_BYTES: usize = 4 << 20;

/// How far archiving has come.
#[derive(Default)]
pub struct Progress {
    /// Next offset to archive, by topic and partition.
    offsets: Mutex<BTreeMap<String, BTreeMap<Partition, Offset>>>,
    /// Held for each commit, and while a topic is removed: its archive must not come back.
    turn: tokio::sync::Mutex<()>,
    /// Why the last turn failed, if it did.
    trouble: Mutex<Option<serde_json::Value>>,
}

impl Progress {
    pub fn of(&self, topic: &str) -> Option<BTreeMap<Partition, Offset>> {
        self.lock().get(topic).cloned()
    }

    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The topic is gone; a later one of its name begins at its own start.
    pub fn forget(&self, topic: &str) {
        self.lock().remove(topic);
    }

    /// Why events are not archived at the moment.
    pub fn trouble(&self) -> Option<serde_json::Value> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps how a turn ended, and says so where it is news: a disk may be full for hours.
    fn ended(&self, turn: Result<()>) {
        let now = turn.as_ref().err().map(Error::to_json);
        let mut before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match turn {
            Err(e) if *before != now => tracing::warn!("archiving failed and is tried again: {e}"),
            Ok(()) if before.is_some() => tracing::info!("archiving goes on"),
            _ => {}
        }
        *before = now;
    }

    fn set(&self, topic: &str, offsets: BTreeMap<Partition, Offset>) {
        self.lock().insert(topic.into(), offsets);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Partition, Offset>>> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
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
        let turn = archive_all(&platform).await;
        platform.inner.archive.ended(turn);
    }
}

/// Archives everything that is durable now. A topic that fails does not keep the others from it.
pub async fn archive_all(platform: &Platform) -> Result<()> {
    let inlets: Vec<Arc<Inlet>> =
        platform.inner.registry().topics.values().map(|t| t.inlet.clone()).collect();
    let mut failure = None;
    for inlet in inlets.into_iter().filter(|i| i.topic.archive) {
        if let Err(e) = archive_topic(platform, &inlet).await {
            failure.get_or_insert(e.context(format!("topic '{}'", inlet.topic.name)));
        }
    }
    failure.map_or(Ok(()), Err)
}

pub(crate) async fn archive_topic(platform: &Platform, inlet: &Arc<Inlet>) -> Result<()> {
    while platform.check_open().is_ok() && archive_some(platform, inlet).await? {}
    Ok(())
}

/// The archive holds nothing that the log never had: with less in the log than in the archive, new
/// events would be taken for archived ones.
pub fn within_log(log: &log::Topic, archived: &BTreeMap<Partition, Offset>) -> Result<()> {
    for (partition, next) in archived {
        let end = log.partition(*partition).map_or(Offset(0), |p| p.high_watermark());
        if *next > end {
            let topic = log.name();
            return Err(Error::corrupt(format!(
                "topic '{topic}' partition {partition} is archived up to offset {next}, \
                 its log ends at {end}"
            ))
            .hint("files of the log were lost: restore the data folder from a backup"));
        }
    }
    Ok(())
}

/// One commit of at most `lake.archive_bytes`; false when there was nothing.
async fn archive_some(platform: &Platform, inlet: &Arc<Inlet>) -> Result<bool> {
    let inner = &platform.inner;
    let name = inlet.topic.name.clone();
    let _turn = inner.archive.turn().await;
    let is_there = |t: &crate::registry::TopicEntry| Arc::ptr_eq(&t.inlet, inlet);
    if !inner.registry().topics.get(&name).is_some_and(is_there) {
        return Ok(false);
    }
    let from = match inner.archive.of(&name) {
        Some(offsets) => offsets,
        None => inner.lake.archived(&name).await?,
    };
    within_log(&inlet.log, &from)?;
    let (budget, copy) = (inner.project.config.archive_bytes.0 as usize, inlet.clone());
    let starts = from.clone();
    let (batches, ranges) = blocking(move || gather(&copy, &starts, budget)).await?;
    let mut done = from;
    if ranges.is_empty() {
        inner.archive.set(&name, done);
        return Ok(false);
    }
    fail_point("archive.gathered");
    let appended = inner.lake.append(&name, &declared(&inlet.topic)?, batches, &ranges).await?;
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
        let end = inlet.feed.end(&p)?;
        read_range(&inlet.feed, &mut decoder, p.id(), from, end, READ_BYTES, |batch, next| {
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
