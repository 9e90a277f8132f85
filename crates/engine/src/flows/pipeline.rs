//! A running view or sink: reads its topics from its own offsets, pushes rows through its `Job`,
//! and at the end of an epoch commits offsets, state, view rows and late rows in one write to the
//! keyed store. That write is the only place where progress is kept.
//!
//! `Runner` is the pipeline without its thread, so that tests drive it step by step.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use common::{Clock, Epoch, Error, Kind, Offset, Partition, Result};
use graph::{Checkpoint, Graph};
use kv::Kv;
use stream::{Job, LateRow, Sealed};

use crate::flows::late_rows::{self, LATE_MAX};
use crate::flows::outbox::Outbox;
use crate::flows::pipeline_status::{PipelineStatus, Shared};
use crate::flows::state_budget::{StateBudget, StateShare};
use crate::flows::subscription::Publisher;
use crate::flows::uncomputable::{Care, OnError};
use crate::flows::view_store::{ViewMeta, ViewStore};
use crate::topics::dead_letters::{DeadLetter, DeadLetters};
use crate::topics::history::History;
use crate::topics::rows::{RowDecoder, Rows};
use crate::topics::topic_reader::{TopicReader, TopicReaders};
use crate::topics::within_log;

/// How often the figures of operators are told.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes read from each partition at a time.
const READ_BYTES: usize = 1 << 20;

/// Where results go.
#[derive(Clone)]
pub enum Target {
    View { store: Arc<ViewStore>, publisher: Arc<Publisher> },
    Sink(Arc<Outbox>),
}

/// A planned pipeline.
pub struct Spec {
    /// `name@version`: owns state and rows under this id.
    pub id: String,
    pub name: String,
    /// Changes when stored state could not be used.
    pub fingerprint: String,
    /// Where the epochs of a new one begin.
    pub first_epoch: Epoch,
    pub graph: Graph,
    pub topics: BTreeMap<String, catalog::Topic>,
    pub target: Target,
    pub on_error: OnError,
}

/// What pipelines share.
pub struct Env {
    pub kv: Arc<Kv>,
    pub log: Arc<log::Log>,
    pub readers: Arc<TopicReaders>,
    pub clock: Arc<dyn Clock>,
    pub dead_letters: Arc<DeadLetters>,
    pub history: Option<Arc<History>>,
    pub idle_timeout_us: i64,
    pub epoch_min: Duration,
    pub epoch_max: Duration,
    pub state: Arc<StateBudget>,
}

/// An epoch ready to be written.
pub struct Prepared {
    pub batch: kv::Batch,
    sealed: Sealed,
    stored: Checkpoint,
    meta: ViewMeta,
}

/// A pipeline without its thread.
pub struct Runner {
    spec: Arc<Spec>,
    env: Arc<Env>,
    job: Job,
    epoch: Epoch,
    meta: ViewMeta,
    next: BTreeMap<(String, Partition), Offset>,
    decoders: HashMap<String, RowDecoder>,
    readers: HashMap<String, Arc<TopicReader>>,
    last_row_us: HashMap<(String, Partition), i64>,
    idle: BTreeSet<(String, Partition)>,
    /// Where the pipeline stands, as it was last written.
    stored: Checkpoint,
    dirty: bool,
    /// Rows left out in this epoch.
    letters: Vec<DeadLetter>,
    care: Care,
    /// Arrival of the newest row pushed, µs.
    newest_arrival: i64,
    pub rows_in: u64,
    pub watermark: Option<i64>,
    pub state_bytes: usize,
    hurry: Arc<AtomicBool>,
    state: StateShare,
}

impl Runner {
    /// Restores the last commit, or starts anew when there is none that fits.
    pub fn open(spec: Arc<Spec>, env: Arc<Env>) -> Result<Runner> {
        let (job, stored) = match state::load(&env.kv, &spec.id)? {
            Some((checkpoint, mut deltas)) if checkpoint.fingerprint == spec.fingerprint => {
                let job = Job::restore(&spec.graph, &checkpoint, &mut deltas)?;
                (job, checkpoint)
            }
            Some(_) => {
                return Err(Error::internal(format!(
                    "the state of '{}' belongs to another definition",
                    spec.id
                )));
            }
            None => {
                let start = Checkpoint { epoch: spec.first_epoch, ..Checkpoint::default() };
                (Job::new(&spec.graph)?, start)
            }
        };
        let (epoch, mut next) = (stored.epoch, stored.offsets.clone());
        let now = env.clock.now_us();
        let mut decoders = HashMap::new();
        let mut readers = HashMap::new();
        let columns = spec.graph.topics();
        let mut last_row_us = HashMap::new();
        for (name, topic) in &spec.topics {
            let reader = env.readers.topic(name)?;
            for p in reader.log.partitions() {
                let at = (name.clone(), p.id());
                // Without an archive there is no more history than the log has.
                let first = if topic.archive { Offset(0) } else { p.start_offset() };
                let next = *next.entry(at.clone()).or_insert(first);
                within_log::view(&spec.name, &p, next)?;
                last_row_us.insert(at, now);
            }
            let wanted = columns.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
            decoders.insert(name.clone(), RowDecoder::of_columns(topic, wanted)?);
            readers.insert(name.clone(), reader);
        }
        let meta = match &spec.target {
            Target::View { store, .. } => store.meta(&env.kv.snapshot()?)?,
            Target::Sink(_) => ViewMeta { epoch, rows: 0 },
        };
        let state = env.state.share();
        Ok(Runner {
            // A view without input (a global aggregate) has its one row from the first commit on.
            dirty: epoch == spec.first_epoch,
            spec,
            env,
            job,
            epoch,
            meta,
            next,
            decoders,
            readers,
            last_row_us,
            idle: BTreeSet::new(),
            stored,
            letters: vec![],
            care: Care::default(),
            newest_arrival: 0,
            rows_in: 0,
            watermark: None,
            state_bytes: 0,
            hurry: Arc::default(),
            state,
        })
    }

    /// Once `hurry` is true, what is being computed is given up.
    pub fn set_hurry(&mut self, hurry: Arc<AtomicBool>) {
        self.job.set_hurry(hurry.clone());
        self.hurry = hurry;
    }

    /// Takes what there is from every partition, at most `bytes_max` of each; returns the offsets
    /// passed.
    pub fn poll(&mut self, bytes_max: usize) -> Result<usize> {
        match self.poll_partitions(bytes_max) {
            Err(e) if Care::is_of_a_row(&e) && self.spec.on_error == OnError::DeadLetter => {
                self.back_to_commit(e)?;
                Ok(1)
            }
            polled => polled,
        }
    }

    fn poll_partitions(&mut self, bytes_max: usize) -> Result<usize> {
        let at: Vec<(String, Partition)> = self.next.keys().cloned().collect();
        let mut n = 0;
        for (topic, partition) in at {
            n += self.poll_partition(&topic, partition, bytes_max)?;
            if n > 0 && self.care.rows_max().is_some() {
                break;
            }
        }
        Ok(n)
    }

    /// A row can't be computed: the job that took half of a batch is of no use any more.
    fn back_to_commit(&mut self, e: Error) -> Result<()> {
        let mut care = std::mem::take(&mut self.care);
        care.failed(e);
        let (rows_in, hurry) = (self.rows_in, self.hurry.clone());
        let fresh = Runner::open(self.spec.clone(), self.env.clone())?;
        *self = Runner { care, rows_in, watermark: self.watermark, ..fresh };
        self.set_hurry(hurry);
        Ok(())
    }

    fn poll_partition(
        &mut self,
        topic: &str,
        partition: Partition,
        bytes_max: usize,
    ) -> Result<usize> {
        let key = (topic.to_string(), partition);
        let (Some(from), Some(reader)) = (self.next.get(&key).copied(), self.readers.get(topic))
        else {
            return Ok(0);
        };
        let reader = reader.clone();
        let log = reader.log.partition(partition)?;
        let now = self.env.clock.now_us();
        if from >= reader.end(&log)? {
            let quiet = now - self.last_row_us.get(&key).copied().unwrap_or(now);
            if quiet >= self.env.idle_timeout_us && self.idle.insert(key) {
                self.job.set_idle(topic, partition, true);
                self.dirty = true;
            }
            return Ok(0);
        }
        if from < log.start_offset() {
            return self.poll_history(topic, partition, from, log.start_offset());
        }
        let stretch = reader.read(partition, from, bytes_max)?;
        let decoder = self
            .decoders
            .get_mut(topic)
            .ok_or_else(|| Error::internal(format!("no decoder for '{topic}'")))?;
        let rows = decoder.decode(&reader, partition, &stretch)?;
        let raw = |left_out: &LeftOut| late_rows::raw_of_log(&stretch.batches, &left_out.offsets);
        let next = self.take(topic, partition, rows, stretch.next, &raw)?;
        Ok((next.0 - from.0) as usize)
    }

    /// Rows that retention took out of the log are read from the archive.
    fn poll_history(
        &mut self,
        topic: &str,
        partition: Partition,
        from: Offset,
        to: Offset,
    ) -> Result<usize> {
        let Some(history) = self.env.history.clone() else {
            return Err(Error::not_found(format!(
                "offsets {from} to {to} of '{topic}' partition {partition} are gone from the log"
            ))
            .hint("they are not archived either: recreate the view to start at what is there"));
        };
        let definition = self
            .spec
            .topics
            .get(topic)
            .ok_or_else(|| Error::internal(format!("'{topic}' is not a topic of this view")))?;
        let declared = definition.schema();
        let (rows, next) = history.read(definition, partition, from, to)?;
        let batch = rows.batch.clone();
        let raw = |out: &LeftOut| late_rows::raw_of_archive(&declared, &batch, &out.numbers);
        let next = self.take(topic, partition, rows, next, &raw)?;
        Ok((next.0 - from.0) as usize)
    }

    /// Pushes rows; those that can't be computed or are late become dead letters. Returns the
    /// offset after what was taken, `next` if that is all.
    fn take(
        &mut self,
        topic: &str,
        partition: Partition,
        rows: Rows,
        next: Offset,
        raw: &dyn Fn(&LeftOut) -> Result<Vec<Vec<u8>>>,
    ) -> Result<Offset> {
        let (rows, next) = match self.care.rows_max() {
            Some(n) if n < rows.offsets.len() => (rows.first(n), rows.offsets[n]),
            _ => (rows, next),
        };
        let before = self.care.is_on().then(|| rows.offsets.clone());
        let (rows, bad) = self.care.computable(&self.job, topic, partition, rows)?;
        let all = before.as_ref().unwrap_or(&rows.offsets);
        let late = self.push(topic, partition, &rows, next)?;
        let now = self.env.clock.now_us();
        if !bad.is_empty() {
            let numbers: Vec<usize> = bad.iter().map(|(i, _)| *i).collect();
            let out = LeftOut { offsets: numbers.iter().map(|i| all[*i]).collect(), numbers };
            let letters = bad.into_iter().zip(&out.offsets).zip(raw(&out)?);
            self.letters.extend(letters.map(|(((_, e), offset), raw)| DeadLetter {
                at: now,
                topic: topic.to_string(),
                view: Some(self.spec.name.clone()),
                partition: Some(partition.0),
                offset: Some(offset.0),
                kind: "compute".into(),
                reason: e.message().to_string(),
                raw,
                ..DeadLetter::default()
            }));
        }
        if !late.is_empty() {
            // Their numbers count without the rows left out before.
            let offsets: Vec<Offset> = late.iter().map(|l| l.offset).collect();
            let number = |o: &Offset| all.binary_search(o).unwrap_or_default();
            let out = LeftOut { numbers: offsets.iter().map(number).collect(), offsets };
            let raw = raw(&out)?;
            self.letters.extend(late_rows::letters(&self.spec.name, now, late, raw));
        }
        Ok(next)
    }

    fn push(
        &mut self,
        topic: &str,
        partition: Partition,
        rows: &Rows,
        next: Offset,
    ) -> Result<Vec<LateRow>> {
        let key = (topic.to_string(), partition);
        if self.idle.remove(&key) {
            self.job.set_idle(topic, partition, false);
        }
        let late = self.job.push(topic, partition, &rows.batch, &rows.ends, next);
        let late = late.map_err(sql::stream_error)?;
        if let Some(arrived) = rows.batch.column_by_name("_arrived")
            && let Some(arrived) = arrived.as_primitive_opt::<TimestampMicrosecondType>()
            && let Some(newest) = arrow::compute::max(arrived)
        {
            self.newest_arrival = self.newest_arrival.max(newest);
        }
        self.last_row_us.insert(key.clone(), self.env.clock.now_us());
        self.next.insert(key, next);
        self.rows_in += rows.batch.num_rows() as u64;
        self.dirty = true;
        Ok(late)
    }

    /// The epoch has grown enough.
    fn full(&self) -> bool {
        self.letters.len() >= LATE_MAX || self.care.rows_max().is_some()
    }

    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Ends the epoch.
    pub fn seal(&mut self) -> Result<Sealed> {
        self.job.seal(state::should_compact(&self.stored)).map_err(sql::stream_error)
    }

    /// Ends the epoch; none if one of its rows could not be computed, and the job is at its last
    /// commit again.
    fn seal_or_go_back(&mut self) -> Result<Option<Sealed>> {
        match self.seal() {
            Err(e) if self.spec.on_error == OnError::DeadLetter && self.care.may_mend(&e) => {
                self.back_to_commit(e)?;
                Ok(None)
            }
            sealed => sealed.map(Some),
        }
    }

    /// Puts the sealed epoch into one batch.
    pub fn prepare(&self, sealed: Sealed) -> Result<Prepared> {
        let epoch = self.epoch.next();
        let mut batch = self.env.kv.batch();
        let mut kept = self.stored.stored.clone();
        if sealed.renumbered {
            state::remove(&mut batch, &self.spec.id)?;
            kept = Default::default();
        }
        let checkpoint = Checkpoint {
            epoch,
            fingerprint: self.spec.fingerprint.clone(),
            offsets: sealed.offsets.clone(),
            watermarks: sealed.watermarks.clone(),
            watermark: sealed.watermark,
            stored: kept,
        };
        let stored = state::stage(&mut batch, &self.spec.id, &checkpoint, &sealed.deltas)?;
        let meta = match &self.spec.target {
            Target::View { store, .. } => {
                store.stage(&mut batch, epoch, self.meta, &sealed.changes)?
            }
            Target::Sink(outbox) => {
                outbox.stage(&mut batch, epoch, &sealed.changes)?;
                ViewMeta { epoch, rows: 0 }
            }
        };
        self.env.dead_letters.stage(&mut batch, &self.letters)?;
        Ok(Prepared { batch, sealed, stored, meta })
    }

    /// The one atomic write of an epoch is done: what follows from it.
    pub fn committed(&mut self, prepared: Prepared) {
        let Prepared { sealed, stored, meta, .. } = prepared;
        self.env.dead_letters.committed(&self.letters);
        self.letters.clear();
        self.care.committed(&self.next);
        self.epoch = stored.epoch;
        self.stored = stored;
        self.meta = meta;
        self.dirty = false;
        self.watermark = sealed.watermark;
        self.state_bytes = sealed.state_bytes;
        match &self.spec.target {
            Target::View { publisher, .. } => publisher.publish(self.epoch, sealed.changes),
            Target::Sink(outbox) => outbox.notify(&sealed.changes),
        }
    }

    /// The state of all views together has a limit; the one that passes it is told.
    fn account(&self, sealed: &Sealed) -> Result<()> {
        self.state.set(&self.spec.name, sealed.state_bytes as u64)
    }

    /// Seals, writes and publishes.
    pub fn commit(&mut self) -> Result<()> {
        let sealed = self.seal()?;
        let prepared = self.prepare(sealed)?;
        prepared.batch.commit_durable()?;
        self.committed(prepared);
        Ok(())
    }

    /// Moves the watermark on as if an event of that time had been seen in every partition.
    pub fn advance_watermark(&mut self, topic: &str, us: i64) -> Result<()> {
        let known = self.readers.get(topic).ok_or_else(|| {
            Error::unknown("topic", topic, self.readers.keys().map(String::as_str))
        })?;
        for p in known.log.partitions() {
            self.job.advance_watermark(topic, p.id(), us);
        }
        self.dirty = true;
        Ok(())
    }

    /// Events not yet taken.
    pub fn lag(&self) -> u64 {
        let behind = |((topic, partition), next): (&(String, Partition), &Offset)| {
            let log = self.readers.get(topic)?.log.partition(*partition).ok()?;
            Some((log.high_watermark().0 - next.0).max(0) as u64)
        };
        self.next.iter().filter_map(behind).sum()
    }

    /// From arrival of the newest row to its being visible, ms.
    fn freshness_ms(&self) -> Option<i64> {
        (self.newest_arrival > 0)
            .then(|| ((self.env.clock.now_us() - self.newest_arrival) / 1_000).max(0))
    }
}

/// Rows left out of those that were read together.
struct LeftOut {
    numbers: Vec<usize>,
    offsets: Vec<Offset>,
}

/// A pipeline with its thread.
pub struct Pipeline {
    pub spec: Arc<Spec>,
    pub shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    hurry: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// A pipeline that is stopped may finish what it computes for so long.
const GRACE: Duration = Duration::from_secs(1);

impl Pipeline {
    pub fn start(spec: Arc<Spec>, env: Arc<Env>) -> Result<Pipeline> {
        let shared = Arc::new(Shared::default());
        let stop = Arc::new(AtomicBool::new(false));
        let hurry = Arc::new(AtomicBool::new(false));
        let (spec2, shared2, stop2) = (spec.clone(), shared.clone(), stop.clone());
        let hurry2 = hurry.clone();
        let thread = std::thread::Builder::new()
            .name(format!("view-{}", spec.name))
            .stack_size(8 << 20)
            .spawn(move || {
                let ended =
                    catch_unwind(AssertUnwindSafe(|| run(&spec2, &env, &shared2, &stop2, &hurry2)));
                let ended = ended.unwrap_or_else(|_| {
                    Err(Error::internal("it met a fault in Watershed")
                        .hint("the log of the platform says more"))
                });
                if let Err(e) = ended {
                    tracing::error!(view = spec2.name, "the view stopped: {e}");
                    shared2.fail(&e);
                }
            })
            .map_err(|e| Error::io("starting a pipeline thread", e))?;
        Ok(Pipeline { spec, shared, stop, hurry, thread: Mutex::new(Some(thread)) })
    }

    pub fn status(&self) -> PipelineStatus {
        self.shared.get()
    }

    /// Commits what was taken in and ends the thread. What takes too long is given up: it is read
    /// again at the next start.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let until = Instant::now() + GRACE;
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.hurry.store(true, Ordering::SeqCst);
            let _ = thread.join();
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(
    spec: &Arc<Spec>,
    env: &Arc<Env>,
    shared: &Shared,
    stop: &AtomicBool,
    hurry: &Arc<AtomicBool>,
) -> Result<()> {
    match run_until(spec, env, shared, stop, hurry) {
        Err(e) if e.kind() == Kind::Cancelled && hurry.load(Ordering::SeqCst) => Ok(()),
        ended => ended,
    }
}

fn run_until(
    spec: &Arc<Spec>,
    env: &Arc<Env>,
    shared: &Shared,
    stop: &AtomicBool,
    hurry: &Arc<AtomicBool>,
) -> Result<()> {
    let commits = env.log.commits();
    let mut seen = commits.count();
    let mut runner = Runner::open(spec.clone(), env.clone())?;
    runner.set_hurry(hurry.clone());
    let mut committed = Instant::now();
    let mut told = Instant::now();
    shared.update(|s| describe(s, &runner));
    shared.tell_operators(runner.job.stats());
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        let full = matches!(&spec.target, Target::Sink(outbox) if outbox.is_full());
        let n = if stopping || full { 0 } else { runner.poll(READ_BYTES)? };
        let since = committed.elapsed();
        let due = (n == 0 && since >= env.epoch_min)
            || since >= env.epoch_max
            || stopping
            || runner.full();
        if runner.dirty() && due {
            if !commit_with_retry(&mut runner, shared, stop)? {
                return Ok(());
            }
            committed = Instant::now();
            shared.update(|s| describe(s, &runner));
        } else if n == 0 && !stopping {
            let wait = match runner.dirty() {
                true => env.epoch_min.saturating_sub(since),
                false => Duration::from_millis(250),
            };
            shared.update(|s| {
                s.lag_events = runner.lag();
                s.caught_up |= !runner.dirty();
            });
            seen = commits.wait(seen, wait);
        }
        if stopping {
            return Ok(());
        }
        if told.elapsed() >= TELL_INTERVAL {
            told = Instant::now();
            shared.tell_operators(runner.job.stats());
        }
    }
}

/// False when told to stop while the write still failed.
fn commit_with_retry(runner: &mut Runner, shared: &Shared, stop: &AtomicBool) -> Result<bool> {
    let Some(sealed) = runner.seal_or_go_back()? else { return Ok(true) };
    runner.account(&sealed)?;
    // The same batch is tried again: a commit in doubt may have been made.
    let prepared = runner.prepare(sealed)?;
    let mut pause = Duration::from_millis(100);
    let mut told = String::new();
    loop {
        match prepared.batch.commit_durable() {
            Ok(()) => {
                runner.committed(prepared);
                return Ok(true);
            }
            Err(e) if e.kind().may_retry() || e.kind() == Kind::Exhausted => {
                // Once, however long it takes.
                if told != e.message() {
                    told = e.message().to_string();
                    tracing::warn!(view = runner.spec.name, "an epoch could not be written: {e}");
                }
                shared.update(|s| s.error = Some(e.details()));
                if stop.load(Ordering::SeqCst) {
                    return Ok(false);
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(e) => return Err(e),
        }
    }
}

fn describe(status: &mut PipelineStatus, runner: &Runner) {
    status.state = "running";
    status.error = None;
    status.epoch = runner.epoch.0;
    status.rows = runner.meta.rows;
    status.lag_events = runner.lag();
    status.freshness_ms = runner.freshness_ms();
    status.events_total = runner.rows_in;
    status.watermark = runner.watermark;
    status.state_bytes = runner.state_bytes as u64;
}
