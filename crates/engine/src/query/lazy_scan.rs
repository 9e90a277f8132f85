//! A table whose rows are read while the query takes them: a few batches are in memory at a time,
//! however large it is, and a query that has enough ends the reading.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use common::Result;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};

/// Batches that wait for the query.
const BATCHES_WAITING: usize = 2;

/// Takes a batch; false when no more are wanted.
pub type Take<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<bool>;
/// Reads all there is, on a thread that may wait.
type Read = dyn Fn(Take<'_>) -> Result<()> + Send + Sync;

/// A plan that calls `read`, which gives batches of `schema`.
pub fn lazy(
    schema: SchemaRef,
    limit: Option<usize>,
    read: impl Fn(Take<'_>) -> Result<()> + Send + Sync + 'static,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let partition = Arc::new(Lazy { schema: schema.clone(), read: Arc::new(read) });
    let plan = StreamingTableExec::try_new(schema, vec![partition], None, [], false, limit)?;
    Ok(Arc::new(plan))
}

struct Lazy {
    schema: SchemaRef,
    read: Arc<Read>,
}

impl fmt::Debug for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lazy")
    }
}

impl PartitionStream for Lazy {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(self.schema.clone(), BATCHES_WAITING);
        let (read, sender) = (self.read.clone(), builder.tx());
        builder.spawn_blocking(move || {
            read(&mut |batch| Ok(sender.blocking_send(Ok(batch)).is_ok()))
                .map_err(|e| DataFusionError::External(Box::new(e)))
        });
        builder.build()
    }
}
