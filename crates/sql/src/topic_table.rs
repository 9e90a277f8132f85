//! A topic as a table without rows: what a stream plan scans. Its schema, declared columns first
//! and the hidden ones behind them, is the schema of every table over a topic.

use std::sync::Arc;

use async_trait::async_trait;
use catalog::Topic;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use formats::hidden_fields;

/// Declared and hidden columns.
pub fn table_schema(topic: &Topic) -> SchemaRef {
    let declared = topic.schema();
    let declared = declared.fields().iter().map(|f| f.as_ref().clone());
    Arc::new(Schema::new(declared.chain(hidden_fields()).collect::<Vec<_>>()))
}

/// How many columns of a table `*` shows. A table over a topic is known by its last columns; a
/// view that selects all of them must say `TableType::View`.
pub fn shown_columns(table: &dyn TableProvider) -> usize {
    let schema = table.schema();
    let hidden = hidden_fields();
    let all = schema.fields().len();
    let Some(shown) = all.checked_sub(hidden.len()) else { return all };
    let same = |(have, want): (&Arc<Field>, &Field)| {
        have.name() == want.name() && have.data_type() == want.data_type()
    };
    let last = schema.fields()[shown..].iter().zip(&hidden).all(same);
    if table.table_type() == TableType::Base && last { shown } else { all }
}

#[derive(Debug)]
pub struct TopicTable {
    pub topic: Topic,
    schema: SchemaRef,
}

impl TopicTable {
    pub fn new(topic: Topic) -> Self {
        let schema = table_schema(&topic);
        // A record that removes a row has no columns.
        let schema = match topic.format.is_table() {
            false => schema,
            true => {
                let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            }
        };
        Self { topic, schema }
    }
}

#[async_trait]
impl TableProvider for TopicTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema(),
        };
        Ok(Arc::new(EmptyExec::new(schema)))
    }
}
