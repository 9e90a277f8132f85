//! Threads of their own for planning, queries and archive work: whatever a statement costs, the
//! threads that answer doors stay free. An `Interrupt` ends the work itself, not only the wait for
//! it: the plan that runs asks it between batches and within joins (`interrupt.rs`).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{AbortHandle, JoinHandle};

/// Plans are deep recursions; pages that are never touched cost nothing.
const STACK_BYTES: usize = 64 << 20;
/// With one thread alone a query that does not yield would keep out all others.
const THREADS_MIN: usize = 2;

/// The runtime of everything that computes.
pub struct Compute {
    handle: Handle,
    /// Taken when the platform goes.
    runtime: Option<Runtime>,
    stopping: Arc<AtomicBool>,
    running: Arc<AtomicU64>,
}

impl Compute {
    pub fn start() -> Result<Compute> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.saturating_sub(1).max(THREADS_MIN))
            .thread_name("compute")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|e| Error::io("starting threads for queries", e))?;
        let handle = runtime.handle().clone();
        let (stopping, running) = Default::default();
        Ok(Compute { handle, runtime: Some(runtime), stopping, running })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(work)
    }

    /// Runs work to its end, or until the caller no longer waits.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = self.spawn(work);
        let _ends = EndOnDrop { interrupt: None, task: task.abort_handle() };
        task.await.unwrap_or_else(|_| Err(ended_early()))
    }

    /// Queries whose work has not ended.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Counts as a running query while it lives.
    pub fn count(&self) -> Counted {
        self.running.fetch_add(1, Ordering::Relaxed);
        Counted(self.running.clone())
    }

    /// What a query asks whether it may go on.
    pub fn interrupt(&self) -> Interrupt {
        Interrupt { stopped: Arc::default(), stopping: self.stopping.clone() }
    }

    /// Ends the queries that run; later ones end at once.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// See `Compute::count`.
pub struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why work gave nothing: it was ended, or panicked (which has been reported by then).
pub fn ended_early() -> Error {
    Error::internal("the statement ended early because of a fault in Watershed")
        .hint("the log of the platform says more")
}

/// Told when a query is to end.
#[derive(Clone, Debug)]
pub struct Interrupt {
    stopped: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Interrupt {
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// An error once the query is to end.
    pub fn check(&self) -> Result<()> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the platform is stopping"));
        }
        match self.stopped.load(Ordering::Relaxed) {
            true => Err(Error::cancelled("the query was stopped")),
            false => Ok(()),
        }
    }
}

/// Ends a task when nobody waits for it any more.
pub struct EndOnDrop {
    pub interrupt: Option<Interrupt>,
    pub task: AbortHandle,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(interrupt) = &self.interrupt {
            interrupt.stop();
        }
        self.task.abort();
    }
}
