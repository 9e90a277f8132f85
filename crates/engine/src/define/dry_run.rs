//! Runs the graph of a new view on two rows before the view is made: one of NULLs, one of zeros and
//! empty texts. What can never run (an aggregate that wants a literal and gets a column) is refused
//! then, and not found by the first event. Faults of these rows' values say nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use common::{Error, Kind, Offset, Partition, Result};
use datafusion::scalar::ScalarValue;
use graph::Graph;
use stream::Job;

/// An error if no row at all could be computed.
pub fn check(graph: &Graph) -> Result<()> {
    for value in [null, zero] {
        // Made of the query alone: whatever is wrong here is wrong with it.
        let job = Job::new(graph).map_err(sql::stream_error)?;
        match run(graph, job, value).map_err(sql::stream_error) {
            Err(e) if matches!(e.kind(), Kind::Internal | Kind::Unsupported) => {
                return Err(refused(&e));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refused(e: &Error) -> Error {
    let text = "this can't be kept up to date";
    let e = match e.kind() {
        // Words of a library about itself.
        Kind::Internal => Error::unsupported(text),
        _ => Error::unsupported(format!("{text}: {}", e.message())),
    };
    e.hint("ask for it in a query instead of a view")
}

fn run(graph: &Graph, mut job: Job, value: fn(&DataType) -> ArrayRef) -> Result<()> {
    let mut columns: BTreeMap<&str, Vec<Arc<Field>>> = BTreeMap::new();
    for source in graph.sources() {
        let known = columns.entry(source.topic.as_str()).or_default();
        for field in source.schema.fields() {
            if known.iter().all(|f| f.name() != field.name()) {
                known.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            }
        }
    }
    for (topic, fields) in columns {
        let arrays = fields.iter().map(|f| value(f.data_type())).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let schema = Arc::new(Schema::new(fields));
        let row = RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|e| Error::internal(format!("making a row of '{topic}': {e}")))?;
        job.push(topic, Partition(0), &row, &[1], Offset(1))?;
    }
    job.seal(true).map(|_| ())
}

fn null(data_type: &DataType) -> ArrayRef {
    new_null_array(data_type, 1)
}

fn zero(data_type: &DataType) -> ArrayRef {
    let zero = ScalarValue::new_default(data_type).and_then(|v| v.to_array());
    zero.unwrap_or_else(|_| null(data_type))
}
