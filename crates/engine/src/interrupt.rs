//! Makes a physical plan end when it is told to. Operators hand over batches only now and then: a
//! join may compare billions of pairs in between. So the interrupt is asked at each batch of those
//! that compute much, and each time a join evaluates its condition. The others yield by themselves,
//! and a task that yields can be aborted.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream,
    SendableRecordBatchStream,
};
use futures::{Stream, StreamExt};

use crate::compute::Interrupt;

/// The plan, with the interrupt asked all over.
pub fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    interrupt: &Interrupt,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if !HEAVY.contains(&node.name()) {
            return Ok(Transformed::no(node));
        }
        let node = with_checked_filter(node, interrupt)?;
        Ok(Transformed::yes(Arc::new(Interruptible::new(node, interrupt.clone())) as _))
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
    properties: Arc<PlanProperties>,
}

impl Interruptible {
    fn new(inner: Arc<dyn ExecutionPlan>, interrupt: Interrupt) -> Interruptible {
        let properties = PlanProperties::clone(inner.properties())
            .with_scheduling_type(SchedulingType::Cooperative)
            .into();
        Interruptible { inner, interrupt, properties }
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
                Ok(Arc::new(Interruptible::new(inner, self.interrupt.clone())))
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
        }))
    }
}

struct Batches {
    schema: SchemaRef,
    inner: SendableRecordBatchStream,
    interrupt: Interrupt,
}

impl Stream for Batches {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(e) = ask(&self.interrupt) {
            return Poll::Ready(Some(Err(e)));
        }
        // Counts as progress, so that the task makes room for others after a while.
        let coop = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        // Other tasks of this thread go on elsewhere meanwhile.
        let next = tokio::task::block_in_place(|| self.inner.poll_next_unpin(cx));
        if next.is_ready() {
            coop.made_progress();
        }
        next
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
