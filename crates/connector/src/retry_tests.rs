//! Failing sources and sinks under the wrappers, on tokio's paused clock.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::Mutex;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use common::Kind;

use super::*;
use crate::Rows;

const BACKOFF: Backoff = Backoff {
    attempts_max: 4,
    delay_min: Duration::from_millis(100),
    delay_max: Duration::from_millis(250),
};

#[test]
fn waits_double_up_to_the_limit_and_end() {
    let full: Vec<_> = (1..5).map(|n| BACKOFF.delay(n, 0.0).map(|d| d.as_millis())).collect();
    assert_eq!(full, [Some(100), Some(200), Some(250), None]);
    assert_eq!(BACKOFF.delay(2, 1.0), Some(Duration::from_millis(100)));
    let endless = Backoff { attempts_max: u32::MAX, ..BACKOFF };
    assert_eq!(endless.delay(1_000_000, 0.0), Some(BACKOFF.delay_max));
}

/// Counts 1, 2, 3 …; fails as scripted before the calls.
struct Counting {
    script: VecDeque<Option<Error>>,
    at: i64,
    opened: Arc<Mutex<Vec<Option<String>>>>,
}

#[async_trait]
impl Source for Counting {
    async fn open(&mut self, position: Option<&str>) -> Result<()> {
        self.opened.lock().unwrap().push(position.map(str::to_string));
        self.at = position.map_or(0, |p| p.parse().unwrap());
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        if let Some(Some(e)) = self.script.pop_front() {
            self.at = -1;
            return Err(e);
        }
        self.at += 1;
        let rows = Rows::Json(format!("{{\"n\":{}}}\n", self.at).into());
        Ok(Some(SourceBatch { rows, position: Some(self.at.to_string()) }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_goes_on_after_its_last_batch() {
    let away = || Some(Error::unavailable("the broker is away"));
    let opened = Arc::new(Mutex::new(vec![]));
    let script = [None, None, away(), away(), None, Some(Error::corrupt("no such thing"))].into();
    let inner = Box::new(Counting { script, at: 0, opened: opened.clone() });
    let health = Arc::new(Health::default());
    let mut source = RetrySource::new(inner, BACKOFF, health.clone(), "roof");
    source.open(Some("7")).await.unwrap();
    let mut seen = vec![];
    for _ in 0..3 {
        seen.push(source.next().await.unwrap().unwrap().position.unwrap());
    }
    assert_eq!(seen, ["8", "9", "10"]);
    assert_eq!(
        *opened.lock().unwrap(),
        [Some("7"), Some("9"), Some("9")].map(|p| p.map(Into::into))
    );
    assert_eq!((health.rows(), health.retries(), health.error()), (3, 2, None));
    let e = source.next().await.unwrap_err();
    assert_eq!((e.kind(), e.to_string().as_str()), (Kind::Corrupt, "'roof': no such thing"));
    assert_eq!(health.error().as_deref(), Some("no such thing"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_does_not_shorten_the_wait() {
    let script = [Some(Error::unavailable("away"))].into();
    let inner = Box::new(Counting { script, at: 0, opened: Arc::default() });
    let backoff = Backoff { delay_min: Duration::from_secs(10), ..BACKOFF };
    let backoff = Backoff { delay_max: Duration::from_secs(10), ..backoff };
    let mut source = RetrySource::new(inner, backoff, Arc::default(), "roof");
    source.open(None).await.unwrap();
    let start = Instant::now();
    let mut tries = 0;
    let batch = loop {
        tries += 1;
        if let Ok(b) = tokio::time::timeout(Duration::from_millis(100), source.next()).await {
            break b.unwrap().unwrap();
        }
    };
    assert_eq!(batch.position.as_deref(), Some("1"));
    assert!(tries > 40 && start.elapsed() >= Duration::from_secs(5), "{tries}");
}

/// Fails each write with the scripted errors first.
struct Flaky(VecDeque<Error>, Arc<Mutex<u32>>);

#[async_trait]
impl Sink for Flaky {
    async fn open(&mut self, _: SchemaRef) -> Result<Option<Epoch>> {
        Ok(None)
    }

    async fn write(&mut self, _: Epoch, _: &RecordBatch, _: Option<&Int8Array>) -> Result<()> {
        *self.1.lock().unwrap() += 1;
        self.0.pop_front().map_or(Ok(()), Err)
    }
}

async fn write_through(errors: Vec<Error>) -> (Result<()>, u32, Duration) {
    let calls = Arc::new(Mutex::new(0));
    let inner = Box::new(Flaky(errors.into(), calls.clone()));
    let mut sink = RetrySink::new(inner, BACKOFF, Arc::default(), "alerts");
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
    let start = Instant::now();
    let result = sink.write(Epoch(1), &batch, None).await;
    let calls = *calls.lock().unwrap();
    (result, calls, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_sink_tries_again_or_gives_up() {
    let away = || Error::unavailable("away");
    let (result, calls, _) = write_through(vec![away(), away(), away()]).await;
    assert!(result.is_ok() && calls == 4);
    let (result, calls, _) = write_through((0..9).map(|_| away()).collect()).await;
    let text = result.unwrap_err().to_string();
    assert_eq!((text.as_str(), calls), ("'alerts' gave up after 4 attempts: away", 4));
    let (result, calls, took) = write_through(vec![Error::denied("no")]).await;
    assert!(result.is_err() && calls == 1 && took.is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_asks_for_a_pause_gets_it() {
    let busy = Error::unavailable("busy").caused_by(RetryAfter(Duration::from_secs(17)));
    let (result, calls, took) = write_through(vec![busy]).await;
    assert!(result.is_ok() && calls == 2);
    assert!(took >= Duration::from_secs(17) && took < Duration::from_secs(18), "{took:?}");
}
