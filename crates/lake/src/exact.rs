//! A table read with exactly the columns and types its topic declares: columns by name, cast back
//! from what Delta stores, null where the table has none. Filters go down only where the stored
//! type is the declared one.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarUDF, TableProviderFilterPushDown, TableType, Volatility, create_udf,
};
use datafusion::physical_expr::expressions::{Column, Literal, cast};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use formats::headers;

use crate::{Declared, columns};

#[derive(Debug)]
pub(crate) struct Exact {
    inner: Arc<dyn TableProvider>,
    stored: SchemaRef,
    schema: SchemaRef,
    declared: Declared,
}

impl Exact {
    pub(crate) fn new(inner: Arc<dyn TableProvider>, declared: &Declared) -> Self {
        let schema = columns::with_hidden(&declared.schema);
        Self { stored: inner.schema(), inner, schema, declared: declared.clone() }
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
            let expr = self.column(&plan.schema(), field.name(), field.data_type())?;
            Ok(ProjectionExpr { expr, alias: field.name().clone() })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let exact = ProjectionExec::try_new_with_schema_metadata(columns, plan, &schema)?;
        Ok(Arc::new(exact))
    }
}

/// The headers of records in tables that have them as text.
fn headers_of_text() -> Arc<ScalarUDF> {
    let read = |arguments: &[ColumnarValue]| {
        let texts = ColumnarValue::values_to_arrays(arguments)?;
        let read = headers::from_text(texts[0].as_string());
        let read = read.map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(ColumnarValue::Array(Arc::new(read)))
    };
    let gives = headers::data_type();
    let text = vec![DataType::Utf8];
    Arc::new(create_udf("headers_of_text", text, gives, Volatility::Immutable, Arc::new(read)))
}

/// Values of structs, arrays and maps that have become wider since.
fn widened(from: &DataType, to: &DataType) -> Arc<ScalarUDF> {
    let gives = to.clone();
    let read = move |arguments: &[ColumnarValue]| {
        let values = ColumnarValue::values_to_arrays(arguments)?;
        let wide = formats::widen::widen(&values[0], &gives);
        let wide = wide.map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(ColumnarValue::Array(wide))
    };
    let takes = vec![from.clone()];
    Arc::new(create_udf("widened", takes, to.clone(), Volatility::Immutable, Arc::new(read)))
}

fn call(
    function: Arc<ScalarUDF>,
    column: Arc<Column>,
    plan: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let call = ScalarFunctionExpr::try_new(function, vec![column], plan, Arc::default())?;
    Ok(Arc::new(call))
}

impl Exact {
    fn column(
        &self,
        plan: &Schema,
        name: &str,
        data_type: &DataType,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let Ok(index) = plan.index_of(name) else {
            let default = self.declared.default_of(name, data_type);
            let default = default.map_err(|e| DataFusionError::External(Box::new(e)))?;
            return Ok(Arc::new(Literal::new(default)));
        };
        let (field, column) = (plan.field(index), Arc::new(Column::new(name, index)));
        if columns::is_headers_as_text(field) {
            return call(headers_of_text(), column, plan);
        }
        match data_type.is_nested() && field.data_type() != data_type {
            true => call(widened(field.data_type(), data_type), column, plan),
            false => cast(column, plan, data_type.clone()),
        }
    }
}
