//! -0.0 and 0.0 are one key, and so is every NaN, as on Spark: what is grouped by or made
//! DISTINCT is brought into one form first. An analyzer rule after type coercion; keys of joins
//! are equal anyway in batch, and made so in `stream`.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::config::ConfigOptions;
use datafusion::functions::core::named_struct;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan, Projection,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use graph::floats;

use crate::plan_walk;

#[derive(Debug)]
pub struct FloatKeys;

impl AnalyzerRule for FloatKeys {
    fn name(&self) -> &str {
        "float_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan_walk::change_plan(plan, &mut |node| match node {
            LogicalPlan::Aggregate(a) => aggregate(a),
            LogicalPlan::Distinct(Distinct::All(input)) => distinct(input),
            other => Ok(Transformed::no(other)),
        })
    }
}

fn aggregate(plan: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = plan.input.schema().clone();
    let mut changed = false;
    let mut keys = vec![];
    for e in plan.group_expr {
        let key = match matches!(e, Expr::GroupingSet(_)) {
            true => Transformed::no(e),
            false => canonical(e, &schema)?,
        };
        changed |= key.transformed;
        keys.push(key.data);
    }
    let mut calls = vec![];
    for e in plan.aggr_expr {
        let (relation, name) = e.qualified_name();
        let call = plan_walk::change_down(e, &mut |e| match e {
            Expr::AggregateFunction(f) if f.params.distinct => distinct_call(f, &schema),
            e => Ok(Transformed::no(e)),
        })?;
        changed |= call.transformed;
        calls.push(match call.transformed {
            true => call.data.unalias().alias_qualified(relation, name),
            false => call.data,
        });
    }
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(plan.input, keys, calls)?);
    Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
}

/// The arguments of `count(DISTINCT a, b)` become one, which is NULL where one of them is:
/// DataFusion counts one only.
fn distinct_call(mut f: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut changed = false;
    let mut args = vec![];
    for e in f.params.args {
        let arg = canonical(e, schema)?;
        changed |= arg.transformed;
        args.push(arg.data.unalias());
    }
    if args.len() > 1 && f.func.name() == "count" {
        let all = args.iter().map(|a| a.clone().is_not_null()).reduce(Expr::and);
        let names = (0..args.len()).map(|i| lit(format!("c{i}")));
        let fields = names.zip(args).flat_map(|(name, arg)| [name, arg]).collect();
        let together = named_struct().call(fields);
        let together = when(all.unwrap_or(lit(true)), together).end()?;
        args = vec![together];
        changed = true;
    }
    f.params.args = args;
    let e = Expr::AggregateFunction(f);
    Ok(if changed { Transformed::yes(e) } else { Transformed::no(e) })
}

fn distinct(input: Arc<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
    let schema = input.schema().clone();
    if !schema.fields().iter().any(|f| floats::has_floats(f.data_type())) {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
    }
    let columns = schema.columns().into_iter().map(|c| canonical(Expr::Column(c), &schema));
    let columns = columns.map(|c| c.map(|c| c.data)).collect::<Result<_>>()?;
    let input = LogicalPlan::Projection(Projection::try_new(columns, input)?);
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(Arc::new(input)))))
}

/// The expression under its own name with its floats in their one form.
fn canonical(e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !floats::has_floats(&e.get_type(schema)?) {
        return Ok(Transformed::no(e));
    }
    let (relation, name) = e.qualified_name();
    let call = ScalarUDF::from(CanonicalFloats::default()).call(vec![e.unalias()]);
    Ok(Transformed::yes(call.alias_qualified(relation, name)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CanonicalFloats {
    signature: Signature,
}

impl Default for CanonicalFloats {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CanonicalFloats {
    fn name(&self) -> &str {
        "canonical_floats"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// It is nothing that the user wrote.
    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().map(crate::words::words).unwrap_or_default())
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args.first() {
            Some(t) => Ok(t.clone()),
            None => exec_err!("a key needs a value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match args.args.into_iter().next() {
            Some(ColumnarValue::Array(a)) => ColumnarValue::Array(floats::canonical(&a)?),
            Some(ColumnarValue::Scalar(s)) => {
                let value = floats::canonical(&s.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?)
            }
            None => return exec_err!("a key needs a value"),
        })
    }
}
