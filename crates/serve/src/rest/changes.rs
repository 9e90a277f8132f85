//! `/api/views/{view}/changes`: a snapshot, then what each epoch changed, as server-sent events.
//! The next update is fetched only when the client took the one before, so that a slow client
//! costs no memory here; the engine tells it to start again when it falls too far behind.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use common::{Epoch, Error, Result};
use engine::{Subscription, Update};
use futures::Stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::parameters::{Parameters, Segments};
use crate::app::{App, Gauge};
use crate::problem::Answer;
use crate::rows;

/// Comments at this pace keep proxies and clients from giving up a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What an open stream holds on to.
pub struct Held {
    pub stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
    _gauge: Gauge,
}

/// A place among the long-lived streams.
pub fn hold(app: &App) -> Result<Held> {
    let permit = app.limits.streams.clone().try_acquire_owned().map_err(|_| {
        Error::unavailable("too many open streams")
            .hint("close some; the limit is http.requests_max")
    })?;
    let gauge = Gauge::up(&app.counters, |c| &c.streams);
    Ok(Held { stopping: app.stopping.clone(), _permit: permit, _gauge: gauge })
}

/// Sends events with keep-alive comments, unbuffered by anything on the way.
pub fn answer(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([("x-accel-buffering", "no")], sse).into_response()
}

pub async fn follow(
    State(app): State<App>,
    Segments(view): Segments<String>,
    mut parameters: Parameters,
    headers: HeaderMap,
) -> Answer<Response> {
    let last_id = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let after = match parameters.number("after")? {
        Some(n) => Some(n),
        // An id that is none of ours means nothing: start with a snapshot.
        None => last_id.and_then(|t| t.trim().parse().ok()),
    };
    parameters.finish(&["after"])?;
    let subscription = app.platform.subscribe(&view, after.map(Epoch))?;
    let held = hold(&app)?;
    Ok(answer(futures::stream::unfold(Some((subscription, held)), next)))
}

type Open = (Subscription, Held);

async fn next(open: Option<Open>) -> Option<(Result<Event, Infallible>, Option<Open>)> {
    let (mut subscription, mut held) = open?;
    let update = tokio::select! {
        biased;
        _ = held.stopping.wait_for(|stop| *stop) => return None,
        update = subscription.next() => update?,
    };
    match update.and_then(|u| event(&u, &subscription)) {
        Ok(event) => Some((Ok(event), Some((subscription, held)))),
        Err(e) => {
            tracing::error!(error = %e, "a stream of changes failed");
            let event = Event::default().event("error").data(e.to_json().to_string());
            Some((Ok(event), None))
        }
    }
}

fn event(update: &Update, subscription: &Subscription) -> Result<Event> {
    let (name, epoch, data) = match update {
        Update::Snapshot { epoch, batches } => {
            let data = json!({
                "epoch": epoch,
                "columns": rows::columns(&subscription.schema()),
                "rows": rows::objects(batches)?,
            });
            ("snapshot", Some(epoch), data)
        }
        Update::Changes(changes) => {
            let parts = changes.changes.iter().map(|c| (&c.batch, c.weights.as_ref()));
            let data = json!({ "epoch": changes.epoch, "changes": rows::changes(parts)? });
            ("changes", Some(&changes.epoch), data)
        }
        Update::Resync => ("resync", None, json!({})),
    };
    let event = Event::default().event(name).data(data.to_string());
    Ok(match epoch {
        Some(epoch) => event.id(epoch.to_string()),
        None => event,
    })
}
