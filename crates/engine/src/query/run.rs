//! Runs one statement, of any kind, for every door. The doors differ in when they learn what:
//! `execute` gathers, `start` gives rows as they come, `prepare` tells parameters and columns
//! before there are values. Parsing, planning and running is done by the threads of `compute.rs`;
//! a query ends when its time is over or nobody takes its rows any more.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use catalog::Definition;
use common::{Error, Kind, Place, Result};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use sql::{Existing, ExplainWhat};
use tokio::sync::{mpsc, oneshot};

use crate::access::principal::Action;
use crate::inner::Inner;
use crate::query::caller::Caller;
use crate::query::compute::{End, EndOnDrop, Interrupt, ended_early};
use crate::query::interrupt::interruptible;
use crate::query::outcome::{Answer, Outcome, Rows};

/// Batches that wait for a client that takes its time.
const BATCHES_WAITING: usize = 2;

/// A statement that is known before its values are.
#[derive(Clone, Debug)]
pub struct Prepared {
    text: Arc<str>,
    parameters: Vec<sql::Parameter>,
    /// The columns it gives; none for statements that give no rows.
    pub schema: Option<SchemaRef>,
}

impl Prepared {
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn parameters(&self) -> impl Iterator<Item = &DataType> {
        self.parameters.iter().map(|p| &p.data_type)
    }
}

/// Where a query stands in what a client sent.
#[derive(Clone)]
struct Whole {
    text: Arc<str>,
    start: usize,
}

impl Whole {
    fn place(&self, span: Range<usize>) -> Place {
        let span = self.start + span.start..self.start + span.end;
        Place { file: None, text: self.text.clone(), span }
    }
}

/// Runs one statement and gathers its rows, however many.
pub fn execute<'a>(caller: &'a Caller, query: &'a str) -> BoxFuture<'a, Result<Outcome>> {
    gathered(caller, query).boxed()
}

async fn gathered(caller: &Caller, query: &str) -> Result<Outcome> {
    match start(caller, query, None).await? {
        Answer::Message(message) => Ok(Outcome::Message(message)),
        Answer::Rows(Rows { schema, batches }) => {
            Ok(Outcome::Rows { schema, batches: batches.try_collect().await? })
        }
    }
}

/// Runs one statement. A query may run for `timeout`, and never longer than `query.timeout`;
/// what changes something is finished even when nobody waits for it.
pub fn start<'a>(
    caller: &'a Caller,
    query: &'a str,
    timeout: Option<Duration>,
) -> BoxFuture<'a, Result<Answer>> {
    started(caller, query, timeout).boxed()
}

async fn started(caller: &Caller, query: &str, timeout: Option<Duration>) -> Result<Answer> {
    let text: Arc<str> = query.into();
    let (what, start, explain) = match parse(&caller.inner, &text).await? {
        sql::Statement::Query { text: what, start } => (what, start, None),
        sql::Statement::Explain { what: ExplainWhat::Query { text: what, start }, analyze } => {
            (what, start, Some(analyze))
        }
        other => {
            let caller = caller.clone();
            let change = tokio::spawn(async move { direct(&caller, other).await });
            return change.await.unwrap_or_else(|_| Err(ended_early())).map(Answer::from);
        }
    };
    let whole = Whole { text, start };
    let (asking, place) = (caller.clone(), whole.clone());
    let plan = async move { plan(&asking, &what, &place, explain).await };
    rows(&caller.inner, plan.boxed(), whole, timeout).await.map(Answer::Rows)
}

async fn plan(
    caller: &Caller,
    query: &str,
    whole: &Whole,
    explain: Option<bool>,
) -> Result<Planned> {
    let state = crate::query::names::session(caller)?;
    let plan = sql::plan_query(&state, query, &|span| whole.place(span)).await?;
    let Some(analyze) = explain else { return Ok((state, plan)) };
    let explained = DataFrame::new(state, plan).explain(false, analyze);
    let explained = explained.map_err(|e| sql::error(e, &|span| whole.place(span)))?;
    Ok(explained.into_parts())
}

/// Plans one statement. `given` are the types of parameters that the client knows.
pub fn prepare<'a>(
    caller: &'a Caller,
    query: &'a str,
    given: &'a [Option<DataType>],
) -> BoxFuture<'a, Result<Prepared>> {
    prepared(caller, query, given).boxed()
}

async fn prepared(caller: &Caller, query: &str, given: &[Option<DataType>]) -> Result<Prepared> {
    let text: Arc<str> = query.into();
    let (schema, parameters) = match parse(&caller.inner, &text).await? {
        sql::Statement::Create { .. }
        | sql::Statement::AlterTopic { .. }
        | sql::Statement::CreateUser { .. }
        | sql::Statement::AlterUser { .. }
        | sql::Statement::DropUser { .. }
        | sql::Statement::Drop { .. } => (None, vec![]),
        sql::Statement::Query { text: query, start } => {
            let whole = Whole { text: text.clone(), start };
            let (asking, given) = (caller.clone(), given.to_vec());
            let work = async move {
                let state = crate::query::names::session(&asking)?;
                sql::prepare(&state, &query, &given, &|span| whole.place(span)).await
            };
            let planned = caller.inner.compute.run(work).await?;
            (Some(planned.schema), planned.parameters)
        }
        sql::Statement::Explain { what: ExplainWhat::Query { text: query, start }, .. } => {
            let (asking, whole) = (caller.clone(), Whole { text: text.clone(), start });
            let work = async move { plan(&asking, &query, &whole, Some(false)).await };
            let (_, plan) = caller.inner.compute.run(work).await?;
            (Some(plan.schema().inner().clone()), vec![])
        }
        // Their columns are known by looking: it costs little and changes nothing.
        other => (direct(caller, other).await?.schema(), vec![]),
    };
    Ok(Prepared { text, parameters, schema })
}

/// Runs a prepared statement with a value for each parameter; texts are read as the type that
/// the parameter has. It is planned anew: what it reads may have been made anew, too.
pub fn start_prepared<'a>(
    caller: &'a Caller,
    prepared: &'a Prepared,
    values: Vec<ScalarValue>,
    timeout: Option<Duration>,
) -> BoxFuture<'a, Result<Answer>> {
    with_values(caller, prepared, values, timeout).boxed()
}

async fn with_values(
    caller: &Caller,
    prepared: &Prepared,
    values: Vec<ScalarValue>,
    timeout: Option<Duration>,
) -> Result<Answer> {
    if values.len() != prepared.parameters.len() {
        let (want, got) = (prepared.parameters.len(), values.len());
        return Err(Error::invalid(format!("{want} parameters are needed, {got} were sent")));
    }
    let sql::Statement::Query { text: query, start } = parse(&caller.inner, &prepared.text).await?
    else {
        return start(caller, &prepared.text, timeout).await;
    };
    let whole = Whole { text: prepared.text.clone(), start };
    let values = values.into_iter().zip(&prepared.parameters).enumerate();
    let values: Vec<ScalarValue> = values
        .map(|(i, (value, parameter))| {
            let place = || whole.place(parameter.span.clone());
            value_of(value, &parameter.data_type)
                .map_err(|e| e.context(format!("parameter ${}", i + 1)).at(place()))
        })
        .collect::<Result<_>>()?;
    let (asking, place) = (caller.clone(), whole.clone());
    let plan = async move {
        let given: Vec<_> = values.iter().map(|v| Some(v.data_type())).collect();
        let state = crate::query::names::session(&asking)?;
        let planned = sql::prepare(&state, &query, &given, &|span| place.place(span)).await?;
        Ok((state, sql::bind(planned.plan, values)?))
    };
    rows(&caller.inner, plan.boxed(), whole, timeout).await.map(Answer::Rows)
}

/// Runs a plan that another session made, as a query of that session.
pub fn start_plan(
    inner: &Arc<Inner>,
    state: SessionState,
    plan: LogicalPlan,
    timeout: Duration,
) -> BoxFuture<'_, Result<Rows>> {
    let plan = async move { Ok((state, plan)) };
    rows(inner, plan.boxed(), Whole { text: "".into(), start: 0 }, Some(timeout)).boxed()
}

async fn parse(inner: &Arc<Inner>, text: &Arc<str>) -> Result<sql::Statement> {
    let text = text.clone();
    inner.compute.run(async move { parse_one(&text) }).await
}

/// Every statement but a query.
async fn direct(caller: &Caller, statement: sql::Statement) -> Result<Outcome> {
    let inner = &caller.inner;
    match statement {
        sql::Statement::Create { definition, existing } => {
            caller.may(Action::Define, Some(definition.object.name()))?;
            create(inner, &definition, existing).await
        }
        sql::Statement::AlterTopic { name, change, .. } => {
            caller.may(Action::Define, Some(&name))?;
            crate::define::apply::alter_topic(inner, &name, &change).await?;
            Ok(Outcome::Message(format!("altered topic '{name}'")))
        }
        sql::Statement::Drop { kind, name, if_exists, .. } => {
            caller.may(Action::Define, Some(&name))?;
            drop_object(inner, kind, &name, if_exists).await
        }
        sql::Statement::CreateUser { name, password, if_not_exists } => {
            caller.may(Action::Operate, None)?;
            inner.users.create(&name, &password, if_not_exists).await
        }
        sql::Statement::AlterUser { name, password } => {
            caller.may(Action::Operate, None)?;
            inner.users.alter(&name, &password).await
        }
        sql::Statement::DropUser { name, if_exists } => {
            caller.may(Action::Operate, None)?;
            inner.users.remove(&name, if_exists).await
        }
        sql::Statement::Show(show) => crate::query::show::show(caller, &show),
        sql::Statement::Describe { name, .. } => crate::query::show::describe(inner, &name),
        sql::Statement::Explain { what: ExplainWhat::View { name, .. }, .. } => {
            crate::query::show::explain(inner, &name).await
        }
        sql::Statement::Query { .. } | sql::Statement::Explain { .. } => {
            Err(Error::internal("a query is run by its plan"))
        }
    }
}

async fn create(inner: &Arc<Inner>, wanted: &Definition, existing: Existing) -> Result<Outcome> {
    let (kind, name) = (wanted.object.kind(), wanted.object.name());
    let statement = wanted.origin.statement();
    let shown = kind.said();
    let is = inner.registry().definition(name).map(|d| d.object.kind());
    let done = match (is, existing) {
        (None, _) => {
            crate::define::apply::create_typed(inner, &[statement.to_string()]).await?;
            "created"
        }
        (Some(_), Existing::Keep) => {
            return Ok(Outcome::Message(format!("{shown} '{name}' exists already")));
        }
        (Some(is), Existing::Replace) if is == kind => {
            crate::define::apply::replace_typed(inner, name, statement).await?;
            "replaced"
        }
        (Some(is), _) => {
            let text = format!("{} '{name}' exists already", is.said());
            return Err(Error::already_exists(text)
                .hint(format!("choose another name, or DROP {is} {name} first")));
        }
    };
    Ok(Outcome::Message(format!("{done} {shown} '{name}'")))
}

async fn drop_object(
    inner: &Arc<Inner>,
    kind: &'static catalog::Kind,
    name: &str,
    if_exists: bool,
) -> Result<Outcome> {
    let shown = kind.said();
    if if_exists && inner.registry().definition(name).is_none() {
        return Ok(Outcome::Message(format!("there is no {shown} '{name}'")));
    }
    crate::define::drops::drop_typed(inner, kind, name).await?;
    Ok(Outcome::Message(format!("dropped {shown} '{name}'")))
}

/// Plans and runs a query on the threads for it.
async fn rows(
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

type Planned = (SessionState, LogicalPlan);

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

fn parse_one(text: &Arc<str>) -> Result<sql::Statement> {
    let text = sql::Text { file: None, text: text.clone() };
    let mut statements = sql::parse(&text).map_err(|faults| {
        faults.into_iter().next().unwrap_or_else(|| Error::syntax("nothing to run"))
    })?;
    if statements.len() > 1 {
        return Err(Error::invalid(format!("{} statements at once", statements.len()))
            .hint("send them one by one"));
    }
    statements
        .pop()
        .ok_or_else(|| Error::syntax("nothing to run").hint("for instance: SHOW TABLES"))
}

fn too_long(most: Duration, whole: &Whole) -> Error {
    let end = whole.text.trim_end().len().saturating_sub(whole.start);
    Error::cancelled(format!("the query took longer than {most:?}"))
        .hint("raise query.timeout, or ask for less")
        .at(whole.place(0..end))
}

/// The value as the parameter's type. A decimal keeps all its digits: the column that it is
/// compared with does not round it.
fn value_of(value: ScalarValue, data_type: &DataType) -> Result<ScalarValue> {
    if value.data_type() == *data_type {
        return Ok(value);
    }
    let shown = match &value {
        ScalarValue::Utf8(Some(text)) => format!("'{text}'"),
        other => other.to_string(),
    };
    let read = match (&value, data_type) {
        (ScalarValue::Utf8(Some(text)), DataType::Decimal128(..)) => decimal(text),
        (ScalarValue::Utf8(Some(_)), DataType::Duration(TimeUnit::Microsecond)) => {
            sql::day_time(&value)
        }
        _ => value.cast_to(data_type).ok(),
    };
    read.ok_or_else(|| {
        let name = formats::types::sql_name(data_type);
        Error::invalid(format!("{shown} is not a value of type {name}"))
    })
}

/// `-12.50` or `1.25E+1` with the precision and scale that it is written with.
fn decimal(text: &str) -> Option<ScalarValue> {
    const DIGITS_MAX: i32 = 38;
    let (number, exponent) = match text.trim().split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text.trim(), 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unscaled = format!("{whole}{fraction}");
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.len() > DIGITS_MAX as usize {
        return None;
    }
    let mut value: i128 = unscaled.parse().ok()?;
    let mut scale = (fraction.len() as i32).checked_sub(exponent)?;
    if scale < 0 {
        let power = u32::try_from(-scale).ok().filter(|p| *p <= DIGITS_MAX as u32)?;
        value = value.checked_mul(10_i128.pow(power))?;
        scale = 0;
    }
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |n| n as i32 + 1).max(scale);
    if digits > DIGITS_MAX {
        return None;
    }
    Some(ScalarValue::Decimal128(Some(value), digits as u8, scale as i8))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        let text = |t: &str| ScalarValue::Utf8(Some(t.into()));
        let price = DataType::Decimal128(10, 2);
        for (given, want) in [
            ("2.555", ScalarValue::Decimal128(Some(2555), 4, 3)),
            ("-0.5", ScalarValue::Decimal128(Some(-5), 1, 1)),
            ("0", ScalarValue::Decimal128(Some(0), 1, 0)),
            (".25", ScalarValue::Decimal128(Some(25), 2, 2)),
            ("0.001", ScalarValue::Decimal128(Some(1), 3, 3)),
            ("1E+2", ScalarValue::Decimal128(Some(100), 3, 0)),
            ("1.5e-3", ScalarValue::Decimal128(Some(15), 4, 4)),
        ] {
            assert_eq!(value_of(text(given), &price).unwrap(), want, "{given}");
        }
        for wrong in ["", "NaN", "1e99", "1.-2", "1e", "0x1", "--1"] {
            assert!(value_of(text(wrong), &price).is_err(), "{wrong}");
        }
        let e = value_of(text("many"), &DataType::Int32).unwrap_err();
        assert_eq!(e.message(), "'many' is not a value of type INT");
        let span = DataType::Duration(TimeUnit::Microsecond);
        let us = |us| ScalarValue::DurationMicrosecond(Some(us));
        let days = us(7 * 86_400_000_000 + 3_000_000);
        assert_eq!(value_of(text("7 days 3 seconds"), &span).unwrap(), days);
        assert_eq!(value_of(text("7 days 00:00:03"), &span).unwrap(), days);
        assert_eq!(value_of(text("1 microsecond"), &span).unwrap(), us(1));
        assert!(value_of(text("1 month"), &span).is_err());
        let none = value_of(ScalarValue::Utf8(None), &DataType::Int32).unwrap();
        assert_eq!(none, ScalarValue::Int32(None));
    }
}
