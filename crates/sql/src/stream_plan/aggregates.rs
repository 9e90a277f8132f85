//! `GROUP BY` as operators. Grouping sets become an operator that gives each row once for each set,
//! and an aggregate over the keys and the number of the set, numbered as DataFusion does in batch.

use std::collections::HashMap;
use std::sync::Arc;

use common::{Error, Result};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::logical_expr::utils::{grouping_set_to_exprlist, powerset};
use datafusion::logical_expr::{self as logical, Aggregate, Expr};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::expressions::Column;
use graph::{Call, GroupingSet, Key, NodeKind};

use super::build::{Builder, Part, plain};
use super::trace::Known;
use super::{plan_error, refuse};
use crate::words::without_casts;

impl Builder<'_> {
    pub(super) fn aggregate(&mut self, plan: &Aggregate) -> Result<Part> {
        let part = self.part(&plan.input)?;
        let exprs = grouping_set_to_exprlist(&plan.group_expr).map_err(plan_error)?;
        let keys = exprs.iter().map(|e| self.key(e, &part));
        let mut keys = keys.collect::<Result<Vec<_>>>()?;
        let closing = keys.iter().position(|k| k.window.is_some_and(|w| w.closes));
        if let Some(at) = closing {
            self.close_by(exprs[at], &part)?;
        }
        let sets = grouping_sets(&plan.group_expr, &exprs)?;
        let input = match sets {
            None => part.node,
            Some(sets) => self.expand(&mut keys, sets, &part, plan)?,
        };
        let mut known = Known {
            key: Some((0..keys.len()).collect()),
            windows: keys.iter().map(|k| k.window).collect(),
            ..Known::default()
        };
        known.windows.resize(plan.schema.fields().len(), None);
        known.keep_closing(closing.as_slice());
        for (key, window) in keys.iter_mut().zip(&known.windows) {
            key.window = *window;
        }
        let calls = plan.aggr_expr.iter().map(|e| self.call(e, &part));
        let calls = calls.collect::<Result<Vec<_>>>()?;
        // Groups that only come and never change: DISTINCT over rows that only come.
        let append_only = part.append_only && calls.is_empty() && !keys.is_empty();
        let kind = NodeKind::Aggregate(graph::Aggregate { keys, calls });
        let node = self.add(kind, vec![input], &plan.schema, append_only);
        Ok(Part { node, schema: plan.schema.clone(), append_only, known })
    }

    /// Puts an expand before the aggregate; the keys then are the columns that it adds.
    fn expand(
        &mut self,
        keys: &mut Vec<Key>,
        sets: Vec<GroupingSet>,
        part: &Part,
        plan: &Aggregate,
    ) -> Result<usize> {
        let input = plain(&part.schema);
        let width = input.fields().len();
        let mut fields: Vec<_> = input.fields().iter().cloned().collect();
        let exprs = keys.iter().map(|k| k.expr.clone()).collect();
        for (i, key) in keys.iter_mut().enumerate() {
            let name = format!("__key_{i}");
            fields.push(Arc::new(Field::new(&name, key.data_type.clone(), true)));
            key.expr = Arc::new(Column::new(&name, width + i));
        }
        let id = Aggregate::INTERNAL_GROUPING_ID;
        let id_type = plan.schema.field(keys.len()).data_type().clone();
        fields.push(Arc::new(Field::new(id, id_type.clone(), true)));
        keys.push(Key {
            expr: Arc::new(Column::new(id, width + keys.len())),
            data_type: id_type,
            window: None,
            text: "grouping set".into(),
        });
        let kind = NodeKind::Expand(graph::Expand { keys: exprs, sets });
        let schema = Arc::new(Schema::new(fields));
        Ok(self.add_of(kind, vec![part.node], schema, part.append_only))
    }

    fn call(&self, expr: &Expr, part: &Part) -> Result<Call> {
        refuse::expression(expr)?;
        if let Expr::AggregateFunction(f) = expr.clone().unalias() {
            refuse::aggregate(&f)?;
        }
        let schema = &part.schema;
        let props = self.state.execution_props();
        let planning = Default::default();
        let lowered =
            LoweredAggregateBuilder::new(expr, schema, schema.as_arrow(), props, &planning)
                .build()
                .map_err(plan_error)?;
        Call::new(lowered, schema.as_arrow(), without_casts(expr))
    }
}

/// The sets of a `GROUP BY`; none if it has no grouping sets.
fn grouping_sets(group_by: &[Expr], keys: &[&Expr]) -> Result<Option<Vec<GroupingSet>>> {
    let [Expr::GroupingSet(set)] = group_by else { return Ok(None) };
    let sets: Vec<Vec<&Expr>> = match set {
        logical::GroupingSet::GroupingSets(sets) => {
            sets.iter().map(|s| s.iter().collect()).collect()
        }
        logical::GroupingSet::Rollup(exprs) => {
            (0..=exprs.len()).map(|n| exprs[..n].iter().collect()).collect()
        }
        logical::GroupingSet::Cube(exprs) => powerset(exprs).map_err(plan_error)?,
    };
    if keys.len() > 32 {
        return Err(Error::unsupported("grouping sets of more than 32 columns"));
    }
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let sets = sets.into_iter().map(|set| {
        let absent: Vec<bool> = keys.iter().map(|k| !set.contains(k)).collect();
        let mask = absent.iter().fold(0, |mask, absent| mask << 1 | u64::from(*absent));
        // The same set twice gives its rows twice.
        let again = seen.entry(mask).and_modify(|n| *n += 1).or_default();
        GroupingSet { absent, number: mask | *again << keys.len() }
    });
    Ok(Some(sets.collect()))
}
