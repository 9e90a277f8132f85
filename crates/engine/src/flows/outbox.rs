//! Changes on their way to a sink. The pipeline stages them in its epoch's write; delivery reads
//! them in order and removes each after the sink took it, so a crash in between repeats an epoch
//! under the same number and never skips one.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int8Type, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use common::{Epoch, Error, Result};
use kv::{Batch, Keyspace, Kv};
use stream::Change;
use tokio::sync::Notify;

/// Epochs that may wait before the pipeline pauses.
const EPOCHS_MAX: u64 = 1_000;
const WEIGHT: &str = "__weight";

/// The waiting epochs of one sink.
pub struct Outbox {
    kv: Arc<Kv>,
    epochs: Keyspace,
    prefix: Vec<u8>,
    waiting: AtomicU64,
    changed: Notify,
}

/// An epoch to deliver.
pub struct Waiting {
    pub epoch: Epoch,
    pub batches: Vec<(RecordBatch, Option<Int8Array>)>,
}

impl Outbox {
    pub fn open(kv: &Arc<Kv>, pipeline: &str) -> Result<Outbox> {
        let epochs = kv.keyspace("outbox")?;
        let mut prefix = pipeline.as_bytes().to_vec();
        prefix.push(0);
        let mut n = 0;
        for entry in epochs.prefix(&prefix)? {
            entry?;
            n += 1;
        }
        let (waiting, changed) = (AtomicU64::new(n), Notify::new());
        Ok(Outbox { kv: kv.clone(), epochs, prefix, waiting, changed })
    }

    /// Adds an epoch's changes to its write; an epoch without changes adds nothing.
    pub fn stage(&self, batch: &mut Batch, epoch: Epoch, changes: &[Change]) -> Result<()> {
        if changes.iter().all(|c| c.batch.num_rows() == 0) {
            return Ok(());
        }
        batch.put(&self.epochs, self.key(epoch), encode(changes)?);
        Ok(())
    }

    /// Call after the write.
    pub fn notify(&self, changes: &[Change]) {
        if changes.iter().all(|c| c.batch.num_rows() == 0) {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub fn is_full(&self) -> bool {
        self.waiting() >= EPOCHS_MAX
    }

    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The oldest epoch.
    pub fn first(&self) -> Result<Option<Waiting>> {
        match self.epochs.prefix(&self.prefix)?.next() {
            None => Ok(None),
            Some(entry) => {
                let (key, value) = entry?;
                let bytes = key.get(self.prefix.len()..).and_then(|b| b.try_into().ok());
                let epoch = bytes.map(u64::from_be_bytes).ok_or_else(|| damaged("a bad key"))?;
                Ok(Some(Waiting { epoch: Epoch(epoch), batches: decode(&value)? }))
            }
        }
    }

    /// The sink has it.
    pub fn remove(&self, epoch: Epoch) -> Result<()> {
        let mut batch = self.kv.batch();
        batch.delete(&self.epochs, self.key(epoch));
        batch.commit_durable()?;
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(1)))
            .ok();
        Ok(())
    }

    /// Removes what waits for a sink that is no longer defined.
    pub fn remove_all(kv: &Arc<Kv>, pipeline: &str) -> Result<()> {
        let epochs = kv.keyspace("outbox")?;
        let mut batch = kv.batch();
        batch.delete_prefix(&epochs, format!("{pipeline}\0").as_bytes())?;
        batch.commit_durable()
    }

    fn key(&self, epoch: Epoch) -> Vec<u8> {
        [&self.prefix[..], &epoch.0.to_be_bytes()[..]].concat()
    }
}

fn damaged(e: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("an epoch waiting for a sink does not decode: {e}"))
}

fn encode(changes: &[Change]) -> Result<Vec<u8>> {
    let bad = |e| Error::internal(format!("encoding changes for a sink: {e}"));
    let Some(first) = changes.first() else { return Ok(vec![]) };
    let mut fields: Vec<_> = first.batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int8, true)));
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut writer = StreamWriter::try_new(vec![], &schema).map_err(bad)?;
    for change in changes {
        let n = change.batch.num_rows();
        let weights = change.weights.clone().unwrap_or_else(|| Int8Array::from(vec![None; n]));
        let mut columns = change.batch.columns().to_vec();
        columns.push(Arc::new(weights));
        let batch = RecordBatch::try_new(schema.clone(), columns).map_err(bad)?;
        writer.write(&batch).map_err(bad)?;
    }
    writer.into_inner().map_err(bad)
}

fn decode(bytes: &[u8]) -> Result<Vec<(RecordBatch, Option<Int8Array>)>> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(damaged)?;
    reader
        .map(|batch| {
            let mut batch = batch.map_err(damaged)?;
            let weights = batch.remove_column(batch.num_columns() - 1);
            let weights = weights.as_primitive::<Int8Type>().clone();
            let known = weights.null_count() < weights.len();
            Ok((batch, known.then_some(weights)))
        })
        .collect()
}
