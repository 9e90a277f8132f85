//! `/api/status`: what runs, how fast, what is wrong; once, or each second as a stream.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use common::Error;
use engine::Status;
use tokio::time::MissedTickBehavior;

use super::{changes, events};
use crate::app::App;
use crate::problem::Answer;

const PACE: Duration = Duration::from_secs(1);
/// A status that was made for another follower is good for so long.
const FRESH: Duration = Duration::from_millis(500);

pub async fn get(State(app): State<App>) -> Json<Status> {
    Json(app.session.status())
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
        Some((event(&app).await, (app, held, ticks)))
    });
    Ok(events::answer(events))
}

/// The event of now, made once for all who follow.
async fn event(app: &App) -> Bytes {
    let mut last = app.status.lock().await;
    if let Some((made, event)) = &*last
        && made.elapsed() < FRESH
    {
        return event.clone();
    }
    let event = match serde_json::to_string(&app.session.status()) {
        Ok(text) => events::event("status", &text),
        Err(e) => events::error(&Error::internal(format!("encoding the status: {e}"))),
    };
    *last = Some((Instant::now(), event.clone()));
    event
}
