//! SHOW, DESCRIBE and EXPLAIN: what exists, what it looks like, how it is kept up to date.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use catalog::User;
use common::{Error, Result};
use sql::Show;

use crate::define::facts::{Described, numbers, options, texts};
use crate::define::kinds;
use crate::define::registry::{Entry, unknown_view};
use crate::inner::Inner;
use crate::query::caller::Caller;
use crate::query::outcome::Outcome;

/// A table of texts, built column by column.
fn table(columns: Vec<(&str, ArrayRef)>) -> Result<Outcome> {
    let fields: Vec<Field> =
        columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, a)| a).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|e| Error::internal(format!("building a table: {e}")))?;
    Ok(Outcome::Rows { schema, batches: vec![batch] })
}

pub(crate) fn show(caller: &Caller, show: &Show) -> Result<Outcome> {
    let inner = &caller.inner;
    match show {
        Show::Objects(kind) => table(kinds::of(kind)?.shown(inner)),
        Show::Tables => {
            let names = crate::query::names::table_names(inner);
            let words: Vec<String> = names.iter().map(|n| kind_of(inner, n)).collect();
            table(vec![("name", texts(names)), ("kind", texts(words))])
        }
        Show::Functions => {
            let functions = sql::functions::functions();
            table(vec![
                ("name", texts(functions.iter().map(|(name, _)| name.as_str()))),
                ("kind", texts(functions.iter().map(|(_, kind)| kind.name()))),
            ])
        }
        Show::Users => show_users(inner),
        Show::Create { name, .. } => {
            let registry = inner.registry();
            let definition = registry.definition(name).ok_or_else(|| {
                Error::unknown(
                    "object",
                    name,
                    registry.definitions().into_iter().map(|d| d.object.name()),
                )
            })?;
            let spec = connectors::spec_of(&definition.object);
            table(vec![
                ("statement", texts([connector::masked(spec, definition.origin.statement())])),
                ("file", options([definition.origin.file.clone()])),
            ])
        }
    }
}

fn show_users(inner: &Arc<Inner>) -> Result<Outcome> {
    let users = inner.users.all();
    let mechanisms = |u: &User| {
        let names: Vec<_> = u.mechanisms().map(|m| m.name()).collect();
        names.join(", ")
    };
    table(vec![
        ("name", texts(users.iter().map(|u| u.name.as_str()))),
        ("mechanisms", texts(users.iter().map(mechanisms))),
    ])
}

fn kind_of(inner: &Arc<Inner>, name: &str) -> String {
    let kind = inner.registry().definition(name).map(|d| d.object.kind());
    kind.map_or("system table".to_string(), catalog::Kind::said)
}

pub(crate) fn describe(inner: &Arc<Inner>, name: &str) -> Result<Outcome> {
    let columns = columns_of(inner, name)?;
    table(vec![
        ("column", texts(columns.iter().map(|c| c.name.as_str()))),
        ("type", texts(columns.iter().map(|c| c.data_type.as_str()))),
        ("nullable", texts(columns.iter().map(|c| if c.nullable { "yes" } else { "no" }))),
        ("comment", texts(columns.iter().map(|c| c.comment.as_str()))),
    ])
}

/// How a view is kept up to date.
pub async fn explain(inner: &Arc<Inner>, name: &str) -> Result<Outcome> {
    let spec = {
        let registry = inner.registry();
        let pipeline = |entry: &Entry| entry.object.pipeline().map(|p| p.spec.clone());
        match registry.objects.get(name).and_then(pipeline) {
            Some(spec) => spec,
            None => {
                let known = registry.objects.iter().filter(|(_, e)| pipeline(e).is_some());
                return Err(unknown_view(name, known.map(|(name, _)| name.as_str())));
            }
        }
    };
    let (rows, levels) = in_tree_order(&spec.graph);
    // The planner's own name for what window() gives.
    let shown = |text: &str| text.replace(sql::WINDOW_COLUMN, "window");
    table(vec![
        ("level", numbers(levels)),
        ("operator", texts(rows.iter().map(|r| shown(&r.operator)))),
        ("kept", texts(rows.iter().map(|r| r.kept.clone()))),
        ("state", texts(rows.iter().map(|r| r.state.clone()))),
        ("bound", texts(rows.iter().map(|r| r.bound.clone()))),
    ])
}

/// From the view down to the topics, each operator in front of those that it reads; and how deep
/// each one stands.
fn in_tree_order(graph: &graph::Graph) -> (Vec<stream::ExplainRow>, Vec<u64>) {
    let mut told: Vec<Option<stream::ExplainRow>> =
        stream::explain(graph).into_iter().map(Some).collect();
    // The view itself is told last, behind all operators.
    let (mut rows, mut levels) = (vec![], vec![]);
    rows.extend(told.pop().flatten());
    levels.push(0);
    let mut open: Vec<(usize, u64)> =
        graph.nodes.len().checked_sub(1).map(|last| (last, 1)).into_iter().collect();
    while let Some((at, level)) = open.pop() {
        // One that several read is told once.
        let Some(row) = told.get_mut(at).and_then(Option::take) else { continue };
        rows.push(row);
        levels.push(level);
        let inputs = graph.nodes.get(at).map(|n| n.inputs.as_slice()).unwrap_or_default();
        open.extend(inputs.iter().rev().map(|input| (*input, level + 1)));
    }
    (rows, levels)
}

fn columns_of(inner: &Arc<Inner>, name: &str) -> Result<Vec<Described>> {
    if name == "dead_letters" {
        let schema = crate::topics::dead_letters::schema();
        return Ok(schema.fields().iter().map(|f| Described::new(f, String::new())).collect());
    }
    let registry = inner.registry();
    let is_table = |entry: &&Entry| entry.definition.object.kind().is_table;
    match registry.objects.get(name).filter(is_table) {
        Some(entry) => Ok(entry.object.columns()),
        None => {
            let tables = registry.tables();
            Err(Error::unknown("table", name, tables.iter().map(String::as_str)))
        }
    }
}
