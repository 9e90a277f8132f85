//! Filters and projections.

use arrow::datatypes::SchemaRef;

use super::{Expr, list};

/// Filters and projections one after the other, in one operator.
#[derive(Clone, Debug)]
pub struct Calc {
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Filter(Expr),
    Project { exprs: Vec<Expr>, schema: SchemaRef },
}

impl Calc {
    pub(super) fn digest(&self) -> String {
        list(self.steps.iter().map(|step| match step {
            Step::Filter(e) => format!("filter {e}"),
            Step::Project { exprs, .. } => format!("project {}", list(exprs)),
        }))
    }
}
