//! `POST /api/sql`: one statement of any kind; rows as arrays in the order of the columns.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use common::Error;
use engine::Outcome;
use serde_json::json;
use serde_json::value::RawValue;

use crate::app::App;
use crate::problem::Answer;
use crate::{body, rows};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    query: String,
    #[serde(default)]
    limit: Option<usize>,
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
    let unpacked = body::read(&app, &headers, body).await?;
    let request: Request = serde_json::from_slice(&unpacked.bytes).map_err(|e| {
        Error::invalid(format!("the body does not parse: {e}"))
            .hint("send JSON: {\"query\": \"SELECT 1\"}")
    })?;
    let limit = request.limit.unwrap_or(app.limits.rows_max).min(app.limits.rows_max);
    let outcome = app.platform.execute(&request.query, Some(limit)).await?;
    let elapsed_ms = started.elapsed().as_millis() as u64;
    Ok(match outcome {
        Outcome::Message(message) => {
            Json(json!({ "message": message, "elapsed_ms": elapsed_ms })).into_response()
        }
        Outcome::Rows { schema, batches, omitted } => Json(Table {
            columns: rows::columns(&schema),
            rows: rows::arrays(&batches)?,
            rows_omitted: omitted,
            elapsed_ms,
        })
        .into_response(),
    })
}
