//! A topic's columns change after it was archived. New ones are added by a commit of the schema
//! alone. Wider types, new fields of structs and columns with a default are the values of old rows
//! too: these are written anew, in one commit that no reader sees half of, so that any Delta reader
//! finds plain columns and needs no table feature.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use common::{Error, Result};
use datafusion::execution::SessionState;
use datafusion::physical_plan::execute_stream;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, MetadataExt, StructType};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::writer::DeltaWriter;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;

use crate::append::kernel_fields;
use crate::lake::{Opened, Table};
use crate::{Declared, columns, fault};

/// Rows gathered in memory while a table is written anew, in bytes.
const GATHERED_BYTES: usize = 64 << 20;

impl Table {
    /// Brings the table to the declared columns.
    pub(crate) async fn evolve(
        &self,
        opened: Arc<Opened>,
        declared: &Declared,
        stored: &SchemaRef,
        session: &Arc<SessionState>,
    ) -> Result<Arc<Opened>> {
        let bad = |e| fault::error(&self.place, "add columns to", e);
        let kernel = opened.state.schema();
        let arrow = self.arrow_schema(&opened.state)?;
        let mut fields: Vec<FieldRef> = arrow.fields().to_vec();
        let (mut missing, mut is_other) = (vec![], false);
        for (field, new) in stored.fields().iter().zip(kernel_fields(stored).map_err(bad)?) {
            let name = field.name();
            let at = fields.iter().position(|f| f.name().eq_ignore_ascii_case(name));
            let Some(at) = at else {
                is_other |= declared.defaults.contains_key(name);
                fields.push(field.clone());
                missing.push(new);
                continue;
            };
            let known = &fields[at];
            if known.name() != name {
                return Err(changed(self, name, "is written in another case")
                    .hint("keep the old spelling, or drop the topic with its archive"));
            }
            let is_same = kernel.field(name).is_some_and(|f| f.data_type() == new.data_type());
            if is_same || columns::is_headers_as_text(known) {
                continue;
            }
            if !formats::widen::widens(known.data_type(), field.data_type()) {
                let [was, is] = [known, field].map(|f| formats::types::sql_name(f.data_type()));
                let how = format!("is {was} there, {is} now");
                return Err(changed(self, name, &how)
                    .hint("give the new column another name, or drop the topic with its archive"));
            }
            fields[at] = field.clone();
            is_other = true;
        }
        if is_other {
            let schema = Arc::new(Schema::new(fields));
            return self.rewrite(&opened, &schema, declared, session).await;
        }
        if missing.is_empty() {
            return Ok(opened);
        }
        let table = DeltaTable::new(self.log.clone());
        table.add_columns().with_fields(missing).await.map_err(bad)?;
        self.newest().await
    }

    async fn newest(&self) -> Result<Arc<Opened>> {
        let refreshed = self.refresh().await?;
        let newest =
            refreshed.ok_or_else(|| fault::corrupt(&self.place, "its '_delta_log' is gone"))?;
        self.place.committed(newest.state.version()).await?;
        Ok(newest)
    }

    /// All rows under another schema. The transactions, which say what is archived, stay.
    async fn rewrite(
        &self,
        opened: &Opened,
        schema: &SchemaRef,
        declared: &Declared,
        session: &Arc<SessionState>,
    ) -> Result<Arc<Opened>> {
        let bad = |e| fault::error(&self.place, "change columns of", e);
        let adds = self.written_anew(opened, schema, declared, session).await?;
        let data = opened.state.snapshot().try_log_data().map_err(bad)?;
        let removes = data.iter().map(|file| Action::Remove(file.remove_action(true)));
        let fields = kernel_fields(schema).map_err(bad)?;
        let kernel = StructType::try_new(fields).map_err(|e| bad(DeltaTableError::from(e)))?;
        let metadata = opened.state.metadata().clone().with_schema(&kernel);
        let metadata = metadata.map_err(|e| bad(DeltaTableError::from(e)))?;
        let mut actions = vec![Action::Metadata(metadata)];
        actions.extend(removes);
        actions.extend(adds.into_iter().map(Action::Add));
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: None,
            predicate: None,
        };
        CommitBuilder::from(CommitProperties::default())
            .with_actions(actions)
            .build(Some(&opened.state), self.log.clone(), operation)
            .await
            .map_err(bad)?;
        self.newest().await
    }

    async fn written_anew(
        &self,
        opened: &Opened,
        schema: &SchemaRef,
        declared: &Declared,
        session: &Arc<SessionState>,
    ) -> Result<Vec<Add>> {
        let bad = |e| fault::error(&self.place, "change columns of", e);
        let read = |e: datafusion::error::DataFusionError| bad(DeltaTableError::from(e));
        let scan = self.scan(opened, session).await?;
        let plan = scan.scan(&**session, None, &[], None).await.map_err(read)?;
        let mut rows = execute_stream(plan, session.task_ctx()).map_err(read)?;
        let mut writer = self.writer(schema)?;
        let (mut adds, mut gathered) = (vec![], 0);
        while let Some(batch) = rows.try_next().await.map_err(read)? {
            let batch = conform(&batch, schema, declared)?;
            gathered += batch.get_array_memory_size();
            writer.write(batch).await.map_err(bad)?;
            if gathered >= GATHERED_BYTES {
                adds.extend(writer.flush().await.map_err(bad)?);
                gathered = 0;
            }
        }
        adds.extend(writer.flush().await.map_err(bad)?);
        self.sync_data(&adds).await?;
        Ok(adds)
    }
}

/// Rows of the old schema under the new one.
fn conform(batch: &RecordBatch, schema: &SchemaRef, declared: &Declared) -> Result<RecordBatch> {
    let n = batch.num_rows();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => formats::widen::widen(column, field.data_type()),
        None => {
            let default = declared.default_of(field.name(), field.data_type())?;
            let array = default.to_array_of_size(n);
            array.map_err(|e| Error::internal("repeating a default").caused_by(e))
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| Error::internal("a batch does not fit its new columns").caused_by(e))
}

fn changed(table: &Table, column: &str, how: &str) -> Error {
    let topic = &table.topic;
    Error::invalid(format!("column '{column}' of the archive of topic '{topic}' {how}"))
}
