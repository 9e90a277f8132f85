//! What sources and sinks have in common: a task that runs a connector until it is told to end,
//! and what is said of its failures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::{Error, ProblemDetails};
use connector::Health;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Runs until the channel says true.
type Work = Box<dyn FnOnce(watch::Receiver<bool>) -> BoxFuture<'static, ()> + Send>;

/// Work that is ready, and runs once it is started.
pub struct ConnectorTask {
    stop: watch::Sender<bool>,
    /// Until it starts.
    waiting: Mutex<Option<Work>>,
    task: Option<JoinHandle<()>>,
}

impl ConnectorTask {
    pub fn new(
        work: impl FnOnce(watch::Receiver<bool>) -> BoxFuture<'static, ()> + Send + 'static,
    ) -> ConnectorTask {
        let waiting = Mutex::new(Some(Box::new(work) as Work));
        ConnectorTask { stop: watch::Sender::new(false), waiting, task: None }
    }

    pub fn start(&mut self) {
        let waiting = self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.task = waiting.map(|work| tokio::spawn(work(self.stop.subscribe())));
    }

    /// Returns when it has ended.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

/// How a connector fares.
#[derive(Default)]
pub struct ConnectorStatus {
    error: Mutex<Option<ProblemDetails>>,
    stopped: AtomicBool,
    health: Arc<Health>,
}

impl ConnectorStatus {
    pub fn new(health: Arc<Health>) -> ConnectorStatus {
        ConnectorStatus { health, ..ConnectorStatus::default() }
    }

    pub fn works(&self) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn fails(&self, e: &Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.details());
    }

    /// `retry_attempts_max` is used up.
    pub fn gives_up(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Why it does not run, if it does not, and the word for that.
    pub fn trouble(&self) -> Option<(&'static str, ProblemDetails)> {
        let own = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let error = own.or_else(|| self.health.error().map(|e| Error::unavailable(e).details()))?;
        let state = if self.stopped.load(Ordering::Relaxed) { "failed" } else { "failing" };
        Some((state, error))
    }
}
