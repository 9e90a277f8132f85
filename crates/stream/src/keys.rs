//! The expressions by which rows are grouped, and the bytes of their values.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::row::Rows;
use common::Result;
use graph::{Key, KeyWindow, Window};

use crate::calc::evaluate;
use crate::rows::{RowCodec, as_type, canonical};
use crate::windows::{Ends, closing_key, column};

pub(crate) struct Keys {
    exprs: Vec<Key>,
    rows: RowCodec,
    /// Of each key that is a struct of start and end.
    windows: Vec<Option<Window>>,
    closing: Option<(usize, KeyWindow)>,
}

impl Keys {
    pub fn new(keys: &[Key]) -> Result<Self> {
        let windows: Vec<_> = keys.iter().map(column::whole).collect();
        let stored = keys.iter().zip(&windows).map(|(k, window)| match (&k.data_type, window) {
            (DataType::Struct(fields), Some(_)) => fields[0].data_type().clone(),
            (other, _) => other.clone(),
        });
        Ok(Self {
            rows: RowCodec::new(stored)?,
            exprs: keys.to_vec(),
            windows,
            closing: closing_key(keys),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.exprs.is_empty()
    }

    pub fn closes(&self) -> bool {
        self.closing.is_some()
    }

    /// Groups stay, whatever the watermark.
    pub fn never_close(&mut self) {
        self.closing = None;
    }

    /// The values of each row.
    pub fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let value = |k: &Key| as_type(&evaluate(&k.expr, batch)?, &k.data_type);
        self.exprs.iter().map(value).collect()
    }

    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let stored = columns.iter().zip(&self.windows).map(|(c, window)| match window {
            Some(_) => column::start(c),
            None => canonical(c),
        });
        self.rows.encode(&stored.collect::<Result<Vec<_>>>()?)
    }

    /// The values again. Nothing if there are no keys.
    pub fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        if self.is_empty() {
            return Ok(vec![]);
        }
        let stored = self.rows.decode(keys)?.into_iter();
        let columns = stored.zip(self.exprs.iter().zip(&self.windows));
        let column = |(c, (key, window)): (ArrayRef, (&Key, &Option<Window>))| match (
            &key.data_type,
            window,
        ) {
            (DataType::Struct(fields), Some(window)) => column::of_start(&c, fields, *window),
            _ => Ok(c),
        };
        columns.map(column).collect()
    }

    /// Rows with a NULL among these values are not valid.
    pub fn nulls(columns: &[ArrayRef]) -> Option<NullBuffer> {
        let mut nulls = None;
        for column in columns {
            nulls = NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref());
        }
        nulls
    }

    /// When the groups of these values close, if they do.
    pub fn ends(&self, columns: &[ArrayRef]) -> Result<Option<Ends>> {
        self.closing.map(|(at, window)| Ends::of(&columns[at], window)).transpose()
    }
}
