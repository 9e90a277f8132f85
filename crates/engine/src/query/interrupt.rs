//! Makes a physical plan end when it is told to. Operators hand over batches only now and then: a
//! join may compare billions of pairs in between. So the interrupt is asked at each batch of those
//! that compute much, and each time a join evaluates its condition. The others yield by themselves,
//! and a task that yields can be aborted.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{Array, AsArray, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use common::Error;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream,
    SendableRecordBatchStream,
};
use futures::{Stream, StreamExt};

use crate::query::compute::Interrupt;

/// The plan, with the interrupt asked all over.
pub fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    interrupt: &Interrupt,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        // A large constant stands beside each row as soon as it is a column.
        let constants = constants(node.as_ref())?;
        let is_unnest = node.name() == "UnnestExec";
        let node = match constants > CONSTANT_BYTES || is_unnest {
            true => with_small_inputs(node, interrupt, constants)?,
            false => node,
        };
        if !HEAVY.contains(&node.name()) {
            return Ok(Transformed::yes(node));
        }
        let node = with_checked_filter(node, interrupt)?;
        Ok(Transformed::yes(Arc::new(Interruptible::new(node, interrupt.clone(), None)) as _))
    })
    .map(|t| t.data)
}

/// Operators that may compute for long before they give a batch, or give batches for ever without
/// asking their input for one.
const HEAVY: [&str; 12] = [
    "AggregateExec",
    "BoundedWindowAggExec",
    "CrossJoinExec",
    "HashJoinExec",
    "NestedLoopJoinExec",
    "PiecewiseMergeJoinExec",
    "RecursiveQueryExec",
    "SortExec",
    "SortMergeJoinExec",
    "SymmetricHashJoinExec",
    "UnnestExec",
    "WindowAggExec",
];

/// Constants up to this do not matter.
const CONSTANT_BYTES: usize = 4 << 10;

/// Bytes of the constants in an operator's expressions.
fn constants(node: &dyn ExecutionPlan) -> DfResult<usize> {
    let mut bytes = 0;
    node.apply_expressions(&mut |expression| {
        expression.apply(|part| {
            if let Some(literal) = part.downcast_ref::<Literal>() {
                bytes += literal.value().size();
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(bytes)
}

/// Lists are taken apart a whole batch at a time, so long ones come in small batches.
fn with_small_inputs(
    node: Arc<dyn ExecutionPlan>,
    interrupt: &Interrupt,
    constants: usize,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let small = |input: &Arc<dyn ExecutionPlan>| {
        Arc::new(Interruptible::new(input.clone(), interrupt.clone(), Some(constants))) as _
    };
    let inputs = node.children().into_iter().map(small).collect();
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    node.replace_children(inputs, options)
}

fn with_checked_filter(
    node: Arc<dyn ExecutionPlan>,
    interrupt: &Interrupt,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let checked = |filter: &JoinFilter| {
        let inner = filter.expression().clone();
        let expression = Arc::new(Checked { inner, interrupt: interrupt.clone() });
        let columns = filter.column_indices().to_vec();
        Some(JoinFilter::new(expression, columns, filter.schema().clone()))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let changed = NestedLoopJoinExecBuilder::from(join).with_filter(checked(filter)).build()?;
        return Ok(Arc::new(changed));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(checked(filter)).build_exec();
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>()
        && let Some(filter) = join.filter()
    {
        return Ok(Arc::new(SortMergeJoinExec::try_new(
            join.left().clone(),
            join.right().clone(),
            join.on().to_vec(),
            checked(filter),
            join.join_type(),
            join.sort_options().to_vec(),
            join.null_equality(),
        )?));
    }
    Ok(node)
}

fn ask(interrupt: &Interrupt) -> DfResult<()> {
    interrupt.check().map_err(|e| DataFusionError::External(Box::new(e)))
}

/// An operator whose batches come only as long as the query may go on.
#[derive(Debug)]
struct Interruptible {
    inner: Arc<dyn ExecutionPlan>,
    interrupt: Interrupt,
    /// Batches are cut to what may be unnested at once, with so many bytes beside each row.
    small: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl Interruptible {
    fn new(
        inner: Arc<dyn ExecutionPlan>,
        interrupt: Interrupt,
        small: Option<usize>,
    ) -> Interruptible {
        let properties = PlanProperties::clone(inner.properties())
            .with_scheduling_type(SchedulingType::Cooperative)
            .into();
        Interruptible { inner, interrupt, small, properties }
    }
}

impl DisplayAs for Interruptible {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interruptible")
    }
}

impl ExecutionPlan for Interruptible {
    fn name(&self) -> &str {
        "Interruptible"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.inner]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(inner) if children.is_empty() => {
                Ok(Arc::new(Interruptible::new(inner, self.interrupt.clone(), self.small)))
            }
            _ => Err(DataFusionError::Internal("an Interruptible has one input".into())),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        ask(&self.interrupt)?;
        Ok(Box::pin(Batches {
            schema: self.inner.schema(),
            inner: self.inner.execute(partition, context)?,
            interrupt: self.interrupt.clone(),
            cut: self.small.map(|constants| Cut { constants, ..Cut::default() }),
        }))
    }
}

struct Batches {
    schema: SchemaRef,
    inner: SendableRecordBatchStream,
    interrupt: Interrupt,
    cut: Option<Cut>,
}

impl Stream for Batches {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(e) = ask(&self.interrupt) {
            return Poll::Ready(Some(Err(e)));
        }
        if let Some(next) = self.cut.as_mut().and_then(Cut::next) {
            return Poll::Ready(Some(next));
        }
        // Counts as progress, so that the task makes room for others after a while.
        let coop = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        // Other tasks of this thread go on elsewhere meanwhile.
        let next = tokio::task::block_in_place(|| self.inner.poll_next_unpin(cx));
        if next.is_ready() {
            coop.made_progress();
        }
        match (&mut self.cut, next) {
            (Some(cut), Poll::Ready(Some(Ok(batch)))) => {
                *cut = Cut::new(batch, cut.constants);
                Poll::Ready(cut.next())
            }
            (_, next) => next,
        }
    }
}

/// A batch that is given in parts.
#[derive(Default)]
struct Cut {
    rest: Option<RecordBatch>,
    /// Bytes that stand beside each element of a row's lists.
    beside: usize,
    /// Bytes that each row gets in any case.
    constants: usize,
}

/// What a part may become when its lists are taken apart, and what one row may.
const UNNESTED_BYTES: usize = 32 << 20;
const ROW_UNNESTED_BYTES_MAX: usize = 1 << 30;

impl Cut {
    fn new(batch: RecordBatch, constants: usize) -> Cut {
        let others = batch.columns().iter().filter(|c| c.as_list_opt::<i32>().is_none());
        let bytes = others.map(|c| c.to_data().get_slice_memory_size().unwrap_or_default());
        let beside = bytes.sum::<usize>() / batch.num_rows().max(1);
        Cut { rest: Some(batch), beside, constants }
    }

    fn next(&mut self) -> Option<DfResult<RecordBatch>> {
        let batch = self.rest.take()?;
        let rows = batch.num_rows();
        let lists: Vec<&ListArray> =
            batch.columns().iter().filter_map(|c| c.as_list_opt::<i32>()).collect();
        let (mut n, mut bytes) = (0, 0_usize);
        while n < rows && (n == 0 || bytes < UNNESTED_BYTES) {
            let elements: usize = lists.iter().map(|l| l.value_length(n) as usize).sum();
            let one = elements.saturating_mul(self.beside + 8).saturating_add(self.constants);
            if one > ROW_UNNESTED_BYTES_MAX {
                let e = Error::out_of_memory(format!("a row unnests to {} MiB", one >> 20))
                    .hint("select fewer columns beside the list");
                return Some(Err(DataFusionError::External(Box::new(e))));
            }
            bytes += one;
            n += 1;
        }
        if n < rows {
            self.rest = Some(batch.slice(n, rows - n));
        }
        Some(Ok(batch.slice(0, n)))
    }
}

impl RecordBatchStream for Batches {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The condition of a join, which asks first.
#[derive(Debug)]
struct Checked {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Interrupt,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.inner.as_ref() == other.inner.as_ref()
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, input: &Schema) -> DfResult<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> DfResult<bool> {
        self.inner.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        ask(&self.interrupt)?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(inner) if children.is_empty() => {
                Ok(Arc::new(Checked { inner, interrupt: self.interrupt.clone() }))
            }
            _ => Err(DataFusionError::Internal("a join's condition has one input".into())),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
