//! What of a graph decides whether saved state is its own. Each operator saves under a digest of
//! the sub-plan that ends in it; that of the whole graph is part of a view's fingerprint, so that
//! another plan of the same text of SQL, from another release, is noticed.

use std::fmt::Write;

use crate::graph::{Call, Graph, Key, Node, NodeKind, OrderBy, Source, Step};

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
    let kind = of_kind(&node.kind);
    format!("{kind} of {inputs:?} only inserts {} gives {types:?}", node.append_only)
}

fn of_kind(kind: &NodeKind) -> String {
    match kind {
        NodeKind::Source(source) => of_source(source),
        NodeKind::Calc(calc) => {
            let steps = calc.steps.iter().map(|step| match step {
                Step::Filter(e) => format!("filter {e}"),
                Step::Project { exprs, .. } => format!("project {}", list(exprs)),
            });
            list(steps)
        }
        NodeKind::Unnest(u) => format!("unnest {u:?}"),
        NodeKind::Expand(e) => format!("expand {} {:?}", list(&e.keys), e.sets),
        NodeKind::Aggregate(a) => {
            format!("aggregate {} {}", keys(&a.keys), list(a.calls.iter().map(of_call)))
        }
        NodeKind::Over(over) => {
            let calls = list(over.calls.iter().map(|c| c.function.name()));
            format!("over {} {} {calls}", keys(&over.partition_by), order(&over.order_by))
        }
        NodeKind::TopN(top) => {
            let (by, limit) = (order(&top.order_by), top.limit);
            format!("top {} {by} {limit} {}", keys(&top.partition_by), top.numbered)
        }
        NodeKind::Join(join) => {
            let filter = list(&join.filter);
            let flags = (join.null_equals_null, join.null_aware);
            let (left, right) = (keys(&join.left), keys(&join.right));
            format!("join {} {left} {right} {filter} {flags:?}", join.kind)
        }
        NodeKind::Union => "union".into(),
    }
}

fn of_source(source: &Source) -> String {
    let fields = source.schema.fields().iter();
    let fields = list(fields.map(|f| format!("{} {}", f.name(), f.data_type())));
    let late = source.late.iter().map(|rule| {
        let predicate = list(&rule.predicate);
        format!("{} {} {predicate} {}", rule.window, rule.further_us, rule.direct)
    });
    let (topic, width, late) = (&source.topic, source.width, list(late));
    format!("source {topic} {width} {fields} {:?} {late}", source.watermark)
}

fn of_call(call: &Call) -> String {
    let lowered = &call.lowered;
    let args = call.args.iter().chain(&call.order_by);
    let args = list(args.map(|a| format!("{} {}", a.expr, a.data_type)));
    let filter = list(&lowered.filter);
    let distinct = lowered.aggregate.is_distinct();
    format!("{} distinct {distinct} {args} {filter}", call.name())
}

fn keys(keys: &[Key]) -> String {
    list(keys.iter().map(|k| format!("{} {} {:?}", k.expr, k.data_type, k.window)))
}

fn order(by: &[OrderBy]) -> String {
    list(by.iter().map(|o| format!("{} {} {:?}", o.expr, o.data_type, o.options)))
}

fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("[{}]", items.join("; "))
}
