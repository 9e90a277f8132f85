//! Rows that stand in the query beside what it reads of topics.

use std::sync::Arc;

use common::{Error, Result};
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{self as logical, Expr};
use graph::NodeKind;

use super::build::{Builder, Part, plain};
use super::plan_error;
use super::trace::Known;

impl Builder<'_> {
    pub(super) fn values(&mut self, plan: &logical::Values) -> Result<Part> {
        let schema = plain(&plan.schema);
        let mut columns = vec![];
        for (at, field) in schema.fields().iter().enumerate() {
            let cells = plan.values.iter().map(|row| {
                let value = self.constant(&row[at])?;
                value.cast_to(field.data_type()).map_err(plan_error)
            });
            let cells = cells.collect::<Result<Vec<ScalarValue>>>()?;
            columns.push(ScalarValue::iter_to_array(cells).map_err(plan_error)?);
        }
        let rows = RecordBatch::try_new(schema, columns).map_err(|e| plan_error(e.into()))?;
        let row = |row: &Vec<Expr>| row.iter().map(ToString::to_string).collect::<Vec<_>>();
        let text: Vec<String> =
            plan.values.iter().map(|r| format!("({})", row(r).join(", "))).collect();
        Ok(self.rows(rows, text.join(", "), &plan.schema))
    }

    /// The row of a SELECT without FROM, before its columns are made.
    pub(super) fn one_row(&mut self, schema: &DFSchemaRef) -> Result<Part> {
        Ok(self.rows(row_without_columns()?, "()".into(), schema))
    }

    fn rows(&mut self, rows: RecordBatch, text: String, schema: &DFSchemaRef) -> Part {
        let kind = NodeKind::Values(graph::Values { rows, text });
        let node = self.add(kind, vec![], schema, true);
        let windows = vec![None; schema.fields().len()];
        let known = Known { windows, is_fixed: true, ..Known::default() };
        Part { node, schema: schema.clone(), append_only: true, known }
    }

    fn constant(&self, expr: &Expr) -> Result<ScalarValue> {
        let value = self.physical(expr, &DFSchema::empty())?;
        let value = value.evaluate(&row_without_columns()?).and_then(|v| v.into_array(1));
        let value = value.and_then(|v| ScalarValue::try_from_array(&v, 0));
        value.map_err(|e| Error::invalid(format!("{expr}: {}", e.strip_backtrace())))
    }
}

fn row_without_columns() -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options);
    row.map_err(|e| plan_error(e.into()))
}
