//! Arrow's row format: the columns of a row as bytes that compare like the row. Keys, rows and
//! distinct values are kept in state as such bytes: one allocation each, and no typed code.

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use common::{Error, Result};

use graph::{error, floats};

/// Turns columns of fixed types into row bytes and back.
pub(crate) struct RowCodec {
    converter: RowConverter,
    parser: RowParser,
    types: Vec<DataType>,
}

impl RowCodec {
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        Self::sorted(types.into_iter().map(|t| (t, SortOptions::default())))
    }

    /// With an order of its own for each column.
    pub fn sorted(columns: impl IntoIterator<Item = (DataType, SortOptions)>) -> Result<Self> {
        let (types, fields): (Vec<_>, Vec<_>) = columns
            .into_iter()
            .map(|(t, o)| (t.clone(), SortField::new_with_options(t, o)))
            .unzip();
        // Rows without columns are rows still: a converter would count none.
        let fields = match fields.is_empty() {
            true => vec![SortField::new(DataType::Boolean)],
            false => fields,
        };
        let converter = RowConverter::new(fields).map_err(|_| {
            Error::unsupported(format!("no state can be kept for values of type {types:?}"))
        })?;
        Ok(Self { parser: converter.parser(), converter, types })
    }

    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns: Vec<ArrayRef> =
            columns.iter().zip(&self.types).map(|(c, t)| as_type(c, t)).collect::<Result<_>>()?;
        self.converter.convert_columns(&columns).map_err(error::arrow)
    }

    /// The rows of a batch, also of one without columns.
    pub fn encode_rows(&self, batch: &RecordBatch) -> Result<Rows> {
        match self.types.is_empty() {
            true => self.encode_nothing(batch.num_rows()),
            false => self.encode(batch.columns()),
        }
    }

    fn encode_nothing(&self, rows: usize) -> Result<Rows> {
        let nulls = new_null_array(&DataType::Boolean, rows);
        self.converter.convert_columns(&[nulls]).map_err(error::arrow)
    }

    pub fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let columns = self.converter.convert_rows(rows.map(|r| self.parser.parse(r)));
        let columns = columns.map_err(error::arrow)?;
        columns.iter().zip(&self.types).map(|(c, t)| as_type(c, t)).collect()
    }

    /// The row whose columns are all NULL.
    pub fn null_row(&self) -> Result<Box<[u8]>> {
        if self.types.is_empty() {
            return Ok(self.encode_nothing(1)?.row(0).data().into());
        }
        let columns: Vec<ArrayRef> = self.types.iter().map(|t| new_null_array(t, 1)).collect();
        Ok(self.encode(&columns)?.row(0).data().into())
    }
}

/// As a key: floats that are equal have the same bytes.
pub(crate) fn canonical(column: &ArrayRef) -> Result<ArrayRef> {
    floats::canonical(column).map_err(error::arrow)
}

pub(crate) fn as_type(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    match column.data_type() == data_type {
        true => Ok(column.clone()),
        false => cast(column, data_type).map_err(error::arrow),
    }
}
