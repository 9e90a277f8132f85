//! A plan while it runs, on the threads of `compute.rs`: its rows go to whoever asked as they come,
//! until they have all come, its time is over or nobody takes them any more.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use common::{Error, Kind, Place, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use crate::inner::Inner;
use crate::query::compute::{End, EndOnDrop, Interrupt, ended_early};
use crate::query::interrupt::interruptible;
use crate::query::outcome::Rows;

/// Batches that wait for a client that takes its time.
const BATCHES_WAITING: usize = 2;

/// Where a query stands in what a client sent.
#[derive(Clone)]
pub struct Whole {
    pub text: Arc<str>,
    pub start: usize,
}

impl Whole {
    pub fn place(&self, span: Range<usize>) -> Place {
        let span = self.start + span.start..self.start + span.end;
        Place { file: None, text: self.text.clone(), span }
    }
}

/// Plans and runs a query on the threads for it.
pub async fn rows(
    inner: &Arc<Inner>,
    plan: BoxFuture<'static, Result<Planned>>,
    whole: Whole,
    timeout: Option<Duration>,
) -> Result<Rows> {
    let most = inner.project.config.query_timeout.to_std();
    let most = timeout.map_or(most, |t| t.min(most));
    let started = Instant::now();
    let (interrupt, counted) = inner.compute.begin();
    let (opening, opened) = oneshot::channel();
    let (giving, given) = mpsc::channel(BATCHES_WAITING);
    let work = run(plan, whole.clone(), interrupt.clone(), opening, giving);
    let work = async move {
        counted.ended(work.await);
    };
    let task = inner.compute.spawn(work).abort_handle();
    let ends = EndOnDrop { interrupt: Some(interrupt), task };
    let schema = match tokio::time::timeout(most, opened).await {
        Ok(Ok(schema)) => sql::shown_schema(&schema?),
        Ok(Err(_)) => return Err(ended_early()),
        Err(_) => return Err(too_long(most, &whole)),
    };
    // Only waiting for the query counts: a client may take its time with what it has.
    let left = most.saturating_sub(started.elapsed());
    let batches = stream::try_unfold((given, ends, left), move |(mut given, ends, left)| {
        let whole = whole.clone();
        async move {
            let asked = Instant::now();
            let batch = match tokio::time::timeout(left, given.recv()).await {
                Ok(Some(given)) => given?,
                Ok(None) => return Err(ended_early()),
                Err(_) => return Err(too_long(most, &whole)),
            };
            let Some(batch) = batch else { return Ok(None) };
            Ok(Some((batch, (given, ends, left.saturating_sub(asked.elapsed())))))
        }
    });
    Ok(Rows { schema, batches: batches.boxed() })
}

pub type Planned = (SessionState, LogicalPlan);

/// The work of a query. The last thing it gives is None, or the error that ended it.
async fn run(
    plan: BoxFuture<'static, Result<Planned>>,
    whole: Whole,
    interrupt: Interrupt,
    opening: oneshot::Sender<Result<SchemaRef>>,
    giving: mpsc::Sender<Result<Option<RecordBatch>>>,
) -> End {
    let mut batches = match open(plan, &whole, &interrupt).await {
        Ok(batches) => batches,
        // Nobody waits for it any more when this fails.
        Err(e) => {
            let end = end_of(&e);
            let _ = opening.send(Err(e));
            return end;
        }
    };
    let schema = batches.schema();
    if opening.send(Ok(schema)).is_err() {
        return End::Cancelled;
    }
    loop {
        let next = match batches.next().await {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(e)) => Err(sql::error(e, &|span| whole.place(span))),
            None => Ok(None),
        };
        let end = match &next {
            Ok(Some(_)) => None,
            Ok(None) => Some(End::Done),
            Err(e) => Some(end_of(e)),
        };
        if giving.send(next).await.is_err() {
            return end.unwrap_or(End::Cancelled);
        }
        if let Some(end) = end {
            return end;
        }
    }
}

fn end_of(e: &Error) -> End {
    if e.kind() == Kind::Cancelled { End::Cancelled } else { End::Failed }
}

async fn open(
    plan: BoxFuture<'static, Result<Planned>>,
    whole: &Whole,
    interrupt: &Interrupt,
) -> Result<SendableRecordBatchStream> {
    interrupt.check()?;
    let (state, plan) = plan.await?;
    let run = async {
        let plan = state.create_physical_plan(&plan).await?;
        execute_stream(interruptible(plan, interrupt)?, state.task_ctx())
    };
    run.await.map_err(|e| sql::error(e, &|span| whole.place(span)))
}

fn too_long(most: Duration, whole: &Whole) -> Error {
    let end = whole.text.trim_end().len().saturating_sub(whole.start);
    Error::cancelled(format!("the query took longer than {most:?}"))
        .hint("raise query.timeout, or ask for less")
        .at(whole.place(0..end))
}
