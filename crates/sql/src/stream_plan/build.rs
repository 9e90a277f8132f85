//! Makes the operators of a graph, from the topics up. A row's way decides what is known of it:
//! whether rows only come, what tells them apart, and which columns are windows that close.

use std::sync::Arc;

use common::{Error, Result};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, NullEquality};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{self as logical, Expr, LogicalPlan, TableScan};
use datafusion::physical_expr::create_physical_expr;
use graph::{Calc, Key, KeyWindow, LateRule, Node, NodeKind, Source, Step, WindowPart};

use super::trace::{Known, Path, base, window_call, window_size};
use super::{SourceInfo, plan_error, refuse};
use crate::words::without_casts;

/// A part of the graph that is made.
pub(super) struct Part {
    pub node: usize,
    pub schema: DFSchemaRef,
    pub append_only: bool,
    pub known: Known,
}

/// A late rule still said in SQL.
struct Rule {
    source: usize,
    window: Expr,
    further_us: i64,
    predicate: Option<Expr>,
    direct: bool,
}

/// A topic in the graph, with the columns a window needs.
struct Topic {
    node: usize,
    table: datafusion::common::TableReference,
    info: SourceInfo,
    declared: SchemaRef,
}

pub(super) struct Builder<'a> {
    pub(super) state: &'a SessionState,
    resolve: &'a dyn Fn(&str) -> Option<SourceInfo>,
    nodes: Vec<Node>,
    topics: Vec<Topic>,
    rules: Vec<Rule>,
}

impl<'a> Builder<'a> {
    pub fn new(state: &'a SessionState, resolve: &'a dyn Fn(&str) -> Option<SourceInfo>) -> Self {
        Self { state, resolve, nodes: vec![], topics: vec![], rules: vec![] }
    }

    pub fn graph(mut self, plan: &LogicalPlan) -> Result<graph::Graph> {
        let part = self.part(plan)?;
        self.finish_topics()?;
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
            LogicalPlan::EmptyRelation(e) if !e.produce_one_row => self.nothing(&e.schema),
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

    fn scan(&mut self, scan: &TableScan) -> Result<Part> {
        let name = scan.table_name.table();
        let Some(info) = (self.resolve)(name) else { return Err(refuse::unknown_table(name)) };
        if scan.fetch.is_some() {
            return Err(Error::internal("a limit was pushed into a topic"));
        }
        let schema = scan.projected_schema.clone();
        let columns = plain(&schema);
        let source = Source {
            topic: info.topic.clone(),
            width: columns.fields().len(),
            schema: columns,
            partitions: info.partitions,
            watermark: None,
            late: vec![],
        };
        let node = self.add(NodeKind::Source(source), vec![], &schema, true);
        let exprs = schema
            .columns()
            .into_iter()
            .map(|c| Expr::Column(Column::new(Some(scan.table_name.clone()), c.name)));
        let path = Path {
            source: node,
            event_time: info.watermark.as_ref().map(|w| w.column.clone()),
            exprs: exprs.map(Some).collect(),
            filters: vec![],
            sliding: None,
        };
        self.topics.push(Topic {
            node,
            table: scan.table_name.clone(),
            info,
            declared: scan.source.schema(),
        });
        let windows = vec![None; schema.fields().len()];
        let known = Known { key: None, windows, paths: vec![path] };
        let mut part = Part { node, schema, append_only: true, known };
        for filter in &scan.filters {
            part = self.filter(part, filter)?;
        }
        Ok(part)
    }

    /// No rows at all, as below `WHERE false`.
    fn nothing(&mut self, schema: &DFSchemaRef) -> Result<Part> {
        let node = self.add(NodeKind::Union, vec![], schema, true);
        let windows = vec![None; schema.fields().len()];
        let known = Known { windows, ..Known::default() };
        Ok(Part { node, schema: schema.clone(), append_only: true, known })
    }

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
    fn filtered(&mut self, f: &logical::Filter, needed: impl Fn(&Column) -> bool) -> Result<Part> {
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

    pub(super) fn key(&self, expr: &Expr, part: &Part) -> Result<Key> {
        let physical = self.physical(expr, &part.schema)?;
        let data_type = physical.data_type(part.schema.as_arrow()).map_err(plan_error)?;
        let window = part.known.window_of(expr, &part.schema)?.filter(|w| is_sane(w, &data_type));
        let text = without_casts(expr);
        Ok(Key { expr: physical, data_type, window, text })
    }

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
                further_us: size.size_us - size.slide_us,
                predicate,
                direct,
            });
        }
        Ok(())
    }

    fn join(&mut self, plan: &logical::Join) -> Result<Part> {
        let (left, right) = (self.part(&plan.left)?, self.part(&plan.right)?);
        refuse::join(plan, &left, &right)?;
        let (mut left_keys, mut right_keys, mut text) = (vec![], vec![], vec![]);
        for (l, r) in &plan.on {
            let (mut l, mut r) = (self.key(l, &left)?, self.key(r, &right)?);
            (l.window, r.window) = same_window(l.window, r.window);
            r.data_type = l.data_type.clone();
            text.push(format!("{} = {}", l.text, r.text));
            left_keys.push(l);
            right_keys.push(r);
        }
        let closing = left_keys.iter().position(|k| k.window.is_some_and(|w| w.closes));
        let mut known = joined(plan, &left, &right);
        let mut keep = vec![];
        if let Some(at) = closing {
            let (l, r) = &plan.on[at];
            self.close_by(l, &left)?;
            self.close_by(r, &right)?;
            let offset =
                if left_only(plan.join_type) { None } else { Some(left.known.windows.len()) };
            keep.extend(position(l, &left).filter(|_| !right_only(plan.join_type)));
            let offset = if right_only(plan.join_type) { Some(0) } else { offset };
            keep.extend(offset.and_then(|o| Some(o + position(r, &right)?)));
        }
        known.keep_closing(&keep);
        let filter = match &plan.filter {
            None => None,
            Some(filter) => {
                let both = left.schema.join(&right.schema).map_err(plan_error)?;
                Some(self.physical(filter, &both)?)
            }
        };
        let append_only =
            plan.join_type == JoinType::Inner && left.append_only && right.append_only;
        let kind = NodeKind::Join(graph::Join {
            kind: plan.join_type,
            left: left_keys,
            right: right_keys,
            null_aware: plan.null_aware,
            null_equals_null: plan.null_equality == NullEquality::NullEqualsNull,
            filter,
            text: text.join(" and "),
        });
        let node = self.add(kind, vec![left.node, right.node], &plan.schema, append_only);
        Ok(Part { node, schema: plan.schema.clone(), append_only, known })
    }

    fn union(&mut self, plan: &logical::Union) -> Result<Part> {
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
        let known = Known { key: None, windows, paths: paths.collect() };
        let append_only = parts.iter().all(|p| p.append_only);
        let inputs = parts.iter().map(|p| p.node).collect();
        let node = self.add(NodeKind::Union, inputs, &plan.schema, append_only);
        Ok(Part { node, schema: plan.schema.clone(), append_only, known })
    }

    /// Topics with windows that close get their event time, the position of rows, and the rules.
    fn finish_topics(&mut self) -> Result<()> {
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

/// The columns alone: no qualifiers, no metadata, and NULLs allowed everywhere, so that a batch
/// is never refused for what an operator in between makes of it.
pub(super) fn plain(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|f| Field::new(f.name(), f.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A column that claims to be a window has to look like one.
fn is_sane(window: &KeyWindow, data_type: &DataType) -> bool {
    match (window.part, data_type) {
        (WindowPart::Whole, DataType::Struct(fields)) => fields.len() == 2,
        (WindowPart::Start | WindowPart::End, DataType::Timestamp(_, _)) => true,
        _ => false,
    }
}

/// What two columns are together, when their values are equal or mixed: the same window or none.
fn same_window(
    left: Option<KeyWindow>,
    right: Option<KeyWindow>,
) -> (Option<KeyWindow>, Option<KeyWindow>) {
    match (left, right) {
        (Some(l), Some(r)) if (l.part, l.size_us) == (r.part, r.size_us) => {
            let grace_us = l.grace_us.max(r.grace_us);
            let both = KeyWindow { closes: l.closes && r.closes, grace_us, ..l };
            (Some(both), Some(both))
        }
        _ => (None, None),
    }
}

/// The column an expression is or is a part of.
pub(super) fn position(expr: &Expr, part: &Part) -> Option<usize> {
    match base(expr).0 {
        Expr::Column(c) => part.schema.index_of_column(c).ok(),
        _ => None,
    }
}

fn left_only(kind: JoinType) -> bool {
    matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark)
}

fn right_only(kind: JoinType) -> bool {
    matches!(kind, JoinType::RightSemi | JoinType::RightAnti)
}

fn joined(plan: &logical::Join, left: &Part, right: &Part) -> Known {
    if left_only(plan.join_type) {
        let mut known = Known { paths: vec![], ..left.known.clone() };
        known.windows.resize(plan.schema.fields().len(), None);
        return known;
    }
    if right_only(plan.join_type) {
        return Known { paths: vec![], ..right.known.clone() };
    }
    let width = left.known.windows.len();
    let windows = left.known.windows.iter().chain(&right.known.windows).copied().collect();
    // Rows of a full join without a match have no key at all.
    let key = match (&left.known.key, &right.known.key) {
        (Some(l), Some(r)) if plan.join_type != JoinType::Full => {
            Some(l.iter().copied().chain(r.iter().map(|c| c + width)).collect())
        }
        _ => None,
    };
    Known { key, windows, paths: vec![] }
}
