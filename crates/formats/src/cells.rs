//! Arrow columns made ready for writing row by row: one downcast per column, not per value. The
//! text of a scalar is the same in JSON and CSV; only the quotes around it differ.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use common::{Error, Result};

use crate::json::write_string;
use crate::number::tens;
use crate::text::base64_text;
use crate::time;
use crate::types::{platform, sql_name};

/// A column to be written.
pub(crate) struct Cells {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Boolean(BooleanArray),
    Int(Int64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Decimal(Decimal128Array, u32),
    Text(StringArray),
    Binary(BinaryArray),
    Date(Date32Array),
    Timestamp {
        values: TimestampMicrosecondArray,
        utc: bool,
    },
    List {
        offsets: OffsetBuffer<i32>,
        items: Box<Cells>,
    },
    Struct(Vec<Field>),
    Map {
        offsets: OffsetBuffer<i32>,
        keys: StringArray,
        values: Box<Cells>,
    },
    /// Types the platform does not have (INTERVAL, TIME): as Arrow shows them.
    Other(ArrayRef),
}

/// A column with its name as JSON writes it: `"name":`.
pub(crate) struct Field {
    pub name: Vec<u8>,
    pub cells: Cells,
}

impl Field {
    pub fn new(name: &str, array: &ArrayRef) -> Result<Self> {
        let mut quoted = vec![];
        write_string(name.as_bytes(), &mut quoted);
        quoted.push(b':');
        Ok(Self { name: quoted, cells: Cells::new(array)? })
    }
}

/// The array in another type; an error, not a NULL, where a value does not fit.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|e| {
        let (from, to) = (sql_name(array.data_type()), sql_name(to));
        Error::unsupported(format!("cannot write a column of type {from} as {to}")).caused_by(e)
    })
}

impl Cells {
    pub fn new(array: &ArrayRef) -> Result<Self> {
        let Some(data_type) = platform(array.data_type()) else {
            let nulls = array.logical_nulls();
            return Ok(Self { nulls, values: Values::Other(Arc::clone(array)) });
        };
        let array = cast(array, &data_type)?;
        let values = match &data_type {
            DataType::Boolean => Values::Boolean(array.as_boolean().clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                let wide = cast(&array, &DataType::Int64)?;
                Values::Int(wide.as_primitive::<Int64Type>().clone())
            }
            DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(_, scale) => {
                let scale = u32::try_from(*scale).unwrap_or(0);
                Values::Decimal(array.as_primitive::<Decimal128Type>().clone(), scale)
            }
            DataType::Utf8 => Values::Text(array.as_string::<i32>().clone()),
            DataType::Binary => Values::Binary(array.as_binary::<i32>().clone()),
            DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Timestamp(_, zone) => Values::Timestamp {
                values: array.as_primitive::<TimestampMicrosecondType>().clone(),
                utc: zone.is_some(),
            },
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let items = Box::new(Self::new(list.values())?);
                Values::List { offsets: list.offsets().clone(), items }
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Values::Struct(
                    columns.map(|(f, c)| Field::new(f.name(), c)).collect::<Result<_>>()?,
                )
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let keys = map.keys().as_string::<i32>().clone();
                let values = Box::new(Self::new(map.values())?);
                Values::Map { offsets: map.offsets().clone(), keys, values }
            }
            _ => Values::Other(Arc::clone(&array)),
        };
        Ok(Self { nulls: array.logical_nulls(), values })
    }

    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|n| n.is_null(row))
    }

    /// The value without quotes; nested ones as JSON. For values that are not NULL.
    pub fn write_text(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Boolean(a) => {
                out.extend_from_slice(if a.value(row) { b"true" } else { b"false" });
            }
            Values::Int(a) => print(a.value(row), out),
            Values::Float32(a) => print_float(a.value(row), f64::from(a.value(row)), out),
            Values::Float64(a) => print_float(a.value(row), a.value(row), out),
            Values::Decimal(a, scale) => print_decimal(a.value(row), *scale, out),
            Values::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Values::Binary(a) => out.extend_from_slice(base64_text(a.value(row)).as_bytes()),
            Values::Date(a) => time::write_date(i64::from(a.value(row)), out),
            Values::Timestamp { values, utc } => {
                time::write_timestamp(values.value(row), *utc, out)
            }
            Values::Other(a) => {
                let shown = array_value_to_string(a, row).unwrap_or_default();
                out.extend_from_slice(shown.as_bytes());
            }
            _ => self.write_json(row, false, out),
        }
    }

    /// The value as JSON. `nulls` says whether objects name their NULL members.
    pub fn write_json(&self, row: usize, nulls: bool, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.values {
            Values::Text(a) => write_string(a.value(row).as_bytes(), out),
            Values::Float32(a) if !a.value(row).is_finite() => self.write_quoted(row, out),
            Values::Float64(a) if !a.value(row).is_finite() => self.write_quoted(row, out),
            Values::Binary(_) | Values::Date(_) | Values::Timestamp { .. } => {
                self.write_quoted(row, out);
            }
            Values::Other(_) => {
                let mut text = vec![];
                self.write_text(row, &mut text);
                write_string(&text, out);
            }
            Values::List { offsets, items } => {
                out.push(b'[');
                for i in offsets[row] as usize..offsets[row + 1] as usize {
                    if i > offsets[row] as usize {
                        out.push(b',');
                    }
                    items.write_json(i, nulls, out);
                }
                out.push(b']');
            }
            Values::Struct(fields) => write_object(fields, row, nulls, out),
            Values::Map { offsets, keys, values } => {
                out.push(b'{');
                for i in offsets[row] as usize..offsets[row + 1] as usize {
                    if i > offsets[row] as usize {
                        out.push(b',');
                    }
                    write_string(keys.value(i).as_bytes(), out);
                    out.push(b':');
                    values.write_json(i, nulls, out);
                }
                out.push(b'}');
            }
            _ => self.write_text(row, out),
        }
    }

    /// For text that needs no escapes.
    fn write_quoted(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        self.write_text(row, out);
        out.push(b'"');
    }
}

/// `{"a":1,"b":2}`.
pub(crate) fn write_object(fields: &[Field], row: usize, nulls: bool, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for field in fields {
        if !nulls && field.cells.is_null(row) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        out.extend_from_slice(&field.name);
        field.cells.write_json(row, nulls, out);
    }
    out.push(b'}');
}

/// Through serde_json for its fast printing; writing to a vector cannot fail.
fn print(value: impl serde::Serialize, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, &value);
}

fn print_float(value: impl serde::Serialize, wide: f64, out: &mut Vec<u8>) {
    match wide {
        _ if wide.is_nan() => out.extend_from_slice(b"NaN"),
        f64::INFINITY => out.extend_from_slice(b"Infinity"),
        f64::NEG_INFINITY => out.extend_from_slice(b"-Infinity"),
        _ => print(value, out),
    }
}

fn print_decimal(value: i128, scale: u32, out: &mut Vec<u8>) {
    let power = tens(i64::from(scale)).unwrap_or(1).unsigned_abs();
    let size = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    let _ = match scale {
        0 => write!(out, "{value}"),
        _ => write!(out, "{sign}{}.{:0width$}", size / power, size % power, width = scale as usize),
    };
}
