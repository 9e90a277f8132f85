//! The archive of all topics and its answers: what is archived, and a table version to query. Open
//! tables are kept and brought up to date from their logs; what a table says is the single truth
//! about which offsets it holds.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use common::{Error, Offset, Partition, Result};
use datafusion::catalog::TableProvider;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use deltalake_core::delta_datafusion::DeltaScanNext;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTableBuilder, DeltaTableError};
use futures::FutureExt;
use futures::future::BoxFuture;
use url::Url;

use crate::exact::Exact;
use crate::place::{Place, TablePlace};
use crate::ranges::Gap;
use crate::{Declared, fault};

/// The tables of all topics. Needs a tokio runtime of several threads.
pub struct Lake {
    place: Place,
    tables: Mutex<HashMap<String, Arc<Table>>>,
    /// Only for its options, which decide the types a scan gives.
    pub(crate) session: Arc<SessionState>,
}

/// A topic's archive at one version of its table.
#[derive(Debug)]
pub struct LakeSnapshot {
    /// Rows of exactly the offsets in `archived`.
    pub provider: Arc<dyn TableProvider>,
    /// Next offset of each partition that is not archived yet.
    pub archived: BTreeMap<Partition, Offset>,
    /// Offsets of a partition before this one were not all given to the archive.
    pub whole_from: BTreeMap<Partition, Offset>,
    pub version: u64,
    pub files: usize,
    pub bytes: u64,
}

/// What an append did.
#[derive(Debug, Default, PartialEq)]
pub struct Appended {
    /// The commit; none if all was archived before.
    pub version: Option<u64>,
    pub rows: usize,
    /// Offsets left out between what was archived and these ranges.
    pub gaps: Vec<Gap>,
}

impl Lake {
    /// A lake in a local folder, created when missing. `location` is written as in the
    /// configuration (`file:data/lake`), a relative one starts at `base`.
    pub fn open(location: &str, base: &Path) -> Result<Self> {
        let place = Place::open(location, base)?;
        place.create()?;
        let mut config = SessionConfig::new();
        let parquet = &mut config.options_mut().execution.parquet;
        parquet.schema_force_view_types = false;
        parquet.pushdown_filters = false;
        let session = SessionStateBuilder::new().with_config(config).build();
        Ok(Self { place, tables: Mutex::default(), session: Arc::new(session) })
    }

    /// The folder of a topic's table, which any Delta reader opens.
    pub fn table_folder(&self, topic: &str) -> PathBuf {
        self.place.table(topic).path().to_path_buf()
    }

    /// Next offset of each partition that is not archived yet; empty without a table.
    pub fn archived<'a>(
        &'a self,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<Partition, Offset>>> {
        Box::pin(async move {
            let opened = self.table(topic)?.refresh().await?;
            Ok(opened.map(|o| o.archived.next.clone()).unwrap_or_default())
        })
    }

    /// The table as of now, with the offsets of the same version; none without a table.
    ///
    /// The provider has the declared columns and the hidden ones, of exactly these types: a column
    /// that the table does not have has its default.
    pub fn snapshot<'a>(
        &'a self,
        topic: &'a str,
        declared: &'a Declared,
    ) -> BoxFuture<'a, Result<Option<LakeSnapshot>>> {
        self.open_snapshot(topic, declared).boxed()
    }

    async fn open_snapshot(
        &self,
        topic: &str,
        declared: &Declared,
    ) -> Result<Option<LakeSnapshot>> {
        let table = self.table(topic)?;
        let Some(opened) = table.refresh().await? else { return Ok(None) };
        let scan = table.scan(&opened, &self.session).await?;
        Ok(Some(LakeSnapshot {
            provider: Arc::new(Exact::new(scan, declared)),
            archived: opened.archived.next.clone(),
            whole_from: opened.archived.whole_from.clone(),
            version: opened.state.version(),
            files: opened.files,
            bytes: opened.bytes,
        }))
    }

    /// Removes a topic's table with all its files; succeeds without one.
    pub fn drop_table<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let table = self.table(topic)?;
            let _one = table.appending.lock().await;
            lock(&self.tables).remove(topic);
            let removed = table.place.remove().await;
            *lock(&table.opened) = None;
            removed
        })
    }

    pub(crate) fn table(&self, topic: &str) -> Result<Arc<Table>> {
        let mut tables = lock(&self.tables);
        if let Some(table) = tables.get(topic) {
            return Ok(table.clone());
        }
        let table = Arc::new(Table::new(topic, self.place.table(topic))?);
        tables.insert(topic.to_owned(), table.clone());
        Ok(table)
    }
}

/// A topic's table, whether it exists yet or not.
pub(crate) struct Table {
    pub(crate) topic: String,
    pub(crate) place: TablePlace,
    pub(crate) url: Url,
    pub(crate) log: LogStoreRef,
    /// The newest version met.
    opened: Mutex<Option<Arc<Opened>>>,
    /// Appends come one after the other; readers do not wait for them.
    pub(crate) appending: tokio::sync::Mutex<()>,
}

/// Which offsets a version of a table stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archived {
    /// Next offset of each partition that is not archived.
    pub(crate) next: BTreeMap<Partition, Offset>,
    /// Where the last gap of a partition ends, if it has any.
    pub(crate) whole_from: BTreeMap<Partition, Offset>,
}

/// A version of a table.
pub(crate) struct Opened {
    pub(crate) state: DeltaTableState,
    pub(crate) archived: Archived,
    files: usize,
    bytes: u64,
}

impl Table {
    pub(crate) fn new(topic: &str, place: TablePlace) -> Result<Self> {
        let url = place.url()?;
        let log = DeltaTableBuilder::from_url(url.clone()).and_then(|b| b.build_storage());
        let bad = |e| Error::invalid(format!("'{place}' cannot hold a table")).caused_by(e);
        let log = log.map_err(bad)?;
        Ok(Self {
            topic: topic.to_owned(),
            place,
            url,
            log,
            opened: Mutex::default(),
            appending: tokio::sync::Mutex::default(),
        })
    }

    /// The table's newest version; none if there is no table.
    pub(crate) async fn refresh(&self) -> Result<Option<Arc<Opened>>> {
        let bad = |e| fault::error(&self.place, "read", e);
        let cached = lock(&self.opened).clone();
        let state = match cached {
            Some(cached) => {
                let version = cached.state.version();
                if self.log.get_latest_version(version).await.map_err(bad)? == version {
                    return Ok(Some(cached));
                }
                let mut state = cached.state.clone();
                state.update(&*self.log, None).await.map_err(bad)?;
                state
            }
            None => {
                if let Some(entry) = self.place.set_aside_unwritten().await? {
                    let table = &self.place;
                    tracing::warn!(%table, entry, "a commit that was cut off is left out");
                }
                if !self.log.is_delta_table_location().await.map_err(bad)? {
                    if self.place.has_data() {
                        return Err(fault::corrupt(&self.place, "its '_delta_log' is gone"));
                    }
                    return Ok(None);
                }
                DeltaTableState::try_new(&*self.log, None).await.map_err(bad)?
            }
        };
        let archived = self.read_archived(&state).await.map_err(bad)?;
        self.keep(state, archived).map(Some)
    }

    /// All rows of a version as they are stored.
    pub(crate) async fn scan(
        &self,
        opened: &Opened,
        session: &Arc<SessionState>,
    ) -> Result<Arc<dyn TableProvider>> {
        let scan = DeltaScanNext::builder()
            .with_log_store(self.log.clone())
            .with_eager_snapshot(opened.state.snapshot().clone())
            .with_session(session.clone())
            .build()
            .await
            .map_err(|e| fault::corrupt(&self.place, &e).caused_by(e))?;
        Ok(Arc::new(scan))
    }

    /// Makes a version the cached one, unless a newer one is there already.
    pub(crate) fn keep(&self, state: DeltaTableState, archived: Archived) -> Result<Arc<Opened>> {
        let data =
            state.snapshot().try_log_data().map_err(|e| fault::error(&self.place, "read", e))?;
        let files = data.num_files();
        let bytes = data.iter().map(|f| f.size().max(0) as u64).sum();
        let opened = Arc::new(Opened { state, archived, files, bytes });
        let mut slot = lock(&self.opened);
        if slot.as_ref().is_none_or(|o| o.state.version() < opened.state.version()) {
            *slot = Some(opened.clone());
        }
        Ok(opened)
    }

    /// The transactions of a version: one tells how many partitions there are, then one each.
    async fn read_archived(&self, state: &DeltaTableState) -> Result<Archived, DeltaTableError> {
        let mut archived = Archived::default();
        let count = state.transaction_version(&*self.log, self.app("partitions")).await?;
        for partition in 0..count.unwrap_or(0) {
            let Ok(id) = i32::try_from(partition).map(Partition) else { break };
            if let Some(last) = state.transaction_version(&*self.log, self.app(partition)).await? {
                archived.next.insert(id, Offset(last + 1));
            }
            let gap = self.app(format_args!("{partition}/gap"));
            if let Some(last) = state.transaction_version(&*self.log, gap).await? {
                archived.whole_from.insert(id, Offset(last + 1));
            }
        }
        Ok(archived)
    }

    /// The application id of a Delta transaction.
    pub(crate) fn app(&self, part: impl std::fmt::Display) -> String {
        format!("watershed/{}/{part}", self.topic)
    }

    pub(crate) fn arrow_schema(&self, state: &DeltaTableState) -> Result<SchemaRef> {
        let schema: Schema = state
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|e| fault::error(&self.place, "read", DeltaTableError::from(e)))?;
        Ok(Arc::new(schema))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "lake_tests.rs"]
mod tests;
