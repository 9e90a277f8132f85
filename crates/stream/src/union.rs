//! `UNION ALL`: every row of every input goes on as it is, under the names of the first input.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use common::Result;

use crate::change::{Change, nullable};
use crate::operator::{Operator, Out};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::as_type;
use graph::{Node, Union, error};

impl Spec for Union {
    fn title(&self, node: &Node) -> String {
        if node.inputs.is_empty() { "no rows".into() } else { "union all".into() }
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        Upkeep::without_state()
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        Ok(Some(Box::new(UnionAll { schema: nullable(&place.node.schema) })))
    }
}

struct UnionAll {
    schema: SchemaRef,
}

impl UnionAll {
    fn run(&self, change: &Change, out: &mut Out) -> Result<()> {
        let fields = self.schema.fields();
        let columns = change.batch.columns().iter().zip(fields);
        let columns =
            columns.map(|(c, f)| as_type(c, f.data_type())).collect::<Result<Vec<_>>>()?;
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(change.batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)?;
        out.push(Change { batch, weights: change.weights.clone() });
        Ok(())
    }
}

impl Operator for UnionAll {
    fn push(&mut self, _port: usize, change: Change, out: &mut Out) -> Result<()> {
        self.run(&change, out)
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.run(change, out)
    }
}
