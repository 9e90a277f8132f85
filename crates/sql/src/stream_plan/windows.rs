//! Windows that close: which columns stand for one, and which rows of a topic are late for it.

use std::sync::Arc;

use common::{Error, Result};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use graph::{KeyWindow, LateRule, NodeKind, WindowPart};

use super::build::{Builder, Part};
use super::plan_error;
use super::trace::{window_call, window_size};

/// A late rule still said in SQL.
pub(super) struct Rule {
    pub source: usize,
    window: Expr,
    further_us: i64,
    predicate: Option<Expr>,
    direct: bool,
}

impl Builder<'_> {
    /// State will be dropped when the window `expr` closes, so rows that come later for it are
    /// late from here on.
    pub(super) fn close_by(&mut self, expr: &Expr, part: &Part) -> Result<()> {
        for path in &part.known.paths {
            let call = match path.say(expr, &part.schema)? {
                Some(said) => window_call(&said),
                None => path.sliding.clone(),
            };
            let Some(Expr::ScalarFunction(call)) = call else {
                return Err(Error::internal("a window that closes has no call"));
            };
            let (size, time) = (window_size(&call.args)?, call.args[0].clone());
            let direct =
                matches!(&time, Expr::Column(c) if Some(&c.name) == path.event_time.as_ref());
            let predicate = conjunction(path.filters.clone());
            self.rules.push(Rule {
                source: path.source,
                window: size.last_slide(time),
                further_us: size.window().further_us(),
                predicate,
                direct,
            });
        }
        Ok(())
    }

    /// Topics with windows that close get their event time, the position of rows, and the rules.
    pub(super) fn finish_topics(&mut self) -> Result<()> {
        let timed: Vec<String> = self
            .rules
            .iter()
            .filter_map(|r| self.topics.iter().find(|t| t.node == r.source))
            .map(|t| t.info.topic.clone())
            .collect();
        for topic in &self.topics {
            if !timed.contains(&topic.info.topic) {
                continue;
            }
            let Some(watermark) = &topic.info.watermark else { continue };
            let NodeKind::Source(source) = &self.nodes[topic.node].kind else { continue };
            let mut source = source.clone();
            let mut fields: Vec<_> = source.schema.fields().iter().cloned().collect();
            for name in [watermark.column.as_str(), "_offset"] {
                if fields.iter().any(|f| f.name() == name) {
                    continue;
                }
                let declared = topic.declared.field_with_name(name);
                let data_type = declared.map_or(DataType::Int64, |f| f.data_type().clone());
                fields.push(Arc::new(Field::new(name, data_type, true)));
            }
            source.schema = Arc::new(Schema::new(fields));
            source.watermark = Some(watermark.clone());
            let schema = DFSchema::try_from_qualified_schema(topic.table.clone(), &source.schema)
                .map_err(plan_error)?;
            for rule in self.rules.iter().filter(|r| r.source == topic.node) {
                source.late.push(LateRule {
                    window: self.physical(&rule.window, &schema)?,
                    further_us: rule.further_us,
                    predicate: match &rule.predicate {
                        Some(p) => Some(self.physical(p, &schema)?),
                        None => None,
                    },
                    direct: rule.direct,
                });
            }
            self.nodes[topic.node].kind = NodeKind::Source(source);
        }
        Ok(())
    }
}

/// A column that claims to be a window has to look like one.
pub(super) fn is_sane(window: &KeyWindow, data_type: &DataType) -> bool {
    match (window.part, data_type) {
        (WindowPart::Whole, DataType::Struct(fields)) => fields.len() == 2,
        (WindowPart::Start | WindowPart::End, DataType::Timestamp(_, _)) => true,
        _ => false,
    }
}

/// What two columns are together, when their values are equal or mixed: the same window or none.
pub(super) fn same_window(
    left: Option<KeyWindow>,
    right: Option<KeyWindow>,
) -> (Option<KeyWindow>, Option<KeyWindow>) {
    match (left, right) {
        (Some(l), Some(r)) if l.part == r.part && l.window.size_us() == r.window.size_us() => {
            // The one for which rows may come longer.
            let longer = l.window.grace_us() >= r.window.grace_us();
            let window = if longer { l.window } else { r.window };
            let both = KeyWindow { closes: l.closes && r.closes, window, ..l };
            (Some(both), Some(both))
        }
        _ => (None, None),
    }
}
