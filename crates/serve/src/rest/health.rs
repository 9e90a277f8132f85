//! `/health` says that the process serves, `/ready` whether it can take and give data.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::Answer;

pub async fn health() -> &'static str {
    "ok"
}

pub async fn ready(State(app): State<App>) -> Answer<Json<Value>> {
    app.session.ready()?;
    // What is in the way of a part only (archiving, a faulty file) does not end readiness.
    Ok(Json(json!({ "ready": true, "problems": app.session.problems() })))
}
