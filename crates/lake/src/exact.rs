//! A table read with exactly the columns and types its topic declares: columns by name, cast back
//! from what Delta stores, null where the table has none. Filters go down only where the stored
//! type is the declared one.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

#[derive(Debug)]
pub(crate) struct Exact {
    inner: Arc<dyn TableProvider>,
    stored: SchemaRef,
    schema: SchemaRef,
}

impl Exact {
    pub(crate) fn new(inner: Arc<dyn TableProvider>, schema: SchemaRef) -> Self {
        Self { stored: inner.schema(), inner, schema }
    }

    fn is_stored_so(&self, name: &str) -> bool {
        let stored = self.stored.field_with_name(name).map(|f| f.data_type());
        let declared = self.schema.field_with_name(name).map(|f| f.data_type());
        matches!((stored, declared), (Ok(a), Ok(b)) if a == b)
    }
}

#[async_trait]
impl TableProvider for Exact {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let below = self.inner.supports_filters_pushdown(filters)?;
        let here = filters.iter().zip(below).map(|(filter, below)| {
            match filter.column_refs().iter().all(|c| self.is_stored_so(&c.name)) {
                true => below,
                false => TableProviderFilterPushDown::Unsupported,
            }
        });
        Ok(here.collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema: SchemaRef = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let stored = |name: &str| self.stored.index_of(name).ok();
        let below: Vec<usize> = schema.fields().iter().filter_map(|f| stored(f.name())).collect();
        let plan = self.inner.scan(state, Some(&below), filters, limit).await?;
        if plan.schema() == schema || schema.fields().is_empty() {
            return Ok(plan);
        }
        let columns = schema.fields().iter().map(|field| {
            let expr = column(&plan.schema(), field.name(), field.data_type())?;
            Ok(ProjectionExpr { expr, alias: field.name().clone() })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let exact = ProjectionExec::try_new_with_schema_metadata(columns, plan, &schema)?;
        Ok(Arc::new(exact))
    }
}

fn column(
    plan: &Schema,
    name: &str,
    data_type: &arrow::datatypes::DataType,
) -> Result<Arc<dyn PhysicalExpr>> {
    match plan.index_of(name) {
        Ok(index) => cast(Arc::new(Column::new(name, index)), plan, data_type.clone()),
        Err(_) => Ok(Arc::new(Literal::new(ScalarValue::try_from(data_type)?))),
    }
}
