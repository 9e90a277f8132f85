//! A topic, where rows enter the graph. What is late is found before (`late.rs`).

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use common::{Error, Result};
use graph::{Node, Source, error};

use crate::operator::Operator;
use crate::operators::{Place, Spec, Upkeep};
use crate::rows::as_type;

impl Spec for Source {
    fn title(&self, _node: &Node) -> String {
        format!("read topic '{}'", self.topic)
    }

    fn upkeep(&self, _place: &Place) -> Upkeep {
        let state = match &self.watermark {
            None => "its offsets".into(),
            Some(w) => {
                let delay = duration(w.delay_us);
                format!("its offsets, and the watermark: {} less {delay}", w.column)
            }
        };
        Upkeep::incremental(state, "a few bytes a partition")
    }

    fn create(&self, _place: &Place) -> Result<Option<Box<dyn Operator>>> {
        Ok(None)
    }
}

fn duration(us: i64) -> String {
    match us {
        us if us % 1_000_000 == 0 => format!("{} s", us / 1_000_000),
        us if us % 1_000 == 0 => format!("{} ms", us / 1_000),
        us => format!("{us} us"),
    }
}

/// The first `width` columns of a source, found by name.
pub(crate) fn select(source: &Source, width: usize, batch: &RecordBatch) -> Result<RecordBatch> {
    let fields = source.schema.fields().iter().take(width).cloned().collect::<Vec<_>>();
    let columns = fields.iter().map(|f| match batch.column_by_name(f.name()) {
        Some(column) => as_type(column, f.data_type()),
        None => Err(Error::internal(format!(
            "a batch of topic '{}' lacks column '{}'",
            source.topic,
            f.name()
        ))),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(error::arrow)
}
