//! What of a graph decides whether saved state is its own. Each operator saves under a digest of
//! the sub-plan that ends in it; that of the whole graph is part of a view's fingerprint, so that
//! another plan of the same text of SQL, from another release, is noticed.

use std::fmt::Write;

use crate::graph::{Graph, Node};

impl Graph {
    /// The same for graphs that can take up each other's state; stable across processes.
    pub fn digest(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let _ = writeln!(text, "{}", of_node(node, &node.inputs));
        }
        let _ = write!(text, "{:?}", self.output.key);
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }

    /// For each node the number under which its state is saved: of the operator and of all it
    /// reads. Sub-plans that are there twice are told apart by their order.
    pub fn operator_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = vec![];
        for node in &self.nodes {
            let inputs: Vec<u32> = node.inputs.iter().map(|i| ids[*i]).collect();
            let mut text = of_node(node, &inputs);
            let id = loop {
                // Small numbers are positions, as states of before have them.
                let id = crc32c::crc32c(text.as_bytes()) | POSITIONS;
                if id != TIME_OPERATOR && !ids.contains(&id) {
                    break id;
                }
                text.push('+');
            };
            ids.push(id);
        }
        ids
    }
}

/// Number under which offsets and watermarks are saved.
pub const TIME_OPERATOR: u32 = u32::MAX;

/// Numbers below this are positions of operators (states of the first releases).
pub const POSITIONS: u32 = 1 << 31;

fn of_node(node: &Node, inputs: &dyn std::fmt::Debug) -> String {
    let types = node.schema.fields().iter().map(|f| f.data_type().to_string());
    let types: Vec<String> = types.collect();
    let kind = node.kind.digest();
    format!("{kind} of {inputs:?} only inserts {} gives {types:?}", node.append_only)
}
