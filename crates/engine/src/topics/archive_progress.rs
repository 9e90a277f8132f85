//! How far archiving has come, and whether it goes on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Error, Offset, Partition, ProblemDetails, Result};

/// How far archiving has come.
#[derive(Default)]
pub struct Progress {
    /// Next offset to archive, by topic and partition.
    offsets: Mutex<BTreeMap<String, BTreeMap<Partition, Offset>>>,
    /// Held for each commit, and while a topic is removed: its archive must not come back.
    turn: tokio::sync::Mutex<()>,
    /// Why the last turn failed, if it did.
    trouble: Mutex<Option<ProblemDetails>>,
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
    pub fn trouble(&self) -> Option<ProblemDetails> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps how a turn ended, and says so where it is news: a disk may be full for hours.
    pub fn ended(&self, turn: Result<()>) {
        let now = turn.as_ref().err().map(Error::details);
        let mut before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match turn {
            Err(e) if *before != now => tracing::warn!("archiving failed and is tried again: {e}"),
            Ok(()) if before.is_some() => tracing::info!("archiving goes on"),
            _ => {}
        }
        *before = now;
    }

    pub fn set(&self, topic: &str, offsets: BTreeMap<Partition, Offset>) {
        self.lock().insert(topic.into(), offsets);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Partition, Offset>>> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
