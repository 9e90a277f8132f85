//! From a topic's declared columns to a table's and back. Delta knows fewer types than Arrow: what
//! it lacks is stored in the nearest type that holds every value, and cast back when read
//! (`exact.rs`). All columns are nullable, so that a new one can be added at any time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use common::{Error, Result};
use datafusion::common::ScalarValue;
use formats::{HIDDEN, headers, hidden_fields};

/// The columns of a topic.
#[derive(Clone, Debug)]
pub struct Declared {
    pub schema: SchemaRef,
    /// What rows have that were there before a column, by its name.
    pub defaults: HashMap<String, ScalarValue>,
}

impl Declared {
    /// As the type it is stored as; NULL where there is none.
    pub(crate) fn default_of(&self, column: &str, stored: &DataType) -> Result<ScalarValue> {
        let bad = |e| Error::internal(format!("the default of '{column}'")).caused_by(e);
        match self.defaults.get(column) {
            Some(value) => value.cast_to(stored).map_err(bad),
            None => ScalarValue::try_from(stored).map_err(bad),
        }
    }
}

impl From<SchemaRef> for Declared {
    fn from(schema: SchemaRef) -> Declared {
        Declared { schema, defaults: HashMap::new() }
    }
}

/// The declared columns (hidden ones among them are ignored), then the hidden ones; all nullable.
pub fn with_hidden(declared: &Schema) -> SchemaRef {
    let declared = declared.fields().iter().filter(|f| !HIDDEN.contains(&f.name().as_str()));
    let fields = declared.map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
    let hidden = hidden_fields().map(|f| Arc::new(f.with_nullable(true)));
    Arc::new(Schema::new(fields.chain(hidden).collect::<Fields>()))
}

/// Whether a table can have these columns.
pub fn check_columns(declared: &Schema) -> Result<()> {
    stored(declared).map(|_| ())
}

/// How the columns are stored: the hidden ones first, because Delta keeps statistics of the first
/// 32 only and those of `_partition` and `_offset` matter most.
pub(crate) fn stored(declared: &Schema) -> Result<SchemaRef> {
    let schema = with_hidden(declared);
    let mut names = HashSet::new();
    let mut fields = vec![];
    for field in schema.fields() {
        let name = field.name();
        let hint = "rename the column, or set archive = 'false' for the topic";
        if name.is_empty() || name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=']) {
            let text = format!("a Delta table cannot have a column named '{name}'");
            return Err(Error::unsupported(text).hint(hint));
        }
        if !names.insert(name.to_lowercase()) {
            let text = format!("a Delta table cannot have two columns named '{name}' in any case");
            return Err(Error::unsupported(text).hint(hint));
        }
        let data_type = stored_type(field.data_type()).ok_or_else(|| {
            let text = format!("column '{name}' of type {} has no Delta type", field.data_type());
            Error::unsupported(text).hint("declare another type, or set archive = 'false'")
        })?;
        fields.push(Field::new(name, data_type, true));
    }
    fields.rotate_right(HIDDEN.len());
    Ok(Arc::new(Schema::new(fields)))
}

/// The type a value is stored as; none if Delta has no type for it.
pub(crate) fn stored_type(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    let element = |f: &FieldRef, name: &str, nullable: bool| {
        Some(Arc::new(Field::new(name, stored_type(f.data_type())?, nullable)))
    };
    Some(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 => {
            data_type.clone()
        }
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date32 | T::Date64 => T::Date32,
        // Without a zone it would need a table feature that older readers lack.
        T::Timestamp(_, _) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) if *s >= 0 => {
            T::Decimal128(*p, *s)
        }
        T::Dictionary(_, value) => stored_type(value)?,
        T::List(f) | T::LargeList(f) | T::ListView(f) | T::FixedSizeList(f, _) => {
            T::List(element(f, "element", true)?)
        }
        T::Struct(fields) => {
            let fields = fields.iter().map(|f| element(f, f.name(), true));
            T::Struct(fields.collect::<Option<Fields>>()?)
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => {
                let pair = [element(&pair[0], "key", false)?, element(&pair[1], "value", true)?];
                T::Map(Arc::new(Field::new("key_value", T::Struct(pair.into()), false)), false)
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Brings a batch into the table's schema: columns by name, cast where stored otherwise, null where
/// the batch has none.
pub(crate) fn conform(batch: &RecordBatch, table: &SchemaRef) -> Result<RecordBatch> {
    for field in batch.schema().fields() {
        if table.column_with_name(field.name()).is_none() {
            let text = format!("column '{}' was not declared to the archive", field.name());
            return Err(Error::internal(text));
        }
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = table.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) if is_headers_as_text(field) => headers_as_text(column),
        Some(column) => cast_with_options(column, field.data_type(), &options).map_err(|e| {
            Error::invalid(format!("column '{}' does not fit the archive: {e}", field.name()))
        }),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(table.clone(), columns, &options)
        .map_err(|e| Error::internal("a batch does not fit its archive").caused_by(e))
}

/// Tables of before this have the headers of records as text, and keep them so.
pub(crate) fn is_headers_as_text(field: &Field) -> bool {
    field.name() == "_headers" && field.data_type() == &DataType::Utf8
}

fn headers_as_text(column: &ArrayRef) -> Result<ArrayRef> {
    match column.as_list_opt::<i32>() {
        Some(list) => Ok(Arc::new(headers::to_text(list))),
        None => Err(Error::internal("headers are a list")),
    }
}
