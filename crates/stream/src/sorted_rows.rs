//! Whole rows as bytes that sort as `ORDER BY` says; equal ones by all their columns, so that an
//! order is never left to chance.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;
use common::Result;

use crate::rows::{RowCodec, canonical};
use graph::OrderBy;

pub(crate) struct SortedRows {
    /// None without an order.
    order: Option<RowCodec>,
    rows: RowCodec,
}

/// Rows of a batch: the bytes of the order, those of the row, and the length of the first.
pub(crate) struct Encoded {
    order: Option<Rows>,
    rows: Rows,
}

impl Encoded {
    pub fn item(&self, row: usize, item: &mut Vec<u8>) {
        item.clear();
        if let Some(order) = &self.order {
            item.extend_from_slice(order.row(row).data());
        }
        let length = item.len() as u32;
        item.extend_from_slice(self.rows.row(row).data());
        item.extend_from_slice(&length.to_le_bytes());
    }
}

impl SortedRows {
    pub fn new(order_by: &[OrderBy], input: &SchemaRef) -> Result<Self> {
        let order = order_by.iter().map(|o| (o.data_type.clone(), o.options));
        Ok(Self {
            order: if order_by.is_empty() { None } else { Some(RowCodec::sorted(order)?) },
            rows: RowCodec::new(input.fields().iter().map(|f| f.data_type().clone()))?,
        })
    }

    /// `order` are the values of the order's expressions.
    pub fn encode(&self, order: Vec<ArrayRef>, columns: &[ArrayRef]) -> Result<Encoded> {
        let order = match &self.order {
            None => None,
            Some(codec) => {
                let order: Vec<_> = order.iter().map(canonical).collect::<Result<_>>()?;
                Some(codec.encode(&order)?)
            }
        };
        Ok(Encoded { order, rows: self.rows.encode(columns)? })
    }

    pub fn decode<'a>(&self, items: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.rows.decode(items.map(row_of))
    }
}

/// The row in an item.
fn row_of(item: &[u8]) -> &[u8] {
    match item.split_last_chunk::<4>() {
        Some((bytes, length)) => bytes.get(u32::from_le_bytes(*length) as usize..).unwrap_or(&[]),
        None => &[],
    }
}
