//! What an answer holds on to until the client took it: its memory, its connection's clock, and
//! the time until which that must be.
//! hyper drops a body when it has its last bytes, which may be long before they are sent: memory
//! goes with the bytes, not with the body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::Error;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::clock::{Clock, Owed, Running};
use crate::app::{App, permits_of};
use crate::problem::Problem;

/// A body whose connection is told when it ends.
pub struct Answering {
    body: Body,
    _running: Running,
}

impl Answering {
    pub fn new(body: Body, running: Running) -> Answering {
        Answering { body, _running: running }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A large answer takes its memory from what all may take together. Refused, not kept waiting: it
/// is there already, and takes memory while it waits.
pub fn answer(app: &App, clock: Option<Arc<Clock>>, response: Response) -> Response {
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    let permits = permits_of(usize::try_from(bytes).unwrap_or(usize::MAX));
    if permits == 0 {
        return response;
    }
    match app.limits.answers.clone().try_acquire_many_owned(permits) {
        Ok(memory) => {
            let owed = clock.and_then(|clock| Owed::begin(&clock, bytes));
            let held = Arc::new(Held { _memory: memory, _owed: owed });
            response.map(|body| Body::new(Counted { body, held }))
        }
        Err(_) => Problem::from(
            Error::unavailable(format!(
                "the answer has {bytes} bytes, and others that are not taken yet use up the \
                 memory for answers"
            ))
            .hint("ask for fewer rows, try again in a moment, or raise http.answers_bytes_max"),
        )
        .into_response(),
    }
}

struct Held {
    _memory: OwnedSemaphorePermit,
    _owed: Option<Owed>,
}

struct Counted {
    body: Body,
    held: Arc<Held>,
}

/// Bytes that give back what they hold when nobody has them any more.
struct CountedBytes {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let held = &self.held;
        frame.map_ok(|frame| {
            let counted = |bytes| CountedBytes { bytes, _held: held.clone() };
            frame.map_data(|bytes| Bytes::from_owner(counted(bytes)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
