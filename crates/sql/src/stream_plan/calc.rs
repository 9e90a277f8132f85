//! Filters and projections; one after the other they are one operator.

use common::Result;
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::logical_expr::{self as logical, Expr};
use graph::{Calc, NodeKind, Step};

use super::build::{Builder, Part, plain};

impl Builder<'_> {
    /// Adds a step to the calc that `part` ends in, or begins one.
    fn step(&mut self, part: &Part, step: Step, schema: &DFSchema) -> usize {
        if let NodeKind::Calc(calc) = &mut self.nodes[part.node].kind {
            calc.steps.push(step);
            self.nodes[part.node].schema = plain(schema);
            return part.node;
        }
        let calc = NodeKind::Calc(Calc { steps: vec![step] });
        self.add(calc, vec![part.node], schema, part.append_only)
    }

    /// `needed` says whether a column of the filter's input is read above it.
    pub(super) fn filtered(
        &mut self,
        f: &logical::Filter,
        needed: impl Fn(&Column) -> bool,
    ) -> Result<Part> {
        if let Some(top) = self.numbered_top(f, needed)? {
            return Ok(top);
        }
        let part = self.part(&f.input)?;
        self.filter(part, &f.predicate)
    }

    pub(super) fn filter(&mut self, part: Part, predicate: &Expr) -> Result<Part> {
        let step = Step::Filter(self.physical(predicate, &part.schema)?);
        let node = self.step(&part, step, &part.schema);
        let mut known = part.known;
        for path in &mut known.paths {
            // What can't be said is left out: more rows may be late then, and none is doubtful.
            path.filters.extend(path.say(predicate, &part.schema)?);
        }
        Ok(Part { node, known, ..part })
    }

    pub(super) fn project(
        &mut self,
        part: Part,
        exprs: &[Expr],
        schema: &DFSchemaRef,
    ) -> Result<Part> {
        let physical = exprs.iter().map(|e| self.physical(e, &part.schema));
        let physical = physical.collect::<Result<Vec<_>>>()?;
        let step = Step::Project { exprs: physical, schema: plain(schema) };
        let known = part.known.project(exprs, &part.schema)?;
        let node = self.step(&part, step, schema);
        Ok(Part { node, schema: schema.clone(), append_only: part.append_only, known })
    }
}
