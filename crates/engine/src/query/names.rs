//! The names that queries know: each topic and view is a table.

use std::sync::Arc;

use common::{Error, Result};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, TableProvider};
use datafusion::execution::SessionState;

use crate::access::principal::{self, Action};
use crate::inner::Inner;
use crate::query::caller::Caller;
use crate::query::tables::{DeadLettersProvider, PlatformSchema, TopicProvider, ViewProvider};
use crate::topics::ingest::TopicWriter;

/// A session for queries: all tables, Spark's semantics.
pub fn session(caller: &Caller) -> Result<SessionState> {
    let Caller { inner, principal } = caller;
    let state = sql::batch_state(inner.runtime.clone(), sql::SessionOptions::default());
    let catalog = MemoryCatalogProvider::new();
    let (names, tables) = (Arc::downgrade(inner), Arc::downgrade(inner));
    let principal = principal.clone();
    let schema = Arc::new(PlatformSchema {
        names: Box::new(move || names.upgrade().map(|i| table_names(&i)).unwrap_or_default()),
        table: Box::new(move |name| {
            principal::check(&principal, Action::Read, Some(name))?;
            tables.upgrade().map_or(Ok(None), |i| table(&i, name))
        }),
    });
    let options = &state.config_options().catalog;
    catalog
        .register_schema(&options.default_schema, schema)
        .map_err(|e| Error::internal(format!("making a session: {e}")))?;
    state.catalog_list().register_catalog(options.default_catalog.clone(), Arc::new(catalog));
    Ok(state)
}

pub(crate) fn table_names(inner: &Inner) -> Vec<String> {
    inner.registry().tables()
}

pub(crate) fn table(inner: &Inner, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    if name == "dead_letters" {
        return Ok(Some(Arc::new(DeadLettersProvider(inner.dead_letters.clone()))));
    }
    let registry = inner.registry();
    if let Some(view) = registry.readable(name) {
        return Ok(Some(Arc::new(ViewProvider {
            name: name.to_string(),
            store: view.store.clone(),
            status: view.pipeline.shared.clone(),
            stopped: inner.project.config.query_stopped_views,
        })));
    }
    let Some(writer) = registry.get::<Arc<TopicWriter>>(name) else { return Ok(None) };
    let (topic, reader) = (writer.topic.clone(), writer.reader.clone());
    let records = Arc::new(TopicProvider::new(topic, reader, inner.lake.clone()));
    sql::latest_rows(&writer.topic, records).map(Some)
}
