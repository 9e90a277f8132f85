//! Functions with `OVER`: an operator for each run of calls with the same partitions and order;
//! and the first rows of an order, which need fewer rows than all.

use std::sync::Arc;

use common::Result;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    self as logical, BinaryExpr, Expr, FetchType, LogicalPlan, Operator, SkipType, SortExpr,
};
use datafusion::physical_planner::create_window_expr;
use graph::{Key, NodeKind, OrderBy, Over, OverCall, TopN};

use super::build::{Builder, Part, plain, position};
use super::{plan_error, refuse};
use crate::words::without_casts;

impl Builder<'_> {
    pub(super) fn over(&mut self, plan: &logical::Window) -> Result<Part> {
        let mut part = self.part(&plan.input)?;
        let input = part.schema.clone();
        let mut rest = &plan.window_expr[..];
        let mut width = input.fields().len();
        while let Some(first) = rest.first() {
            let window = window_function(first)?;
            let same = rest.iter().take_while(|e| {
                window_function(e).is_ok_and(|w| {
                    w.params.partition_by == window.params.partition_by
                        && w.params.order_by == window.params.order_by
                })
            });
            let (run, later) = rest.split_at(same.count().max(1));
            rest = later;
            width += run.len();
            part = self.run_of_calls(part, window, run, plan, width)?;
        }
        Ok(Part { schema: plan.schema.clone(), ..part })
    }

    fn run_of_calls(
        &mut self,
        mut part: Part,
        window: &WindowFunction,
        run: &[Expr],
        plan: &logical::Window,
        width: usize,
    ) -> Result<Part> {
        let (partition_by, closing) = self.partitions(&window.params.partition_by, &part)?;
        let order_by = self.order(&window.params.order_by, &part)?;
        let calls = run.iter().map(|e| self.over_call(e, &part)).collect::<Result<_>>()?;
        let kind = NodeKind::Over(Over { partition_by, order_by, calls });
        let fields: Vec<_> = plain(&plan.schema).fields().iter().take(width).cloned().collect();
        part.node = self.add_of(kind, vec![part.node], Arc::new(Schema::new(fields)), false);
        ordered(&mut part, closing, width);
        Ok(part)
    }

    /// The keys of partitions; if one of them is a window that closes, its column.
    fn partitions(&mut self, exprs: &[Expr], part: &Part) -> Result<(Vec<Key>, Option<usize>)> {
        let keys = exprs.iter().map(|e| self.key(e, part));
        let mut keys = keys.collect::<Result<Vec<_>>>()?;
        let closing = keys.iter().position(|k| k.window.is_some_and(|w| w.closes));
        for (i, key) in keys.iter_mut().enumerate() {
            key.window = key.window.filter(|_| Some(i) == closing);
        }
        let Some(at) = closing else { return Ok((keys, None)) };
        self.close_by(&exprs[at], part)?;
        Ok((keys, position(&exprs[at], part)))
    }

    fn order(&self, by: &[SortExpr], part: &Part) -> Result<Vec<OrderBy>> {
        let order = by.iter().map(|sort| {
            let expr = self.physical(&sort.expr, &part.schema)?;
            let data_type = expr.data_type(part.schema.as_arrow()).map_err(plan_error)?;
            let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
            Ok(OrderBy { expr, data_type, options })
        });
        order.collect()
    }

    /// `ROW_NUMBER() OVER (…) <= n` keeps few rows; none if the filter is no such.
    pub(super) fn numbered_top(
        &mut self,
        filter: &logical::Filter,
        needed: impl Fn(&Column) -> bool,
    ) -> Result<Option<Part>> {
        let LogicalPlan::Window(plan) = filter.input.as_ref() else { return Ok(None) };
        let [call] = &plan.window_expr[..] else { return Ok(None) };
        let window = window_function(call)?;
        if window.fun.name() != "row_number" || window.params.order_by.is_empty() {
            return Ok(None);
        }
        let (relation, number) = call.qualified_name();
        let number = Column::new(relation, number);
        let conjuncts = split_conjunction(&filter.predicate);
        let limits = conjuncts.iter().map(|c| limit_of(c, &number));
        let Some((limit, exact)) = limits.flatten().min() else { return Ok(None) };
        refuse::expression(call)?;
        let mut part = self.part(&plan.input)?;
        let params = &window.params;
        let (partition_by, closing) = self.partitions(&params.partition_by, &part)?;
        let order_by = self.order(&params.order_by, &part)?;
        let others = conjuncts.iter().filter(|c| limit_of(c, &number) != Some((limit, exact)));
        let more = exact || others.clone().any(|c| c.column_refs().contains(&number));
        let top = TopN {
            partition_by,
            order_by,
            skip: 0,
            limit,
            numbered: more || needed(&number),
            text: without_casts(call),
        };
        let width = plan.schema.fields().len();
        part.node = self.add(NodeKind::TopN(top), vec![part.node], &plan.schema, false);
        ordered(&mut part, closing, width);
        part.schema = plan.schema.clone();
        if exact {
            return Ok(Some(self.filter(part, &filter.predicate)?));
        }
        let rest = conjunction(others.map(|c| (*c).clone()));
        Ok(Some(match rest {
            Some(rest) => self.filter(part, &rest)?,
            None => part,
        }))
    }

    /// `ORDER BY … LIMIT n`: the rows have no order in the view, but these are they.
    pub(super) fn limit(&mut self, plan: &logical::Limit) -> Result<Part> {
        let (skip, limit) = match (plan.get_skip_type(), plan.get_fetch_type()) {
            (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(Some(n)))) => (skip, n),
            _ => return Err(refuse::limit()),
        };
        let (sort, projection) = match plan.input.as_ref() {
            LogicalPlan::Sort(sort) => (sort, None),
            LogicalPlan::Projection(p) => match p.input.as_ref() {
                LogicalPlan::Sort(sort) => (sort, Some(p)),
                _ => return Err(refuse::limit()),
            },
            _ => return Err(refuse::limit()),
        };
        let mut part = self.part(&sort.input)?;
        let order_by = self.order(&sort.expr, &part)?;
        let text = sort.expr.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let partition_by = vec![];
        let top = TopN { partition_by, order_by, skip, limit, numbered: false, text };
        part.node = self.add(NodeKind::TopN(top), vec![part.node], &part.schema, false);
        let width = part.schema.fields().len();
        ordered(&mut part, None, width);
        match projection {
            Some(p) => self.project(part, &p.expr, &p.schema),
            None => Ok(part),
        }
    }

    fn over_call(&self, expr: &Expr, part: &Part) -> Result<OverCall> {
        refuse::expression(expr)?;
        refuse::over(window_function(expr)?)?;
        let props = self.state.execution_props();
        let function = create_window_expr(expr, &part.schema, props, &Default::default())
            .map_err(plan_error)?;
        Ok(OverCall { function, text: without_casts(expr) })
    }
}

/// What is known after an operator that looks at rows beside each other.
fn ordered(part: &mut Part, closing: Option<usize>, width: usize) {
    part.append_only = false;
    part.known.paths.clear();
    part.known.windows.resize(width, None);
    part.known.keep_closing(closing.as_slice());
}

/// How many rows pass a condition on their number, if it is such; and whether it is on exactly
/// that number.
fn limit_of(condition: &Expr, number: &Column) -> Option<(usize, bool)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let is_number = |e: &Expr| matches!(uncast(e), Expr::Column(c) if c == number);
    let (op, value) = match (is_number(left), is_number(right)) {
        (true, false) => (*op, uncast(right)),
        (false, true) => (op.swap()?, uncast(left)),
        _ => return None,
    };
    let Expr::Literal(value, _) = value else { return None };
    let value = value.cast_to(&DataType::Int64).ok()?;
    let ScalarValue::Int64(Some(value)) = value else { return None };
    let value = usize::try_from(value).ok()?;
    match op {
        Operator::LtEq => Some((value, false)),
        Operator::Lt => Some((value.saturating_sub(1), false)),
        Operator::Eq => Some((value, value != 1)),
        _ => None,
    }
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(c) => uncast(&c.expr),
        Expr::Alias(a) => uncast(&a.expr),
        other => other,
    }
}

fn window_function(expr: &Expr) -> Result<&WindowFunction> {
    match expr {
        Expr::Alias(a) => window_function(&a.expr),
        Expr::WindowFunction(w) => Ok(w),
        other => Err(common::Error::internal(format!("{other} is no function with OVER"))),
    }
}
