//! What the tests of this crate share: a session with some tables, and queries run to text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use catalog::{Object, Topic};
use common::{Error, Place};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::physical_plan::collect;

use crate::{SessionOptions, Statement, Text, TopicTable, parse, plan};

pub fn topic(sql: &str) -> Topic {
    match parse(&Text::new(None, sql)).unwrap().remove(0) {
        Statement::Create { definition, .. } => match definition.object {
            Object::Topic(t) => t,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// With the topics `readings`, `rooms` (no rows) and the table `events` (rows).
pub async fn state() -> SessionState {
    static STATE: tokio::sync::OnceCell<SessionState> = tokio::sync::OnceCell::const_new();
    STATE.get_or_init(new_state).await.clone()
}

async fn new_state() -> SessionState {
    let state =
        crate::batch_state(Arc::default(), SessionOptions { target_partitions: 2, batch_size: 3 });
    let schema = state.schema_for_ref("x").unwrap();
    for sql in [
        "CREATE TOPIC readings (sensor TEXT NOT NULL, celsius DOUBLE, at TIMESTAMP, n BIGINT,
           price DECIMAL(10,2), small INT, tags ARRAY<TEXT>, place STRUCT<room: TEXT, floor: INT>,
           WATERMARK FOR at AS at)",
        "CREATE TOPIC rooms (sensor TEXT NOT NULL, room TEXT, since TIMESTAMP)",
    ] {
        let t = topic(sql);
        schema.register_table(t.name.clone(), Arc::new(TopicTable::new(t))).unwrap();
    }
    let rows = "SELECT * FROM (VALUES
        (TIMESTAMP '2024-01-01 00:01:00', 'a', 1), (TIMESTAMP '2024-01-01 00:04:59', 'a', 2),
        (TIMESTAMP '2024-01-01 00:09:59', 'a', 5), (TIMESTAMP '2024-01-01 00:15:00', 'a', 6),
        (TIMESTAMP '2024-01-01 00:05:00', 'b', 3), (CAST(NULL AS TIMESTAMP), 'b', 4)) e(ts, k, v)";
    let (plan, batches) = run(&state, rows).await.unwrap();
    let table = MemTable::try_new(plan, vec![batches]).unwrap();
    schema.register_table("events".into(), Arc::new(table)).unwrap();
    state
}

pub fn place(text: &str) -> impl Fn(std::ops::Range<usize>) -> Place + Send + Sync {
    let text: Arc<str> = text.into();
    move |span| Place { file: None, text: text.clone(), span }
}

type Rows = (datafusion::arrow::datatypes::SchemaRef, Vec<RecordBatch>);

pub async fn run(state: &SessionState, sql: &str) -> Result<Rows, Error> {
    let logical = plan(state, sql, &place(sql)).await?;
    let fault = |e| crate::error(e, &place(sql));
    let physical = state.create_physical_plan(&logical).await.map_err(fault)?;
    let schema = physical.schema();
    Ok((schema, collect(physical, state.task_ctx()).await.map_err(fault)?))
}

/// Rows as `a | b ; c | d`, or the error.
pub async fn rows(state: &SessionState, sql: &str) -> String {
    let (_, batches) = match run(state, sql).await {
        Ok(rows) => rows,
        Err(e) => return format!("{}: {}", e.kind().name(), e.message()),
    };
    shown_rows(&batches).join(" ; ")
}

/// Each row's values as text.
pub fn shown_rows(batches: &[RecordBatch]) -> Vec<String> {
    let row = |b: &RecordBatch, r: usize| {
        let cell = |c: &datafusion::arrow::array::ArrayRef| match c.is_null(r) {
            true => "NULL".to_string(),
            false => array_value_to_string(c, r).unwrap(),
        };
        b.columns().iter().map(cell).collect::<Vec<_>>().join(" | ")
    };
    let all = batches.iter().flat_map(|b| (0..b.num_rows()).map(move |r| row(b, r)));
    all.collect()
}

/// SQL names of the types of a query's columns.
pub async fn types(state: &SessionState, sql: &str) -> String {
    match run(state, sql).await {
        Ok((schema, _)) => {
            let names = schema.fields().iter().map(|f| formats::types::sql_name(f.data_type()));
            names.collect::<Vec<_>>().join(", ")
        }
        Err(e) => e.to_string(),
    }
}

/// The text with the error under it, as the terminal shows it.
pub fn rendered(e: &Error) -> String {
    let Some(place) = e.place() else { return format!("(no place) {e:?}") };
    let (line, column) = place.line_column();
    let text = place.text.lines().nth(line - 1).unwrap_or("");
    let width = place.text[place.span.clone()].lines().next().unwrap_or("").chars().count();
    let marks = format!("{}{}", " ".repeat(column - 1), "^".repeat(width.max(1)));
    let hint = e.hint_text().map(|h| format!(" ({h})")).unwrap_or_default();
    format!("{text}\n{marks}\n{}: {}{hint}", e.kind().name(), e.message())
}
