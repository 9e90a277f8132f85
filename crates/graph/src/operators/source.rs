//! Topics, and which of their rows are late.

use arrow::datatypes::SchemaRef;

use super::{Expr, list};

/// A topic. `schema` is what has to be decoded; the first `width` columns go on.
#[derive(Clone, Debug)]
pub struct Source {
    pub topic: String,
    pub schema: SchemaRef,
    pub width: usize,
    pub partitions: i32,
    /// Set when the graph has windows that close.
    pub watermark: Option<Watermark>,
    pub late: Vec<LateRule>,
}

/// Event time as far as known: the greatest value of `column` seen, less `delay_us`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    pub column: String,
    pub delay_us: i64,
}

/// A row of the source that passes `predicate` is late when the end of its `window` is not after
/// the watermark. Both read the source's `schema`.
#[derive(Clone, Debug)]
pub struct LateRule {
    pub window: Expr,
    /// From the end of `window` to the end of the last window of a row, if those slide.
    pub further_us: i64,
    pub predicate: Option<Expr>,
    /// The window is over the event time column itself, so a row not older than the watermark
    /// can't be late.
    pub direct: bool,
}

impl Source {
    pub(super) fn digest(&self) -> String {
        let fields = self.schema.fields().iter();
        let fields = list(fields.map(|f| format!("{} {}", f.name(), f.data_type())));
        let late = self.late.iter().map(|rule| {
            let predicate = list(&rule.predicate);
            format!("{} {} {predicate} {}", rule.window, rule.further_us, rule.direct)
        });
        let (topic, width, late) = (&self.topic, self.width, list(late));
        format!("source {topic} {width} {fields} {:?} {late}", self.watermark)
    }
}
