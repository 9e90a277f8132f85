//! The plan of a stream: operators and what flows between them, as plain data. `sql` makes a
//! graph from a query, `stream/src/job.rs` runs it. What each operator is told is in `operators/`.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

use crate::operators::{NodeKind, Source};

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
