//! Retention of the log and of the dead letters, and compaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Offset, Result};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::ingest::TopicWriter;

/// Runs until the platform closes.
pub async fn run(platform: Arc<Inner>) {
    let mut closing = platform.closing.subscribe();
    let interval = platform.project.config.log_retention_interval.to_std();
    let mut retained = Instant::now();
    loop {
        tokio::select! {
            _ = closing.wait_for(|c| *c) => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if retained.elapsed() >= interval {
            retained = Instant::now();
            if let Err(e) = retention(&platform).await {
                tracing::warn!("retention failed and is tried again: {e}");
            }
        }
    }
}

/// Drops old segments that are archived (or need not be) and old dead letters.
pub async fn retention(platform: &Arc<Inner>) -> Result<()> {
    archive_compacted(platform).await;
    let inner = platform.clone();
    blocking(move || {
        for topic in inner.log.topics() {
            hold_unarchived(&inner, &topic);
        }
        inner.log.apply_retention()?;
        inner.log.apply_compaction()?;
        for topic in inner.log.topics() {
            inner.env.readers.topic(topic.name())?.forget_before_start()?;
        }
        let keep = inner.project.config.dead_letters_retention.0;
        let rows_max = u64::from(inner.project.config.dead_letters_rows_max);
        inner.dead_letters.expire(inner.clock.now_us().saturating_sub(keep), rows_max)?;
        Ok(())
    })
    .await
}

/// Compaction takes what a later record of its key replaces, so the archive gets it first: now, and
/// not when its own turn comes. If that fails it says so itself, and compaction waits.
async fn archive_compacted(platform: &Arc<Inner>) {
    let is_compacted =
        |w: &&Arc<TopicWriter>| w.topic.archive && w.log.config().cleanup_policy.compacts();
    let topics: Vec<_> = {
        let registry = platform.registry();
        registry.all().map(|(_, writer)| writer).filter(is_compacted).cloned().collect()
    };
    for writer in topics {
        if let Err(e) = crate::topics::archive::archive_topic(platform, &writer).await {
            tracing::debug!(topic = writer.topic.name, "it is not compacted yet: {e}");
        }
    }
}

/// What is to be archived stays in the log until it is; so does a topic without definition.
fn hold_unarchived(inner: &Inner, topic: &log::Topic) {
    let archive = inner.registry().get(topic.name()).map(|w: &Arc<TopicWriter>| w.topic.archive);
    let archived = inner.archive.of(topic.name()).unwrap_or_default();
    for p in topic.partitions() {
        p.hold_from(match archive {
            Some(false) => Offset(i64::MAX),
            Some(true) | None => archived.get(&p.id()).copied().unwrap_or_default(),
        });
    }
}

/// Applies retention to the log and the dead letters, without waiting for the next turn.
pub async fn retention_now(inner: &Arc<Inner>) -> Result<()> {
    retention(inner).await
}
