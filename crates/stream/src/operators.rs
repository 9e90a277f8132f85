//! The operators there are: for each what runs it, and what a person is told about it. All of that
//! stands in the operator's own file.

use common::{Error, Result};
use graph::{Graph, Node, NodeKind};

use crate::operator::Operator;

/// How an operator is kept up to date, told to a person.
pub(crate) struct Upkeep {
    /// `incremental`, or which part of it is computed anew.
    pub kept: String,
    /// What it remembers.
    pub state: String,
    /// How far that may grow.
    pub bound: String,
}

impl Upkeep {
    pub fn incremental(state: impl Into<String>, bound: impl Into<String>) -> Self {
        Self { kept: "incremental".into(), state: state.into(), bound: bound.into() }
    }

    pub fn without_state() -> Self {
        Self::incremental("none", "nothing is kept")
    }
}

/// Where an operator stands in its graph.
pub(crate) struct Place<'a> {
    pub node: &'a Node,
    graph: &'a Graph,
}

impl<'a> Place<'a> {
    pub fn of(graph: &'a Graph, node: &'a Node) -> Self {
        Self { node, graph }
    }

    /// What it reads, by position.
    pub fn input(&self, at: usize) -> Result<&'a Node> {
        let input = self.node.inputs.get(at).and_then(|i| self.graph.nodes.get(*i));
        input.ok_or_else(|| Error::internal("a node of a graph lacks an input"))
    }

    /// Rows only come on its first input, none goes.
    pub fn reads_inserts_only(&self) -> bool {
        self.input(0).is_ok_and(|input| input.append_only)
    }
}

/// An operator, as its graph says it.
pub(crate) trait Spec {
    /// In a few words.
    fn title(&self, node: &Node) -> String;

    fn upkeep(&self, place: &Place) -> Upkeep;

    /// What runs it; nothing for sources, which only hand on.
    fn create(&self, place: &Place) -> Result<Option<Box<dyn Operator>>>;
}

/// The list of operators.
pub(crate) fn spec(kind: &NodeKind) -> &dyn Spec {
    match kind {
        NodeKind::Source(of) => of,
        NodeKind::Calc(of) => of,
        NodeKind::Unnest(of) => of,
        NodeKind::Expand(of) => of,
        NodeKind::Aggregate(of) => of,
        NodeKind::Over(of) => of,
        NodeKind::TopN(of) => of,
        NodeKind::Join(of) => of,
        NodeKind::Union(of) => of,
        NodeKind::Values(of) => of,
        NodeKind::OnClose(of) => of,
    }
}

pub(crate) fn title(node: &Node) -> String {
    spec(&node.kind).title(node)
}
