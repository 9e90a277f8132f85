//! What a query can read: topics (archive and log tail as one table, each offset once), views (the
//! rows of their last epoch) and the dead letters. One schema provider looks names up in the
//! platform, so SQL, REST and the Postgres door see the same tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use common::{Kind, Offset, Partition, Result, StoppedViews};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use lake::{Lake, LakeSnapshot};

use crate::feed::Feed;
use crate::pipeline_status::Shared;
use crate::platform::Inner;
use crate::rows::{RowDecoder, full_schema, read_range};
use crate::view_store::ViewStore;

const READ_BYTES: usize = 4 << 20;
/// How often a query that retention overtook looks at the archive again.
const ATTEMPTS: usize = 8;

/// A topic as a table: the archive up to an offset of each partition, the log after it.
pub struct TopicProvider {
    topic: catalog::Topic,
    feed: Arc<Feed>,
    lake: Arc<Lake>,
    schema: SchemaRef,
}

impl TopicProvider {
    pub fn new(topic: catalog::Topic, feed: Arc<Feed>, lake: Arc<Lake>) -> TopicProvider {
        let full = full_schema(&topic);
        let fields = full.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        TopicProvider { topic, feed, lake, schema }
    }

    /// The archive, and the rows of the log that are not in it. Archiving and retention go on
    /// meanwhile: when the log has lost what this version of the archive does not have yet, a newer
    /// version has it.
    async fn read(&self) -> Result<(Option<LakeSnapshot>, Vec<RecordBatch>)> {
        let mut before = None;
        for _ in 0..ATTEMPTS {
            // Archive first: an offset archived in between is then read from the log, never twice.
            let snapshot = self.lake.snapshot(&self.topic.name, &self.topic.schema()).await?;
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
        let name = &self.topic.name;
        Err(common::Error::unavailable(format!("retention of '{name}' overtakes this query"))
            .hint("try again, or give the topic a longer retention"))
    }

    /// Rows of the log from these offsets on; None when it begins later and `gaps` do not count.
    async fn tail(
        &self,
        archived: BTreeMap<Partition, Offset>,
        gaps: bool,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let (topic, feed) = (self.topic.clone(), self.feed.clone());
        tokio::task::spawn_blocking(move || {
            crate::archive::within_log(&feed.log, &archived)?;
            let mut decoder = RowDecoder::new(&topic)?;
            let mut rows = vec![];
            for p in feed.log.partitions() {
                let archived = archived.get(&p.id()).copied().unwrap_or_default();
                let from = archived.max(p.start_offset());
                if from > archived && topic.archive && !gaps {
                    return Ok(None);
                }
                let to = feed.end(&p)?;
                read_range(&feed, &mut decoder, p.id(), from, to, READ_BYTES, |batch, _| {
                    rows.push(batch);
                    Ok(true)
                })?;
            }
            Ok(Some(rows))
        })
        .await
        .map_err(|e| common::Error::internal(format!("reading the log: {e}")))?
    }
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
        let tail = MemTable::try_new(self.schema.clone(), vec![tail])?;
        let mut inputs = vec![tail.scan(state, projection, &[], None).await?];
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

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.status.get().check_readable(&self.name, self.stopped).map_err(external)?;
        let store = self.store.clone();
        let batches = tokio::task::spawn_blocking(move || store.scan(&store.kv().snapshot()?))
            .await
            .map_err(external)?
            .map_err(external)?;
        scan_batches(state, self.schema(), batches, projection).await
    }
}

/// The dead letters as a table.
pub struct DeadLettersProvider(pub Arc<crate::dead_letters::DeadLetters>);

impl fmt::Debug for DeadLettersProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeadLettersProvider")
    }
}

#[async_trait]
impl TableProvider for DeadLettersProvider {
    fn schema(&self) -> SchemaRef {
        crate::dead_letters::schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let batch = self.0.batch().map_err(external)?;
        scan_batches(state, self.schema(), vec![batch], projection).await
    }
}

async fn scan_batches(
    state: &dyn Session,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    projection: Option<&Vec<usize>>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    MemTable::try_new(schema, vec![batches])?.scan(state, projection, &[], None).await
}

fn external(e: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

/// The platform's names as a DataFusion schema.
pub struct PlatformSchema {
    inner: Weak<Inner>,
}

impl PlatformSchema {
    pub(crate) fn new(inner: Weak<Inner>) -> PlatformSchema {
        PlatformSchema { inner }
    }
}

impl fmt::Debug for PlatformSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlatformSchema")
    }
}

#[async_trait]
impl SchemaProvider for PlatformSchema {
    fn table_names(&self) -> Vec<String> {
        self.inner.upgrade().map(|i| i.table_names()).unwrap_or_default()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.inner.upgrade().and_then(|i| i.table(name)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|n| n == name)
    }
}

/// One batch of all.
pub fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(schema, batches)
        .map_err(|e| common::Error::internal(format!("joining batches: {e}")))
}
