//! The columns that every table over a topic has behind the declared ones: where a row is in the
//! log, and what its record had beside the value. `*` does not show them.

use arrow::datatypes::{DataType, Field};

use crate::{headers, types};

/// Their names, in their order.
pub const HIDDEN: [&str; 5] = ["_partition", "_offset", "_key", "_headers", "_arrived"];

pub fn hidden_fields() -> [Field; 5] {
    let [partition, offset, key, headers, arrived] = HIDDEN;
    [
        Field::new(partition, DataType::Int32, false),
        Field::new(offset, DataType::Int64, false),
        Field::new(key, DataType::Binary, true),
        Field::new(headers, headers::data_type(), true),
        Field::new(arrived, types::timestamp(), false),
    ]
}
