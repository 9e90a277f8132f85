//! What a graph does, told to a person: for each operator how it is kept up to date, where its
//! state lives, and how far that may grow.

use graph::{Graph, Node, OutputKey};

use crate::operators::{Place, Upkeep, spec, title};

/// A line of `EXPLAIN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainRow {
    pub operator: String,
    /// `incremental`, or which part of it is computed anew.
    pub kept: String,
    /// What the operator remembers.
    pub state: String,
    /// How far that may grow.
    pub bound: String,
}

/// From the sources to the output.
pub fn explain(graph: &Graph) -> Vec<ExplainRow> {
    let mut rows: Vec<ExplainRow> = graph.nodes.iter().map(|n| row(graph, n)).collect();
    rows.push(ExplainRow {
        operator: "view".into(),
        kept: "incremental".into(),
        state: match &graph.output.key {
            OutputKey::Append => "its rows, in the order they came".into(),
            OutputKey::Columns(columns) if columns.is_empty() => "one row".into(),
            OutputKey::Columns(columns) => {
                let names = columns.iter().map(|c| graph.output.schema.field(*c).name().as_str());
                format!("one row for each {}", names.collect::<Vec<_>>().join(", "))
            }
            OutputKey::Rows => "its rows, counted where equal".into(),
        },
        bound: "grows with the result; rows of closed windows stay".into(),
    });
    rows
}

fn row(graph: &Graph, node: &Node) -> ExplainRow {
    let Upkeep { kept, state, bound } = spec(&node.kind).upkeep(&Place::of(graph, node));
    ExplainRow { operator: title(node), kept, state, bound }
}
