//! `/api/dead-letters`: what was refused, newest first.

use axum::Json;
use axum::extract::State;
use common::Error;
use engine::{DeadLetterPage, DeadLetterQuery};

use super::parameters::Parameters;
use crate::app::App;
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
    if let Some(kind) = &kind
        && !KINDS.contains(&kind.as_str())
    {
        let e = Error::invalid(format!("there is no kind '{kind}'"));
        return Err(e.hint(format!("known are: {}", KINDS.join(", "))).into());
    }
    let query = DeadLetterQuery { topic, kind, limit, after };
    Ok(Json(app.platform.dead_letters(query).await?))
}
