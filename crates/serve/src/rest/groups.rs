//! `/api/groups`: consumer groups, their members and lag, and what an operator does with them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use engine::{GroupDetail, GroupInfo, ResetOffsets, ResetPlan, ResetRefused};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::parameters::Segments;
use crate::app::App;
use crate::body;
use crate::problem::{Answer, Problem};

pub async fn list(State(app): State<App>) -> Answer<Json<Vec<GroupInfo>>> {
    Ok(Json(app.session.group_list().await?))
}

pub async fn describe(
    State(app): State<App>,
    Segments(group): Segments<String>,
) -> Answer<Json<GroupDetail>> {
    Ok(Json(app.session.group(&group).await?))
}

/// The group that is gone.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletedGroup")]
pub struct Deleted {
    deleted: String,
}

pub async fn delete(
    State(app): State<App>,
    Segments(group): Segments<String>,
) -> Answer<Json<Deleted>> {
    app.session.delete_group(&group).await?;
    Ok(Json(Deleted { deleted: group }))
}

/// Where the offsets of a group are to be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// earliest, latest, current, an offset, a shift (`+5`, `-5`) or a time.
    to: String,
    /// Names, or `topic:0,1`. None: all that the group committed.
    #[serde(default)]
    topics: Vec<String>,
    /// Only says what would change.
    #[serde(default)]
    dry_run: bool,
}

pub async fn reset(
    State(app): State<App>,
    Segments(group): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<ResetPlan>> {
    let example = r#"send JSON: {"to": "earliest", "topics": ["readings"], "dry_run": true}"#;
    let Reset { to, topics, dry_run } = body::json(&app, &headers, body, example).await?;
    let reset = ResetOffsets { to: to.parse()?, topics, dry_run };
    let refused = |ResetRefused { error, plan }| match plan {
        None => error.into(),
        Some(plan) => match serde_json::to_value(&plan) {
            Ok(plan) => Problem::with_members(error, json!({ "plan": plan })),
            Err(_) => error.into(),
        },
    };
    Ok(Json(app.session.reset_offsets(&group, reset).await.map_err(refused)?))
}
