//! `/health` says that the process serves, `/ready` whether it can take and give data.

use axum::Json;
use axum::extract::State;
use common::ProblemDetails;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::problem::Answer;

pub async fn health() -> &'static str {
    "ok"
}

/// Whether data can be taken and given.
#[derive(Serialize, JsonSchema)]
pub struct Ready {
    ready: bool,
    /// What is in the way of a part only.
    problems: Vec<ProblemDetails>,
}

pub async fn ready(State(app): State<App>) -> Answer<Json<Ready>> {
    app.session.ready()?;
    // What is in the way of a part only (archiving, a faulty file) does not end readiness.
    Ok(Json(Ready { ready: true, problems: app.session.problems() }))
}
