//! What every sink must hold: each epoch shows up as promised, nothing shows early, and a crash
//! at any point of an epoch loses nothing and, with exactly once, doubles nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use common::{Epoch, Error, Result};

use super::ensure;
use crate::{Delivery, Sink};

/// One row as a reader of the target sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: i64,
    pub name: String,
    /// `+` or `-` where the view is updating.
    pub op: Option<String>,
}

/// A target under test.
#[async_trait]
pub trait Bench: Sync {
    /// A new sink on the same target, as a new process would make it.
    fn make(&self) -> Result<Box<dyn Sink>>;
    /// All rows that readers of the target can see.
    async fn seen(&self) -> Result<Vec<Seen>>;
}

/// Columns of the suite's rows.
pub fn sample_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
    ]))
}

/// Rows with these ids; the names try the target's quoting.
pub fn sample(ids: impl IntoIterator<Item = i64>) -> Result<RecordBatch> {
    let ids: Vec<i64> = ids.into_iter().collect();
    let names: StringArray = ids.iter().map(|id| Some(name(*id))).collect();
    let values: Float64Array = ids.iter().map(|id| (id % 3 > 0).then_some(*id as f64)).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(ids)), Arc::new(names), Arc::new(values)];
    RecordBatch::try_new(sample_schema(), columns)
        .map_err(|e| Error::internal(format!("building sample rows: {e}")))
}

fn name(id: i64) -> String {
    ["plain", "comma, quote \" and 'tick'", "über\n日本", " blank ", ""]
        [(id.unsigned_abs() % 5) as usize]
        .to_string()
}

fn row(id: i64, op: Option<&str>) -> Seen {
    Seen { id, name: name(id), op: op.map(str::to_string) }
}

fn rows(ids: impl IntoIterator<Item = i64>) -> Vec<Seen> {
    ids.into_iter().map(|id| row(id, None)).collect()
}

/// Where the process dies within an epoch.
#[derive(Clone, Copy, Debug)]
enum Crash {
    Written,
    Prepared,
    /// The engine's own commit is done, the sink's not.
    Committed,
    /// All done.
    Finished,
}

/// Runs the suite. `fresh` gives a new, empty target each time.
pub async fn check_sink<B: Bench>(fresh: impl Fn() -> Result<B>, promise: Delivery) -> Result<()> {
    plain_run(&fresh()?, promise).await.map_err(|e| e.context("a run without faults"))?;
    for crash in [Crash::Written, Crash::Prepared, Crash::Committed, Crash::Finished] {
        for rows_come_later in [false, true] {
            let run = crash_run(&fresh()?, promise, crash, rows_come_later).await;
            let what = format!("a crash when {crash:?}, rows later: {rows_come_later}");
            run.map_err(|e| e.context(what))?;
        }
    }
    Ok(())
}

async fn epoch(sink: &mut dyn Sink, epoch: u64, ids: std::ops::Range<i64>) -> Result<()> {
    write(sink, epoch, ids).await?;
    sink.prepare(Epoch(epoch)).await?;
    sink.commit(Epoch(epoch)).await
}

async fn write(sink: &mut dyn Sink, epoch: u64, ids: std::ops::Range<i64>) -> Result<()> {
    sink.write(Epoch(epoch), &sample(ids)?, None).await
}

async fn plain_run(bench: &impl Bench, promise: Delivery) -> Result<()> {
    let mut sink = bench.make()?;
    let first = sink.open(sample_schema()).await?;
    ensure(first.is_none(), || format!("an empty target reports epoch {first:?}"))?;
    write(sink.as_mut(), 1, 0..4).await?;
    write(sink.as_mut(), 1, 4..6).await?;
    sink.prepare(Epoch(1)).await?;
    if promise == Delivery::ExactlyOnce {
        let early = bench.seen().await?;
        ensure(early.is_empty(), || format!("{} rows show before the commit", early.len()))?;
    }
    sink.commit(Epoch(1)).await?;
    expect(bench, promise, rows(0..6)).await?;
    // An epoch without changes, and a commit that is told twice.
    sink.prepare(Epoch(2)).await?;
    sink.commit(Epoch(2)).await?;
    sink.commit(Epoch(2)).await?;
    let weights = Int8Array::from(vec![-1, 1]);
    sink.write(Epoch(3), &sample([5, 6])?, Some(&weights)).await?;
    sink.prepare(Epoch(3)).await?;
    sink.commit(Epoch(3)).await?;
    let mut want = rows(0..6);
    want.extend([row(5, Some("-")), row(6, Some("+"))]);
    expect(bench, promise, want).await?;
    drop(sink);
    let last = bench.make()?.open(sample_schema()).await?;
    let known = promise != Delivery::ExactlyOnce || last == Some(Epoch(3));
    ensure(known, || format!("the target reports epoch {last:?} after epoch 3"))
}

/// Dies in epoch 2 and goes on as the engine does. The engine cuts epochs by time, so the second
/// try of an epoch may hold more rows than the first, or none, and the rows come in the next one.
async fn crash_run(
    bench: &impl Bench,
    promise: Delivery,
    crash: Crash,
    rows_come_later: bool,
) -> Result<()> {
    let mut sink = bench.make()?;
    sink.open(sample_schema()).await?;
    epoch(sink.as_mut(), 1, 0..3).await?;
    write(sink.as_mut(), 2, 3..6).await?;
    if !matches!(crash, Crash::Written) {
        sink.prepare(Epoch(2)).await?;
    }
    if matches!(crash, Crash::Finished) {
        sink.commit(Epoch(2)).await?;
    }
    drop(sink);

    let engine_committed = matches!(crash, Crash::Committed | Crash::Finished);
    let mut sink = bench.make()?;
    sink.open(sample_schema()).await?;
    sink.commit(Epoch(if engine_committed { 2 } else { 1 })).await?;
    let first = if engine_committed { 3 } else { 2 };
    let mut from = if engine_committed { 6 } else { 3 };
    if rows_come_later {
        sink.prepare(Epoch(first)).await?;
        sink.commit(Epoch(first)).await?;
    } else {
        epoch(sink.as_mut(), first, from..7).await?;
        from = 7;
    }
    epoch(sink.as_mut(), first + 1, from..9).await?;
    expect(bench, promise, rows(0..9)).await
}

async fn expect(bench: &impl Bench, promise: Delivery, mut want: Vec<Seen>) -> Result<()> {
    let mut seen = bench.seen().await?;
    seen.sort();
    want.sort();
    if promise != Delivery::ExactlyOnce {
        seen.dedup();
    }
    if promise == Delivery::AtMostOnce {
        want.retain(|w| seen.contains(w));
    }
    ensure(seen == want, || format!("the target shows {seen:?}, it should show {want:?}"))
}
