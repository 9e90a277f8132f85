//! Threads of their own for planning, queries and archive work: whatever a statement costs, the
//! threads that answer doors stay free. An `Interrupt` ends the work itself, not only the wait for
//! it: the plan that runs asks it between batches and within joins (`interrupt.rs`).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use common::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{AbortHandle, JoinHandle};

use crate::stores::memory::Endable;

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
    running: Arc<Running>,
}

/// The queries whose work has not ended, oldest first, and figures of those that have.
#[derive(Default)]
pub struct Running {
    now: Mutex<BTreeMap<u64, Interrupt>>,
    begun: AtomicU64,
    ended: [AtomicU64; ENDS.len()],
    us: AtomicU64,
}

/// How a query ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    Failed,
    /// Also by its time-out, or because its client left.
    Cancelled,
}

/// Their names as labels, in order.
pub const ENDS: [&str; 3] = ["done", "failed", "cancelled"];

/// Figures of the queries that have ended since the start.
pub struct Ended {
    /// By `ENDS`.
    pub queries: [u64; ENDS.len()],
    /// Time all of them took, from the statement to the end of the work, in seconds.
    pub seconds: f64,
}

impl Running {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Interrupt>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endable for Running {
    fn end_newest(&self) -> bool {
        let all = self.all();
        let newest = all.values().rev().find(|q| q.why.load(Ordering::Relaxed) == GO_ON);
        newest.inspect(|query| query.why.store(OUT_OF_MEMORY, Ordering::Relaxed)).is_some()
    }
}

impl Compute {
    /// `memory_max` is what the process may have before queries are ended for it.
    pub fn start(memory_max: u64) -> Result<Compute> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.saturating_sub(1).max(THREADS_MIN))
            .thread_name("compute")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|e| Error::io("starting threads for queries", e))?;
        let handle = runtime.handle().clone();
        let (stopping, running) = (Arc::default(), Arc::new(Running::default()));
        let endable: Arc<dyn Endable> = running.clone();
        crate::stores::memory::watch(Arc::downgrade(&endable), memory_max)?;
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
        self.running.all().len() as u64
    }

    /// Figures of those whose work has ended.
    pub fn ended(&self) -> Ended {
        let running = &self.running;
        Ended {
            queries: std::array::from_fn(|i| running.ended[i].load(Ordering::Relaxed)),
            seconds: running.us.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }

    /// A query that begins: what it asks whether it may go on, and what counts it while it lives.
    pub fn begin(&self) -> (Interrupt, Counted) {
        let interrupt = Interrupt { why: Arc::default(), stopping: self.stopping.clone() };
        let number = self.running.begun.fetch_add(1, Ordering::Relaxed);
        self.running.all().insert(number, interrupt.clone());
        let running = self.running.clone();
        (interrupt, Counted { running, number, began: Instant::now(), end: End::Cancelled })
    }

    /// Ends the queries that run; later ones end at once.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// See `Compute::begin`.
pub struct Counted {
    running: Arc<Running>,
    number: u64,
    began: Instant,
    /// Cancelled, if nobody says otherwise.
    end: End,
}

impl Counted {
    pub fn ended(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.running.all().remove(&self.number);
        self.running.ended[self.end as usize].fetch_add(1, Ordering::Relaxed);
        self.running.us.fetch_add(self.began.elapsed().as_micros() as u64, Ordering::Relaxed);
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
    why: Arc<AtomicU8>,
    stopping: Arc<AtomicBool>,
}

const GO_ON: u8 = 0;
const STOPPED: u8 = 1;
const OUT_OF_MEMORY: u8 = 2;

impl Interrupt {
    pub fn stop(&self) {
        self.why.store(STOPPED, Ordering::Relaxed);
    }

    /// An error once the query is to end.
    pub fn check(&self) -> Result<()> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the platform is stopping"));
        }
        match self.why.load(Ordering::Relaxed) {
            GO_ON => Ok(()),
            OUT_OF_MEMORY => {
                Err(Error::out_of_memory("the process has no memory left for this query")
                    .hint("read less, filter earlier, or raise memory.max"))
            }
            _ => Err(Error::cancelled("the query was stopped")),
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
