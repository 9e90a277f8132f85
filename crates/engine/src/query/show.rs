//! SHOW, DESCRIBE and EXPLAIN: what exists, what it looks like, how it is kept up to date.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use catalog::{Object, User};
use common::{Error, Result};
use sql::Show;

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

fn texts<T: Into<String>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values.into_iter().map(Into::into)))
}

fn options(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.into_iter().map(|n| n as i64)))
}

pub(crate) fn show(caller: &Caller, show: &Show) -> Result<Outcome> {
    let inner = &caller.inner;
    match show {
        Show::Topics => {
            let topics = crate::observe::status::topics(inner);
            table(vec![
                ("name", texts(topics.iter().map(|t| t.name.as_str()))),
                ("partitions", numbers(topics.iter().map(|t| t.partitions as u64))),
                ("records", numbers(topics.iter().map(|t| t.records))),
                ("bytes", numbers(topics.iter().map(|t| t.bytes))),
                ("key", options(topics.iter().map(|t| t.key.clone()))),
            ])
        }
        Show::Views | Show::Pipelines => {
            let views = crate::observe::status::views(inner);
            table(vec![
                ("name", texts(views.iter().map(|v| v.name.as_str()))),
                ("state", texts(views.iter().map(|v| v.state.as_str()))),
                ("epoch", numbers(views.iter().map(|v| v.epoch))),
                ("rows", numbers(views.iter().map(|v| v.rows))),
                ("lag_events", numbers(views.iter().map(|v| v.lag_events))),
                (
                    "freshness_ms",
                    Arc::new(views.iter().map(|v| v.freshness_ms).collect::<Int64Array>()),
                ),
                ("watermark", options(views.iter().map(|v| v.watermark.clone()))),
            ])
        }
        Show::Sources | Show::Sinks => show_connectors(inner, show),
        Show::Tables => {
            let names = crate::query::names::table_names(inner);
            let kinds: Vec<&str> = names.iter().map(|n| kind_of(inner, n)).collect();
            table(vec![("name", texts(names)), ("kind", texts(kinds))])
        }
        Show::Functions => {
            let state = crate::query::names::session(caller)?;
            let mut names: Vec<(String, &str)> = vec![];
            names.extend(state.scalar_functions().keys().map(|n| (n.clone(), "scalar")));
            names.extend(state.aggregate_functions().keys().map(|n| (n.clone(), "aggregate")));
            names.extend(state.window_functions().keys().map(|n| (n.clone(), "window")));
            names.sort();
            table(vec![
                ("name", texts(names.iter().map(|(n, _)| n.as_str()))),
                ("kind", texts(names.iter().map(|(_, k)| *k))),
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

fn show_connectors(inner: &Arc<Inner>, show: &Show) -> Result<Outcome> {
    let status = crate::observe::status::status(inner);
    if matches!(show, Show::Sources) {
        let s = &status.sources;
        return table(vec![
            ("name", texts(s.iter().map(|s| s.name.as_str()))),
            ("connector", texts(s.iter().map(|s| s.connector.as_str()))),
            ("into", texts(s.iter().map(|s| s.into.as_str()))),
            ("state", texts(s.iter().map(|s| s.state))),
            ("events", numbers(s.iter().map(|s| s.events_total))),
        ]);
    }
    let s = &status.sinks;
    table(vec![
        ("name", texts(s.iter().map(|s| s.name.as_str()))),
        ("connector", texts(s.iter().map(|s| s.connector.as_str()))),
        ("delivery", texts(s.iter().map(|s| s.delivery.as_str()))),
        ("state", texts(s.iter().map(|s| s.state))),
        ("rows", numbers(s.iter().map(|s| s.rows_total))),
        ("waiting_epochs", numbers(s.iter().map(|s| s.waiting_epochs))),
    ])
}

fn kind_of(inner: &Arc<Inner>, name: &str) -> &'static str {
    match inner.registry().definition(name).map(|d| d.object.kind()) {
        Some("TOPIC") => "topic",
        Some("MATERIALIZED VIEW") => "materialized view",
        _ => "system table",
    }
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
    let graph = {
        let registry = inner.registry();
        match (registry.views.get(name), registry.sinks.get(name)) {
            (Some(v), _) => v.pipeline.spec.clone(),
            (None, Some(s)) => s.pipeline.spec.clone(),
            (None, None) => {
                let known = registry.views.keys().chain(registry.sinks.keys());
                return Err(crate::define::registry::unknown_view(name, known.map(String::as_str)));
            }
        }
    };
    let (rows, levels) = in_tree_order(&graph.graph);
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

/// A column as DESCRIBE shows it.
pub(crate) struct Described {
    pub name: String,
    pub data_type: String,
    pub nullable: bool,
    pub comment: String,
}

fn columns_of(inner: &Arc<Inner>, name: &str) -> Result<Vec<Described>> {
    let described = |f: &Field, comment: String| Described {
        name: f.name().clone(),
        data_type: formats::types::sql_name(f.data_type()),
        nullable: f.is_nullable(),
        comment,
    };
    let registry = inner.registry();
    if let Some(entry) = registry.topics.get(name) {
        let Object::Topic(topic) = &entry.definition.object else {
            return Err(Error::internal(format!("'{name}' is not a topic")));
        };
        let default = |column: &str| {
            let declared = topic.columns.iter().find(|c| c.name == column)?;
            Some(format!("default {}", declared.default.as_ref()?))
        };
        let comment = |column: &str| match &topic.watermark {
            _ if default(column).is_some() => default(column).unwrap_or_default(),
            _ if topic.key.as_deref() == Some(column) => "record key".to_string(),
            Some(w) if w.column == column => {
                format!("event time, watermark {} ms behind", w.delay_us / 1_000)
            }
            _ if column.starts_with('_') => "hidden".to_string(),
            _ => String::new(),
        };
        let schema = crate::topics::rows::full_schema(topic);
        return Ok(schema.fields().iter().map(|f| described(f, comment(f.name()))).collect());
    }
    if let Some(view) = registry.views.get(name) {
        let keys = match view.store.key() {
            graph::OutputKey::Columns(c) => c.clone(),
            _ => vec![],
        };
        let comment = |i| if keys.contains(&i) { "key".to_string() } else { String::new() };
        let fields = view.schema.fields().iter().enumerate();
        return Ok(fields.map(|(i, f)| described(f, comment(i))).collect());
    }
    if name == "dead_letters" {
        let schema = crate::topics::dead_letters::schema();
        return Ok(schema.fields().iter().map(|f| described(f, String::new())).collect());
    }
    let tables = registry.tables();
    Err(Error::unknown("table", name, tables.iter().map(String::as_str)))
}
