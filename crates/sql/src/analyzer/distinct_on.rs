//! The analyzer rule that makes `DISTINCT ON (a) … ORDER BY a, b` the first row of each `a` in that
//! order: one whole row, in batch and in a view. DataFusion's own way asks for the first value of
//! each column, and rows with the same `b` could lend theirs to one another.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder,
    WindowFunctionDefinition, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::col;

use crate::plan_walk;

const NUMBER: &str = "__number_in_distinct";

#[derive(Debug)]
pub struct FirstOfEach;

impl AnalyzerRule for FirstOfEach {
    fn name(&self) -> &str {
        "first_of_each"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan_walk::change_plan(plan, &mut rewrite)
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Distinct(Distinct::On(distinct)) = plan else {
        return Ok(Transformed::no(plan));
    };
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = distinct;
    let function = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    let number = Expr::WindowFunction(Box::new(WindowFunction::new(function, vec![])))
        .partition_by(on_expr)
        .order_by(sort_expr.unwrap_or_default())
        .build()?
        .alias(NUMBER);
    let named = select_expr.into_iter().zip(schema.iter());
    let named = named
        .map(|(e, (relation, field))| e.unalias().alias_qualified(relation.cloned(), field.name()));
    let first = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
        .window(vec![number])?
        .filter(col(NUMBER).eq(lit(1u64)))?
        .project(named.collect::<Vec<Expr>>())?
        .build()?;
    Ok(Transformed::yes(first))
}
