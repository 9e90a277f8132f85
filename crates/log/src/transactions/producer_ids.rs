//! Producer ids: each is given out once, ever. They are taken in blocks, so that most of them cost
//! no write; what is left of a block at a restart is skipped.

use std::sync::{Arc, Mutex};

use common::{Error, Result};

use crate::coordinator_store::CommitQueue;
use crate::coordinator_store::encoding::{Reader, Writer, kind};
use crate::lock::lock;

/// As many as Kafka's controller gives a broker.
const BLOCK: i64 = 1_000;

pub(crate) struct ProducerIds {
    queue: Arc<CommitQueue>,
    /// The next one, and the first that is not ours yet.
    block: Mutex<(i64, i64)>,
}

impl ProducerIds {
    /// `stored` is the value of the key, if there is one.
    pub fn load(stored: Option<Vec<u8>>, queue: Arc<CommitQueue>) -> Result<Self> {
        let next = match stored {
            Some(value) => Reader::value(value, "producer id")?.i64()?,
            None => 0,
        };
        Ok(Self { queue, block: Mutex::new((next, next)) })
    }

    /// A new id. Blocks for a write at the end of a block.
    pub fn allocate(&self) -> Result<i64> {
        let mut block = lock(&self.block);
        let (next, end) = *block;
        let mut new_end = end;
        if next == end {
            new_end = end.checked_add(BLOCK).ok_or_else(|| {
                Error::exhausted("all producer ids are given out").hint("this needs 2^63 producers")
            })?;
            let value = Writer::value().i64(new_end).finish();
            let change = (Writer::key(kind::PRODUCER_IDS).finish(), Some(value));
            self.queue.wait(&self.queue.enqueue([change]))?;
        }
        *block = (next + 1, new_end);
        Ok(next)
    }
}
