//! Arrow rows as rows of the Postgres protocol, text or binary as the client asks. Decimals keep
//! all their digits, and what has no type in Postgres (maps, lists of lists) comes as JSON.

use std::sync::Arc;

use common::{Error, Result};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, RecordBatch, RecordBatchOptions,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, DurationMicrosecondType, Field, FieldRef, IntervalMonthDayNano, Schema, TimeUnit,
};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion_postgres::arrow_pg::datatypes::field_into_pg_type;
use datafusion_postgres::arrow_pg::encoder::encode_value;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{
    DataRowEncoder, FieldFormat, FieldInfo, QueryResponse,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use formats::json::{Shape, write_rows};
use futures::future::{BoxFuture, Shared};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};

use crate::errors::{fault, refused};
use crate::numeric;
use crate::rewrite::shown;
use crate::sent::Sent;

const DAY_US: i64 = 86_400_000_000;

pub type Fields = Arc<Vec<FieldInfo>>;
/// Resolves when the client cancels what runs.
pub type Cancelled = Shared<BoxFuture<'static, ()>>;

/// The type a column has for clients.
pub fn pg_type(field: &FieldRef) -> Type {
    match field.data_type() {
        DataType::Decimal128(..) | DataType::Decimal256(..) => Type::NUMERIC,
        _ => field_into_pg_type(field).unwrap_or(Type::JSON),
    }
}

pub fn fields(schema: &Schema, format: &Format) -> PgWireResult<Fields> {
    if let Format::Individual(codes) = format
        && codes.len() != schema.fields().len()
    {
        let (got, want) = (codes.len(), schema.fields().len());
        return Err(fault("08P01", format!("{got} result formats for {want} columns")));
    }
    let field = |(i, f): (usize, &FieldRef)| {
        let kind = pg_type(f);
        let size = size(&kind);
        FieldInfo::new(shown(f.name()).into(), None, None, kind, format.format_for(i))
            .with_type_size(size)
            .with_type_modifier(modifier(f.data_type()))
    };
    Ok(Arc::new(schema.fields().iter().enumerate().map(field).collect()))
}

/// Bytes of a value, -1 where they differ (`pg_type.typlen`).
fn size(kind: &Type) -> i16 {
    match *kind {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// Precision and scale as Postgres packs them (`pg_attribute.atttypmod`).
fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            (i32::from(*p) << 16 | (i32::from(*s) & 0x7ff)) + 4
        }
        _ => -1,
    }
}

/// The rows as they come, until they end or the client cancels.
pub fn response(
    fields: Fields,
    batches: BoxStream<'static, Result<RecordBatch>>,
    cancelled: Cancelled,
    sent: Option<Sent>,
) -> QueryResponse {
    let encoded = fields.clone();
    let state = (batches, cancelled, sent, encoded);
    let rows = stream::try_unfold(state, |(mut batches, cancelled, sent, fields)| async move {
        let next = tokio::select! {
            () = cancelled.clone() => return Err(PgWireError::QueryCanceled),
            next = batches.next() => next,
        };
        let Some(batch) = next else { return Ok(None) };
        let batch = batch.and_then(|b| wide(&b)).map_err(|e| refused(&e, sent.as_ref()))?;
        let rows = stream::iter(Encoder::new(batch, fields.clone()));
        Ok(Some((rows, (batches, cancelled, sent, fields))))
    });
    QueryResponse::new(fields, flatten(rows.boxed()))
}

/// Postgres has no TINYINT: the library would send one byte where two are announced. Its spans of
/// time have days beside hours.
fn wide(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(batch.schema_ref().fields()).map(|(column, field)| {
        let to = match field.data_type() {
            DataType::Int8 => DataType::Int16,
            DataType::List(item) if *item.data_type() == DataType::Int8 => {
                DataType::List(Arc::new(item.as_ref().clone().with_data_type(DataType::Int16)))
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                let spans = with_days(column);
                let field = field.as_ref().clone().with_data_type(spans.data_type().clone());
                return Ok((spans, Arc::new(field)));
            }
            _ => return Ok((column.clone(), field.clone())),
        };
        let column = cast(column, &to).map_err(|e| Error::internal(e.to_string()))?;
        Ok((column, Arc::new(field.as_ref().clone().with_data_type(to))))
    });
    let (columns, fields): (Vec<ArrayRef>, Vec<FieldRef>) =
        columns.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|e| Error::internal(e.to_string()))
}

fn with_days(spans: &ArrayRef) -> ArrayRef {
    let span = |us: i64| {
        let days = i32::try_from(us / DAY_US).unwrap_or(i32::MAX);
        IntervalMonthDayNano::new(0, days, us % DAY_US * 1_000)
    };
    let spans = spans.as_primitive::<DurationMicrosecondType>();
    Arc::new(spans.iter().map(|s| s.map(span)).collect::<IntervalMonthDayNanoArray>())
}

type RowsOf = stream::Iter<Encoder>;

fn flatten(
    batches: BoxStream<'static, PgWireResult<RowsOf>>,
) -> impl futures::Stream<Item = PgWireResult<DataRow>> + Send + 'static {
    batches.flat_map(|batch| match batch {
        Ok(rows) => rows.left_stream(),
        Err(e) => stream::once(async { Err(e) }).right_stream(),
    })
}

/// Never resolves: for rows that are there already.
pub fn not_cancelled() -> Cancelled {
    futures::future::pending().boxed().shared()
}

/// Rows of a batch.
pub struct Encoder {
    batch: RecordBatch,
    fields: Fields,
    row: usize,
    encoder: DataRowEncoder,
}

impl Encoder {
    fn new(batch: RecordBatch, fields: Fields) -> Encoder {
        Encoder { batch, encoder: DataRowEncoder::new(fields.clone()), fields, row: 0 }
    }

    fn cell(&mut self, column: &ArrayRef, field: &Field, info: &FieldInfo) -> PgWireResult<()> {
        let (kind, options) = (info.datatype(), info.format_options());
        let mut put = |text: Option<String>, bytes: Option<Vec<u8>>| match info.format() {
            FieldFormat::Text => self.encoder.encode_field_with_type_and_format(
                &text,
                kind,
                FieldFormat::Text,
                options,
            ),
            binary => self.encoder.encode_field_with_type_and_format(&bytes, kind, binary, options),
        };
        if column.is_null(self.row) {
            return put(None, None);
        }
        match field.data_type() {
            DataType::Decimal128(..) | DataType::Decimal256(..) => {
                let text =
                    array_value_to_string(column, self.row).map_err(|e| internal(e.to_string()))?;
                let bytes = numeric::encode(&text);
                put(Some(text), Some(bytes))
            }
            _ if *kind == Type::JSON => {
                let text = json(column, field, self.row)?;
                put(Some(text.clone()), Some(text.into_bytes()))
            }
            _ => encode_value(&mut self.encoder, column, self.row, field, info),
        }
    }
}

impl Iterator for Encoder {
    type Item = PgWireResult<DataRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.row == self.batch.num_rows() {
            return None;
        }
        let (batch, fields) = (self.batch.clone(), self.fields.clone());
        let schema = batch.schema_ref().fields();
        for ((column, field), info) in batch.columns().iter().zip(schema).zip(fields.iter()) {
            if let Err(e) = self.cell(column, field, info) {
                self.row = self.batch.num_rows();
                return Some(Err(e));
            }
        }
        self.row += 1;
        Some(Ok(self.encoder.take_row()))
    }
}

fn json(column: &ArrayRef, field: &Field, row: usize) -> PgWireResult<String> {
    let schema = Arc::new(Schema::new(vec![field.clone().with_nullable(true)]));
    let cell = RecordBatch::try_new(schema, vec![column.slice(row, 1)])
        .map_err(|e| internal(e.to_string()))?;
    let mut out = vec![];
    write_rows(&cell, Shape::Arrays, &mut out).map_err(|e| refused(&e, None))?;
    let text = String::from_utf8(out).map_err(|e| internal(e.to_string()))?;
    // A row of one value: `[…]`.
    Ok(text.get(1..text.len().saturating_sub(1)).unwrap_or("null").to_string())
}

fn internal(message: String) -> PgWireError {
    refused(&Error::internal(message), None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::arrow::array::{
        Decimal128Array, Int64Array, IntervalMonthDayNanoArray, MapBuilder, StringBuilder,
    };

    use super::*;

    fn row(columns: Vec<(&str, ArrayRef)>, format: Format) -> (Vec<u8>, Vec<Type>) {
        let named = columns.into_iter().map(|(n, a)| (n, a, true));
        let batch = RecordBatch::try_from_iter_with_nullable(named).unwrap();
        let fields = fields(&batch.schema(), &format).unwrap();
        let types = fields.iter().map(|f| f.datatype().clone()).collect();
        let row = Encoder::new(batch, fields).next().unwrap().unwrap();
        (row.data.to_vec(), types)
    }

    fn cell(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat()
    }

    #[test]
    fn decimals_are_whole() {
        let digits = 12_345_678_901_234_567_890_123_456_789_012_345_678_i128;
        let big = Decimal128Array::from(vec![digits]).with_precision_and_scale(38, 30).unwrap();
        let big: ArrayRef = Arc::new(big);
        let text = "12345678.901234567890123456789012345678";
        let (data, types) = row(vec![("d", big.clone())], Format::UnifiedText);
        assert_eq!((data, types), (cell(text.as_bytes()), vec![Type::NUMERIC]));
        let (data, _) = row(vec![("d", big)], Format::UnifiedBinary);
        assert_eq!(data, cell(&numeric::encode(text)));
    }

    #[test]
    fn maps_are_json_and_nothing_is_null() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("a");
        map.values().append_value("é\"");
        map.append(true).unwrap();
        let interval: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![None]));
        let (data, types) =
            row(vec![("m", Arc::new(map.finish())), ("i", interval)], Format::UnifiedBinary);
        let want = [cell("{\"a\":\"é\\\"\"}".as_bytes()), (-1_i32).to_be_bytes().to_vec()];
        assert_eq!((data, types), (want.concat(), vec![Type::JSON, Type::INTERVAL]));
    }

    #[test]
    fn formats_are_counted() {
        let batch = RecordBatch::try_from_iter(vec![
            ("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
            ("b", Arc::new(Int64Array::from(vec![2]))),
        ]);
        let schema = batch.unwrap().schema();
        assert!(fields(&schema, &Format::Individual(vec![0, 1, 0])).is_err());
        let mixed = fields(&schema, &Format::Individual(vec![0, 1])).unwrap();
        assert_eq!(
            (mixed[0].format(), mixed[1].format()),
            (FieldFormat::Text, FieldFormat::Binary)
        );
    }
}
