//! The walks over plans and expressions. DataFusion's own are generic over who looks, and each
//! use compiles the some 30 kinds of a plan and 40 of an expression anew (half of this crate's
//! code once); here each walk is compiled once and calls whoever looks through a pointer.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

pub(crate) type Look<'a> = dyn FnMut(&Expr) -> Result<TreeNodeRecursion> + 'a;
pub(crate) type Change<'a> = dyn FnMut(Expr) -> Result<Transformed<Expr>> + 'a;
pub(crate) type ChangePlan<'a> = dyn FnMut(LogicalPlan) -> Result<Transformed<LogicalPlan>> + 'a;

/// An expression before those within it.
pub(crate) fn each(e: &Expr, look: &mut Look<'_>) -> Result<TreeNodeRecursion> {
    e.apply(look)
}

/// All expressions of a plan, those of subqueries too, each with the node it stands in.
pub(crate) fn each_of_plan(
    plan: &LogicalPlan,
    look: &mut dyn FnMut(&LogicalPlan, &Expr) -> Result<TreeNodeRecursion>,
) -> Result<TreeNodeRecursion> {
    plan.apply_with_subqueries(|node| node.apply_expressions(|e| each(e, &mut |e| look(node, e))))
}

/// An expression after those within it.
pub(crate) fn change_up(e: Expr, change: &mut Change<'_>) -> Result<Transformed<Expr>> {
    e.transform_up(change)
}

/// An expression before those within it.
pub(crate) fn change_down(e: Expr, change: &mut Change<'_>) -> Result<Transformed<Expr>> {
    e.transform_down(change)
}

/// The expressions that stand in one node, as wholes.
pub(crate) fn change_expressions(
    node: LogicalPlan,
    change: &mut Change<'_>,
) -> Result<Transformed<LogicalPlan>> {
    node.map_expressions(change)
}

/// A node after those below it and in its subqueries.
pub(crate) fn change_plan(plan: LogicalPlan, change: &mut ChangePlan<'_>) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(change)?.data)
}
