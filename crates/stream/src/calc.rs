//! Filters and projections, fused: one operator evaluates a whole chain on a batch before it
//! hands the batch on. It keeps no state; weights follow their rows.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::prep_null_mask_filter;
use common::{Error, Result};
use datafusion_expr_common::columnar_value::ColumnarValue;

use crate::change::{Change, nullable};
use crate::operator::{Operator, Out};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::as_type;
use graph::error;
use graph::{Calc, Expr, Node, Step};

impl Spec for Calc {
    fn title(&self, _node: &Node) -> String {
        let filters = self.steps.iter().any(|s| matches!(s, Step::Filter(_)));
        let projects = self.steps.iter().any(|s| matches!(s, Step::Project { .. }));
        match (filters, projects) {
            (true, true) => "filter and project".into(),
            (true, false) => "filter".into(),
            _ => "project".into(),
        }
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        Upkeep::without_state()
    }

    fn create(&self, _place: &Place) -> Result<Option<Box<dyn Operator>>> {
        Ok(Some(Box::new(CalcOp::new(self))))
    }
}

struct CalcOp {
    steps: Vec<Step>,
}

impl CalcOp {
    fn new(calc: &Calc) -> Self {
        // A probed row has NULL where other rows decide.
        let steps = calc.steps.iter().cloned().map(|step| match step {
            Step::Project { exprs, schema } => Step::Project { exprs, schema: nullable(&schema) },
            filter => filter,
        });
        Self { steps: steps.collect() }
    }

    fn run(&self, mut change: Change) -> Result<Option<Change>> {
        for step in &self.steps {
            change = match step {
                Step::Filter(predicate) => {
                    let keep = truth(predicate, &change.batch)?;
                    match keep.true_count() {
                        0 => return Ok(None),
                        n if n == change.batch.num_rows() => change,
                        _ => change.filter(&keep)?,
                    }
                }
                Step::Project { exprs, schema } => {
                    let n = change.batch.num_rows();
                    let columns = exprs
                        .iter()
                        .zip(schema.fields())
                        .map(|(e, f)| as_type(&evaluate(e, &change.batch)?, f.data_type()))
                        .collect::<Result<Vec<_>>>()?;
                    let options = RecordBatchOptions::new().with_row_count(Some(n));
                    let batch =
                        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
                            .map_err(error::arrow)?;
                    Change { batch, weights: change.weights }
                }
            };
        }
        Ok(Some(change))
    }
}

impl Operator for CalcOp {
    fn push(&mut self, _port: usize, change: Change, out: &mut Out) -> Result<()> {
        out.extend(self.run(change)?);
        Ok(())
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        out.extend(self.run(change.clone())?);
        Ok(())
    }
}

/// Bytes of a constant, once for each row of a batch.
const REPEATED_BYTES_MAX: usize = 256 << 20;

pub(crate) fn evaluate(expr: &Expr, batch: &RecordBatch) -> Result<arrow::array::ArrayRef> {
    let value = expr.evaluate(batch).map_err(error::datafusion)?;
    let rows = batch.num_rows();
    if let ColumnarValue::Scalar(one) = &value
        && one.size().saturating_mul(rows) > REPEATED_BYTES_MAX
    {
        let mib = one.size() >> 20;
        return Err(Error::out_of_memory(format!("a constant of {mib} MiB beside {rows} rows"))
            .hint("make it smaller, or send fewer rows at once"));
    }
    value.into_array(rows).map_err(error::datafusion)
}

/// Where a condition is true; NULL is not.
pub(crate) fn truth(expr: &Expr, batch: &RecordBatch) -> Result<BooleanArray> {
    let array = evaluate(expr, batch)?;
    let Some(truth) = array.as_boolean_opt() else {
        return Err(Error::internal(format!("condition '{expr}' is not boolean")));
    };
    Ok(if truth.null_count() == 0 { truth.clone() } else { prep_null_mask_filter(truth) })
}
