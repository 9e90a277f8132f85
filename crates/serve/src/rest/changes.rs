//! `/api/views/{view}/changes`: a snapshot, then what each epoch changed, as server-sent events.
//! The next update is fetched only when the client took the one before, and its text is made once
//! for all clients, so that a slow one costs no memory here; the engine tells it to start again
//! when it falls too far behind.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use common::{Epoch, Error, Gauge, Kind, Result};
use engine::{EpochChanges, SnapshotPart, Subscription, Update};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::events;
use super::parameters::{Parameters, Segments};
use crate::app::App;
use crate::problem::Answer;
use crate::rows;

/// What an epoch changed.
#[derive(Serialize, JsonSchema)]
pub struct Changes {
    #[schemars(with = "u64")]
    epoch: Epoch,
    #[schemars(with = "Vec<Change>")]
    changes: Box<RawValue>,
}

/// A row that came or went.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "`rows.rs` writes it as text, so that numbers keep all digits")]
struct Change {
    /// `+` or `-`.
    op: String,
    row: BTreeMap<String, Value>,
}

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
    let gauge = Gauge::up(&app.counters.streams);
    Ok(Held { stopping: app.stopping.clone(), _permit: permit, _gauge: gauge })
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
    let subscription = app.session.subscribe(&view, after.map(Epoch))?;
    let held = hold(&app)?;
    let open = Open { subscription, held };
    Ok(events::answer(futures::stream::unfold(Some(open), next)))
}

struct Open {
    subscription: Subscription,
    held: Held,
}

async fn next(open: Option<Open>) -> Option<(Bytes, Option<Open>)> {
    let Open { mut subscription, mut held } = open?;
    // A comment would end an event that has only begun.
    let is_whole = !subscription.is_in_snapshot();
    let update = tokio::select! {
        biased;
        _ = held.stopping.wait_for(|stop| *stop) => return None,
        update = subscription.next() => Some(update?),
        () = tokio::time::sleep(events::KEEP_ALIVE), if is_whole => None,
    };
    let text = match update {
        None => Ok(events::COMMENT),
        Some(Ok(update)) => text(update, &subscription).await,
        Some(Err(e)) => Err(e),
    };
    match text {
        Ok(text) => Some((text, Some(Open { subscription, held }))),
        Err(e) => {
            if e.kind() != Kind::TooLarge {
                tracing::error!(error = %e, "a stream of changes failed");
            }
            // Half an event is nothing to a client once the stream has ended.
            is_whole.then(|| (events::error(&e), None))
        }
    }
}

async fn text(update: Update, subscription: &Subscription) -> Result<Bytes> {
    match update {
        Update::Snapshot(part) => snapshot(&part, &subscription.schema()),
        Update::Changes(changes) => subscription.text(&changes, changed).await,
        Update::Resync => Ok(events::event("resync", "{}")),
    }
}

/// A part of a snapshot, as one line of its event's data.
fn snapshot(part: &SnapshotPart, schema: &Schema) -> Result<Bytes> {
    let mut text = match part.is_first {
        false => b"data: ,".to_vec(),
        true => {
            let columns = serde_json::to_string(&engine::columns(schema)).map_err(encoding)?;
            let mut text = events::begin("snapshot", part.epoch);
            let head = format!("{{\"epoch\":{},\"columns\":{columns},\"rows\":", part.epoch);
            text.extend_from_slice(head.as_bytes());
            text.push(b'[');
            text
        }
    };
    rows::write_objects(&part.batches, &mut text)?;
    text.extend_from_slice(if part.is_last { b"]}\n\n" } else { b"\n" });
    Ok(text.into())
}

fn changed(changes: &EpochChanges) -> Result<Bytes> {
    let parts = changes.changes.iter().map(|c| (&c.batch, c.weights.as_ref()));
    let mut text = events::begin("changes", changes.epoch);
    let changes = Changes { epoch: changes.epoch, changes: rows::changes(parts)? };
    serde_json::to_writer(&mut text, &changes).map_err(encoding)?;
    text.extend_from_slice(b"\n\n");
    Ok(text.into())
}

fn encoding(e: serde_json::Error) -> Error {
    Error::internal(format!("encoding changes: {e}"))
}
