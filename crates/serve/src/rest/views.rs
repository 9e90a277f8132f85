//! `/api/views`: the rows of the views, by any column, by key, page by page.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use common::{Error, Result};
use engine::{ColumnInfo, ViewInfo, ViewPage, ViewQuery};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::parameters::{Parameters, Segments};
use crate::app::App;
use crate::problem::Answer;
use crate::rows;

/// A page of rows.
#[derive(Serialize, JsonSchema)]
pub struct Rows {
    columns: Vec<ColumnInfo>,
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    rows: Box<RawValue>,
    /// The commit of the view that they are of.
    #[schemars(with = "u64")]
    epoch: common::Epoch,
    /// To be given as `after`.
    next: Option<String>,
    /// Why the view stands still, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

pub async fn list(State(app): State<App>) -> Json<Vec<ViewInfo>> {
    Json(app.session.views())
}

pub async fn rows(
    State(app): State<App>,
    Segments(view): Segments<String>,
    mut parameters: Parameters,
) -> Answer<Json<Rows>> {
    let limit = parameters.limit(100, app.limits.rows_max)?;
    let order = parameters.take("order").map(|text| order(&text)).transpose()?;
    let after = parameters.take("after");
    let filters = parameters.rest();
    let query = ViewQuery { filters, order, limit, after };
    Ok(Json(page(app.session.view_rows(&view, query).await?)?))
}

pub async fn by_key(
    State(app): State<App>,
    Segments((view, key)): Segments<(String, String)>,
    mut parameters: Parameters,
) -> Answer<Json<Rows>> {
    let limit = parameters.limit(1_000, app.limits.rows_max)?;
    let after = parameters.take("after");
    parameters.finish(&["limit", "after"])?;
    let query = ViewQuery { limit, after, ..ViewQuery::default() };
    Ok(Json(page(app.session.view_key(&view, &key, query).await?)?))
}

/// What was asked to begin anew.
#[derive(Serialize, JsonSchema)]
pub struct Rebuilt {
    rebuilt: String,
}

pub async fn rebuild(
    State(app): State<App>,
    Segments(view): Segments<String>,
    parameters: Parameters,
) -> Answer<Json<Rebuilt>> {
    parameters.finish(&[])?;
    app.session.rebuild_view(&view).await?;
    Ok(Json(Rebuilt { rebuilt: view }))
}

/// The rows of the key that has this route's name.
pub async fn by_key_rebuild(
    state: State<App>,
    Segments(view): Segments<String>,
    parameters: Parameters,
) -> Answer<Json<Rows>> {
    by_key(state, Segments((view, "rebuild".to_string())), parameters).await
}

fn page(page: ViewPage) -> Result<Rows> {
    Ok(Rows {
        columns: engine::columns(&page.schema),
        rows: rows::objects(std::slice::from_ref(&page.batch))?,
        epoch: page.epoch,
        next: page.next,
        stopped: page.stopped,
    })
}

/// `column` or `column.desc` to column and whether descending.
fn order(text: &str) -> Result<(String, bool)> {
    let (column, descending) = match text.rsplit_once('.') {
        Some((column, "desc")) => (column, true),
        Some((column, "asc")) => (column, false),
        _ => (text, false),
    };
    if column.is_empty() {
        return Err(Error::invalid(format!("order={text} names no column"))
            .hint("write order=column or order=column.desc"));
    }
    Ok((column.to_string(), descending))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn orders() {
        assert_eq!(order("n").unwrap(), ("n".into(), false));
        assert_eq!(order("n.desc").unwrap(), ("n".into(), true));
        assert_eq!(order("w.start.asc").unwrap(), ("w.start".into(), false));
        assert_eq!(order("w.start").unwrap(), ("w.start".into(), false));
        assert!(order(".desc").is_err());
    }
}
