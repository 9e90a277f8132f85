//! A sink: epochs of changes that go out to another system. The protocol below is the same for
//! every promise (`spec::Delivery`), so the engine has one way of driving all of them.
//!
//! For each epoch: `write` (any number of times), `prepare`, `commit`, in the order of epochs. An
//! epoch is repeated from the start unless its `commit` returned, also by a later process, and may
//! then hold other rows than in the first try; an engine that keeps its own commit between
//! `prepare` and `commit` calls `commit` of its last epoch again after `open`.
//! After an error that was given up the sink is opened anew.

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use common::{Epoch, Result};

/// Rows to outside.
#[async_trait]
pub trait Sink: Send {
    /// Forgets what was written but not prepared. Returns the last epoch that the target shows as
    /// committed, if the target can tell.
    async fn open(&mut self, schema: SchemaRef) -> Result<Option<Epoch>>;

    /// Takes changes of an epoch. `weights` (+1, -1) come with every batch of an updating view and
    /// with none of an append-only one. When it fails, nothing of this batch stays behind, so that
    /// the same call can be made again. The first write of an epoch replaces whatever an earlier
    /// process had written or prepared for that epoch.
    async fn write(
        &mut self,
        epoch: Epoch,
        changes: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<()>;

    /// Makes the epoch safe at the target: after this it can't fail for want of data, whatever
    /// crashes. At-least-once sinks send here, before the engine's commit.
    async fn prepare(&mut self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }

    /// Shows the epoch to readers of the target. May be called again, also by a later process;
    /// an epoch without rows is a success.
    async fn commit(&mut self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }
}
