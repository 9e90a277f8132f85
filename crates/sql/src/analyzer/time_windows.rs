//! The analyzer rule that gives `window` and `session_window` Spark's meaning in every plan: rows
//! without a time leave, a tumbling window becomes a column below the aggregate, a sliding window
//! one row per window, a session a running count of gaps. Output names and types stay.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprFunctionExt, Filter, GroupingSet, LogicalPlan,
    LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
    lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::col;

use crate::functions::window::{
    SESSION_WINDOW, WINDOW, WindowSize, buckets, literal_us, window_struct,
};
use crate::plan_walk;

/// The column that holds a row's window below an aggregate.
pub const WINDOW_COLUMN: &str = "__window";

#[derive(Debug)]
pub struct TimeWindows;

impl AnalyzerRule for TimeWindows {
    fn name(&self) -> &str {
        "time_windows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan_walk::change_plan(plan, &mut rewrite)
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(a) => aggregate(a),
        LogicalPlan::Projection(_) | LogicalPlan::Window(_) => row_by_row(plan),
        other => Ok(Transformed::no(other)),
    }
}

/// The different window calls in some expressions.
fn calls<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Result<Vec<Expr>> {
    let mut found: Vec<Expr> = vec![];
    for e in exprs {
        plan_walk::each(e, &mut |e| {
            if is_call(e) && !found.contains(e) {
                found.push(e.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}

fn is_call(e: &Expr) -> bool {
    matches!(e, Expr::ScalarFunction(f) if matches!(f.name(), WINDOW | SESSION_WINDOW))
}

fn parts(call: &Expr) -> Result<(&str, &[Expr], &Expr)> {
    match call {
        Expr::ScalarFunction(ScalarFunction { func, args }) if !args.is_empty() => {
            Ok((func.name(), args, &args[0]))
        }
        _ => plan_err!("not a window: {call}"),
    }
}

/// A window outside of GROUP BY: the row gets it as a column, or each of those that slide, and NULL
/// times leave as in Spark.
fn row_by_row(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let found = calls(&plan.expressions())?;
    let Some(call) = found.first() else { return Ok(Transformed::no(plan)) };
    if found.len() > 1 {
        return plan_err!("a query block can have one time window only");
    }
    let (name, args, ts) = parts(call)?;
    if name == SESSION_WINDOW {
        return plan_err!("session_window() can only stand in GROUP BY");
    }
    let known = ts.clone().is_not_null();
    if !WindowSize::of(args)?.tumbling() {
        let Some(input) = plan.inputs().first().map(|input| (*input).clone()) else {
            return Ok(Transformed::no(plan));
        };
        let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
        let input = LogicalPlanBuilder::from(input).filter(known)?;
        let input = each_window(input, columns, args)?;
        let exprs = plan.expressions().iter().map(|e| replace(e, call)).collect::<Result<_>>()?;
        return Ok(Transformed::yes(plan.with_new_exprs(exprs, vec![input])?));
    }
    let input = match plan.inputs().first() {
        // The rule may run twice over a plan.
        Some(LogicalPlan::Filter(f)) if f.predicate == known => return Ok(Transformed::no(plan)),
        Some(input) => (*input).clone(),
        None => return Ok(Transformed::no(plan)),
    };
    let input = LogicalPlan::Filter(Filter::try_new(known, Arc::new(input))?);
    Ok(Transformed::yes(plan.with_new_exprs(plan.expressions(), vec![input])?))
}

fn aggregate(a: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let found = calls(&a.group_expr)?;
    let Some(call) = found.first() else { return Ok(Transformed::no(LogicalPlan::Aggregate(a))) };
    if found.len() > 1 {
        return plan_err!("a query block can have one time window only");
    }
    let (name, args, ts) = parts(call)?;
    let input =
        LogicalPlanBuilder::from(a.input.as_ref().clone()).filter(ts.clone().is_not_null())?;
    let columns: Vec<Expr> = a.input.schema().columns().into_iter().map(Expr::Column).collect();
    let input = if name == SESSION_WINDOW {
        let is_call = |g: &Expr| g.clone().unalias() == *call;
        let keys = a.group_expr.iter().filter(|g| !is_call(g)).cloned().collect();
        sessions(input, columns, ts, &args[1], keys)?
    } else if WindowSize::of(args)?.tumbling() {
        let window = call.clone().alias(WINDOW_COLUMN);
        input.project(columns.into_iter().chain([window]))?.build()?
    } else {
        each_window(input, columns, args)?
    };
    let replace = |e: &Expr| replace(e, call);
    let groups = a.group_expr.iter().map(replace).collect::<Result<_>>()?;
    let aggregates = a.aggr_expr.iter().map(replace).collect::<Result<_>>()?;
    let a = Aggregate::try_new(Arc::new(input), groups, aggregates)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(a)))
}

/// Each row once for each sliding window that holds it, which is one more column.
fn each_window(
    input: LogicalPlanBuilder,
    columns: Vec<Expr>,
    args: &[Expr],
) -> Result<LogicalPlan> {
    let list = buckets().call(args.to_vec()).alias(WINDOW_COLUMN);
    let column = Column::new_unqualified(WINDOW_COLUMN);
    input.project(columns.into_iter().chain([list]))?.unnest_column(column)?.build()
}

/// The call becomes the column; the expression keeps its name, so nothing above changes.
fn replace(e: &Expr, call: &Expr) -> Result<Expr> {
    if let Expr::GroupingSet(set) = e {
        let all = |exprs: &[Expr]| exprs.iter().map(|e| replace(e, call)).collect::<Result<_>>();
        return Ok(Expr::GroupingSet(match set {
            GroupingSet::Rollup(exprs) => GroupingSet::Rollup(all(exprs)?),
            GroupingSet::Cube(exprs) => GroupingSet::Cube(all(exprs)?),
            GroupingSet::GroupingSets(sets) => {
                GroupingSet::GroupingSets(sets.iter().map(|s| all(s)).collect::<Result<_>>()?)
            }
        }));
    }
    let (relation, name) = e.qualified_name();
    let column = Expr::Column(Column::new_unqualified(WINDOW_COLUMN));
    let replaced = plan_walk::change_up(e.clone(), &mut |x| {
        Ok(if x == *call { Transformed::yes(column.clone()) } else { Transformed::no(x) })
    })?;
    Ok(match replaced.transformed {
        true => replaced.data.alias_qualified(relation, name),
        false => replaced.data,
    })
}

fn over_aggregate(function: Arc<AggregateUDF>, e: Expr) -> Expr {
    let definition = WindowFunctionDefinition::AggregateUDF(function);
    Expr::WindowFunction(Box::new(WindowFunction::new(definition, vec![e])))
}

fn all_rows() -> WindowFrame {
    let start = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    let end = WindowFrameBound::Following(ScalarValue::UInt64(None));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, start, end)
}

/// Rows of a key in the order of time; a gap larger than `gap` begins a new session.
fn sessions(
    input: LogicalPlanBuilder,
    columns: Vec<Expr>,
    ts: &Expr,
    gap: &Expr,
    keys: Vec<Expr>,
) -> Result<LogicalPlan> {
    if literal_us(gap)? <= 0 {
        return plan_err!("the gap of session_window() must be above zero");
    }
    // Rows of one time have no order among them, and only one of them begins a session: the count
    // of beginnings is that of all rows up to this time (RANGE).
    let up_to_now = || WindowFrame::new(Some(false));
    let over = |e: Expr, keys: Vec<Expr>, ordered: bool, frame: WindowFrame| {
        let b = e.partition_by(keys).window_frame(frame);
        if ordered { b.order_by(vec![ts.clone().sort(true, false)]).build() } else { b.build() }
    };
    let previous = lag(ts.clone(), Some(1), None);
    let previous = over(previous, keys.clone(), true, all_rows())?.alias("__previous");
    let plan = LogicalPlanBuilder::from(input.window(vec![previous])?.build()?);
    // A row exactly at the gap still belongs to the session, as in Spark.
    let begins = when(col("__previous").is_null(), lit(1i64))
        .when((col("__previous") + gap.clone()).lt(ts.clone()), lit(1i64))
        .otherwise(lit(0i64))?;
    let plan = plan.project(columns.iter().cloned().chain([begins.alias("__begins")]))?;
    let number = over_aggregate(sum_udaf(), col("__begins"));
    let plan =
        plan.window(vec![over(number, keys.clone(), true, up_to_now())?.alias("__session")])?;
    let mut session = keys;
    session.push(col("__session"));
    let first = over_aggregate(min_udaf(), ts.clone());
    let last = over_aggregate(max_udaf(), ts.clone());
    let plan = plan.window(vec![
        over(first, session.clone(), false, all_rows())?.alias("__first"),
        over(last, session, false, all_rows())?.alias("__last"),
    ])?;
    let window = window_struct().call(vec![col("__first"), col("__last") + gap.clone()]);
    plan.project(columns.into_iter().chain([window.alias(WINDOW_COLUMN)]))?.build()
}
