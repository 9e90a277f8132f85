//! Columns under construction. A row that turns out bad is taken back with `truncate`, whatever
//! was already pushed for it, so that one bad record never harms its neighbours; and the vectors
//! become Arrow arrays without a copy.

use std::mem::take;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, ListArray, MapArray,
    NullBufferBuilder, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use common::{Error, Result};

use crate::fault::{Fault, RefusedKind};
use crate::json::Object;
use crate::types::sql_name;

/// One column: its declaration and the values so far.
#[derive(Debug)]
pub(crate) struct Column {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    /// What a record has that lacks it, as JSON.
    pub default: Option<Box<[u8]>>,
    /// Its length is the column's length; values may run ahead within an unfinished row.
    pub nulls: NullBufferBuilder,
    pub values: Values,
}

#[derive(Debug)]
pub(crate) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    Text(Strings),
    Binary(Strings),
    Date(Vec<i32>),
    Timestamp { values: Vec<i64>, zoned: bool },
    List { offsets: Vec<i32>, child: Box<Column> },
    Struct(Box<Object>),
    Map { offsets: Vec<i32>, keys: Strings, values: Box<Column> },
}

/// Strings of bytes, one after the other.
#[derive(Debug)]
pub(crate) struct Strings {
    pub offsets: Vec<i32>,
    pub bytes: Vec<u8>,
}

impl Strings {
    fn new() -> Self {
        Self { offsets: vec![0], bytes: vec![] }
    }

    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.close();
    }

    /// Ends the value whose bytes were pushed. No overflow: decoders bound their input to 2 GiB.
    pub fn close(&mut self) {
        self.offsets.push(self.bytes.len() as i32);
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.bytes.truncate(self.offsets.last().map_or(0, |n| *n as usize));
    }

    /// Offsets and bytes; leaves room for as much again.
    fn take(&mut self) -> (OffsetBuffer<i32>, Vec<u8>) {
        let (rows, bytes) = (self.offsets.len(), self.bytes.len());
        let offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(rows));
        self.offsets.push(0);
        let taken = std::mem::replace(&mut self.bytes, Vec::with_capacity(bytes));
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), taken)
    }
}

impl Values {
    fn new(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int8 => Self::Int8(vec![]),
            DataType::Int16 => Self::Int16(vec![]),
            DataType::Int32 => Self::Int32(vec![]),
            DataType::Int64 => Self::Int64(vec![]),
            DataType::Float32 => Self::Float32(vec![]),
            DataType::Float64 => Self::Float64(vec![]),
            DataType::Decimal128(precision, scale) => {
                Self::Decimal { values: vec![], precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Self::Text(Strings::new()),
            DataType::Binary => Self::Binary(Strings::new()),
            DataType::Date32 => Self::Date(vec![]),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Self::Timestamp { values: vec![], zoned: zone.is_some() }
            }
            DataType::List(item) => {
                Self::List { offsets: vec![0], child: Box::new(Column::new(item)?) }
            }
            DataType::Struct(fields) if !fields.is_empty() => {
                Self::Struct(Box::new(Object::new(fields, None)?))
            }
            DataType::Map(entries, _) => {
                let value = map_value(entries).ok_or_else(|| unsupported(data_type))?;
                let values = Box::new(Column::new(value)?);
                Self::Map { offsets: vec![0], keys: Strings::new(), values }
            }
            other => return Err(unsupported(other)),
        })
    }
}

fn unsupported(data_type: &DataType) -> Error {
    Error::unsupported(format!("a topic cannot have a column of type {}", sql_name(data_type)))
}

/// The value field of a map with text keys.
fn map_value(entries: &Field) -> Option<&Field> {
    let DataType::Struct(fields) = entries.data_type() else {
        return None;
    };
    match fields.as_ref() {
        [key, value] if *key.data_type() == DataType::Utf8 => Some(value),
        _ => None,
    }
}

impl Column {
    pub fn new(field: &Field) -> Result<Self> {
        Ok(Self {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            default: None,
            nulls: NullBufferBuilder::new(0),
            values: Values::new(field.data_type())?,
        })
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Takes rows back, and the remains of an unfinished one.
    pub fn truncate(&mut self, len: usize) {
        self.nulls.truncate(len);
        match &mut self.values {
            Values::Boolean(v) => v.truncate(len),
            Values::Int8(v) => v.truncate(len),
            Values::Int16(v) => v.truncate(len),
            Values::Int32(v) | Values::Date(v) => v.truncate(len),
            Values::Int64(v) | Values::Timestamp { values: v, .. } => v.truncate(len),
            Values::Float32(v) => v.truncate(len),
            Values::Float64(v) => v.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
            Values::Text(s) | Values::Binary(s) => s.truncate(len),
            Values::List { offsets, child } => {
                offsets.truncate(len + 1);
                child.truncate(end_of(offsets));
            }
            Values::Struct(object) => object.truncate(len),
            Values::Map { offsets, keys, values } => {
                offsets.truncate(len + 1);
                keys.truncate(end_of(offsets));
                values.truncate(end_of(offsets));
            }
        }
    }

    /// A NULL that the data asks for, or a value that is not there.
    pub fn push_missing(&mut self, said_null: bool) -> Result<(), Fault> {
        if !self.nullable {
            let reason = match said_null {
                true => format!("'{}' must not be NULL", self.name),
                false => format!("'{}' is missing and must not be NULL", self.name),
            };
            return Err(Fault::new(RefusedKind::Missing, reason));
        }
        self.push_null();
        Ok(())
    }

    /// A NULL, declared or not: under a NULL struct every field is one.
    pub fn push_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Boolean(v) => v.append(false),
            Values::Int8(v) => v.push(0),
            Values::Int16(v) => v.push(0),
            Values::Int32(v) | Values::Date(v) => v.push(0),
            Values::Int64(v) | Values::Timestamp { values: v, .. } => v.push(0),
            Values::Float32(v) => v.push(0.0),
            Values::Float64(v) => v.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(s) | Values::Binary(s) => s.close(),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => {
                offsets.push(end_of(offsets) as i32);
            }
            Values::Struct(object) => object.columns.iter_mut().for_each(Self::push_null),
        }
    }

    /// The array of all rows; the column is empty afterwards.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = self.nulls.finish();
        let data_type = &self.data_type;
        macro_rules! primitive {
            ($type:ty, $values:expr) => {{
                let capacity = $values.len();
                let values = std::mem::replace($values, Vec::with_capacity(capacity));
                let array = PrimitiveArray::<$type>::try_new(native::<$type>(values), nulls)
                    .map_err(broken)?;
                Arc::new(array.with_data_type(data_type.clone()))
            }};
        }
        Ok(match &mut self.values {
            Values::Boolean(v) => Arc::new(BooleanArray::new(v.finish(), nulls)),
            Values::Int8(v) => primitive!(Int8Type, v),
            Values::Int16(v) => primitive!(Int16Type, v),
            Values::Int32(v) => primitive!(Int32Type, v),
            Values::Int64(v) => primitive!(Int64Type, v),
            Values::Float32(v) => primitive!(Float32Type, v),
            Values::Float64(v) => primitive!(Float64Type, v),
            Values::Decimal { values, .. } => primitive!(Decimal128Type, values),
            Values::Date(v) => primitive!(Date32Type, v),
            Values::Timestamp { values, .. } => primitive!(TimestampMicrosecondType, values),
            Values::Text(s) => {
                let (offsets, bytes) = s.take();
                Arc::new(StringArray::try_new(offsets, bytes.into(), nulls).map_err(broken)?)
            }
            Values::Binary(s) => {
                let (offsets, bytes) = s.take();
                Arc::new(BinaryArray::try_new(offsets, bytes.into(), nulls).map_err(broken)?)
            }
            Values::List { offsets, child } => {
                let DataType::List(item) = data_type else {
                    return Err(unsupported(data_type));
                };
                let offsets = take_offsets(offsets);
                let values = child.finish()?;
                let array = ListArray::try_new(item.clone(), offsets, values, nulls);
                Arc::new(array.map_err(broken)?)
            }
            Values::Struct(object) => {
                let DataType::Struct(fields) = data_type else {
                    return Err(unsupported(data_type));
                };
                let arrays = object.columns.iter_mut().map(Self::finish).collect::<Result<_>>()?;
                Arc::new(StructArray::try_new(fields.clone(), arrays, nulls).map_err(broken)?)
            }
            Values::Map { offsets, keys, values } => {
                let DataType::Map(entries, sorted) = data_type else {
                    return Err(unsupported(data_type));
                };
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(unsupported(data_type));
                };
                let offsets = take_offsets(offsets);
                let (ends, bytes) = keys.take();
                let keys = StringArray::try_new(ends, bytes.into(), None).map_err(broken)?;
                let arrays: Vec<ArrayRef> = vec![Arc::new(keys), values.finish()?];
                let pairs = StructArray::try_new(fields.clone(), arrays, None).map_err(broken)?;
                let array = MapArray::try_new(entries.clone(), offsets, pairs, nulls, *sorted);
                Arc::new(array.map_err(broken)?)
            }
        })
    }
}

fn native<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ScalarBuffer<T::Native> {
    ScalarBuffer::from(values)
}

fn end_of(offsets: &[i32]) -> usize {
    offsets.last().map_or(0, |n| *n as usize)
}

fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = take(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(taken))
}

fn broken(e: arrow::error::ArrowError) -> Error {
    Error::internal("decoded values do not form an array").caused_by(e)
}
