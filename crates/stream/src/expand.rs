//! `GROUPING SETS`, `ROLLUP`, `CUBE`: each row once for each set, with the key columns that are
//! not in the set NULL, and the number of the set beside them. The aggregate that follows groups
//! by all of them. It keeps no state.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use common::Result;
use datafusion_common::ScalarValue;

use crate::calc::evaluate;
use crate::change::{Change, nullable};
use crate::operator::{Operator, Out};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::as_type;
use graph::{Expand, Node, error};

impl Spec for Expand {
    fn title(&self, _node: &Node) -> String {
        format!("expand to {} grouping sets", self.sets.len())
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        Upkeep::without_state()
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        let schema = nullable(&place.node.schema);
        Ok(Some(Box::new(ExpandOp { spec: self.clone(), schema })))
    }
}

struct ExpandOp {
    spec: Expand,
    schema: SchemaRef,
}

impl ExpandOp {
    fn run(&self, change: &Change, out: &mut Out) -> Result<()> {
        let (batch, n) = (&change.batch, change.batch.num_rows());
        let width = batch.num_columns();
        let keys = self.spec.keys.iter().zip(&self.schema.fields()[width..]);
        let keys = keys
            .map(|(key, field)| as_type(&evaluate(key, batch)?, field.data_type()))
            .collect::<Result<Vec<ArrayRef>>>()?;
        for set in &self.spec.sets {
            let mut columns = batch.columns().to_vec();
            for (key, absent) in keys.iter().zip(&set.absent) {
                columns.push(match absent {
                    true => new_null_array(key.data_type(), n),
                    false => key.clone(),
                });
            }
            let number = ScalarValue::UInt64(Some(set.number)).to_array_of_size(n);
            let number = number.map_err(error::datafusion)?;
            let number_type = self.schema.field(width + keys.len()).data_type();
            columns.push(as_type(&number, number_type)?);
            let options = RecordBatchOptions::new().with_row_count(Some(n));
            let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
                .map_err(error::arrow)?;
            out.push(Change { batch, weights: change.weights.clone() });
        }
        Ok(())
    }
}

impl Operator for ExpandOp {
    fn push(&mut self, _port: usize, change: Change, out: &mut Out) -> Result<()> {
        self.run(&change, out)
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.run(change, out)
    }
}
