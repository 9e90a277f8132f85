//! `/api/dead-letters`: what was refused, newest first; sent again, or removed.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use common::{Error, Result};
use engine::{Chosen, DeadLetterPage, DeadLetterQuery, Resend, Resent};
use schemars::JsonSchema;
use serde::Serialize;

use super::parameters::Parameters;
use crate::app::App;
use crate::body;
use crate::problem::Answer;

const KINDS: [&str; 10] = [
    "parse",
    "type",
    "missing",
    "check",
    "too_large",
    "late",
    "future",
    "compute",
    "encoding",
    "omitted",
];

pub async fn list(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Answer<Json<DeadLetterPage>> {
    let topic = parameters.take("topic");
    let kind = parameters.take("kind");
    let limit = parameters.limit(100, app.limits.rows_max)?;
    let after = parameters.take("after");
    parameters.finish(&["topic", "kind", "limit", "after"])?;
    check_kind(kind.as_deref())?;
    let query = DeadLetterQuery { topic, kind, limit, after };
    Ok(Json(app.session.dead_letters(query).await?))
}

fn check_kind(kind: Option<&str>) -> Result<()> {
    match kind.filter(|kind| !KINDS.contains(kind)) {
        None => Ok(()),
        Some(kind) => Err(Error::invalid(format!("there is no kind '{kind}'"))
            .hint(format!("known are: {}", KINDS.join(", ")))),
    }
}

pub async fn resend(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Resent>> {
    let wanted: Resend = body::json(&app, &headers, body, r#"{"topic": "readings"}"#).await?;
    check_kind(wanted.kind.as_deref())?;
    Ok(Json(app.session.resend(wanted).await?))
}

/// How many letters are gone.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletedLetters")]
pub struct Deleted {
    deleted: u64,
}

pub async fn delete(State(app): State<App>, mut parameters: Parameters) -> Answer<Json<Deleted>> {
    let ids = parameters.take("ids").unwrap_or_default();
    let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::to_string).collect();
    let chosen = Chosen { ids, topic: parameters.take("topic"), kind: parameters.take("kind") };
    parameters.finish(&["ids", "topic", "kind"])?;
    check_kind(chosen.kind.as_deref())?;
    let deleted = app.session.delete_dead_letters(chosen).await?;
    Ok(Json(Deleted { deleted }))
}
