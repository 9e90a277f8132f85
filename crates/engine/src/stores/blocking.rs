//! Work that may wait for the disk, off the threads that answer.

use std::fmt::Display;

use common::{Error, Result};
use tokio::sync::oneshot;

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (answer, mut answered) = oneshot::channel();
    off_thread(Box::new(move || {
        let _ = answer.send(work());
    }))
    .await?;
    answered.try_recv().unwrap_or_else(|e| Err(ended_early(&e)))
}

/// The task of the work, compiled once for all kinds of work.
async fn off_thread(work: Box<dyn FnOnce() + Send>) -> Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(|e| ended_early(&e))
}

fn ended_early(e: &dyn Display) -> Error {
    Error::internal(format!("a task ended early: {e}"))
}
