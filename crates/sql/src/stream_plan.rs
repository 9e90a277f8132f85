//! From the plan of a query to a stream graph. The text means the same in batch: both start from
//! the same analyzed plan. What can't be kept up to date is refused with the reason and the
//! nearest SQL that works (`stream_plan/refuse.rs`); `stream_plan/build.rs` makes the operators,
//! a file for each.

mod aggregates;
mod build;
mod calc;
mod join;
mod on_close;
mod over;
mod refuse;
mod scan;
mod trace;
mod union;
mod unnest;
mod values;
mod windows;

use std::sync::Arc;

use common::{Error, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::{Optimizer, OptimizerRule};
use datafusion::optimizer::{
    decorrelate_lateral_join::DecorrelateLateralJoin,
    decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
    eliminate_cross_join::EliminateCrossJoin, eliminate_duplicated_expr::EliminateDuplicatedExpr,
    eliminate_filter::EliminateFilter, eliminate_group_by_constant::EliminateGroupByConstant,
    eliminate_join::EliminateJoin, eliminate_outer_join::EliminateOuterJoin,
    extract_equijoin_predicate::ExtractEquijoinPredicate,
    optimize_projections::OptimizeProjections, optimize_unions::OptimizeUnions,
    push_down_filter::PushDownFilter, replace_distinct_aggregate::ReplaceDistinctWithAggregate,
    rewrite_set_comparison::RewriteSetComparison, scalar_subquery_to_join::ScalarSubqueryToJoin,
    simplify_expressions::SimplifyExpressions,
};

/// What a table name in a query stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    pub topic: String,
    pub partitions: i32,
    pub watermark: Option<graph::Watermark>,
}

/// Plans a query as a stream. `resolve` knows the tables that are topics; views in the query
/// have to be in the plan already with what they are made of.
pub fn plan(
    state: &SessionState,
    plan: &LogicalPlan,
    resolve: &dyn Fn(&str) -> Option<SourceInfo>,
) -> Result<graph::Graph> {
    let analyzed = state
        .analyzer()
        .execute_and_check(plan.clone(), state.config_options(), |_, _| {})
        .map_err(plan_error)?;
    refuse::changing_functions(&analyzed)?;
    refuse::repeated_columns(&analyzed)?;
    let mut state = state.clone();
    // A value of all rows changes with them: it has to be joined, not computed once before.
    state.config_mut().options_mut().optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // A join that became a semi join is no longer put in order with its neighbours: two of them may
    // be left without an equality. What is refused is refused for what was written.
    graph(&state, analyzed.clone(), rules(), resolve).or_else(|_| {
        let mut rules = rules();
        rules.retain(|r| r.name() != EliminateJoin::new().name());
        graph(&state, analyzed, rules, resolve)
    })
}

type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

fn graph(
    state: &SessionState,
    analyzed: LogicalPlan,
    rules: Rules,
    resolve: &dyn Fn(&str) -> Option<SourceInfo>,
) -> Result<graph::Graph> {
    let optimized =
        Optimizer::with_rules(rules).optimize(analyzed, state, |_, _| {}).map_err(plan_error)?;
    build::Builder::new(state, resolve).graph(&optimized)
}

/// DataFusion's rules less those that make plans for one run over finite input: limits pushed
/// down, DISTINCT aggregates split into two, empty inputs cut off.
fn rules() -> Rules {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// The query was checked before; what fails here is a limit of ours or of DataFusion.
fn plan_error(e: DataFusionError) -> Error {
    Error::unsupported(format!("the query can't be planned as a stream: {}", e.strip_backtrace()))
}

#[cfg(test)]
#[path = "stream_plan_tests.rs"]
mod tests;

#[cfg(test)]
mod operators_tests;
