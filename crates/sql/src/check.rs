//! CHECK constraints of a topic, planned against its columns with the semantics of every other
//! expression. A row passes when the expression is true or NULL, as in SQL.

use std::ops::Range;
use std::sync::Arc;

use catalog::{Check, Definition, Object, Topic};
use common::{Error, Place};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{EmptyRelation, ExprSchemable, Filter, LogicalPlan, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::ExprWithAlias;

use crate::analyzer::int_literals;
use crate::passes::rewrite;
use crate::plan_walk;
use crate::source::Source;
use crate::{Text, tokens};

/// The expressions in the order of `topic.checks`; each is of BOOLEAN over the declared columns.
pub fn check_exprs(
    state: &SessionState,
    topic: &Topic,
) -> Result<Vec<Arc<dyn PhysicalExpr>>, Error> {
    let place = |check: &Check, span: Range<usize>| Place {
        file: None,
        text: check.sql.as_str().into(),
        span,
    };
    topic.checks.iter().map(|c| check_expr(state, topic, c, &|s| place(c, s))).collect()
}

/// All faults of a topic's checks, placed in the statement that declares them.
pub fn check_faults(state: &SessionState, definition: &Definition) -> Vec<Error> {
    let Object::Topic(topic) = &definition.object else { return vec![] };
    let origin = &definition.origin;
    let start = |c: &Check| {
        let found = origin.statement().find(&c.sql);
        found.map_or(origin.span.start, |i| origin.span.start + i)
    };
    let fault = |c: &Check| {
        let start = start(c);
        let place = |s: Range<usize>| origin.place(start + s.start..start + s.end);
        check_expr(state, topic, c, &place).err()
    };
    topic.checks.iter().filter_map(fault).collect()
}

fn check_expr(
    state: &SessionState,
    topic: &Topic,
    check: &Check,
    place: &(dyn Fn(Range<usize>) -> Place + Send + Sync),
) -> Result<Arc<dyn PhysicalExpr>, Error> {
    let source = Source::new(&check.sql, place);
    let explain = |e: DataFusionError| crate::error::explain(&e, Some(&source), &[]);
    let schema = DFSchema::try_from_qualified_schema(topic.name.as_str(), &topic.schema())
        .map_err(explain)?;
    let whole = 0..check.sql.len();
    let parsed = tokens::expression(&Text::new(None, &check.sql), &source.tokens);
    let mut parsed = parsed.map_err(|e| crate::error::relocate(e, &source))?;
    rewrite::expressions(&mut parsed);
    let parsed = ExprWithAlias { expr: parsed, alias: None };
    let e = state.create_logical_expr_from_sql_expr(parsed, &schema).map_err(explain)?;
    let e = int_literals::of_expression(e).map_err(explain)?.data;
    refuse(&e).map_err(|e| e.at(source.place(whole.clone())))?;
    let is = e.get_type(&schema).map_err(explain)?;
    if !matches!(is, DataType::Boolean | DataType::Null) {
        let is = formats::types::sql_name(&is);
        let e = Error::invalid(format!("this CHECK is {is}, not BOOLEAN"))
            .hint("compare with something, as in CHECK (n > 0)");
        return Err(e.at(source.place(whole)));
    }
    let e = analyzed(state, e, &schema).map_err(explain)?;
    state.create_physical_expr(e, &schema).map_err(explain)
}

/// Through the analyzer as the predicate of a filter, then simplified: some functions exist only
/// as what they simplify to.
fn analyzed(state: &SessionState, e: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let schema = Arc::new(schema.clone());
    let input = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: false,
        schema: schema.clone(),
    });
    let plan = LogicalPlan::Filter(Filter::try_new(e, Arc::new(input))?);
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let LogicalPlan::Filter(filter) = plan else {
        return Err(DataFusionError::Internal("a check is no longer a filter".into()));
    };
    let context = SimplifyContext::builder()
        .with_schema(schema)
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    ExprSimplifier::new(context).simplify(filter.predicate)
}

/// A check looks at one event only and always says the same of it.
fn refuse(e: &Expr) -> Result<(), Error> {
    let mut fault = None;
    let walked = plan_walk::each(e, &mut |e| {
        fault = match e {
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => Some("an aggregate"),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) => Some("a subquery"),
            Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                Some("a function whose value differs from run to run")
            }
            _ => None,
        };
        Ok(if fault.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match (walked, fault) {
        (Err(e), _) => Err(crate::error::explain(&e, None, &[])),
        (_, Some(what)) => Err(Error::unsupported(format!("{what} cannot stand in a CHECK"))
            .hint("a CHECK looks at the columns of one event")),
        _ => Ok(()),
    }
}
