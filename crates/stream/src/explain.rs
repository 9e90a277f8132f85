//! What a graph does, told to a person: for each operator how it is kept up to date, where its
//! state lives, and how far that may grow.

use datafusion_common::JoinType;

use crate::accumulators::{Kept, kept};
use crate::aggregate::closing_key;
use graph::{Aggregate, Graph, Join, Key, Node, NodeKind, OutputKey, Over, Source, Step, TopN};

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

const NO_STATE: (&str, &str) = ("none", "nothing is kept");

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
    let incremental = "incremental".to_string();
    let (kept, state, bound) = match &node.kind {
        NodeKind::Source(source) => (incremental, time(source), "a few bytes a partition".into()),
        NodeKind::Calc(_) | NodeKind::Unnest(_) | NodeKind::Expand(_) | NodeKind::Union => {
            (incremental, NO_STATE.0.into(), NO_STATE.1.into())
        }
        NodeKind::Aggregate(a) => {
            let append = node.inputs.first().is_some_and(|i| graph.nodes[*i].append_only);
            aggregate(a, append)
        }
        NodeKind::Over(over) => computed_over(over),
        NodeKind::TopN(top) => {
            let append = node.inputs.first().is_some_and(|i| graph.nodes[*i].append_only);
            first_rows(top, append)
        }
        NodeKind::Join(join) => joined(join),
    };
    ExplainRow { operator: title(node), kept, state, bound }
}

/// A node in a few words.
pub(crate) fn title(node: &Node) -> String {
    match &node.kind {
        NodeKind::Source(source) => format!("read topic '{}'", source.topic),
        NodeKind::Calc(calc) => {
            let filters = calc.steps.iter().any(|s| matches!(s, Step::Filter(_)));
            let projects = calc.steps.iter().any(|s| matches!(s, Step::Project { .. }));
            match (filters, projects) {
                (true, true) => "filter and project".into(),
                (true, false) => "filter".into(),
                _ => "project".into(),
            }
        }
        NodeKind::Unnest(_) => "unnest".into(),
        NodeKind::Expand(expand) => format!("expand to {} grouping sets", expand.sets.len()),
        NodeKind::Aggregate(a) if a.calls.is_empty() => format!("distinct {}", names(&a.keys)),
        NodeKind::Aggregate(a) if a.keys.is_empty() => format!("aggregate {}", calls(a)),
        NodeKind::Aggregate(a) => format!("aggregate {} by {}", calls(a), names(&a.keys)),
        NodeKind::Over(over) => {
            over.calls.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join(", ")
        }
        NodeKind::TopN(top) => format!("first {} by {}", top.limit, top.text),
        NodeKind::Join(join) if join.null_aware => format!("not in on {}", join.text),
        NodeKind::Join(join) if join.text.is_empty() => format!("{} join", kind(join.kind)),
        NodeKind::Join(join) => format!("{} join on {}", kind(join.kind), join.text),
        NodeKind::Union if node.inputs.is_empty() => "no rows".into(),
        NodeKind::Union => "union all".into(),
    }
}

fn names(keys: &[Key]) -> String {
    keys.iter().map(|k| k.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn calls(aggregate: &Aggregate) -> String {
    let names = aggregate.calls.iter().map(|c| c.text.as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn kind(kind: JoinType) -> &'static str {
    match kind {
        JoinType::Inner => "inner",
        JoinType::Left => "left",
        JoinType::Right => "right",
        JoinType::Full => "full",
        JoinType::LeftSemi | JoinType::RightSemi => "semi",
        JoinType::LeftMark => "mark",
        _ => "anti",
    }
}

fn time(source: &Source) -> String {
    match &source.watermark {
        None => "its offsets".into(),
        Some(w) => {
            format!("its offsets, and the watermark: {} less {}", w.column, duration(w.delay_us))
        }
    }
}

fn duration(us: i64) -> String {
    match us {
        us if us % 1_000_000 == 0 => format!("{} s", us / 1_000_000),
        us if us % 1_000 == 0 => format!("{} ms", us / 1_000),
        us => format!("{us} us"),
    }
}

fn aggregate(spec: &Aggregate, append_only: bool) -> (String, String, String) {
    let of = |wanted: Kept| {
        let calls = spec.calls.iter().filter(|c| kept(c, append_only) == wanted);
        calls.map(|c| c.text.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (values, rows) = (of(Kept::Values), of(Kept::Rows));
    let how = match rows.is_empty() {
        true => "incremental".to_string(),
        false => format!("incremental; {rows}: computed anew for each group that changed"),
    };
    let group = if spec.keys.is_empty() { "one row" } else { "a row for each group" };
    let mut parts = vec![];
    if spec.calls.is_empty() {
        parts.push("how often it is there".to_string());
    }
    if spec.calls.iter().any(|c| kept(c, append_only) == Kept::Fixed) {
        parts.push("counts, sums, least and greatest values".to_string());
    }
    if !values.is_empty() {
        parts.push(format!("the different values of {values}"));
    }
    if !rows.is_empty() {
        parts.push(format!("all arguments of {rows}"));
    }
    let state = format!("{group}, with {}", parts.join("; "));
    let mut bound = match (closing_key(&spec.keys), spec.keys.is_empty()) {
        (Some(_), _) => "windows still open: state goes when the watermark closes a window",
        (None, true) => "one group",
        (None, false) => "grows with the number of groups",
    }
    .to_string();
    if closing_key(&spec.keys).is_none() && !(values.is_empty() && rows.is_empty()) {
        bound += ", and with what is kept of their values";
    }
    (how, state, bound)
}

fn joined(join: &Join) -> (String, String, String) {
    let closes = closing_key(&join.left).is_some() && closing_key(&join.right).is_some();
    let bound = match closes {
        true => "windows still open: state goes when the watermark closes a window",
        false => "grows with both inputs; join on a window of both sides to bound it",
    };
    ("incremental".into(), "the rows of both sides, by key".into(), bound.into())
}

fn computed_over(over: &Over) -> (String, String, String) {
    let bound = match (closing_key(&over.partition_by), over.partition_by.is_empty()) {
        (Some(_), _) => "windows still open: state goes when the watermark closes a window",
        (None, true) => "grows with the input, and so does the work for each epoch",
        (None, false) => {
            "grows with the input; the work for an epoch with the partitions it touches"
        }
    };
    let how = match over.partition_by.is_empty() {
        true => "computed anew for all rows in each epoch",
        false => "computed anew for each partition that changed",
    };
    (how.into(), "all rows of its input, by partition".into(), bound.into())
}

fn first_rows(top: &TopN, append_only: bool) -> (String, String, String) {
    let state = match append_only {
        true => format!("the first {} rows of each partition", top.limit),
        false => "all rows of its input, by partition: any may move up".into(),
    };
    let bound = match (closing_key(&top.partition_by), top.partition_by.is_empty(), append_only) {
        (Some(_), _, _) => "windows still open: state goes when the watermark closes a window",
        (None, true, true) => "so many rows",
        (None, false, true) => "grows with the number of partitions",
        (None, _, false) => "grows with the input",
    };
    ("incremental".into(), state, bound.into())
}
