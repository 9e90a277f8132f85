//! A page of a view's rows. Without an order the rows come as they are stored, by their keys, and a
//! page costs what it shows however large the view is; with one all rows are looked at, and only
//! those of the page are kept.

use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use common::{Epoch, Error, Result};
use graph::floats;

use crate::flows::view_store::{ReadFrom, RowPlace, ViewStore};
use crate::topics::rows::concat;

/// The page that `query` asks for; `first_key` is the one value that the first key column has.
pub fn read(
    store: &ViewStore,
    query: &ViewQuery,
    first_key: Option<&ArrayRef>,
    stopped: Option<String>,
) -> Result<ViewPage> {
    let snapshot = store.kv().snapshot()?;
    let epoch = store.meta(&snapshot)?.epoch;
    let schema = store.schema();
    check_filters(&schema, &query.filters)?;
    let from = match first_key {
        Some(value) => store.read_first_key(value)?,
        None => from_filters(store, &query.filters)?,
    };
    let (batch, next) = match &query.order {
        None => by_key(store, &snapshot, from, query)?,
        Some(order) => ordered(store, &snapshot, from, query, order)?,
    };
    Ok(ViewPage { schema, batch, epoch, next, stopped })
}

/// Names and values are checked even where no row is looked at.
fn check_filters(schema: &SchemaRef, filters: &[(String, String)]) -> Result<()> {
    let none = RecordBatch::new_empty(schema.clone());
    filters.iter().try_for_each(|(column, value)| equal(&none, column, value).map(|_| ()))
}

/// A filter on the first key column says where to look.
fn from_filters(store: &ViewStore, filters: &[(String, String)]) -> Result<ReadFrom> {
    let schema = store.schema();
    if let graph::OutputKey::Columns(columns) = store.key()
        && let Some(first) = columns.first()
        && !schema.field(*first).data_type().is_floating()
        && let Some((name, value)) = filters.iter().find(|(n, _)| n == schema.field(*first).name())
    {
        return store.read_first_key(&parse_value(name, schema.field(*first).data_type(), value)?);
    }
    Ok(store.read_all())
}

fn by_key(
    store: &ViewStore,
    snapshot: &kv::Snapshot,
    mut from: ReadFrom,
    query: &ViewQuery,
) -> Result<(RecordBatch, Option<String>)> {
    if let Some(token) = &query.after {
        from.after = Some(store.place(token).ok_or_else(|| no_place(token))?);
    }
    if query.filters.is_empty() {
        from.rows_per_batch = from.rows_per_batch.min(query.limit.saturating_add(1));
    }
    let (mut batches, mut left) = (vec![], query.limit);
    let (mut last, mut more): (Option<RowPlace>, bool) = (None, false);
    store.read(snapshot, &from, &mut |batch, places| {
        let keep = wanted(&batch, &query.filters)?;
        let rows: Vec<usize> = (0..batch.num_rows()).filter(|i| keep.value(*i)).collect();
        let some = rows.len().min(left);
        more = rows.len() > left;
        let taken =
            arrow::array::UInt64Array::from_iter_values(rows[..some].iter().map(|i| *i as u64));
        batches.push(arrow::compute::take_record_batch(&batch, &taken).map_err(internal)?);
        left -= some;
        if let Some(i) = rows[..some].last() {
            last = Some(places[*i].clone());
        }
        Ok(!more)
    })?;
    let next = last.filter(|_| more).map(|place| store.token(&place));
    Ok((concat(&store.schema(), &batches)?, next))
}

fn ordered(
    store: &ViewStore,
    snapshot: &kv::Snapshot,
    from: ReadFrom,
    query: &ViewQuery,
    (path, descending): &(String, bool),
) -> Result<(RecordBatch, Option<String>)> {
    let schema = store.schema();
    let first = column(&RecordBatch::new_empty(schema.clone()), path)?;
    let options = SortOptions { descending: *descending, nulls_first: !*descending };
    let mut fields = vec![SortField::new_with_options(first.data_type().clone(), options)];
    fields.extend(schema.fields().iter().map(|f| SortField::new(f.data_type().clone())));
    let converter = RowConverter::new(fields).map_err(internal)?;
    let after = query.after.as_ref().map(|t| Token::parse(t).ok_or_else(|| no_place(t)));
    let after = after.transpose()?;
    // One more than the page tells whether there is another.
    let most = query.limit.saturating_add(1);
    let mut kept: BinaryHeap<Box<[u8]>> = BinaryHeap::new();
    let mut equal_seen = 0;
    store.read(snapshot, &from, &mut |batch, _| {
        let keep = wanted(&batch, &query.filters)?;
        let mut arrays = vec![column(&batch, path)?];
        arrays.extend(batch.columns().iter().cloned());
        let keys = converter.convert_columns(&arrays).map_err(internal)?;
        for (_, key) in keys.iter().enumerate().filter(|(i, _)| keep.value(*i)) {
            let key = key.as_ref();
            if let Some(after) = &after {
                equal_seen += u64::from(key == &*after.key);
                if key < &*after.key || (key == &*after.key && equal_seen <= after.copies) {
                    continue;
                }
            }
            if kept.len() < most {
                kept.push(key.into());
            } else if kept.peek().is_some_and(|largest| key < &**largest) {
                kept.pop();
                kept.push(key.into());
            }
        }
        Ok(true)
    })?;
    let mut keys = kept.into_sorted_vec();
    let more = keys.len() > query.limit;
    keys.truncate(query.limit);
    let parser = converter.parser();
    let columns = converter.convert_rows(keys.iter().map(|k| parser.parse(k))).map_err(internal)?;
    let batch = RecordBatch::try_new(schema, columns[1..].to_vec()).map_err(internal)?;
    let next = keys.last().filter(|_| more).map(|last| {
        let here = keys.iter().filter(|k| *k == last).count() as u64;
        let before = after.as_ref().filter(|a| a.key == *last).map_or(0, |a| a.copies);
        Token { key: last.clone(), copies: here + before }.show()
    });
    Ok((batch, next))
}

/// The last row of a page: its sort key, and how many equal ones were given.
struct Token {
    key: Box<[u8]>,
    copies: u64,
}

impl Token {
    fn show(&self) -> String {
        format!("{}.{}", hex(&self.key), self.copies)
    }

    fn parse(text: &str) -> Option<Token> {
        let (key, copies) = text.split_once('.')?;
        Some(Token { key: unhex(key)?.into(), copies: copies.parse().ok()? })
    }
}

fn no_place(token: &str) -> Error {
    Error::invalid(format!("'{token}' is not a place in this view"))
        .hint("pass the 'next' of the page before as 'after', with the same order")
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::internal(format!("rows of a view: {e}"))
}

/// A column by name; `w.start` is a field of a struct column.
fn column(rows: &RecordBatch, path: &str) -> Result<ArrayRef> {
    let schema = rows.schema();
    let unknown = |name: &str| {
        Error::unknown("column", name, schema.fields().iter().map(|f| f.name().as_str()))
    };
    if let Some(array) = rows.column_by_name(path) {
        return Ok(array.clone());
    }
    let (name, field) = path.split_once('.').ok_or_else(|| as_invalid(unknown(path)))?;
    let array = rows.column_by_name(name).ok_or_else(|| as_invalid(unknown(name)))?;
    let Some(array) = array.as_struct_opt() else {
        return Err(Error::invalid(format!("column '{name}' has no fields")));
    };
    array.column_by_name(field).cloned().ok_or_else(|| {
        as_invalid(Error::unknown("field", field, array.column_names().iter().copied()))
    })
}

/// A wrong parameter is a bad request, not a missing page.
fn as_invalid(e: Error) -> Error {
    let invalid = Error::invalid(e.message());
    match e.hint_text() {
        Some(hint) => invalid.hint(hint),
        None => invalid,
    }
}

pub fn parse_value(name: &str, data_type: &DataType, text: &str) -> Result<ArrayRef> {
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    arrow::compute::cast_with_options(&array, data_type, &options).map_err(|_| {
        let shown = formats::types::sql_name(data_type);
        Error::invalid(format!("column '{name}' is {shown}, '{text}' is not"))
    })
}

/// Which rows have the values asked for.
fn wanted(rows: &RecordBatch, filters: &[(String, String)]) -> Result<BooleanArray> {
    let mut keep = BooleanArray::from(vec![true; rows.num_rows()]);
    for (path, text) in filters {
        keep = arrow::compute::and(&keep, &equal(rows, path, text)?).map_err(internal)?;
    }
    Ok(match keep.null_count() {
        0 => keep,
        _ => arrow::compute::prep_null_mask_filter(&keep),
    })
}

fn equal(rows: &RecordBatch, path: &str, text: &str) -> Result<BooleanArray> {
    let array = column(rows, path)?;
    let value = parse_value(path, array.data_type(), text)?;
    // -0.0 is 0.0, as in SQL.
    let (array, value) = (floats::canonical(&array), floats::canonical(&value));
    let (array, value) = (array.map_err(internal)?, value.map_err(internal)?);
    cmp::eq(&array, &arrow::array::Scalar::new(value))
        .map_err(|e| Error::invalid(format!("comparing column '{path}': {e}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

/// What to read of a view.
#[derive(Clone, Debug, Default)]
pub struct ViewQuery {
    /// Column (or `column.field`) = value, all of them.
    pub filters: Vec<(String, String)>,
    /// Column and whether descending.
    pub order: Option<(String, bool)>,
    pub limit: usize,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Rows of a view at an epoch.
#[derive(Debug)]
pub struct ViewPage {
    pub schema: SchemaRef,
    pub batch: RecordBatch,
    pub epoch: Epoch,
    pub next: Option<String>,
    /// Why the view stands still at this epoch, if it does.
    pub stopped: Option<String>,
}
