//! Topics: where rows enter a graph.

use common::{Error, Result};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, TableScan};
use graph::{NodeKind, Source};

use super::build::{Builder, Part, plain};
use super::trace::{Known, Path};
use super::{SourceInfo, refuse};

/// A topic in the graph, with the columns a window needs.
pub(super) struct Topic {
    pub node: usize,
    pub table: TableReference,
    pub info: SourceInfo,
    pub declared: SchemaRef,
}

impl Builder<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Part> {
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
        let known = Known { windows, paths: vec![path], ..Known::default() };
        let mut part = Part { node, schema, append_only: true, known };
        for filter in &scan.filters {
            part = self.filter(part, filter)?;
        }
        Ok(part)
    }
}
