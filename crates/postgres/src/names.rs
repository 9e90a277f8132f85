//! Topics and views as `pg_catalog` and `information_schema` list them: names and columns, no rows.
//! Rows are read through the engine only, with its limits.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

pub struct NamesOnly(pub Arc<dyn SchemaProvider>);

impl fmt::Debug for NamesOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamesOnly")
    }
}

#[async_trait]
impl SchemaProvider for NamesOnly {
    fn table_names(&self) -> Vec<String> {
        self.0.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.0.table(name).await?;
        let listed =
            |t: Arc<dyn TableProvider>| Listed { kind: t.table_type(), schema: t.schema() };
        Ok(table.map(|t| Arc::new(listed(t)) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.table_exist(name)
    }
}

#[derive(Debug)]
struct Listed {
    kind: TableType,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Listed {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        self.kind
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::NotImplemented(
            "topics and views cannot be read together with pg_catalog; ask in two queries".into(),
        ))
    }
}
