//! `WITH (emit = 'on_close')` as a node of a plan, so that a view on such a view sees what readers
//! see: rows that are final. Nothing may pass it, and it needs all columns, for one is the window.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

/// The name of the node.
pub(crate) const ON_CLOSE: &str = "OnClose";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Hash)]
struct OnClose {
    input: LogicalPlan,
}

/// The plan of a view that gives a row when its window closes.
pub fn on_close(input: LogicalPlan) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(OnClose { input }) })
}

impl UserDefinedLogicalNodeCore for OnClose {
    fn name(&self) -> &str {
        ON_CLOSE
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(ON_CLOSE)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Ok(Self { input }),
            Err(_) => internal_err!("emit on close has one input"),
        }
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.schema().fields().len()).collect()])
    }
}
