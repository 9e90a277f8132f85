//! A topic whose records replace one another as a table: of each key the last record, unless that
//! removed it. It is said in SQL's own words over the topic as it is, so that batch, stream and
//! history have one meaning, and a view keeps one row for each key.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use catalog::Topic;
use common::Error;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, TableReference};
use datafusion::datasource::{TableType, ViewTable, provider_as_source};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, ident, lit,
};
use datafusion::physical_plan::ExecutionPlan;

const NUMBER: &str = "__number_of_key";

/// The table of a topic, if it is one; else the topic as it is. `records` are its rows, all of
/// whose columns may be NULL, with the hidden ones behind them.
pub fn latest_rows(
    topic: &Topic,
    records: Arc<dyn TableProvider>,
) -> std::result::Result<Arc<dyn TableProvider>, Error> {
    let Some(key) = topic.key.as_deref().filter(|_| topic.format.is_table()) else {
        return Ok(records);
    };
    let plan = plan(&topic.name, key, records)
        .map_err(|e| Error::internal(format!("the table of topic '{}': {e}", topic.name)))?;
    Ok(Arc::new(LatestRows { view: ViewTable::new(plan, None) }))
}

fn plan(topic: &str, key: &str, records: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = records.schema().fields().iter().map(|f| ident(f.name())).collect();
    let function = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    let number = Expr::WindowFunction(Box::new(WindowFunction::new(function, vec![])))
        .partition_by(vec![ident("_key")])
        .order_by(vec![ident("_offset").sort(false, false), ident("_partition").sort(false, false)])
        .build()?
        .alias(NUMBER);
    LogicalPlanBuilder::scan(TableReference::bare(topic), provider_as_source(records), None)?
        .window(vec![number])?
        .filter(ident(NUMBER).eq(lit(1u64)).and(ident(key).is_not_null()))?
        .project(columns)?
        .build()
}

/// A base table, whose hidden columns are hidden.
#[derive(Debug)]
struct LatestRows {
    view: ViewTable,
}

#[async_trait]
impl TableProvider for LatestRows {
    fn schema(&self) -> SchemaRef {
        self.view.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        self.view.get_logical_plan()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.view.scan(state, projection, filters, limit).await
    }
}
