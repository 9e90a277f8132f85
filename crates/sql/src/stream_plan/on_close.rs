//! Rows that are given when their window closes.

use common::{Error, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use graph::NodeKind;

use super::build::{Builder, Part};
use super::plan_error;

impl Builder<'_> {
    pub(super) fn on_close(&mut self, input: &LogicalPlan) -> Result<Part> {
        let part = self.part(input)?;
        let closing = part.known.windows.iter().position(|w| w.is_some_and(|w| w.closes));
        let Some(at) = closing else {
            return Err(Error::unsupported(
                "emit = 'on_close' needs a window that closes among the columns of the view",
            )
            .hint(
                "group by window(…) of the event time of a topic with a WATERMARK, and select the \
                 window, its start or its end",
            ));
        };
        let (relation, field) = part.schema.qualified_field(at);
        let column = Expr::Column((relation, field).into());
        let window = self.key(&column, &part)?;
        if window.window.is_none() {
            return Err(plan_error(datafusion::error::DataFusionError::Plan(
                "the window's column is none".into(),
            )));
        }
        let kind = NodeKind::OnClose(graph::OnClose { window });
        let node = self.add(kind, vec![part.node], &part.schema, true);
        Ok(Part { node, append_only: true, ..part })
    }
}
