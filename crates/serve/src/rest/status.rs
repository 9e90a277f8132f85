//! `/api/status`: what runs, how fast, what is wrong; once, or each second as a stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use common::Error;
use engine::Status;
use tokio::time::MissedTickBehavior;

use super::changes;
use crate::app::App;
use crate::problem::Answer;

const PACE: Duration = Duration::from_secs(1);

pub async fn get(State(app): State<App>) -> Json<Status> {
    Json(app.platform.status())
}

pub async fn follow(State(app): State<App>) -> Answer<Response> {
    let held = changes::hold(&app)?;
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = futures::stream::unfold((app, held, ticks), |(app, mut held, mut ticks)| async {
        tokio::select! {
            biased;
            _ = held.stopping.wait_for(|stop| *stop) => return None,
            _ = ticks.tick() => {}
        }
        let event = Event::default().event("status");
        let event = match serde_json::to_string(&app.platform.status()) {
            Ok(text) => event.data(text),
            Err(e) => {
                let e = Error::internal(format!("encoding the status: {e}"));
                event.event("error").data(e.to_json().to_string())
            }
        };
        Some((Ok::<_, Infallible>(event), (app, held, ticks)))
    });
    Ok(changes::answer(events))
}
