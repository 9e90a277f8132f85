//! `UNION ALL`, and no rows at all.

use common::Result;
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{self as logical, Expr};
use graph::{KeyWindow, NodeKind, Union};

use super::build::{Builder, Part};
use super::trace::Known;
use super::windows::same_window;

impl Builder<'_> {
    pub(super) fn union(&mut self, plan: &logical::Union) -> Result<Part> {
        let parts = plan.inputs.iter().map(|i| self.part(i)).collect::<Result<Vec<_>>>()?;
        let width = plan.schema.fields().len();
        let mut windows: Vec<Option<KeyWindow>> = vec![];
        for at in 0..width {
            let mut of_parts = parts.iter().map(|p| p.known.windows[at]);
            let first = of_parts.next().flatten();
            windows.push(of_parts.fold(first, |a, b| same_window(a, b).0));
        }
        let all_paths = parts.iter().all(|p| !p.known.paths.is_empty());
        if !all_paths {
            // Some inputs are past an operator with state, so the others are decided here too.
            for part in parts.iter().filter(|p| !p.known.paths.is_empty()) {
                for at in (0..width).filter(|at| windows[*at].is_some_and(|w| w.closes)) {
                    self.close_by(&Expr::Column(part.schema.columns()[at].clone()), part)?;
                }
            }
        }
        let paths = parts.iter().filter(|_| all_paths).flat_map(|p| p.known.paths.clone());
        let is_fixed = parts.iter().all(|p| p.known.is_fixed);
        let known = Known { key: None, windows, paths: paths.collect(), is_fixed };
        let append_only = parts.iter().all(|p| p.append_only);
        let inputs = parts.iter().map(|p| p.node).collect();
        let node = self.add(NodeKind::Union(Union), inputs, &plan.schema, append_only);
        Ok(Part { node, schema: plan.schema.clone(), append_only, known })
    }

    /// No rows at all, as below `WHERE false`.
    pub(super) fn nothing(&mut self, schema: &DFSchemaRef) -> Result<Part> {
        let node = self.add(NodeKind::Union(Union), vec![], schema, true);
        let windows = vec![None; schema.fields().len()];
        let known = Known { windows, ..Known::default() };
        Ok(Part { node, schema: schema.clone(), append_only: true, known })
    }
}
