//! What a view and a CHECK may contain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Float64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::testing::{place, rendered, state, topic};
use crate::{Statement, Text, check_exprs, check_faults, parse, plan_view};

#[tokio::test]
async fn a_view_is_the_same_on_every_run() {
    let state = state().await;
    for (sql, want) in [
        ("SELECT sensor, max(celsius) FROM readings GROUP BY sensor", ""),
        ("SELECT sensor, array_agg(n ORDER BY at) AS a FROM readings GROUP BY sensor", ""),
        (
            "SELECT now() AS t, sensor FROM readings",
            "SELECT now() AS t, sensor FROM readings\n       ^^^\nunsupported: now() cannot stand in a view: \
          its value differs from run to run (use the event time; filter by time when you query the view)",
        ),
        (
            "SELECT sensor FROM readings WHERE random() < 0.5e0",
            "SELECT sensor FROM readings WHERE random() < 0.5e0\n                                  ^^^^^^\n\
          unsupported: random() cannot stand in a view: its value differs from run to run \
          (compute it before the events come in, or when you query the view)",
        ),
        (
            "SELECT sensor, array_agg(n) AS a FROM readings GROUP BY sensor",
            "SELECT sensor, array_agg(n) AS a FROM readings GROUP BY sensor\n               ^^^^^^^^^\n\
          unsupported: array_agg() cannot stand in a view: its value depends on the order in which events \
          arrive (give an order, as in array_agg(… ORDER BY …))",
        ),
    ] {
        let got = plan_view(&state, sql, &place(sql))
            .await
            .map_or_else(|e| rendered(&e), |_| String::new());
        assert_eq!(got, want, "{sql}");
    }
}

#[tokio::test]
async fn checks_pass_on_true_and_null() {
    let state = state().await;
    let topic = topic(
        "CREATE TOPIC t (name TEXT, c DOUBLE, CHECK (c BETWEEN -60 AND 200.5),
           CONSTRAINT named CHECK (name IN ('a', \"name\") AND length(name) < 3))",
    );
    assert_eq!(topic.checks[1].name, "named");
    let checks = check_exprs(&state, &topic).unwrap();
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("c", DataType::Float64, true),
    ]);
    let batch = RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(StringArray::from(vec![Some("a"), Some("abcd"), None])),
            Arc::new(Float64Array::from(vec![Some(200.5), Some(-61.0), None])),
        ],
    )
    .unwrap();
    for check in &checks {
        let result = check.evaluate(&batch).unwrap().into_array(3).unwrap();
        let result: Vec<Option<bool>> = result.as_boolean().iter().collect();
        assert_eq!(result, [Some(true), Some(false), None]);
    }
}

#[tokio::test]
async fn a_wrong_check_is_shown_where_it_stands() {
    let state = state().await;
    for (check, want) in [
        (
            "celsuis > 1",
            "       ^^^^^^^\nundefined_column: unknown column 'celsuis' (did you mean 'celsius'?)",
        ),
        (
            "celsius + 1",
            "       ^^^^^^^^^^^\ninvalid: this CHECK is DOUBLE, not BOOLEAN \
                         (compare with something, as in CHECK (n > 0))",
        ),
        (
            "now() > at",
            "       ^^^^^^^^^^\nunsupported: a function whose value differs from run to run cannot \
                        stand in a CHECK (a CHECK looks at the columns of one event)",
        ),
        (
            "sqrt('x') > 1",
            "       ^^^^\ninvalid: sqrt() cannot take TEXT (it takes sqrt(DOUBLE/FLOAT))",
        ),
    ] {
        let sql = format!("CREATE TOPIC t (celsius DOUBLE, at TIMESTAMP,\nCHECK ({check}))");
        let Statement::Create { definition, .. } = parse(&Text::new(None, &sql)).unwrap().remove(0)
        else {
            panic!()
        };
        let faults = check_faults(&state, &definition);
        assert_eq!(faults.len(), 1, "{check}");
        let got = rendered(&faults[0]);
        assert_eq!(got, format!("CHECK ({check}))\n{want}"));
    }
}
