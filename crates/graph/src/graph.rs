//! The plan of a stream: operators and what flows between them, as plain data. `sql` makes a
//! graph from a query, `job.rs` runs it, `explain.rs` tells a person about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use common::Result;
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::LoweredAggregate;
use datafusion_physical_expr::window::WindowExpr;

use crate::error;

pub type Expr = Arc<dyn PhysicalExpr>;

/// Operators in topological order; the last one gives the output.
#[derive(Clone, Debug)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub output: Output,
}

#[derive(Clone, Debug)]
pub struct Output {
    pub schema: SchemaRef,
    pub key: OutputKey,
}

/// What tells one row of the output from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputKey {
    /// Rows only come, and have no identity.
    Append,
    /// At most one row for each value of these columns (NULL is a value). No columns: at most
    /// one row.
    Columns(Vec<usize>),
    /// A multiset of whole rows.
    Rows,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: NodeKind,
    /// Positions of the nodes this one reads, all before it.
    pub inputs: Vec<usize>,
    /// Columns of what it gives.
    pub schema: SchemaRef,
    /// Rows only come, none goes.
    pub append_only: bool,
}

#[derive(Clone, Debug)]
pub enum NodeKind {
    Source(Source),
    Calc(Calc),
    Unnest(Unnest),
    Expand(Expand),
    Aggregate(Aggregate),
    Over(Over),
    TopN(TopN),
    Join(Join),
    /// All rows of all inputs. Without inputs: no rows.
    Union,
}

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

/// Lists and structs taken apart.
#[derive(Clone, Debug)]
pub struct Unnest {
    /// What each column of the output is made of.
    pub columns: Vec<UnnestColumn>,
    /// A NULL in the place of a list gives a row, and so does an empty list.
    pub null_gives_row: bool,
    pub empty_gives_row: bool,
}

/// Made of the input column of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnestColumn {
    /// As it is, for each row made of its row.
    Whole(usize),
    /// The elements of its lists.
    Element(usize),
    /// A field of its structs.
    Field(usize, usize),
}

/// Grouping sets: gives the columns of the input, then the keys, then the number of the set.
#[derive(Clone, Debug)]
pub struct Expand {
    pub keys: Vec<Expr>,
    pub sets: Vec<GroupingSet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupingSet {
    /// For each key, whether it is NULL in this set.
    pub absent: Vec<bool>,
    /// What `__grouping_id` is in this set.
    pub number: u64,
}

/// `GROUP BY`: gives the keys, then a column for each call. Without keys: always one row.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub keys: Vec<Key>,
    pub calls: Vec<Call>,
}

/// Functions with the same `OVER`: gives the columns of the input, then one for each call.
#[derive(Clone, Debug)]
pub struct Over {
    pub partition_by: Vec<Key>,
    pub order_by: Vec<OrderBy>,
    pub calls: Vec<OverCall>,
}

/// The first rows of each partition: gives the columns of the input, and if there is one more
/// column the number of the row.
#[derive(Clone, Debug)]
pub struct TopN {
    pub partition_by: Vec<Key>,
    pub order_by: Vec<OrderBy>,
    pub limit: usize,
    /// The number matters; it is NULL otherwise, so that a row that moves is no change.
    pub numbered: bool,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct OrderBy {
    pub expr: Expr,
    pub data_type: DataType,
    pub options: SortOptions,
}

#[derive(Clone, Debug)]
pub struct OverCall {
    pub function: Arc<dyn WindowExpr>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

/// An aggregate function with its arguments, as DataFusion would run it.
#[derive(Clone, Debug)]
pub struct Call {
    pub lowered: LoweredAggregate,
    pub args: Vec<Arg>,
    pub order_by: Vec<Arg>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct Arg {
    pub expr: Expr,
    pub data_type: DataType,
}

impl Call {
    /// `input` is the schema that the arguments read.
    pub fn new(lowered: LoweredAggregate, input: &Schema, text: String) -> Result<Self> {
        let arg = |expr: Expr| {
            let data_type = expr.data_type(input).map_err(error::datafusion)?;
            Ok(Arg { expr, data_type })
        };
        let args = lowered.aggregate.expressions().into_iter().map(arg).collect::<Result<_>>()?;
        let order_by = lowered.order_bys.iter().map(|s| arg(s.expr.clone()));
        let order_by = order_by.collect::<Result<_>>()?;
        Ok(Self { lowered, args, order_by, text })
    }

    /// Of the function.
    pub fn name(&self) -> &str {
        self.lowered.aggregate.fun().name()
    }
}

#[derive(Clone, Debug)]
pub struct Key {
    pub expr: Expr,
    pub data_type: DataType,
    pub window: Option<KeyWindow>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

/// A key column that stands for a window of `size_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWindow {
    pub part: WindowPart,
    pub size_us: i64,
    /// How long after the end of a window a row may still come for it: a row is late when the
    /// last of its sliding windows ended, and so it may bring changes to one that ended before.
    pub grace_us: i64,
    /// Nothing changes for windows that end at or before the watermark, so their state may go.
    pub closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowPart {
    /// The struct of both.
    Whole,
    Start,
    End,
    /// A list of all sliding windows that hold a row.
    Each,
}

/// Two inputs matched on equal keys. Pairs have the columns of both; semi and anti joins those
/// of one side.
#[derive(Clone, Debug)]
pub struct Join {
    pub kind: JoinType,
    pub left: Vec<Key>,
    pub right: Vec<Key>,
    /// NULL matches NULL (`IS NOT DISTINCT FROM`).
    pub null_equals_null: bool,
    /// `NOT IN`: a NULL on either side says that it can't be known. Anti joins only.
    pub null_aware: bool,
    /// Further condition over the columns of both sides.
    pub filter: Option<Expr>,
    /// As the user wrote it, for `EXPLAIN`.
    pub text: String,
}

impl Graph {
    /// The topics read, each with the columns that have to be decoded for it.
    pub fn topics(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut topics: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for source in self.sources() {
            let columns = topics.entry(&source.topic).or_default();
            for field in source.schema.fields() {
                if !columns.contains(&field.name().as_str()) {
                    columns.push(field.name());
                }
            }
        }
        topics
    }

    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.nodes.iter().filter_map(|n| match &n.kind {
            NodeKind::Source(s) => Some(s),
            _ => None,
        })
    }
}
