//! INSERT, UPDATE, DELETE and MERGE: the query that the statement is (`sql::plan_write`) is run,
//! and what it gives is appended, all of it or nothing. Statements on one topic run one after the
//! other; events that come in through other doors meanwhile are not held up.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type};
use bytes::Bytes;
use catalog::Format;
use common::{Error, Result};
use datafusion::scalar::ScalarValue;
use futures::{FutureExt, TryStreamExt};
use sql::{ACTION, Action as RowAction, KEY, Parameter, Write, WritePlan};

use crate::access::principal::Action;
use crate::query::caller::Caller;
use crate::query::outcome::{Outcome, Rows, Written};
use crate::query::running::{Whole, rows};
use crate::query::values::values_for;
use crate::topics::ingest::TopicWriter;
use crate::topics::log_batches::Keys;
use crate::topics::statement_records::{StatementRecord, write_all};

/// Rows of one statement, and bytes of them: they are held until the last is known.
const ROWS_MAX: usize = 1_000_000;
const BYTES_MAX: usize = 512 << 20;

/// The parameters of a statement that writes.
pub(super) async fn parameters(
    caller: &Caller,
    write: Write,
    whole: Whole,
    given: Vec<Option<DataType>>,
) -> Result<Vec<Parameter>> {
    let writer = target(caller, &write, &whole)?;
    let asking = caller.clone();
    let work = async move { planned(&asking, &write, &writer, &whole, &given).await };
    Ok(caller.inner.compute.run(work).await?.1.parameters)
}

/// Runs it, with a value for each parameter.
pub(super) async fn run(
    caller: &Caller,
    write: Write,
    whole: Whole,
    given: Vec<(ScalarValue, Parameter)>,
) -> Result<Outcome> {
    let writer = target(caller, &write, &whole)?;
    if given.is_empty() {
        sql::refuse_parameters(&write.text, &|span| whole.place(span))?;
    }
    let values = values_for(given, &whole)?;
    let _turn = writer.statements.lock().await;
    let (asking, on, place) = (caller.clone(), writer.clone(), whole.clone());
    let (verb, topic) = (write.verb, write.target.clone());
    let (told, first_only) = tokio::sync::oneshot::channel();
    let plan = async move {
        let types: Vec<_> = values.iter().map(|v| Some(v.data_type())).collect();
        let (state, plan) = planned(&asking, &write, &on, &place, &types).await?;
        let _ = told.send(plan.first_only);
        Ok((state, sql::bind(plan.plan, values)?))
    };
    let found = rows(&caller.inner, plan.boxed(), whole, None).await?;
    let first_only = first_only.await.unwrap_or_default();
    let records = records(&writer, gathered(found).await?, first_only)?;
    let rows = records.len() as u64;
    write_all(&caller.inner, &writer, records).await?;
    Ok(Outcome::Written(Written { verb, topic, rows }))
}

/// The topic that is written to.
fn target(caller: &Caller, write: &Write, whole: &Whole) -> Result<Arc<TopicWriter>> {
    caller.may(Action::Write, Some(&write.target))?;
    let registry = caller.inner.registry();
    let is_view = registry.readable(&write.target).is_some();
    drop(registry);
    let at = write.span.start - write.start..write.span.end - write.start;
    if is_view {
        let e =
            Error::unsupported(format!("'{}' is a view, which is not written to", write.target));
        return Err(e.hint("write to the topics it is made from").at(whole.place(at)));
    }
    caller.inner.topic_writer(&write.target).map_err(|e| e.at(whole.place(at)))
}

async fn planned(
    caller: &Caller,
    write: &Write,
    writer: &TopicWriter,
    whole: &Whole,
    given: &[Option<DataType>],
) -> Result<(datafusion::execution::SessionState, WritePlan)> {
    let state = crate::query::names::session(caller)?;
    let place = |span| whole.place(span);
    let plan = sql::plan_write(&state, write, &writer.topic, given, &place).await?;
    Ok((state, plan))
}

/// All rows that something becomes of.
async fn gathered(found: Rows) -> Result<RecordBatch> {
    let (schema, mut batches) = (found.schema, found.batches);
    let (mut all, mut count, mut bytes) = (vec![], 0, 0);
    while let Some(batch) = batches.try_next().await? {
        count += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if count > ROWS_MAX || bytes > BYTES_MAX {
            let what = format!("one statement writes {ROWS_MAX} rows at most");
            return Err(Error::too_large(what).hint("write in several statements, or by a SINK"));
        }
        all.push(batch);
    }
    concat_batches(&schema, &all).map_err(|e| Error::internal(format!("rows to be written: {e}")))
}

fn records(
    writer: &TopicWriter,
    batch: RecordBatch,
    first_only: bool,
) -> Result<Vec<StatementRecord>> {
    let actions = column(&batch, ACTION)?.as_primitive::<Int32Type>().clone();
    let there = column(&batch, KEY)?.as_binary::<i32>().clone();
    let columns: Vec<usize> = (0..batch.num_columns())
        .filter(|i| !matches!(batch.schema().field(*i).name().as_str(), ACTION | KEY))
        .collect();
    let batch = batch
        .project(&columns)
        .map_err(|e| Error::internal(format!("columns to be written: {e}")))?;
    let key_column = writer.topic.key.as_ref().and_then(|key| batch.column_by_name(key));
    let keys = key_column.map(Keys::new).transpose()?;
    let values = values(writer, &batch)?;
    let is_table = writer.topic.format.is_table();
    let mut seen: HashMap<Bytes, usize> = HashMap::new();
    let mut records = vec![];
    for (i, action) in actions.iter().enumerate() {
        let action = action.unwrap_or_default();
        if action == RowAction::Nothing as i32 {
            continue;
        }
        let own = keys.as_ref().and_then(|keys| keys.get(i)).map(Bytes::copy_from_slice);
        let key = match there.is_valid(i) {
            true => Some(Bytes::copy_from_slice(there.value(i))),
            false => own,
        };
        if action == RowAction::Exists as i32 {
            return Err(exists(writer, key.as_deref()));
        }
        if is_table && let Some(key) = &key {
            match seen.insert(key.clone(), i) {
                Some(_) if first_only => continue,
                Some(_) => return Err(twice(writer, key)),
                None => {}
            }
        }
        let value = (action == RowAction::Put as i32).then(|| values[i].clone()).flatten();
        records.push(StatementRecord { key, value });
    }
    Ok(records)
}

/// What the log keeps of each row: NULLs too, where a column has a default.
fn values(writer: &TopicWriter, batch: &RecordBatch) -> Result<Vec<Option<Bytes>>> {
    if batch.num_columns() == 0 {
        return Ok(vec![None; batch.num_rows()]);
    }
    if writer.topic.format == Format::Raw {
        let column = batch.column(0).as_binary::<i32>();
        return Ok(column.iter().map(|v| v.map(Bytes::copy_from_slice)).collect());
    }
    let encoded = formats::json::encode_nulls(batch)?;
    Ok(encoded.iter().map(|row| Some(Bytes::copy_from_slice(row))).collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Arc<dyn Array>> {
    batch.column_by_name(name).ok_or_else(|| Error::internal(format!("no column '{name}'")))
}

fn exists(writer: &TopicWriter, key: Option<&[u8]>) -> Error {
    let key = String::from_utf8_lossy(key.unwrap_or_default());
    Error::already_exists(format!("'{}' has a row with key '{key}' already", writer.topic.name))
        .hint("nothing was written; say ON CONFLICT DO UPDATE SET … or DO NOTHING, or MERGE")
}

fn twice(writer: &TopicWriter, key: &[u8]) -> Error {
    let key = String::from_utf8_lossy(key);
    let what =
        format!("the statement writes the row with key '{key}' of '{}' twice", writer.topic.name);
    Error::invalid(what).hint("nothing was written; make the rows it is written from distinct")
}
