//! `POST /api/sql`: one statement of any kind; rows as arrays in the order of the columns.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use common::Error;
use futures::TryStreamExt;
use serde_json::json;
use serde_json::value::RawValue;

use crate::app::App;
use crate::problem::Answer;
use crate::rows::Arrays;
use crate::{body, rows};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    query: String,
    #[serde(default)]
    limit: Option<serde_json::Value>,
}

#[derive(serde::Serialize)]
struct Table {
    columns: serde_json::Value,
    rows: Box<RawValue>,
    rows_omitted: bool,
    elapsed_ms: u64,
}

pub async fn run(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer<Response> {
    let started = Instant::now();
    let example = "send JSON: {\"query\": \"SELECT 1\"}";
    let request: Request = body::json(&app, &headers, body, example).await?;
    let limit = limit(request.limit)?.unwrap_or(app.limits.rows_max).min(app.limits.rows_max);
    let elapsed_ms = || started.elapsed().as_millis() as u64;
    let mut given = match app.session.start(&request.query, None).await? {
        engine::Answer::Rows(rows) => rows,
        engine::Answer::Message(message) => {
            let told = json!({ "message": message, "elapsed_ms": elapsed_ms() });
            return Ok(Json(told).into_response());
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
    let columns = rows::columns(&given.schema);
    let elapsed_ms = elapsed_ms();
    Ok(Json(Table { columns, rows: rows.finish()?, rows_omitted, elapsed_ms }).into_response())
}

fn limit(given: Option<serde_json::Value>) -> common::Result<Option<usize>> {
    match given {
        None | Some(serde_json::Value::Null) => Ok(None),
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
