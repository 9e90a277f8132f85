//! `/api/objects`: everything that is defined, of whatever kind, with the statement that made it;
//! `/api/pipelines`: the operators behind a view or a sink.

use axum::Json;
use axum::extract::State;
use common::Error;
use engine::{ObjectInfo, OperatorInfo};

use super::parameters::{Parameters, Segments};
use crate::app::App;
use crate::problem::Answer;

pub async fn list(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Answer<Json<Vec<ObjectInfo>>> {
    let kind = parameters.take("kind");
    parameters.finish(&["kind"])?;
    let kind =
        match kind.as_deref() {
            None => None,
            Some(name) => Some(engine::Kind::named(name).ok_or_else(|| {
                Error::unknown("kind", name, engine::KINDS.iter().map(|k| k.short))
            })?),
        };
    Ok(Json(app.session.objects(kind).await?))
}

pub async fn operators(
    State(app): State<App>,
    Segments(name): Segments<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<OperatorInfo>>> {
    parameters.finish(&[])?;
    Ok(Json(app.session.operators(&name)?))
}
