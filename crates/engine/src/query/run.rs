//! Runs one statement, of any kind, for every door. The doors differ in when they learn what:
//! `execute` gathers, `start` gives rows as they come, `prepare` tells parameters and columns
//! before there are values. Parsing, planning and running is done by the threads of `compute.rs`;
//! a query ends when its time is over or nobody takes its rows any more.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use catalog::Definition;
use common::{Error, Result};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use sql::{Existing, ExplainWhat};

use crate::access::principal::Action;
use crate::inner::Inner;
use crate::query::caller::Caller;
use crate::query::compute::ended_early;
use crate::query::outcome::{Answer, Outcome, Rows};
use crate::query::running::{Planned, Whole, rows};
use crate::query::values::values_for;
use crate::query::write;

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

/// Runs one statement and gathers its rows, however many.
pub fn execute<'a>(caller: &'a Caller, query: &'a str) -> BoxFuture<'a, Result<Outcome>> {
    gathered(caller, query).boxed()
}

async fn gathered(caller: &Caller, query: &str) -> Result<Outcome> {
    match start(caller, query, None).await? {
        Answer::Message(message) => Ok(Outcome::Message(message)),
        Answer::Written(written) => Ok(Outcome::Written(written)),
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
        sql::Statement::Write(write) => {
            let whole = Whole { text, start: write.start };
            return written(caller, write, whole, vec![]).await;
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

/// What is written is written to its end, even when nobody waits for it.
async fn written(
    caller: &Caller,
    write: sql::Write,
    whole: Whole,
    given: Vec<(ScalarValue, sql::Parameter)>,
) -> Result<Answer> {
    let caller = caller.clone();
    let work = tokio::spawn(async move { write::run(&caller, write, whole, given).await });
    work.await.unwrap_or_else(|_| Err(ended_early())).map(Answer::from)
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
        sql::Statement::Write(write) => {
            let whole = Whole { text: text.clone(), start: write.start };
            (None, write::parameters(caller, write, whole, given.to_vec()).await?)
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
    let given: Vec<_> = values.into_iter().zip(prepared.parameters.iter().cloned()).collect();
    let (query, start) = match parse(&caller.inner, &prepared.text).await? {
        sql::Statement::Query { text, start } => (text, start),
        sql::Statement::Write(write) => {
            let whole = Whole { text: prepared.text.clone(), start: write.start };
            return written(caller, write, whole, given).await;
        }
        _ => return start(caller, &prepared.text, timeout).await,
    };
    let whole = Whole { text: prepared.text.clone(), start };
    let values = values_for(given, &whole)?;
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
        sql::Statement::Query { .. }
        | sql::Statement::Explain { .. }
        | sql::Statement::Write(_) => Err(Error::internal("a query is run by its plan")),
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
