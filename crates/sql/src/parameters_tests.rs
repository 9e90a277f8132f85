//! Parameters: their types before anything runs, and the same rows as with the values written in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::collect;
use formats::types::{parse, sql_name};

use crate::testing::{place, rendered, rows, state};
use crate::{bind, prepare};

/// Types of the parameters, and of the columns.
async fn described(sql: &str, given: &[Option<DataType>]) -> String {
    match prepare(&state().await, sql, given, &place(sql)).await {
        Ok(p) => {
            let names = |types: Vec<&DataType>| {
                types.into_iter().map(sql_name).collect::<Vec<_>>().join(", ")
            };
            let parameters = names(p.parameters.iter().map(|p| &p.data_type).collect());
            let columns = names(p.schema.fields().iter().map(|f| f.data_type()).collect());
            format!("{parameters} -> {columns}")
        }
        Err(e) => rendered(&e),
    }
}

async fn values(sql: &str, values: Vec<ScalarValue>) -> String {
    let state = state().await;
    let given: Vec<_> = values.iter().map(|v| Some(v.data_type())).collect();
    let prepared = prepare(&state, sql, &given, &place(sql)).await.unwrap();
    let plan = bind(prepared.plan, values).unwrap();
    let physical = state.create_physical_plan(&plan).await.unwrap();
    let types = |s: &datafusion::arrow::datatypes::Schema| {
        s.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>()
    };
    assert_eq!(types(&physical.schema()), types(&prepared.schema), "described as it comes: {sql}");
    let batches = collect(physical, state.task_ctx()).await.unwrap();
    let mut out = vec![];
    for b in &batches {
        for r in 0..b.num_rows() {
            let cells = b.columns().iter().map(|c| match c.is_null(r) {
                true => "NULL".to_string(),
                false => array_value_to_string(c, r).unwrap(),
            });
            out.push(cells.collect::<Vec<_>>().join(" | "));
        }
    }
    out.join(" ; ")
}

#[tokio::test]
async fn types_come_from_what_stands_beside() {
    for (sql, want) in [
        ("SELECT sensor FROM readings WHERE sensor = $1", "TEXT -> TEXT"),
        ("SELECT n FROM readings WHERE celsius > $1 AND at < $2", "DOUBLE, TIMESTAMP -> BIGINT"),
        ("SELECT n FROM readings WHERE price = $1", "DECIMAL(10,2) -> BIGINT"),
        ("SELECT n FROM readings WHERE n BETWEEN $1 AND $2", "BIGINT, BIGINT -> BIGINT"),
        ("SELECT n FROM readings WHERE small IN ($1, $2)", "INT, INT -> BIGINT"),
        ("SELECT n FROM readings WHERE sensor LIKE $1", "TEXT -> BIGINT"),
        ("SELECT n FROM readings WHERE small = ANY($1)", "ARRAY<INT> -> BIGINT"),
        ("SELECT n FROM readings LIMIT $1 OFFSET $2", "BIGINT, BIGINT -> BIGINT"),
        ("SELECT $1::DATE, CAST($2 AS DECIMAL(5,1))", "DATE, DECIMAL(5,1) -> DATE, DECIMAL(5,1)"),
        ("SELECT $1", "TEXT -> TEXT"),
        ("SELECT n + $1 FROM readings", "BIGINT -> BIGINT"),
        ("SELECT n / $1 FROM readings", "BIGINT -> DOUBLE"),
        ("SELECT $2::INT", "TEXT, INT -> INT"),
        // The same one twice: the first place that says something counts.
        ("SELECT n FROM readings WHERE $1 = 'x' OR sensor = $1", "TEXT -> BIGINT"),
        (
            "SELECT w.start, count(*) FROM (SELECT window(at, '1 minute') AS w, n FROM readings \
             WHERE n > $1) GROUP BY w",
            "BIGINT -> TIMESTAMP, BIGINT",
        ),
        (
            "SELECT * FROM (SELECT n FROM readings WHERE sensor = $1) x WHERE n = $2",
            "TEXT, BIGINT -> BIGINT",
        ),
    ] {
        assert_eq!(described(sql, &[]).await, want, "{sql}");
    }
    let given = [Some(DataType::Int16), None];
    assert_eq!(
        described("SELECT n FROM readings WHERE n = $1 AND sensor = $2", &given).await,
        "SMALLINT, TEXT -> BIGINT"
    );
}

#[tokio::test]
async fn values_give_the_same_rows_as_literals() {
    let state = state().await;
    let time = |text: &str| {
        ScalarValue::Utf8(Some(text.into())).cast_to(&parse("TIMESTAMP").unwrap()).unwrap()
    };
    let int = |n| ScalarValue::Int64(Some(n));
    let cases = [
        (
            "SELECT k, v FROM events WHERE v > $1 ORDER BY v LIMIT $2",
            "SELECT k, v FROM events WHERE v > 2 ORDER BY v LIMIT 3",
            vec![int(2), int(3)],
        ),
        (
            "SELECT v FROM events WHERE ts >= $1 AND k = $2 ORDER BY v",
            "SELECT v FROM events WHERE ts >= TIMESTAMP '2024-01-01 00:05:00' AND k = 'a' \
             ORDER BY v",
            vec![time("2024-01-01T00:05:00Z"), ScalarValue::Utf8(Some("a".into()))],
        ),
        (
            "SELECT v / $1 FROM events ORDER BY v",
            "SELECT v / 2 FROM events ORDER BY v",
            vec![int(2)],
        ),
        (
            "SELECT k, sum(v) FROM events GROUP BY k HAVING sum(v) > $1 ORDER BY k",
            "SELECT k, sum(v) FROM events GROUP BY k HAVING sum(v) > 7 ORDER BY k",
            vec![int(7)],
        ),
        (
            "SELECT w.start, sum(v) FROM (SELECT window(ts, '5 minutes') AS w, v FROM events \
             WHERE k = $1) GROUP BY w ORDER BY 1",
            "SELECT w.start, sum(v) FROM (SELECT window(ts, '5 minutes') AS w, v FROM events \
             WHERE k = 'a') GROUP BY w ORDER BY 1",
            vec![ScalarValue::Utf8(Some("a".into()))],
        ),
        ("SELECT $1 IS NULL, coalesce($1, 7)", "SELECT true, 7", vec![ScalarValue::Int64(None)]),
    ];
    for (with, written, given) in cases {
        assert_eq!(values(with, given).await, rows(&state, written).await, "{with}");
    }
}

#[tokio::test]
async fn errors_point_at_the_text_as_it_was_written() {
    for (sql, want) in [
        (
            "SELECT sensr FROM readings WHERE n = $1",
            "SELECT sensr FROM readings WHERE n = $1\n       ^^^^^\n\
             undefined_column: unknown column 'sensr' (did you mean 'sensor'?)",
        ),
        (
            "SELECT n FROM readings WHERE n = ?",
            "SELECT n FROM readings WHERE n = ?\n                                 ^\n\
             syntax: '?' is not a parameter (parameters are written $1, $2, …)",
        ),
        (
            "SELECT $99999999999",
            "SELECT $99999999999\n       ^^^^^^^^^^^^\n\
             syntax: '$99999999999' is not a parameter (parameters are written $1, $2, …)",
        ),
    ] {
        assert_eq!(described(sql, &[]).await, want);
    }
    assert_eq!(
        rows(&state().await, "SELECT n FROM readings WHERE n = $1").await,
        "invalid: parameter '$1' has no value"
    );
}
