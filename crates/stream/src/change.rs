//! Changes of a set of rows: a batch, and beside it a weight of +1 (the row came) or -1 (it
//! went) for each row. No weights mean that all rows came, which is the fast path everywhere.

use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{
    Array, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::compute::{filter, filter_record_batch, interleave_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use common::Result;
use hashbrown::HashMap;

use crate::rows::{RowCodec, as_type};
use graph::error;

/// Rows that came or went.
#[derive(Clone, Debug)]
pub struct Change {
    pub batch: RecordBatch,
    /// +1 or -1 for each row; none means +1 for all.
    pub weights: Option<Int8Array>,
}

impl Change {
    pub fn insert(batch: RecordBatch) -> Self {
        Self { batch, weights: None }
    }

    pub fn delete(batch: RecordBatch) -> Self {
        let weights = Int8Array::from_value(-1, batch.num_rows());
        Self { batch, weights: Some(weights) }
    }

    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |w| i64::from(w.value(row)))
    }

    pub(crate) fn slice(&self, from: usize, rows: usize) -> Change {
        let weights = self.weights.as_ref().map(|w| w.slice(from, rows));
        Change { batch: self.batch.slice(from, rows), weights }
    }

    /// With NULL in the columns that `schema` has more.
    pub(crate) fn beside_nulls(&self, schema: &SchemaRef) -> Result<Change> {
        let rows = self.batch.num_rows();
        let mut columns = self.batch.columns().to_vec();
        let more = schema.fields().iter().skip(columns.len());
        columns.extend(more.map(|f| new_null_array(f.data_type(), rows)));
        let columns = columns.iter().zip(schema.fields());
        let columns = columns.map(|(c, f)| as_type(c, f.data_type())).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(nullable(schema), columns, &options)
            .map_err(error::arrow)?;
        Ok(Change { batch, weights: self.weights.clone() })
    }

    /// The rows for which `keep` is true.
    pub(crate) fn filter(&self, keep: &BooleanArray) -> Result<Change> {
        let batch = filter_record_batch(&self.batch, keep).map_err(error::arrow)?;
        let weights = match &self.weights {
            None => None,
            Some(w) => {
                let kept = filter(w, keep).map_err(error::arrow)?;
                Some(Int8Array::from(kept.to_data()))
            }
        };
        Ok(Change { batch, weights })
    }
}

/// The same columns, each of which may be NULL.
pub(crate) fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What remains when a row that came and went is left out. Rows that went stand first, so that
/// who applies the changes in order never holds two rows of one key.
pub fn consolidate(schema: &SchemaRef, changes: Vec<Change>) -> Result<Vec<Change>> {
    let changes: Vec<Change> = changes.into_iter().filter(|c| c.batch.num_rows() > 0).collect();
    if changes.iter().all(|c| c.weights.is_none()) || schema.fields().is_empty() {
        return Ok(changes);
    }
    let codec = RowCodec::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
    let mut encoded = Vec::with_capacity(changes.len());
    for change in &changes {
        encoded.push(codec.encode(change.batch.columns())?);
    }
    let mut net: HashMap<&[u8], (usize, usize, i64), RandomState> = HashMap::default();
    for (b, (change, rows)) in changes.iter().zip(&encoded).enumerate() {
        for (r, row) in rows.iter().enumerate() {
            net.entry(row.data()).or_insert((b, r, 0)).2 += change.weight(r);
        }
    }
    let mut left: Vec<(usize, usize, i64)> = net.into_values().filter(|e| e.2 != 0).collect();
    left.sort_unstable_by_key(|&(b, r, weight)| (weight > 0, b, r));
    if left.is_empty() {
        return Ok(vec![]);
    }
    let mut picks = Vec::with_capacity(left.len());
    let mut weights: Vec<i8> = Vec::with_capacity(left.len());
    for (b, r, weight) in left {
        for _ in 0..weight.unsigned_abs() {
            picks.push((b, r));
            weights.push(weight.signum() as i8);
        }
    }
    let batches: Vec<&RecordBatch> = changes.iter().map(|c| &c.batch).collect();
    let batch = interleave_record_batch(&batches, &picks).map_err(error::arrow)?;
    let only_inserts = weights.iter().all(|w| *w > 0);
    let weights = (!only_inserts).then(|| Int8Array::from(weights));
    Ok(vec![Change { batch, weights }])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn change(values: &[i64], weights: &[i8]) -> Change {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        Change { batch, weights: Some(Int8Array::from(weights.to_vec())) }
    }

    #[test]
    fn a_row_that_came_and_went_is_left_out() {
        let changes = vec![change(&[1, 2, 3], &[1, 1, -1]), change(&[2, 3, 3, 4], &[-1, 1, 1, -1])];
        let net = consolidate(&changes[0].batch.schema(), changes).unwrap();
        assert_eq!(net.len(), 1);
        assert_eq!(net[0].batch.column(0).as_primitive::<Int64Type>().values(), &[4, 1, 3]);
        assert_eq!(net[0].weights.as_ref().unwrap().values(), &[-1, 1, 1]);
        let nothing = vec![change(&[1], &[1]), change(&[1], &[-1])];
        assert!(consolidate(&nothing[0].batch.schema(), nothing).unwrap().is_empty());
    }
}
