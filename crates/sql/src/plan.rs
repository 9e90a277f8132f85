//! The way of a query: text, syntax tree, our passes over the tree, DataFusion's logical plan.
//! The plan is checked by the analyzer before it is handed out, so that type errors show here.

use common::Error;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::analyzer::{int_literals, view_rules};
use crate::passes::hidden::{Columns, Tables};
use crate::passes::{
    hidden, letter_case, pivot, references, rewrite, same_names, unnest_tables, using,
    window_names, with_ties,
};
use crate::source::{PlaceOf, Source};
use crate::tokens;
use crate::{parameters, topic_table};

/// The checked but not yet optimised plan of a query. Tables come from the state's catalog;
/// `place` says where a stretch of `text` is in what the user wrote.
pub fn plan<'a>(
    state: &'a SessionState,
    text: &'a str,
    place: &'a PlaceOf<'a>,
) -> BoxFuture<'a, Result<LogicalPlan, Error>> {
    planned(state, text, place, |_| {}).boxed()
}

/// As `plan`, for a query that is only answered: two of its columns may have one name, which
/// `shown_schema` gives them back.
pub fn plan_query<'a>(
    state: &'a SessionState,
    text: &'a str,
    place: &'a PlaceOf<'a>,
) -> BoxFuture<'a, Result<LogicalPlan, Error>> {
    planned(state, text, place, same_names::number).boxed()
}

async fn planned(
    state: &SessionState,
    text: &str,
    place: &PlaceOf<'_>,
    last: fn(&mut Query),
) -> Result<LogicalPlan, Error> {
    let source = Source::new(text, place);
    parameters::refuse(&source)?;
    let mut query = tree(state, &source).await?;
    last(&mut query);
    Ok(of_tree(state, query, &source, &Ok).await?.0)
}

/// The syntax tree after our passes.
pub(crate) async fn tree(state: &SessionState, source: &Source<'_>) -> Result<Box<Query>, Error> {
    let query = tokens::parse_query(source.text).map_err(|e| crate::error::relocate(e, source))?;
    passed(state, source, query).await
}

/// A tree after our passes.
pub(crate) async fn passed(
    state: &SessionState,
    source: &Source<'_>,
    mut query: Box<Query>,
) -> Result<Box<Query>, Error> {
    let tables = tables(state, source, &query).await?;
    prepare(&mut query, source, &tables)?;
    Ok(query)
}

/// What is done to a plan before it is analyzed.
type Finish<'a> = dyn Fn(LogicalPlan) -> Result<LogicalPlan, DataFusionError> + Send + Sync + 'a;

/// The plan of a tree, and the same one analyzed: with the types that the rows will have.
pub(crate) async fn of_tree(
    state: &SessionState,
    query: Box<Query>,
    source: &Source<'_>,
    finish: &Finish<'_>,
) -> Result<(LogicalPlan, LogicalPlan), Error> {
    let known: Vec<String> = table_names(state).await;
    let explain = |e: DataFusionError| crate::error::explain(&e, Some(source), &known);
    let plan = in_any_case(state, query).await.map_err(explain)?;
    let plan = int_literals::rewrite(plan).and_then(finish).map_err(explain)?;
    let checked =
        state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {});
    Ok((plan, checked.map_err(explain)?))
}

/// How many names of one query may be in other letters than they are defined with.
const NAMES_MENDED_MAX: usize = 256;

/// Names that are not found as they are written are looked for in other letters.
async fn in_any_case(
    state: &SessionState,
    mut query: Box<Query>,
) -> Result<LogicalPlan, DataFusionError> {
    for _ in 0..NAMES_MENDED_MAX {
        let statement = Statement::Query(query.clone());
        let statement = DfStatement::Statement(Box::new(statement));
        match state.statement_to_plan(statement).await {
            Err(e) if letter_case::mend(&mut query, &e) => {}
            planned => return planned,
        }
    }
    let statement = DfStatement::Statement(Box::new(Statement::Query(query)));
    state.statement_to_plan(statement).await
}

/// As `plan`, for the query of a view: also refuses what cannot be kept up to date.
pub fn plan_view<'a>(
    state: &'a SessionState,
    text: &'a str,
    place: &'a PlaceOf<'a>,
) -> BoxFuture<'a, Result<LogicalPlan, Error>> {
    view(state, text, place).boxed()
}

async fn view(state: &SessionState, text: &str, place: &PlaceOf<'_>) -> Result<LogicalPlan, Error> {
    let query = tokens::parse_query(text);
    if let Ok(query) = &query
        && let Some(name) = view_rules::repeated_name(query)
    {
        let source = Source::new(text, place);
        let mut all = source.tokens.iter().filter(|t| t.is_word(&name));
        let span = all.nth(1).map_or(0..text.len(), |t| t.span.clone());
        return Err(view_rules::repeated(&name).at(source.place(span)));
    }
    // Its order has chosen the rows, and a view has none.
    let has_ties = query.is_ok_and(|q| q.fetch.is_some_and(|f| f.with_ties));
    let last =
        if has_ties { |query: &mut Query| query.order_by = None } else { |_: &mut Query| {} };
    let planned = planned(state, text, place, last).await?;
    crate::analyzer::view_rules::check(&planned).map_err(|fault| {
        let source = Source::new(text, place);
        let span = source.find(&fault.function).unwrap_or(0..text.len());
        fault.error.at(source.place(span))
    })?;
    Ok(planned)
}

fn prepare(query: &mut Query, source: &Source, tables: &Tables) -> Result<(), Error> {
    rewrite::refuse(query, source)?;
    with_ties::write_out(query, source)?;
    rewrite::fetch_as_limit(query);
    pivot::write_out(query, tables, source)?;
    window_names::resolve(query, source)?;
    unnest_tables::write_out(query, source)?;
    using::write_out(query, tables);
    hidden::expand(query, tables, source)?;
    rewrite::name_columns(query, source);
    rewrite::expressions(query);
    Ok(())
}

/// What the query's tables are; unknown ones are an error here, where their place is known.
async fn tables(state: &SessionState, source: &Source<'_>, query: &Query) -> Result<Tables, Error> {
    let mut tables = Tables::new();
    let Ok(schema) = state.schema_for_ref("x") else { return Ok(tables) };
    for (name, span) in references::of_query(source.text, query) {
        if tables.contains_key(&name) {
            continue;
        }
        // Other schemas (information_schema) are looked up by DataFusion alone.
        if source.slice(0..span.start).trim_end().ends_with('.') {
            continue;
        }
        let table = schema.table(&name).await;
        let table = table.map_err(|e| crate::error::explain(&e, Some(source), &[]))?;
        let Some(table) = table else {
            let known = table_names(state).await;
            let known = known.iter().map(String::as_str);
            return Err(Error::unknown("topic or view", &name, known).at(source.place(span)));
        };
        let shown = topic_table::shown_columns(table.as_ref());
        let fields = table.schema().fields().clone();
        let names = fields.iter().take(shown).map(|f| f.name().clone()).collect();
        tables.insert(name, Columns { names, topic: shown < fields.len() });
    }
    Ok(tables)
}

async fn table_names(state: &SessionState) -> Vec<String> {
    let mut names = match state.schema_for_ref("x") {
        Ok(schema) => schema.table_names(),
        Err(_) => vec![],
    };
    names.sort();
    names
}
