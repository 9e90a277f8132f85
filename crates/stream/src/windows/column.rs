//! A window in a key is kept as its start: the end follows from the size, and one timestamp is
//! much cheaper to encode than a struct of two.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields, TimeUnit, TimestampMicrosecondType};
use common::{Error, Result};
use graph::{Key, Window, WindowPart, error};

use crate::rows::as_type;

/// The window that a key column of structs holds; none for other columns.
pub(crate) fn whole(key: &Key) -> Option<Window> {
    let is_struct = matches!(key.data_type, DataType::Struct(_));
    key.window.filter(|w| w.part == WindowPart::Whole && is_struct).map(|w| w.window)
}

/// The start of each window; NULL where the window is.
pub(crate) fn start(column: &ArrayRef) -> Result<ArrayRef> {
    let Some(window) = column.as_struct_opt() else {
        return Err(Error::internal("a window column is not a struct"));
    };
    let start = window.column(0);
    if window.null_count() == 0 {
        return Ok(start.clone());
    }
    let nulls = arrow::buffer::NullBuffer::union(start.nulls(), window.nulls());
    let data = start.to_data().into_builder().nulls(nulls).build().map_err(error::arrow)?;
    Ok(arrow::array::make_array(data))
}

/// The windows that begin then.
pub(crate) fn of_start(start: &ArrayRef, fields: &Fields, window: Window) -> Result<ArrayRef> {
    let size_us = window.size_us();
    let end: TimestampMicrosecondArray = micros(start)?.unary(|v| v.wrapping_add(size_us));
    let end = as_type(&(Arc::new(end) as ArrayRef), fields[1].data_type())?;
    let start = as_type(start, fields[0].data_type())?;
    let nulls = start.nulls().cloned();
    let window = StructArray::try_new(fields.clone(), vec![start, end], nulls);
    Ok(Arc::new(window.map_err(error::arrow)?))
}

/// A time column as microseconds.
pub(crate) fn micros(column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let micros = match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => column.clone(),
        _ => {
            cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(error::arrow)?
        }
    };
    Ok(micros.as_primitive::<TimestampMicrosecondType>().clone())
}
