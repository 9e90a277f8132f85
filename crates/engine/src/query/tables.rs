//! What a query can read: topics (archive and log tail as one table, each offset once), views (the
//! rows of their last epoch) and the dead letters. One schema provider looks names up in the
//! platform, so SQL, REST and the Postgres door see the same tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use common::{Error, Kind, Offset, Partition, Result, StoppedViews};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use graph::OutputKey;
use lake::{Lake, LakeSnapshot};

use crate::flows::pipeline_status::Shared;
use crate::flows::view_store::{ReadFrom, ViewStore};
use crate::query::lazy_scan::lazy;
use crate::topics::rows::{RowDecoder, full_schema, read_range};
use crate::topics::topic_reader::TopicReader;

const READ_BYTES: usize = 4 << 20;
/// How often a query that retention overtook looks at the archive again.
const ATTEMPTS: usize = 8;

/// A topic as a table: the archive up to an offset of each partition, the log after it.
pub struct TopicProvider {
    topic: catalog::Topic,
    reader: Arc<TopicReader>,
    lake: Arc<Lake>,
    schema: SchemaRef,
}

impl TopicProvider {
    pub fn new(topic: catalog::Topic, reader: Arc<TopicReader>, lake: Arc<Lake>) -> TopicProvider {
        let full = full_schema(&topic);
        let fields = full.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        TopicProvider { topic, reader, lake, schema }
    }

    /// The archive, and the stretches of the log that are not in it. Archiving and retention go on
    /// meanwhile: when the log has lost what this version of the archive does not have yet, a newer
    /// version has it.
    async fn read(&self) -> Result<(Option<LakeSnapshot>, Tail)> {
        let declared = crate::topics::rows::declared(&self.topic)?;
        let mut before = None;
        for _ in 0..ATTEMPTS {
            // Archive first: an offset archived in between is then read from the log, never twice.
            let snapshot = self.lake.snapshot(&self.topic.name, &declared).await?;
            let archived = snapshot.as_ref().map(|s| s.archived.clone()).unwrap_or_default();
            // What no newer version has was gone before it could be archived.
            let settled = before.as_ref() == Some(&archived);
            match self.tail(archived.clone(), settled).await {
                Ok(Some(tail)) => return Ok((snapshot, tail)),
                Ok(None) => {}
                Err(e) if e.kind() == Kind::NotFound && !settled => {}
                Err(e) => return Err(e),
            }
            before = Some(archived);
        }
        Err(overtaken(&self.topic.name))
    }

    /// What of the log is read from these offsets on, and kept for it; None when the log begins
    /// later and `gaps` do not count.
    async fn tail(
        &self,
        archived: BTreeMap<Partition, Offset>,
        gaps: bool,
    ) -> Result<Option<Tail>> {
        let (archives, reader) = (self.topic.archive, self.reader.clone());
        crate::stores::blocking::blocking(move || {
            crate::topics::within_log::archive(&reader.log, &archived)?;
            let pin = reader.log.pin();
            let mut stretches = vec![];
            for p in reader.log.partitions() {
                let archived = archived.get(&p.id()).copied().unwrap_or_default();
                let from = archived.max(p.start_offset());
                if from > archived && archives && !gaps {
                    return Ok(None);
                }
                stretches.push(Stretch { partition: p.id(), from, to: reader.end(&p)? });
            }
            Ok(Some(Tail { stretches, _pin: pin }))
        })
        .await
    }

    /// Reads stretches of the log while the query takes them, and only the columns it asks for.
    fn scan_tail(
        &self,
        tail: Tail,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let (topic, reader, wanted) = (self.topic.clone(), self.reader.clone(), schema.clone());
        lazy(schema, limit, move |take| {
            // All of it belongs to the closure: a part alone would leave the pin behind.
            let tail = &tail;
            let names: Vec<&str> = wanted.fields().iter().map(|f| f.name().as_str()).collect();
            let mut decoder = RowDecoder::of_columns(&topic, &names)?;
            let have = decoder.schema();
            let place = |name: &&str| have.index_of(name);
            let places: Vec<usize> =
                names.iter().map(place).collect::<Result<_, _>>().map_err(lost)?;
            let mut more = true;
            for Stretch { partition, from, to } in &tail.stretches {
                let read = |batch: RecordBatch, _| {
                    more = take(batch.project(&places).map_err(lost)?)?;
                    Ok(more)
                };
                read_range(&reader, &mut decoder, *partition, *from, *to, READ_BYTES, read)
                    .map_err(|e| match e.kind() {
                        Kind::NotFound => overtaken(&topic.name).caused_by(e),
                        _ => e,
                    })?;
                if !more {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// What a query reads of a log; retention leaves it there as long.
struct Tail {
    stretches: Vec<Stretch>,
    _pin: log::Pin,
}

/// Offsets of a partition.
struct Stretch {
    partition: Partition,
    from: Offset,
    to: Offset,
}

fn overtaken(topic: &str) -> Error {
    Error::unavailable(format!("retention of '{topic}' overtakes this query"))
        .hint("try again, or give the topic a longer retention")
}

fn lost(e: ArrowError) -> Error {
    Error::internal(format!("columns of a topic: {e}"))
}

impl fmt::Debug for TopicProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicProvider({})", self.topic.name)
    }
}

#[async_trait]
impl TableProvider for TopicProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (snapshot, tail) = self.read().await.map_err(external)?;
        let mut inputs = vec![self.scan_tail(tail, projection, limit)?];
        if let Some(snapshot) = snapshot {
            // The archive has the same columns, with NULL for those added since.
            inputs.insert(0, snapshot.provider.scan(state, projection, filters, limit).await?);
        }
        match inputs.len() {
            1 => Ok(inputs.remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

/// A view as a table: what its last epoch left.
pub struct ViewProvider {
    pub name: String,
    pub store: Arc<ViewStore>,
    pub status: Arc<Shared>,
    pub stopped: StoppedViews,
}

impl fmt::Debug for ViewProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewProvider")
    }
}

#[async_trait]
impl TableProvider for ViewProvider {
    fn schema(&self) -> SchemaRef {
        self.store.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let of = |f: &&Expr| match self.key_value(f) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.status.get().check_readable(&self.name, self.stopped).map_err(external)?;
        let from = self.from(filters).map_err(external)?;
        let snapshot = self.store.kv().snapshot().map_err(external)?;
        let (store, columns) = (self.store.clone(), projection.cloned());
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        lazy(schema, limit, move |take| {
            store.read(&snapshot, &from, &mut |batch, _| match &columns {
                Some(columns) => take(batch.project(columns).map_err(lost)?),
                None => take(batch),
            })
        })
    }
}

impl ViewProvider {
    /// The first column of the key.
    fn first_key(&self) -> Option<usize> {
        match self.store.key() {
            OutputKey::Columns(columns) => columns.first().copied(),
            OutputKey::Append | OutputKey::Rows => None,
        }
    }

    /// The value that a filter asks of the first column of the key, if it does.
    fn key_value(&self, filter: &Expr) -> Option<ArrayRef> {
        let schema = self.schema();
        let field = schema.field(self.first_key()?);
        let Expr::BinaryExpr(e) = filter else { return None };
        let (Expr::Column(column), Expr::Literal(value, _)) = (&*e.left, &*e.right) else {
            return None;
        };
        let fits = e.op == Operator::Eq
            && column.name == *field.name()
            && value.data_type() == *field.data_type()
            && !value.is_null()
            // -0.0 equals 0.0, but its bytes are others.
            && !field.data_type().is_floating();
        if fits { value.to_array().ok() } else { None }
    }

    fn from(&self, filters: &[Expr]) -> Result<ReadFrom> {
        match filters.iter().find_map(|f| self.key_value(f)) {
            Some(value) => self.store.read_first_key(&value),
            None => Ok(self.store.read_all()),
        }
    }
}

/// The dead letters as a table.
pub struct DeadLettersProvider(pub Arc<crate::topics::dead_letters::DeadLetters>);

impl fmt::Debug for DeadLettersProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeadLettersProvider")
    }
}

#[async_trait]
impl TableProvider for DeadLettersProvider {
    fn schema(&self) -> SchemaRef {
        crate::topics::dead_letters::schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (letters, columns) = (self.0.clone(), projection.cloned());
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        lazy(schema, limit, move |take| {
            letters.read(&mut |batch| match &columns {
                Some(columns) => take(batch.project(columns).map_err(lost)?),
                None => take(batch),
            })
        })
    }
}

fn external(e: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

/// None where there is no table of that name.
type FindTable = dyn Fn(&str) -> Result<Option<Arc<dyn TableProvider>>> + Send + Sync;

/// The platform's names as a DataFusion schema.
pub struct PlatformSchema {
    pub names: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    pub table: Box<FindTable>,
}

impl fmt::Debug for PlatformSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlatformSchema")
    }
}

#[async_trait]
impl SchemaProvider for PlatformSchema {
    fn table_names(&self) -> Vec<String> {
        (self.names)()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        (self.table)(name).map_err(external)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|n| n == name)
    }
}
