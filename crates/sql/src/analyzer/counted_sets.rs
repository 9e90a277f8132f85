//! The analyzer rule that makes `INTERSECT ALL` and `EXCEPT ALL` count: a row that is three times
//! on the left and once on the right is there once, or twice. DataFusion plans both as joins, which
//! keep or drop all equal rows. Here the rows of both sides are counted by their columns, and each
//! comes as often as it should; so a view keeps counts, and takes rows back as for any aggregate.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, NullEquality, Result};
use datafusion::config::ConfigOptions;
use datafusion::functions_nested::range::gen_series_udf;
use datafusion::logical_expr::{
    Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, ident, lit, when,
};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::bounded::bounded;
use crate::functions::exact_sums;
use crate::plan_walk;

const LEFT: &str = "__on_the_left";
const RIGHT: &str = "__on_the_right";
const COPIES: &str = "__copies";

#[derive(Debug)]
pub struct CountedSets;

impl AnalyzerRule for CountedSets {
    fn name(&self) -> &str {
        "counted_sets"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan_walk::change_plan(plan, &mut |node| match node {
            LogicalPlan::Join(join) if is_counted(&join) => counted(join).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })
    }
}

/// No join that somebody writes takes NULLs for equal before it is optimised; and without ALL the
/// left side is made distinct.
fn is_counted(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && join.on.len() == join.right.schema().fields().len()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

fn counted(join: Join) -> Result<LogicalPlan> {
    let columns = join.schema.columns();
    let names: Vec<String> = (0..columns.len()).map(|i| format!("__column_{i}")).collect();
    let (left, right) = (side(join.left, &names, 1)?, side(join.right, &names, 0)?);
    let rows: Vec<Expr> = names.iter().map(ident).collect();
    let sum = Arc::new(exact_sums::sum());
    let sums = [LEFT, RIGHT].map(|name| sum.call(vec![ident(name)]).alias(name));
    let (l, r) = (ident(LEFT), ident(RIGHT));
    let copies = match join.join_type {
        JoinType::LeftAnti => l - r,
        _ => when(l.clone().lt(r.clone()), l).otherwise(r)?,
    };
    let series = bounded(gen_series_udf()).call(vec![lit(1_i64), copies.clone()]).alias(COPIES);
    let named = rows.iter().cloned().zip(columns);
    let named = named.map(|(row, c)| row.alias_qualified(c.relation, c.name));
    LogicalPlanBuilder::from(left)
        .union(right)?
        .aggregate(rows.clone(), sums)?
        .filter(copies.gt(lit(0_i64)))?
        .project(rows.iter().cloned().chain([series]).collect::<Vec<_>>())?
        .unnest_column(COPIES)?
        .project(named.collect::<Vec<_>>())?
        .build()
}

/// The rows of one side, and on which they are.
fn side(input: Arc<LogicalPlan>, names: &[String], on_left: i64) -> Result<LogicalPlan> {
    let columns = input.schema().columns().into_iter().zip(names);
    let columns = columns.map(|(column, name)| Expr::Column(column).alias(name));
    let marks = [lit(on_left).alias(LEFT), lit(1 - on_left).alias(RIGHT)];
    LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
        .project(columns.chain(marks).collect::<Vec<_>>())?
        .build()
}
