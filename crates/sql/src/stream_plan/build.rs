//! Makes the operators of a graph, from the topics up, each planned in a file of its own beside
//! this one. A row's way decides what is known of it:
//! whether rows only come, what tells them apart, and which columns are windows that close.

use std::sync::Arc;

use common::Result;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::create_physical_expr;
use graph::{Key, Node, NodeKind};

use super::scan::Topic;
use super::trace::{Known, base};
use super::windows::{Rule, is_sane};
use super::{SourceInfo, plan_error, refuse};
use crate::on_close::ON_CLOSE;
use crate::words::without_casts;

/// A part of the graph that is made.
pub(super) struct Part {
    pub node: usize,
    pub schema: DFSchemaRef,
    pub append_only: bool,
    pub known: Known,
}

pub(super) struct Builder<'a> {
    pub(super) state: &'a SessionState,
    pub(super) resolve: &'a dyn Fn(&str) -> Option<SourceInfo>,
    pub(super) nodes: Vec<Node>,
    pub(super) topics: Vec<Topic>,
    pub(super) rules: Vec<Rule>,
}

impl<'a> Builder<'a> {
    pub fn new(state: &'a SessionState, resolve: &'a dyn Fn(&str) -> Option<SourceInfo>) -> Self {
        Self { state, resolve, nodes: vec![], topics: vec![], rules: vec![] }
    }

    pub fn graph(mut self, plan: &LogicalPlan) -> Result<graph::Graph> {
        let part = self.part(plan)?;
        self.finish_topics()?;
        let is_values = |n: &Node| matches!(n.kind, NodeKind::Values(_));
        if self.topics.is_empty() && self.nodes.iter().any(is_values) {
            return Err(refuse::no_topic());
        }
        let key = match part.known.key {
            Some(columns) => graph::OutputKey::Columns(columns),
            None if part.append_only => graph::OutputKey::Append,
            None => graph::OutputKey::Rows,
        };
        let fields = part.schema.fields().iter();
        let fields = fields.map(|f| Field::new(f.name(), f.data_type().clone(), f.is_nullable()));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(graph::Graph { nodes: self.nodes, output: graph::Output { schema, key } })
    }

    pub(super) fn part(&mut self, plan: &LogicalPlan) -> Result<Part> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let part = self.part(&alias.input)?;
                Ok(Part { schema: alias.schema.clone(), ..part })
            }
            LogicalPlan::Projection(p) => {
                let part = match p.input.as_ref() {
                    LogicalPlan::Filter(f) => {
                        self.filtered(f, |c| p.expr.iter().any(|e| e.column_refs().contains(c)))?
                    }
                    input => self.part(input)?,
                };
                self.project(part, &p.expr, &p.schema)
            }
            LogicalPlan::Filter(f) => self.filtered(f, |_| true),
            LogicalPlan::Limit(l) => self.limit(l),
            LogicalPlan::Unnest(u) => self.unnest(u),
            LogicalPlan::Aggregate(a) => self.aggregate(a),
            LogicalPlan::Window(w) => self.over(w),
            LogicalPlan::Join(j) => self.join(j),
            LogicalPlan::Union(u) => self.union(u),
            LogicalPlan::EmptyRelation(e) if e.produce_one_row => self.one_row(&e.schema),
            LogicalPlan::EmptyRelation(e) => self.nothing(&e.schema),
            LogicalPlan::Values(v) => self.values(v),
            LogicalPlan::Extension(e) if e.node.name() == ON_CLOSE => {
                let input = e.node.inputs().into_iter().next();
                input.map_or_else(|| Err(refuse::node(plan)), |input| self.on_close(input))
            }
            other => Err(refuse::node(other)),
        }
    }

    pub(super) fn add(
        &mut self,
        kind: NodeKind,
        inputs: Vec<usize>,
        schema: &DFSchema,
        append: bool,
    ) -> usize {
        self.add_of(kind, inputs, plain(schema), append)
    }

    pub(super) fn add_of(
        &mut self,
        kind: NodeKind,
        inputs: Vec<usize>,
        schema: SchemaRef,
        append: bool,
    ) -> usize {
        self.nodes.push(Node { kind, inputs, schema, append_only: append });
        self.nodes.len() - 1
    }

    pub(super) fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<graph::Expr> {
        refuse::expression(expr)?;
        create_physical_expr(expr, schema, self.state.execution_props(), &Default::default())
            .map_err(plan_error)
    }

    pub(super) fn key(&self, expr: &Expr, part: &Part) -> Result<Key> {
        let physical = self.physical(expr, &part.schema)?;
        let data_type = physical.data_type(part.schema.as_arrow()).map_err(plan_error)?;
        let window = part.known.window_of(expr, &part.schema)?.filter(|w| is_sane(w, &data_type));
        let text = without_casts(expr);
        Ok(Key { expr: physical, data_type, window, text })
    }
}

/// The columns alone: no qualifiers, no metadata, and NULLs allowed everywhere, so that a batch
/// is never refused for what an operator in between makes of it.
pub(super) fn plain(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|f| Field::new(f.name(), f.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The column an expression is or is a part of.
pub(super) fn position(expr: &Expr, part: &Part) -> Option<usize> {
    match base(expr).0 {
        Expr::Column(c) => part.schema.index_of_column(c).ok(),
        _ => None,
    }
}
