//! `/api/dashboards`: the pages of charts that the project defines.

use axum::Json;
use axum::extract::State;
use engine::Dashboard;

use crate::app::App;

pub async fn list(State(app): State<App>) -> Json<Vec<Dashboard>> {
    Json(app.session.dashboards())
}
