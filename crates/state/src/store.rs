//! Checkpoints and deltas in the keyspace `state`. Keys: the pipeline's name with its length before
//! it (so that no pipeline's keys start with another's), then `c` for the checkpoint or `d`,
//! operator, epoch and number for a delta; numbers big-endian, so keys sort in order of restoring.

use std::sync::Arc;

use common::{Epoch, Error, Result};
use graph::{Checkpoint, Delta, REBUILD, Stored};
use kv::{Batch, Kv};

use crate::ipc;

/// Name of the keyspace that holds the state of all pipelines.
pub const KEYSPACE: &str = "state";

/// More epochs than this in deltas make a restart slow.
const EPOCHS_MAX: u64 = 64;
/// Below this it is not worth rewriting, whatever the ratio.
const BYTES_MIN: u64 = 64 << 10;

/// Puts an epoch's checkpoint and deltas into `batch`. A full delta deletes the older ones of its
/// operator in the same batch. Returns the checkpoint as stored, with its sizes brought up to date.
pub fn stage(
    batch: &mut Batch,
    pipeline: &str,
    checkpoint: &Checkpoint,
    deltas: &[Delta],
) -> Result<Checkpoint> {
    let space = batch.kv().keyspace(KEYSPACE)?;
    let mut stored = checkpoint.stored.clone();
    let mut added = 0;
    let mut replaced = std::collections::BTreeSet::new();
    for (number, delta) in deltas.iter().enumerate() {
        if delta.full && replaced.insert(delta.operator) {
            // Also what an earlier try of this very epoch left: it is put again below.
            let prefix = operator_key(pipeline, delta.operator);
            for pair in space.prefix(&prefix)? {
                let (key, value) = pair?;
                stored.bytes = stored.bytes.saturating_sub(value.len() as u64);
                batch.delete(&space, key);
            }
        }
        let value = ipc::encode(&delta.batch, delta.full)?;
        added += value.len() as u64;
        let key = delta_key(pipeline, delta.operator, checkpoint.epoch, number as u32);
        batch.put(&space, key, value);
    }
    stored.bytes += added;
    let all_full = !deltas.is_empty() && deltas.iter().all(|d| replaced.contains(&d.operator));
    if all_full {
        stored = Stored { epochs: 0, full_bytes: added, ..stored };
    } else if !deltas.is_empty() {
        stored.epochs += 1;
    }
    let checkpoint = Checkpoint { stored, ..checkpoint.clone() };
    batch.put(&space, checkpoint_key(pipeline), checkpoint.to_json());
    Ok(checkpoint)
}

/// True when the next epoch should be sealed in full: restoring would read too many deltas, or
/// more than twice the bytes of a full state.
pub fn should_compact(checkpoint: &Checkpoint) -> bool {
    let stored = &checkpoint.stored;
    stored.epochs > EPOCHS_MAX || stored.bytes > (2 * stored.full_bytes).max(BYTES_MIN)
}

/// Only where the pipeline stands, without its state.
pub fn load_checkpoint(kv: &Arc<Kv>, pipeline: &str) -> Result<Option<Checkpoint>> {
    let space = kv.keyspace(KEYSPACE)?;
    match space.get(&checkpoint_key(pipeline))? {
        None => Ok(None),
        Some(json) => Checkpoint::from_json(&json).map(Some).map_err(|e| named(e, pipeline)),
    }
}

/// The last checkpoint, and the deltas to restore from.
pub fn load(kv: &Arc<Kv>, pipeline: &str) -> Result<Option<(Checkpoint, Deltas)>> {
    let space = kv.keyspace(KEYSPACE)?;
    let snapshot = kv.snapshot()?;
    let Some(json) = snapshot.get(&space, &checkpoint_key(pipeline))? else {
        return Ok(None);
    };
    let checkpoint = Checkpoint::from_json(&json).map_err(|e| named(e, pipeline))?;
    let prefix = deltas_key(pipeline);
    let pairs = snapshot.prefix(&space, &prefix)?;
    let deltas = Deltas {
        pairs,
        prefix: prefix.len(),
        epoch: checkpoint.epoch,
        pipeline: pipeline.to_owned(),
    };
    Ok(Some((checkpoint, deltas)))
}

/// Deltas of a pipeline as of its last checkpoint, operator by operator, oldest first, each read
/// when it is asked for: a large state is never in memory twice.
pub struct Deltas {
    pairs: kv::Pairs,
    prefix: usize,
    epoch: Epoch,
    pipeline: String,
}

impl Deltas {
    fn read(&self, key: &[u8], value: &[u8]) -> Result<Delta> {
        let (operator, epoch) = decode_key(&key[self.prefix..])
            .ok_or_else(|| Error::corrupt("a key of its state is malformed"))?;
        if epoch > self.epoch {
            let text = format!("its state has epoch {epoch}, its checkpoint {}", self.epoch);
            return Err(Error::corrupt(text).hint(REBUILD));
        }
        let (batch, full) = ipc::decode(value)?;
        Ok(Delta { operator, batch, full })
    }
}

impl Iterator for Deltas {
    type Item = Result<Delta>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.pairs.next()?;
        let delta = pair
            .and_then(|(key, value)| self.read(&key, &value).map_err(|e| named(e, &self.pipeline)));
        Some(delta)
    }
}

/// Deletes all of a pipeline's state.
pub fn remove(batch: &mut Batch, pipeline: &str) -> Result<()> {
    let space = batch.kv().keyspace(KEYSPACE)?;
    batch.delete_prefix(&space, &pipeline_key(pipeline))
}

fn named(e: Error, pipeline: &str) -> Error {
    e.context(format!("view '{pipeline}'"))
}

fn pipeline_key(pipeline: &str) -> Vec<u8> {
    let mut key = (pipeline.len() as u32).to_be_bytes().to_vec();
    key.extend_from_slice(pipeline.as_bytes());
    key
}

fn checkpoint_key(pipeline: &str) -> Vec<u8> {
    let mut key = pipeline_key(pipeline);
    key.push(b'c');
    key
}

fn deltas_key(pipeline: &str) -> Vec<u8> {
    let mut key = pipeline_key(pipeline);
    key.push(b'd');
    key
}

fn operator_key(pipeline: &str, operator: u32) -> Vec<u8> {
    let mut key = deltas_key(pipeline);
    key.extend_from_slice(&operator.to_be_bytes());
    key
}

fn delta_key(pipeline: &str, operator: u32, epoch: Epoch, number: u32) -> Vec<u8> {
    let mut key = operator_key(pipeline, operator);
    key.extend_from_slice(&epoch.0.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn decode_key(key: &[u8]) -> Option<(u32, Epoch)> {
    let key: [u8; 16] = key.try_into().ok()?;
    let operator = u32::from_be_bytes(key[..4].try_into().ok()?);
    let epoch = u64::from_be_bytes(key[4..12].try_into().ok()?);
    Some((operator, Epoch(epoch)))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
