//! Families of queries for the operators beside plain aggregates and joins, each as a stream and
//! in batch over random rows (`stream_plan_tests.rs`).

use super::tests::{AGGREGATES, WINDOWED, check, check_windows};

/// Rows that only come, and rows that also go.
const INPUTS: [&str; 2] = [
    "(SELECT sensor, v, d, f, ok, at, _partition AS p, _offset AS o FROM readings)",
    "(SELECT sensor, v, max(d) AS d, min(f) AS f, max(ok) AS ok, max(at) AS at, \
     max(_partition) AS p, max(_offset) AS o FROM readings GROUP BY sensor, v)",
];

#[tokio::test]
async fn functions_over_ordered_rows() {
    let functions = [
        "row_number() OVER (PARTITION BY sensor ORDER BY v, p, o, v, sensor) AS a",
        "rank() OVER (PARTITION BY sensor ORDER BY v) AS a, \
         dense_rank() OVER (PARTITION BY sensor ORDER BY v) AS b",
        "lag(v) OVER (PARTITION BY sensor ORDER BY at DESC NULLS LAST, p, o, v, sensor) AS a, \
         lead(f, 2, -1.0) OVER (PARTITION BY sensor ORDER BY at DESC NULLS LAST, p, o, v) AS b",
        "sum(v) OVER (PARTITION BY sensor ORDER BY p, o, v, sensor) AS a, \
         count(*) OVER (PARTITION BY sensor ORDER BY p, o, v, sensor) AS b",
        "sum(d) OVER (PARTITION BY sensor, ok ORDER BY p, o, v ROWS BETWEEN 2 PRECEDING AND \
         1 FOLLOWING) AS a, max(v) OVER (PARTITION BY sensor) AS b",
        "first_value(v) OVER (PARTITION BY sensor ORDER BY p, o, v, sensor) AS a, \
         last_value(v) OVER (PARTITION BY sensor ORDER BY p, o, v, sensor) AS b",
        "row_number() OVER (ORDER BY v DESC, f, sensor, p, o, v, sensor) AS a",
        "ntile(4) OVER (PARTITION BY ok ORDER BY p, o, v, sensor) AS a",
    ];
    for input in INPUTS {
        for function in functions {
            check(&[
                &format!("SELECT sensor, v, f, {function} FROM {input}"),
                &format!(
                    "SELECT a, count(*) AS n FROM (SELECT {function} FROM {input}) GROUP BY a"
                ),
            ])
            .await;
        }
    }
}

#[tokio::test]
async fn the_first_rows_of_each_key() {
    for input in INPUTS {
        for (order, until) in [
            ("v DESC NULLS LAST, p, o, v, sensor", "<= 3"),
            ("at DESC, p, o, v, sensor", "= 1"),
            ("p, o, v, sensor", "< 5"),
            ("f, p, o, v, sensor", "= 2"),
        ] {
            let over = format!("row_number() OVER (PARTITION BY sensor ORDER BY {order})");
            check(&[
                &format!("SELECT sensor, v, f FROM {input} QUALIFY {over} {until}"),
                &format!("SELECT sensor, v, {over} AS n FROM {input} QUALIFY {over} {until}"),
                &format!(
                    "SELECT sensor, sum(v) AS s FROM (SELECT *, {over} AS n FROM {input}) \
                     WHERE n {until} GROUP BY sensor"
                ),
            ])
            .await;
        }
        check(&[
            &format!("SELECT v, f FROM {input} QUALIFY rank() OVER (ORDER BY v DESC) <= 2"),
            &format!(
                "SELECT v, f FROM {input} QUALIFY row_number() OVER (ORDER BY p, o, v, sensor) <= 7"
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn sliding_windows_with_late_rows() {
    let mut queries = vec![];
    for (size, slide) in [("1 minute", "30 seconds"), ("1 minute", "25 seconds")] {
        let w = format!("window(at, '{size}', '{slide}')");
        for aggregates in AGGREGATES {
            queries.push(format!(
                "SELECT sensor, {w} AS w, {aggregates} FROM readings GROUP BY sensor, {w}"
            ));
        }
        queries.push(format!(
            "SELECT s, max(n) AS m FROM (SELECT {w}.start AS s, sensor, count(*) AS n \
             FROM readings WHERE v > 0 GROUP BY {w}, sensor) GROUP BY s"
        ));
    }
    check_windows(&queries).await;
}

#[tokio::test]
async fn functions_over_the_rows_of_a_window() {
    let queries = [
        format!("SELECT w, v, rank() OVER (PARTITION BY w ORDER BY v) AS r FROM {WINDOWED}"),
        format!(
            "SELECT w.end AS e, sensor, n FROM (SELECT w, sensor, count(*) AS n FROM {WINDOWED} \
             GROUP BY w, sensor) QUALIFY row_number() OVER (PARTITION BY w ORDER BY n DESC, \
             sensor) <= 2"
        ),
        format!(
            "SELECT w, sensor, sum(v) OVER (PARTITION BY sensor, w) AS s FROM {WINDOWED} \
             WHERE v > 1"
        ),
    ];
    check_windows(&queries).await;
}

#[tokio::test]
async fn session_windows() {
    for input in INPUTS {
        let w = "session_window(at, '4 seconds')";
        check(&[
            &format!("SELECT {w} AS w, count(*) AS n, sum(v) AS s FROM {input} GROUP BY {w}"),
            &format!(
                "SELECT sensor, {w}.start AS a, {w}.end AS b, max(f) AS f FROM {input} \
                 GROUP BY sensor, {w} HAVING count(*) > 2"
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn grouping_sets() {
    for input in INPUTS {
        for aggregates in &AGGREGATES[..6] {
            check(&[
                &format!(
                    "SELECT sensor, ok, {aggregates} FROM {input} GROUP BY ROLLUP (sensor, ok)"
                ),
                &format!("SELECT sensor, ok, {aggregates} FROM {input} GROUP BY CUBE (sensor, ok)"),
            ])
            .await;
        }
        check(&[&format!(
            "SELECT sensor, v % 3 AS m, grouping(sensor) AS g, count(*) AS n FROM {input} \
             GROUP BY GROUPING SETS ((sensor), (v % 3), (sensor), ())"
        )])
        .await;
    }
}

#[tokio::test]
async fn lists_taken_apart() {
    check(&[
        "SELECT sensor, unnest(make_array(v, v + 1)) AS x FROM readings",
        "SELECT x, count(*) AS n FROM (SELECT unnest(make_array(v, 1)) AS x FROM readings) \
         GROUP BY x",
        "SELECT sensor, unnest(l) AS x FROM (SELECT sensor, array_agg(v ORDER BY v) AS l \
         FROM readings GROUP BY sensor)",
    ])
    .await;
}

#[tokio::test]
async fn joins_with_further_conditions() {
    let totals = "(SELECT sensor, v, count(*) AS n FROM alarms GROUP BY sensor, v)";
    for kind in ["", "LEFT ", "RIGHT ", "FULL "] {
        check(&[
            &format!(
                "SELECT r.v, r.f, a.d FROM readings r {kind}JOIN alarms a \
                 ON r.v = a.v AND r.f < a.f"
            ),
            &format!(
                "SELECT r.v, r.f, a.n FROM readings r {kind}JOIN {totals} a \
                 ON r.sensor = a.sensor AND r.v < a.v + a.n"
            ),
            &format!(
                "SELECT r.sensor AS k, count(*) AS n, sum(a.n) AS s FROM readings r {kind}JOIN \
                 {totals} a ON r.sensor = a.sensor AND r.v > a.n GROUP BY r.sensor"
            ),
        ])
        .await;
    }
    for not in ["", "NOT "] {
        check(&[
            &format!(
                "SELECT v, f FROM readings r WHERE {not}EXISTS (SELECT 1 FROM alarms a \
                 WHERE a.v = r.v AND a.f > r.f)"
            ),
            &format!(
                "SELECT v, f FROM readings r WHERE {not}EXISTS (SELECT 1 FROM {totals} a \
                 WHERE a.sensor = r.sensor AND a.n > r.v)"
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn subqueries() {
    check(&[
        "SELECT v, f FROM readings WHERE v > (SELECT avg(v) FROM alarms)",
        "SELECT sensor, v, (SELECT max(v) FROM alarms) AS m FROM readings",
        "SELECT v FROM readings r WHERE v < (SELECT sum(v) FROM alarms a WHERE a.sensor = r.sensor)",
        "SELECT v, (SELECT count(*) FROM alarms a WHERE a.v = r.v) AS n FROM readings r",
        "SELECT v, f FROM readings r WHERE v > 8 OR EXISTS (SELECT 1 FROM alarms a WHERE a.f = r.f)",
        "SELECT v, f FROM readings WHERE ok OR v IN (SELECT v FROM alarms WHERE f > 500)",
        "SELECT v, f FROM readings WHERE f NOT IN (SELECT f FROM alarms WHERE v > 5)",
        "SELECT v, f FROM readings WHERE f NOT IN (SELECT f FROM alarms WHERE f > 0 AND v > 5)",
        "SELECT v FROM readings WHERE v NOT IN (SELECT v FROM alarms WHERE v > 1000)",
        "SELECT v FROM readings WHERE v NOT IN \
         (SELECT n FROM (SELECT sensor, count(*) AS n FROM alarms GROUP BY sensor))",
        "SELECT r.v, t.s FROM readings r CROSS JOIN (SELECT sum(v) AS s FROM alarms) t",
        "SELECT r.sensor AS a, t.sensor AS b FROM (SELECT sensor, sum(v) AS s FROM readings \
         GROUP BY sensor) r JOIN (SELECT sensor, sum(v) AS s FROM alarms GROUP BY sensor) t \
         ON r.s < t.s",
    ])
    .await;
}
