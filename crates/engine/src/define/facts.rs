//! What is known of objects, in the shapes that SHOW, DESCRIBE and `/metrics` are made of.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use schemars::JsonSchema;
use serde::Serialize;

/// A column as DESCRIBE shows it.
pub struct Described {
    pub name: String,
    pub data_type: String,
    pub nullable: bool,
    pub comment: String,
}

impl Described {
    pub fn new(field: &Field, comment: String) -> Described {
        Described {
            name: field.name().clone(),
            data_type: formats::types::sql_name(field.data_type()),
            nullable: field.is_nullable(),
            comment,
        }
    }
}

/// A column as REST shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Column")]
pub struct ColumnInfo {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    pub nullable: bool,
}

pub fn columns(schema: &Schema) -> Vec<ColumnInfo> {
    let info = |f: &Arc<Field>| ColumnInfo {
        name: f.name().clone(),
        data_type: formats::types::sql_name(f.data_type()),
        nullable: f.is_nullable(),
    };
    schema.fields().iter().map(info).collect()
}

/// A family of samples, labelled by the name of the object.
pub struct Family {
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    pub help: &'static str,
    pub samples: Vec<(String, f64)>,
}

impl Family {
    pub fn counter(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) -> Family {
        Family { name, kind: "counter", help, samples: samples.into_iter().collect() }
    }

    pub fn gauge(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) -> Family {
        Family { name, kind: "gauge", help, samples: samples.into_iter().collect() }
    }
}

pub fn texts<T: Into<String>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values.into_iter().map(Into::into)))
}

pub fn options(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

pub fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.into_iter().map(|n| n as i64)))
}
