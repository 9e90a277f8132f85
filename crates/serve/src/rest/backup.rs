//! `/api/backup`: a copy of the project, written where the platform runs.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use engine::{BackupBy, BackupInfo};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::App;
use crate::body;
use crate::problem::Answer;

/// Where a copy goes.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BackupRequest")]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Folder, seen from the project's.
    to: String,
}

pub async fn make(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<BackupInfo>> {
    let asked: Asked = body::json(&app, &headers, body, r#"{"to": "backups/monday"}"#).await?;
    Ok(Json(app.session.backup(&asked.to, BackupBy::Door).await?))
}
