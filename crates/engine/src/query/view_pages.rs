//! Views for the doors: pages of rows, rows of one key, live changes.

use std::sync::Arc;

use common::{Epoch, Error, Result};

use crate::define::registry::unknown_view;
use crate::define::view::RunningView;
use crate::flows::subscription::Subscription;
use crate::flows::view_store::ViewStore;
use crate::inner::Inner;
use crate::query::view_page::{ViewPage, ViewQuery};
use crate::stores::blocking::blocking;

/// The rows of a view, and why it stands still if it does.
fn store(inner: &Arc<Inner>, view: &str) -> Result<(Arc<ViewStore>, Option<String>)> {
    let registry = inner.registry();
    match registry.readable(view) {
        Some(v) => {
            let status = v.pipeline.status();
            status.check_readable(view, inner.project.config.query_stopped_views)?;
            Ok((v.store.clone(), status.stopped()))
        }
        None => Err(unknown_view(view, registry.names::<RunningView>())),
    }
}

/// A page of rows: in the order asked for and then by all columns, or by their keys.
pub async fn view_rows(inner: &Arc<Inner>, view: &str, query: ViewQuery) -> Result<ViewPage> {
    let (store, stopped) = store(inner, view)?;
    blocking(move || crate::query::view_page::read(&store, &query, None, stopped)).await
}

/// A page of the rows whose first key column equals `key`; an error when there are none.
pub async fn view_key(
    inner: &Arc<Inner>,
    view: &str,
    key: &str,
    query: ViewQuery,
) -> Result<ViewPage> {
    let (store, stopped) = store(inner, view)?;
    let (view, key) = (view.to_string(), key.to_string());
    blocking(move || {
        let schema = store.schema();
        let graph::OutputKey::Columns(columns) = store.key() else {
            return Err(Error::invalid(format!("view '{view}' has no key"))
                .hint("its rows have no identity; filter with ?column=value"));
        };
        let first = columns.first().copied().unwrap_or_default();
        let field = schema.field(first);
        let value = crate::query::view_page::parse_value(field.name(), field.data_type(), &key)?;
        let page = crate::query::view_page::read(&store, &query, Some(&value), stopped)?;
        if page.batch.num_rows() == 0 && query.after.is_none() {
            let name = field.name();
            return Err(Error::not_found(format!("no row of '{view}' has {name} = '{key}'")));
        }
        Ok(page)
    })
    .await
}

/// Live changes of a view, after an epoch when it is still known.
pub fn subscribe(inner: &Arc<Inner>, view: &str, after: Option<Epoch>) -> Result<Subscription> {
    store(inner, view)?;
    let (publisher, store) = {
        let registry = inner.registry();
        match registry.readable(view) {
            Some(v) => (v.publisher.clone(), v.store.clone()),
            None => return Err(unknown_view(view, registry.names::<RunningView>())),
        }
    };
    let rows_max = u64::from(inner.project.config.query_rows_max);
    Ok(publisher.subscribe(store, after, rows_max))
}
