//! Group commit. One thread sleeps until a partition has unsynced writes; then all such partitions
//! are synced side by side (the disk merges parallel syncs: 16 files take about as long as one) by
//! a few helper threads. Without work nothing wakes up. Partitions of `page_cache` topics wait in a
//! queue of their own for up to a second.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{Error, Result};

use crate::commits::Commits;
use crate::lock::{lock, wait, wait_timeout};
use crate::partition::PartitionLog;

/// So long after the first of them, the writes of `page_cache` topics are synced.
const LAZY_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Flusher {
    queue: Mutex<Queue>,
    /// For the flusher: something is dirty, or the log closes.
    dirty: Condvar,
    /// For the helpers: there are jobs, or the log closes.
    jobs: Condvar,
    /// For the flusher: the last helper is done.
    done: Condvar,
    interval: Duration,
    helpers_max: usize,
    is_manual: bool,
    commits: Commits,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    dirty: Vec<Arc<PartitionLog>>,
    lazy: Vec<Arc<PartitionLog>>,
    /// When those in `lazy` are to be synced.
    lazy_due: Option<Instant>,
    jobs: Vec<Arc<PartitionLog>>,
    running: usize,
    advanced: bool,
    helpers: usize,
    stop: bool,
}

impl Flusher {
    /// With `sync_threads` 0 there is no thread; `Log::flush` and those who wait sync.
    pub fn start(interval: Duration, sync_threads: usize, commits: Commits) -> Result<Arc<Self>> {
        let flusher = Arc::new(Self {
            queue: Mutex::new(Queue::default()),
            dirty: Condvar::new(),
            jobs: Condvar::new(),
            done: Condvar::new(),
            interval,
            helpers_max: sync_threads.saturating_sub(1),
            is_manual: sync_threads == 0,
            commits,
            threads: Mutex::new(vec![]),
        });
        if sync_threads > 0 {
            let run = flusher.clone();
            let thread = thread::Builder::new()
                .name("log-flush".into())
                .spawn(move || run.run())
                .map_err(|e| Error::io("start the flusher of the log", e))?;
            lock(&flusher.threads).push(thread);
        }
        Ok(flusher)
    }

    /// Queues a partition that has become dirty.
    pub fn push(&self, partition: Arc<PartitionLog>) {
        if self.is_manual {
            return;
        }
        let mut queue = lock(&self.queue);
        if queue.stop {
            return;
        }
        queue.dirty.push(partition);
        if queue.dirty.len() == 1 {
            self.dirty.notify_one();
        }
    }

    /// Queues a partition whose writes are acknowledged already, or whose last sync failed.
    pub fn push_lazy(&self, partition: Arc<PartitionLog>) {
        if self.is_manual {
            return;
        }
        let mut queue = lock(&self.queue);
        if queue.stop {
            return;
        }
        queue.lazy.push(partition);
        if queue.lazy_due.is_none() {
            queue.lazy_due = Some(Instant::now() + LAZY_INTERVAL);
            self.dirty.notify_one();
        }
    }

    /// Syncs what is queued and ends the threads.
    pub fn stop(&self) {
        lock(&self.queue).stop = true;
        self.dirty.notify_all();
        self.jobs.notify_all();
        // Not in the head of the loop: the lock would be held while joining.
        let threads = mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }

    fn run(self: Arc<Self>) {
        let (mut pause, mut ended) = (Duration::ZERO, Instant::now());
        loop {
            let queue = self.wait_for_work(lock(&self.queue));
            if queue.dirty.is_empty() {
                return;
            }
            let stop = queue.stop;
            drop(queue);
            if !stop {
                thread::sleep(pause.saturating_sub(ended.elapsed()));
            }
            let began = Instant::now();
            self.round();
            // Gathers as long as a sync takes: a fast disk answers fast, a slow one syncs more at
            // once.
            (pause, ended) = (began.elapsed().min(self.interval), Instant::now());
        }
    }

    /// Returns when something is to be synced, or the log closes.
    fn wait_for_work<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        loop {
            let left = queue.lazy_due.map(|due| due.saturating_duration_since(Instant::now()));
            if queue.stop || left.is_some_and(|left| left.is_zero()) {
                let due = mem::take(&mut queue.lazy);
                queue.dirty.extend(due);
                queue.lazy_due = None;
            }
            if queue.stop || !queue.dirty.is_empty() {
                return queue;
            }
            queue = match left {
                Some(left) => wait_timeout(&self.dirty, queue, left),
                None => wait(&self.dirty, queue),
            };
        }
    }

    /// Whether readers see more after it.
    fn sync(&self, partition: Arc<PartitionLog>) -> bool {
        let advanced = partition.sync();
        if partition.must_sync_again() {
            self.push_lazy(partition);
        }
        advanced
    }

    /// Syncs all that is dirty now, with the helpers' help.
    fn round(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        queue.jobs = mem::take(&mut queue.dirty);
        queue.advanced = false;
        let helpers = queue.jobs.len().saturating_sub(1).min(self.helpers_max);
        if helpers > 0 {
            self.spawn_helpers(&mut queue, helpers);
            (0..helpers).for_each(|_| self.jobs.notify_one());
        }
        while let Some(partition) = queue.jobs.pop() {
            drop(queue);
            let advanced = self.sync(partition);
            queue = lock(&self.queue);
            queue.advanced |= advanced;
        }
        while queue.running > 0 {
            queue = wait(&self.done, queue);
        }
        let advanced = queue.advanced;
        drop(queue);
        if advanced {
            self.commits.note();
        }
    }

    /// Threads are started when they are first needed. If one cannot be, the others do its work.
    fn spawn_helpers(self: &Arc<Self>, queue: &mut Queue, wanted: usize) {
        while queue.helpers < wanted {
            let run = self.clone();
            let name = format!("log-sync-{}", queue.helpers);
            match thread::Builder::new().name(name).spawn(move || run.help()) {
                Ok(thread) => lock(&self.threads).push(thread),
                Err(e) => {
                    tracing::warn!("no further sync thread: {e}");
                    return;
                }
            }
            queue.helpers += 1;
        }
    }

    fn help(self: Arc<Self>) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(partition) = queue.jobs.pop() {
                queue.running += 1;
                drop(queue);
                let advanced = self.sync(partition);
                queue = lock(&self.queue);
                queue.advanced |= advanced;
                queue.running -= 1;
                if queue.running == 0 {
                    self.done.notify_one();
                }
            } else if queue.stop {
                return;
            } else {
                queue = wait(&self.jobs, queue);
            }
        }
    }
}
