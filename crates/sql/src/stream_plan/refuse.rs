//! What a view can't be, why, and the nearest SQL that works.

use common::{Error, Result};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, Volatility};

/// The result depends on the order of rows, and a stream has none of its own.
const ORDERED: [&str; 9] = [
    "any_value",
    "array_agg",
    "collect_list",
    "first_value",
    "last_value",
    "listagg",
    "nth_value",
    "string_agg",
    "first",
];

/// Approximations whose value depends on how the rows were cut into batches.
const APPROXIMATE: [(&str, &str); 3] = [
    ("approx_median", "median(x)"),
    ("approx_percentile_cont", "percentile_cont(0.9) WITHIN GROUP (ORDER BY x)"),
    ("approx_percentile_cont_with_weight", "percentile_cont(0.9) WITHIN GROUP (ORDER BY x)"),
];

/// Stable within a query, but not over the life of a view.
const CLOCKS: [&str; 7] = [
    "current_date",
    "current_time",
    "current_timestamp",
    "localtimestamp",
    "now",
    "today",
    "unix_timestamp",
];

fn refuse(what: impl Into<String>, instead: impl Into<String>) -> Error {
    Error::unsupported(what).hint(instead)
}

/// `now()`, `random()` and the like: a view would have to change without any event.
pub(super) fn changing_functions(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    let walk = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                if let Expr::ScalarFunction(f) = e {
                    let clock = CLOCKS.contains(&f.name());
                    let stable = f.func.signature().volatility == Volatility::Stable;
                    let volatile = f.func.signature().volatility == Volatility::Volatile;
                    if volatile || clock && f.args.is_empty() || stable && f.args.is_empty() {
                        found = Some(f.name().to_string());
                        return Ok(TreeNodeRecursion::Stop);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walk.map_err(super::plan_error)?;
    match found {
        None => Ok(()),
        Some(name) => Err(refuse(
            format!("'{name}()' changes without any event, so a view can't be kept up to date"),
            "use a time of the event itself, or the hidden column _arrived; compare with the \
             clock when you read the view",
        )),
    }
}

pub(super) fn repeated_columns(plan: &LogicalPlan) -> Result<()> {
    let fields = plan.schema().fields();
    for (i, field) in fields.iter().enumerate() {
        if fields.iter().take(i).any(|f| f.name() == field.name()) {
            return Err(crate::view_rules::repeated(field.name()));
        }
    }
    Ok(())
}

/// Nodes that no operator exists for.
pub(super) fn node(plan: &LogicalPlan) -> Error {
    match plan {
        LogicalPlan::Sort(_) => refuse(
            "the rows of a view have no order",
            "leave ORDER BY out, and order when you read: SELECT * FROM the_view ORDER BY …",
        ),
        LogicalPlan::Limit(_) => refuse(
            "LIMIT is not kept up to date in a view yet",
            "leave it out, and limit when you read: SELECT * FROM the_view ORDER BY … LIMIT …",
        ),
        LogicalPlan::Window(_) if mentions(plan, "__session") => session_window(),
        LogicalPlan::Window(_) => refuse(
            "functions with OVER are not kept up to date in a view yet",
            "use GROUP BY, with window(ts, '1 minute') for a span of time; or keep the rows in \
             the view and use OVER when you read it",
        ),
        LogicalPlan::Unnest(_) if mentions(plan, "window") => sliding_window(),
        LogicalPlan::Unnest(_) => refuse(
            "UNNEST is not kept up to date in a view yet",
            "keep the array in the view and unnest it when you read",
        ),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => refuse(
            "a view with rows of its own (VALUES, or SELECT without FROM) reads no topic",
            "send the rows to a topic and read that",
        ),
        LogicalPlan::RecursiveQuery(_) => refuse(
            "WITH RECURSIVE is not kept up to date in a view yet",
            "run it as a query over the topic or view",
        ),
        LogicalPlan::Subquery(_) => subquery(),
        LogicalPlan::Distinct(_) => refuse(
            "DISTINCT ON is not kept up to date in a view yet",
            "use GROUP BY with first_value(x ORDER BY …) or max(x)",
        ),
        other => refuse(
            format!("{} is not kept up to date in a view", other.display()),
            "run it as a query over the topic or view",
        ),
    }
}

pub(super) fn sliding_window() -> Error {
    refuse(
        "sliding windows are not kept up to date in a view yet",
        "use a tumbling window, window(ts, '5 minutes'), and add up windows when you read",
    )
}

pub(super) fn session_window() -> Error {
    refuse(
        "session windows are not kept up to date in a view yet",
        "use a tumbling window: window(ts, '5 minutes')",
    )
}

pub(super) fn subquery() -> Error {
    refuse(
        "this subquery can't be turned into a join, so it is not kept up to date in a view yet",
        "write it as a join: … FROM a JOIN b ON a.key = b.key",
    )
}

fn mentions(plan: &LogicalPlan, word: &str) -> bool {
    plan.display_indent().to_string().contains(word)
}

pub(super) fn unknown_table(name: &str) -> Error {
    refuse(
        format!("'{name}' is not a topic or a view, so it has no changes to follow"),
        "read topics and materialized views",
    )
}

/// Joins that can't be kept exact.
pub(super) fn join(join: &datafusion::logical_expr::Join) -> Result<()> {
    if join.null_aware {
        return Err(refuse(
            "NOT IN with a subquery is not kept up to date in a view yet",
            "use NOT EXISTS (SELECT 1 FROM … WHERE … = …)",
        ));
    }
    if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
        return Err(refuse(
            "EXISTS or IN inside OR is not kept up to date in a view yet",
            "write a view for each of the conditions and combine them with UNION",
        ));
    }
    if join.on.is_empty() && join.join_type == JoinType::Left {
        // What became of a subquery with one value for all rows.
        return Err(subquery());
    }
    if join.on.is_empty() {
        return Err(refuse(
            "a join without an equality compares every row with every other for ever",
            "join on a column of both sides: … JOIN b ON a.key = b.key",
        ));
    }
    if let (Some(filter), false) = (&join.filter, join.join_type == JoinType::Inner) {
        return Err(refuse(
            format!(
                "a {} join with the further condition '{filter}' is not kept up to date in a view \
                 yet",
                join.join_type.to_string().to_lowercase()
            ),
            "filter the input before the join: … LEFT JOIN (SELECT * FROM b WHERE …) b ON …; or \
             use an inner join",
        ));
    }
    Ok(())
}

pub(super) fn grouping_sets() -> Error {
    refuse(
        "GROUPING SETS, CUBE and ROLLUP are not kept up to date in a view yet",
        "write one GROUP BY for each and combine them with UNION ALL",
    )
}

pub(super) fn aggregate(call: &AggregateFunction) -> Result<()> {
    let name = call.func.name();
    if ORDERED.contains(&name) && call.params.order_by.is_empty() {
        return Err(refuse(
            format!("'{name}' without an order gives another value each time"),
            format!("say which order: {name}(x ORDER BY y)"),
        ));
    }
    if let Some((_, exact)) = APPROXIMATE.iter().find(|(n, _)| *n == name) {
        return Err(refuse(
            format!("'{name}' depends on how the rows were cut into batches"),
            format!("use {exact}, which is exact"),
        ));
    }
    Ok(())
}

/// Expressions that no operator can evaluate.
pub(super) fn expression(expr: &Expr) -> Result<()> {
    let mut found = None;
    let walk = expr.apply(|e| {
        found = match e {
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(_, _) => Some(subquery()),
            Expr::ScalarFunction(f) if f.name() == "session_window" => Some(session_window()),
            Expr::Placeholder(_) => {
                Some(refuse("a view can't have parameters", "write the value itself into the view"))
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    walk.map_err(|e: DataFusionError| super::plan_error(e))?;
    found.map_or(Ok(()), Err)
}
