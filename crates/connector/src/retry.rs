//! Trying again, written once: wrappers around any source or sink that repeat what failed for a
//! reason that may pass (`Kind::may_retry`), with capped exponential back-off and jitter. Drivers
//! only report errors of the right kind; how long to wait, when to give up and what the status
//! page shows is decided here.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use common::{Epoch, Error, Result};
use tokio::time::Instant;

use crate::{Health, Sink, Source, SourceBatch, Values};

/// However long a target asks us to wait, it isn't longer than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A cause that carries how long the target asked us to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the target asked to wait for {} ms", self.0.as_millis())
    }
}

impl std::error::Error for RetryAfter {}

/// When to try again.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub attempts_max: u32,
    pub delay_min: Duration,
    pub delay_max: Duration,
}

impl Backoff {
    /// From the options that every connector has.
    pub fn new(values: &Values) -> Result<Backoff> {
        Ok(Backoff {
            attempts_max: match values.get("retry_attempts_max") {
                Some(_) => u32::try_from(values.number("retry_attempts_max")?).unwrap_or(u32::MAX),
                None => u32::MAX,
            },
            delay_min: values.duration("retry_delay_min")?,
            delay_max: values.duration("retry_delay_max")?,
        })
    }

    /// The wait after so many failures in a row; None means give up. Doubles up to the limit;
    /// `random` in 0..1 takes up to half of it away, so that many clients don't come back at once.
    pub fn delay(&self, failures: u32, random: f64) -> Option<Duration> {
        if failures >= self.attempts_max {
            return None;
        }
        let factor = 2u32.saturating_pow(failures.saturating_sub(1));
        let full = self.delay_min.saturating_mul(factor).min(self.delay_max);
        Some(full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0))
    }

    /// The wait before the next attempt, or the error when there is none.
    fn after(&self, failures: u32, e: Error, health: &Health, name: &str) -> Result<Duration> {
        let delay = match e.kind().may_retry() {
            true => self.delay(failures, random()),
            false => None,
        };
        health.failed(&e, delay.is_some());
        let Some(delay) = delay else {
            let gave_up = e.kind().may_retry() && failures > 1;
            return Err(match gave_up {
                true => e.context(format!("'{name}' gave up after {failures} attempts")),
                false => e.context(format!("'{name}'")),
            });
        };
        let delay = delay.max(asked_to_wait(&e).unwrap_or_default().min(RETRY_AFTER_MAX));
        tracing::warn!(connector = name, failures, delay_ms = delay.as_millis() as u64, "{e}");
        Ok(delay)
    }
}

/// In 0..1, from the seed that the standard library makes for each of its hash maps.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

fn asked_to_wait(e: &Error) -> Option<Duration> {
    let source = std::error::Error::source(e)?;
    source.downcast_ref::<RetryAfter>().map(|r| r.0)
}

/// A source that is opened anew, after its last batch, when it fails for a passing reason.
pub struct RetrySource {
    inner: Box<dyn Source>,
    backoff: Backoff,
    health: Arc<Health>,
    name: String,
    position: Option<String>,
    failures: u32,
    /// Kept across dropped futures, so that a caller in a `select!` doesn't shorten the wait.
    wait_until: Option<Instant>,
    closed: bool,
}

impl RetrySource {
    pub fn new(inner: Box<dyn Source>, backoff: Backoff, health: Arc<Health>, name: &str) -> Self {
        let (position, failures, wait_until) = (None, 0, None);
        let name = name.to_string();
        Self { inner, backoff, health, name, position, failures, wait_until, closed: true }
    }

    async fn reopen(&mut self) -> Result<()> {
        while self.closed {
            if let Some(until) = self.wait_until {
                tokio::time::sleep_until(until).await;
                self.wait_until = None;
            }
            match self.inner.open(self.position.as_deref()).await {
                Ok(()) => self.closed = false,
                Err(e) => self.note(e)?,
            }
        }
        Ok(())
    }

    fn note(&mut self, e: Error) -> Result<()> {
        self.failures += 1;
        self.closed = true;
        let delay = self.backoff.after(self.failures, e, &self.health, &self.name);
        // An error that is handed out starts the count anew: whoever calls again means it.
        let delay = delay.inspect_err(|_| self.failures = 0)?;
        self.wait_until = Some(Instant::now() + delay);
        Ok(())
    }
}

#[async_trait]
impl Source for RetrySource {
    async fn open(&mut self, position: Option<&str>) -> Result<()> {
        self.position = position.map(str::to_string);
        self.closed = true;
        self.reopen().await
    }

    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            self.reopen().await?;
            match self.inner.next().await {
                Ok(batch) => {
                    self.failures = 0;
                    self.health.succeeded(batch.as_ref().map_or(0, |b| b.rows.len()));
                    if let Some(position) = batch.as_ref().and_then(|b| b.position.clone()) {
                        self.position = Some(position);
                    }
                    return Ok(batch);
                }
                Err(e) => self.note(e)?,
            }
        }
    }

    async fn committed(&mut self, position: &str) -> Result<()> {
        self.inner.committed(position).await
    }
}

/// A sink whose every call is repeated when it fails for a passing reason.
pub struct RetrySink {
    inner: Box<dyn Sink>,
    backoff: Backoff,
    health: Arc<Health>,
    name: String,
}

impl RetrySink {
    pub fn new(inner: Box<dyn Sink>, backoff: Backoff, health: Arc<Health>, name: &str) -> Self {
        Self { inner, backoff, health, name: name.to_string() }
    }
}

/// Runs the call until it succeeds, fails for good, or was tried often enough.
macro_rules! retry {
    ($self:ident, $rows:expr, $call:expr) => {{
        let mut failures = 0;
        loop {
            match $call.await {
                Ok(value) => {
                    $self.health.succeeded($rows);
                    return Ok(value);
                }
                Err(e) => {
                    failures += 1;
                    let delay = $self.backoff.after(failures, e, &$self.health, &$self.name)?;
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }};
}

#[async_trait]
impl Sink for RetrySink {
    async fn open(&mut self, schema: SchemaRef) -> Result<Option<Epoch>> {
        retry!(self, 0, self.inner.open(schema.clone()))
    }

    async fn write(
        &mut self,
        epoch: Epoch,
        changes: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<()> {
        retry!(self, changes.num_rows(), self.inner.write(epoch, changes, weights))
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<()> {
        retry!(self, 0, self.inner.prepare(epoch))
    }

    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        retry!(self, 0, self.inner.commit(epoch))
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
