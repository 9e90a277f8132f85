//! `POST /api/sql`: one statement of any kind; rows as arrays in the order of the columns.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use common::Error;
use engine::ColumnInfo;
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::app::App;
use crate::body;
use crate::problem::Answer;
use crate::rows::Arrays;

/// A statement to be run.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SqlRequest")]
#[serde(deny_unknown_fields)]
pub struct Request {
    query: String,
    /// Rows at most.
    #[serde(default)]
    #[schemars(with = "Option<usize>")]
    limit: Option<Value>,
}

/// What a statement gave: rows, or a message.
#[derive(Default, Serialize, JsonSchema)]
pub struct SqlResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<ColumnInfo>>,
    /// Values in the order of the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Vec<Value>>>")]
    rows: Option<Box<RawValue>>,
    /// There are more than the answer has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_omitted: Option<bool>,
    /// What a statement without rows did.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Of INSERT, UPDATE, DELETE and MERGE.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_written: Option<u64>,
    elapsed_ms: u64,
}

pub async fn run(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<SqlResult>> {
    let started = Instant::now();
    let example = "send JSON: {\"query\": \"SELECT 1\"}";
    let request: Request = body::json(&app, &headers, body, example).await?;
    let limit = limit(request.limit)?.unwrap_or(app.limits.rows_max).min(app.limits.rows_max);
    let elapsed_ms = || started.elapsed().as_millis() as u64;
    let mut given = match app.session.start(&request.query, None).await? {
        engine::Answer::Rows(rows) => rows,
        engine::Answer::Message(message) => {
            let (message, elapsed_ms) = (Some(message), elapsed_ms());
            return Ok(Json(SqlResult { message, elapsed_ms, ..SqlResult::default() }));
        }
        engine::Answer::Written(written) => {
            let (message, rows_written) = (Some(written.to_string()), Some(written.rows));
            let elapsed_ms = elapsed_ms();
            let said = SqlResult { message, rows_written, elapsed_ms, ..SqlResult::default() };
            return Ok(Json(said));
        }
    };
    // Written as they come: no more of them is held than the answer has room for.
    let mut rows = Arrays::new(app.limits.answer_bytes_max, limit);
    let mut rows_omitted = false;
    while let Some(batch) = given.batches.try_next().await? {
        if !rows.push(&batch)? {
            rows_omitted = true;
            break;
        }
    }
    Ok(Json(SqlResult {
        columns: Some(engine::columns(&given.schema)),
        rows: Some(rows.finish()?),
        rows_omitted: Some(rows_omitted),
        elapsed_ms: elapsed_ms(),
        ..SqlResult::default()
    }))
}

fn limit(given: Option<Value>) -> common::Result<Option<usize>> {
    match given {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(Error::invalid(format!("limit: {value} is not a whole number of rows"))
                .hint("leave it out for as many as query.rows_max allows")),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn limits() {
        assert_eq!(limit(None).unwrap(), None);
        assert_eq!(limit(Some(json!(5))).unwrap(), Some(5));
        for wrong in [json!(-1), json!(1e20), json!("5"), json!(1.5)] {
            assert!(limit(Some(wrong.clone())).is_err(), "{wrong}");
        }
    }
}
