//! Appending: data files first, synced, then one commit that names them together with the offsets
//! they hold, as Delta application transactions. A crash before the commit leaves files nobody
//! sees; a repeat after the commit finds its offsets archived and does nothing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use common::Result;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, StructField, Transaction};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::lake::{Opened, Table};
use crate::ranges::{Plan, Range};
use crate::{Appended, Declared, Lake, columns, fault};

/// Commits between two checkpoints of a table's log.
const CHECKPOINT_INTERVAL: u64 = 50;
/// A data file larger than this is ended and another begun.
const FILE_BYTES: u64 = 128 << 20;

const PROPERTIES: [(&str, &str); 3] = [
    ("delta.checkpointInterval", "50"),
    // How far back a version can be queried; a commit every ten seconds makes many log files.
    ("delta.logRetentionDuration", "interval 7 days"),
    ("delta.dataSkippingNumIndexedCols", "32"),
];

impl Lake {
    /// Archives the rows of these offset ranges in one commit; what is archived already is left
    /// out. Rows must have `_partition` and `_offset` and lie within the ranges.
    ///
    /// The table is created with the declared columns (hidden ones may be among them); new ones are
    /// added, and wider types taken over. After an error the same call may be repeated.
    pub fn append<'a>(
        &'a self,
        topic: &'a str,
        declared: &'a Declared,
        batches: Vec<RecordBatch>,
        ranges: &'a [Range],
    ) -> BoxFuture<'a, Result<Appended>> {
        self.append_once(topic, declared, batches, ranges).boxed()
    }

    async fn append_once(
        &self,
        topic: &str,
        declared: &Declared,
        batches: Vec<RecordBatch>,
        ranges: &[Range],
    ) -> Result<Appended> {
        let table = self.table(topic)?;
        let _one = table.appending.lock().await;
        let stored = columns::stored(&declared.schema)?;
        let opened = match table.refresh().await? {
            Some(opened) => opened,
            None => table.create(&stored).await?,
        };
        let plan = Plan::new(&opened.archived.next, ranges);
        if plan.next.is_empty() {
            return Ok(Appended::default());
        }
        let opened = table.evolve(opened, declared, &stored, &self.session).await?;
        let arrow = table.arrow_schema(&opened.state)?;
        let mut new = vec![];
        for batch in &batches {
            let batch = plan.filter(batch)?;
            if batch.num_rows() > 0 {
                new.push(columns::conform(&batch, &arrow)?);
            }
        }
        let rows = new.iter().map(RecordBatch::num_rows).sum();
        let adds = table.write(&arrow, new).await?;
        let version = table.commit(&opened, adds, &plan).await?;
        Ok(Appended { version: Some(version), rows, gaps: plan.gaps })
    }
}

impl Table {
    pub(crate) async fn create(&self, stored: &SchemaRef) -> Result<Arc<Opened>> {
        let bad = |e| fault::error(&self.place, "create", e);
        self.place.create()?;
        let table = CreateBuilder::new()
            .with_log_store(self.log.clone())
            .with_table_name(&self.topic)
            .with_columns(kernel_fields(stored).map_err(bad)?)
            .with_configuration(PROPERTIES.map(|(k, v)| (k, Some(v))))
            .await
            .map_err(bad)?;
        let state = table.snapshot().map_err(bad)?.clone();
        self.place.committed(state.version()).await?;
        self.place.created().await?;
        self.keep(state, Default::default())
    }

    async fn write(&self, schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Vec<Add>> {
        if batches.is_empty() {
            return Ok(vec![]);
        }
        let bad = |e| fault::error(&self.place, "write to", e);
        let mut writer = self.writer(schema)?;
        for batch in batches {
            writer.write(batch).await.map_err(bad)?;
        }
        let adds = writer.flush().await.map_err(bad)?;
        self.sync_data(&adds).await?;
        Ok(adds)
    }

    pub(crate) fn writer(&self, schema: &SchemaRef) -> Result<RecordBatchWriter> {
        let bad = |e| fault::error(&self.place, "write to", e);
        let zstd = ZstdLevel::try_new(1).map_err(|e| bad(DeltaTableError::from(e)))?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(zstd)).build();
        let writer = RecordBatchWriter::try_new(&self.url, schema.clone(), None, None);
        let writer = writer.map_err(bad)?.with_writer_properties(properties);
        Ok(writer.with_target_file_size(FILE_BYTES))
    }

    pub(crate) async fn sync_data(&self, adds: &[Add]) -> Result<()> {
        self.place.data_written(adds.iter().map(|a| a.path.clone()).collect()).await
    }

    async fn commit(&self, opened: &Opened, adds: Vec<Add>, plan: &Plan) -> Result<u64> {
        let mut archived = opened.archived.clone();
        archived.next.extend(plan.next.iter().map(|(p, o)| (*p, *o)));
        archived.whole_from.extend(plan.gaps.iter().map(|g| (g.partition, g.to)));
        let last = |(p, next): (_, &common::Offset)| Transaction::new(self.app(p), next.0 - 1);
        let mut transactions: Vec<Transaction> = plan.next.iter().map(last).collect();
        transactions.extend(plan.gaps.iter().map(|g| {
            let app = self.app(format_args!("{}/gap", g.partition));
            Transaction::new(app, g.to.0 - 1)
        }));
        let count = archived.next.keys().last().map_or(0, |p| i64::from(p.0) + 1);
        transactions.push(Transaction::new(self.app("partitions"), count));
        let clean = (opened.state.version() + 1).is_multiple_of(CHECKPOINT_INTERVAL);
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_cleanup_expired_logs(Some(clean));
        let operation =
            DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        let commit = CommitBuilder::from(properties)
            .with_actions(adds.into_iter().map(Action::Add).collect())
            .build(Some(&opened.state), self.log.clone(), operation)
            .await
            .map_err(|e| fault::error(&self.place, "commit to", e))?;
        let version = commit.version();
        let state: DeltaTableState = commit.snapshot();
        self.place.committed(version).await?;
        // Another writer may have come between: then the table tells.
        if version == opened.state.version() + 1 {
            self.keep(state, archived)?;
        }
        Ok(version)
    }
}

pub(crate) fn kernel_fields(schema: &SchemaRef) -> Result<Vec<StructField>, DeltaTableError> {
    let fields = schema.fields().iter().map(|f| f.as_ref().try_into_kernel());
    Ok(fields.collect::<Result<Vec<StructField>, _>>()?)
}
