//! What a view can't be, why, and the nearest SQL that works.

use common::{Error, Result};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Expr, Join, JoinType, LogicalPlan, Volatility, WindowFunctionDefinition,
};

use super::build::Part;
use crate::plan_walk;

/// The result depends on the order of rows, and a stream has none of its own.
const ORDERED: [&str; 8] = [
    "array_agg",
    "collect_list",
    "first_value",
    "last_value",
    "listagg",
    "nth_value",
    "string_agg",
    "first",
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
    let walk = plan_walk::each_of_plan(plan, &mut |_, e| {
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
            return Err(crate::analyzer::view_rules::repeated(field.name()));
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

pub(super) fn no_topic() -> Error {
    refuse(
        "a view with rows of its own (VALUES, or SELECT without FROM) reads no topic",
        "send the rows to a topic and read that; or join or unite them with one",
    )
}

pub(super) fn limit() -> Error {
    refuse(
        "LIMIT without ORDER BY, and OFFSET without LIMIT, are not kept up to date in a view",
        "say which rows: … ORDER BY x LIMIT 10; or limit when you read: SELECT * FROM the_view …",
    )
}

pub(super) fn deep_unnest() -> Error {
    refuse(
        "unnest() of a list of lists in one step is not kept up to date in a view",
        "unnest in two steps: SELECT unnest(inner) FROM (SELECT unnest(outer) AS inner FROM t)",
    )
}

pub(super) fn subquery() -> Error {
    refuse(
        "this subquery can't be turned into a join, so it is not kept up to date in a view yet",
        "write it as a join: … FROM a JOIN b ON a.key = b.key",
    )
}

pub(super) fn unknown_table(name: &str) -> Error {
    refuse(
        format!("'{name}' is not a topic or a view, so it has no changes to follow"),
        "read topics and materialized views",
    )
}

/// Joins that can't be kept exact, or whose work would grow with the product of its inputs.
pub(super) fn join(plan: &Join, left: &Part, right: &Part) -> Result<()> {
    let simple = plan.filter.is_none() && plan.on.len() == 1;
    if plan.null_aware && !(simple && plan.join_type == JoinType::LeftAnti) {
        return Err(refuse(
            "NOT IN with a subquery that depends on the row, or inside OR, is not kept up to date \
             in a view yet",
            "use NOT EXISTS (SELECT 1 FROM … WHERE … = …)",
        ));
    }
    let one_row = |p: &Part| p.known.key.as_ref().is_some_and(Vec::is_empty);
    let small = |p: &Part| p.known.is_fixed || one_row(p) || !p.append_only;
    if plan.on.is_empty() && plan.filter.is_none() && !small(left) && !small(right) {
        return Err(refuse(
            "a join without a condition pairs every row with every other for ever",
            "join on a column of both sides: … JOIN b ON a.key = b.key; or on a window of both",
        ));
    }
    Ok(())
}

pub(super) fn aggregate(call: &AggregateFunction) -> Result<()> {
    let name = call.func.name();
    if ORDERED.contains(&name) && call.params.order_by.is_empty() {
        return Err(refuse(
            format!("'{name}' without an order gives another value each time"),
            format!("say which order: {name}(x ORDER BY y)"),
        ));
    }
    Ok(())
}

/// With `OVER`, most functions need an order of rows.
const UNORDERED_OVER: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];

pub(super) fn over(call: &WindowFunction) -> Result<()> {
    if !call.params.order_by.is_empty() {
        return Ok(());
    }
    let name = call.fun.name();
    let needs_order = match &call.fun {
        WindowFunctionDefinition::WindowUDF(_) => !UNORDERED_OVER.contains(&name),
        WindowFunctionDefinition::AggregateUDF(_) => {
            let frame = &call.params.window_frame;
            ORDERED.contains(&name)
                || !(frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded())
        }
    };
    match needs_order {
        false => Ok(()),
        true => Err(refuse(
            format!("'{name}' over rows without an order gives another value each time"),
            format!("say which order: {name}(…) OVER (… ORDER BY …)"),
        )),
    }
}

/// Expressions that no operator can evaluate.
pub(super) fn expression(expr: &Expr) -> Result<()> {
    let mut found = None;
    let walk = plan_walk::each(expr, &mut |e| {
        found = match e {
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(_, _) => Some(subquery()),
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
