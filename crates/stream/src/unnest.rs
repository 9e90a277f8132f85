//! `UNNEST`: a row for each element of its lists, side by side; shorter lists are filled up with
//! NULL. Structs become a column for each field. It keeps no state; weights follow their rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int8Array, ListArray, RecordBatch, RecordBatchOptions, UInt32Array,
    make_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef};
use common::{Error, Result};

use crate::change::{Change, nullable};
use crate::operator::{Operator, Out};
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::as_type;
use graph::error;
use graph::{Node, Unnest, UnnestColumn};

/// Rows that one batch may become.
const ROWS_MAX: usize = 16 << 20;

impl Spec for Unnest {
    fn title(&self, _node: &Node) -> String {
        "unnest".into()
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        Upkeep::without_state()
    }

    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>> {
        let schema = nullable(&place.node.schema);
        Ok(Some(Box::new(UnnestOp { spec: self.clone(), schema })))
    }
}

struct UnnestOp {
    spec: Unnest,
    schema: SchemaRef,
}

impl UnnestOp {
    /// The lists that are taken apart, by input column.
    fn lists(&self, batch: &RecordBatch) -> Result<Vec<(usize, ListArray)>> {
        let mut lists: Vec<(usize, ListArray)> = vec![];
        for column in &self.spec.columns {
            if let UnnestColumn::Element(at) = column
                && lists.iter().all(|(of, _)| of != at)
            {
                lists.push((*at, list(batch.column(*at))?));
            }
        }
        Ok(lists)
    }

    /// How many rows each row becomes.
    fn lengths(&self, lists: &[(usize, ListArray)], rows: usize) -> Vec<usize> {
        let of_null = usize::from(self.spec.null_gives_row);
        let least = usize::from(self.spec.empty_gives_row);
        let length = |list: &ListArray, row| match list.is_null(row) {
            true => of_null,
            false => least.max(list.value_length(row) as usize),
        };
        let longest = |row| lists.iter().map(|(_, l)| length(l, row)).max().unwrap_or(1);
        (0..rows).map(longest).collect()
    }
}

impl UnnestOp {
    fn run(&self, change: &Change, out: &mut Out) -> Result<()> {
        let batch = &change.batch;
        let lists = self.lists(batch)?;
        let lengths = self.lengths(&lists, batch.num_rows());
        let total: usize = lengths.iter().sum();
        if total == 0 {
            return Ok(());
        }
        if total > ROWS_MAX {
            let text = format!("{} rows unnest to {total} at once", batch.num_rows());
            return Err(Error::out_of_memory(text).hint("make the lists shorter"));
        }
        let rows = lengths.iter().enumerate();
        let parents: UInt32Array =
            rows.flat_map(|(row, n)| std::iter::repeat_n(row as u32, *n)).collect();
        let mut columns = Vec::with_capacity(self.spec.columns.len());
        for (column, field) in self.spec.columns.iter().zip(self.schema.fields()) {
            let values = match column {
                UnnestColumn::Whole(at) => taken(batch.column(*at), &parents)?,
                UnnestColumn::Field(at, field) => {
                    taken(&member(batch.column(*at), *field)?, &parents)?
                }
                UnnestColumn::Element(at) => match lists.iter().find(|(of, _)| of == at) {
                    Some((_, list)) => elements(list, &lengths)?,
                    None => return Err(Error::internal("a list to unnest is not there")),
                },
            };
            columns.push(as_type(&values, field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(total));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(error::arrow)?;
        let weights = match &change.weights {
            None => None,
            Some(w) => {
                Some(Int8Array::from(take(w, &parents, None).map_err(error::arrow)?.to_data()))
            }
        };
        out.push(Change { batch, weights });
        Ok(())
    }
}

impl Operator for UnnestOp {
    fn push(&mut self, _port: usize, change: Change, out: &mut Out) -> Result<()> {
        self.run(&change, out)
    }

    fn probe(&self, _port: usize, change: &Change, out: &mut Out) -> Result<()> {
        self.run(change, out)
    }
}

fn taken(column: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef> {
    take(column, rows, None).map_err(error::arrow)
}

/// A column of lists of any of Arrow's three kinds.
fn list(column: &ArrayRef) -> Result<ListArray> {
    let item = match column.data_type() {
        DataType::List(_) => return Ok(column.as_list::<i32>().clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item,
        other => return Err(Error::internal(format!("{other} is not a list to unnest"))),
    };
    let item: Arc<Field> = item.clone();
    Ok(as_type(column, &DataType::List(item))?.as_list::<i32>().clone())
}

/// The elements of each row, and NULLs up to its length.
fn elements(list: &ListArray, lengths: &[usize]) -> Result<ArrayRef> {
    let offsets = list.value_offsets();
    let mut at: Vec<Option<u32>> = Vec::with_capacity(lengths.iter().sum());
    for (row, length) in lengths.iter().enumerate() {
        let own = if list.is_null(row) { 0 } else { list.value_length(row) as usize };
        let first = offsets[row] as u32;
        at.extend((first..first + own as u32).map(Some));
        at.extend(std::iter::repeat_n(None, length - own));
    }
    taken(list.values(), &UInt32Array::from(at))
}

/// A field of a struct; NULL where the struct is.
fn member(column: &ArrayRef, field: usize) -> Result<ArrayRef> {
    let Some(structs) = column.as_struct_opt() else {
        return Err(Error::internal("a column to unnest is not a struct"));
    };
    let member = structs.column(field);
    if structs.null_count() == 0 {
        return Ok(member.clone());
    }
    let nulls = NullBuffer::union(member.logical_nulls().as_ref(), structs.nulls());
    let data = member.to_data().into_builder().nulls(nulls).build().map_err(error::arrow)?;
    Ok(make_array(data))
}
