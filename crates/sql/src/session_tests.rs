//! What a query means. The expected values are those of Spark 4 in ANSI mode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::testing::{rows, run, state, types};

async fn check(cases: &[(&str, &str, &str)]) {
    let state = state().await;
    let mut wrong = vec![];
    for (sql, want_rows, want_types) in cases {
        let got = (rows(&state, sql).await, types(&state, sql).await);
        if got.0 != *want_rows || (!want_types.is_empty() && got.1 != *want_types) {
            wrong.push(format!(
                "{sql}\n  got  {} : {}\n  want {want_rows} : {want_types}",
                got.0, got.1
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn arithmetic() {
    check(&[
        (
            "SELECT 5/2, 5 DIV 2, 5 % 2, -5 % 3, -7 DIV 2",
            "2.5 | 2 | 1 | -2 | -3",
            "DOUBLE, BIGINT, INT, INT, BIGINT",
        ),
        ("SELECT 10 DIV 3 + 1, 2 + 7 DIV 2 * 2", "4 | 8", ""),
        (
            "SELECT 1.10, 1.10 + 2.20, 1e3, 2.5e0",
            "1.10 | 3.30 | 1000.0 | 2.5",
            "DECIMAL(3,2), DECIMAL(4,2), DOUBLE, DOUBLE",
        ),
        (
            "SELECT 9223372036854775807 + 1",
            "invalid: integer overflow in 9223372036854775807 + 1",
            "",
        ),
        (
            "SELECT 9223372036854775807 * 2 AS x",
            "invalid: integer overflow in 9223372036854775807 * 2",
            "",
        ),
        (
            "SELECT -9223372036854775807 - 2",
            "invalid: integer overflow in -9223372036854775807 - 2",
            "",
        ),
        (
            "SELECT CAST(2147483647 AS INT) + CAST(1 AS INT)",
            "invalid: integer overflow in CAST(2147483647 AS INT) + CAST(1 AS INT)",
            "",
        ),
        (
            "SELECT -CAST(-2147483648 AS INT)",
            "invalid: integer overflow in -CAST(-2147483648 AS INT)",
            "",
        ),
        ("SELECT 1/0", "invalid: division by zero in 1 / 0", ""),
        ("SELECT 1.0/0", "invalid: division by zero in 1.0 / 0", ""),
        ("SELECT 1e0/0", "invalid: division by zero in 1e0 / 0", ""),
        ("SELECT 5 % 0", "invalid: division by zero in 5 % 0", ""),
        ("SELECT 5 DIV 0", "invalid: division by zero in 5 DIV 0", ""),
        ("SELECT NULL / 0, 0 / 5, 1 / NULLIF(0, 0)", "NULL | 0.0 | NULL", ""),
        (
            "SELECT 0.1e0 + 0.2, 0.1e0 = 0.1, 0.1e0 IN (0.1, 0.2), 0.1e0 BETWEEN 0.1 AND 0.2",
            "0.30000000000000004 | true | true | true",
            "",
        ),
        (
            "SELECT CASE WHEN 1 > 0 THEN 1.5 ELSE 2e0 END, coalesce(NULL, 1.5, 2e0)",
            "1.5 | 1.5",
            "DOUBLE, DOUBLE",
        ),
        (
            "SELECT round(2.5e0), round(-2.5e0), abs(-3), floor(-1.5e0), ceil(1.2e0)",
            "3.0 | -3.0 | 3 | -2 | 2",
            "",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_not_needed_does_not_fail() {
    check(&[
        ("SELECT x FROM (VALUES (0), (2)) v(x) WHERE x <> 0 AND 10 / x > 1", "2", ""),
        ("SELECT x FROM (VALUES (0), (2)) v(x) WHERE x = 0 OR 10 / x > 1 ORDER BY 1", "0 ; 2", ""),
        ("SELECT x <> 0 AND 10 / x > 1 FROM (VALUES (0), (2), (NULL)) v(x)",
         "false ; true ; NULL", "BOOLEAN"),
        ("SELECT CASE WHEN x <> 0 THEN 10 / x END FROM (VALUES (0), (2)) v(x)", "NULL ; 5.0", ""),
        ("SELECT x FROM (VALUES (0), (2)) v(x) WHERE CASE WHEN x <> 0 THEN 10 / x > 1 ELSE false END",
         "2", ""),
        ("SELECT x FROM (VALUES ('a'), ('2')) v(x) WHERE x <> 'a' AND CAST(x AS INT) = 2", "2", ""),
        ("SELECT sum(10 / x) FILTER (WHERE x <> 0) FROM (VALUES (2), (5)) v(x)", "7.0", "DOUBLE"),
    ])
    .await;
}

#[tokio::test]
async fn sums() {
    check(&[
        ("SELECT sum(x) FROM (VALUES (9223372036854775807), (1)) v(x)",
         "invalid: integer overflow in sum(): 9223372036854775808 does not fit into BIGINT", ""),
        // Only the result counts: no order of the rows makes it fail.
        ("SELECT sum(x) FROM (VALUES (9223372036854775807), (1), (-1)) v(x)", "9223372036854775807", ""),
        ("SELECT k, sum(v), avg(v), count(*) FROM events GROUP BY k ORDER BY k",
         "a | 14 | 3.5 | 4 ; b | 7 | 3.5 | 2", "TEXT, BIGINT, DOUBLE, BIGINT"),
        ("SELECT k, sum(x) FROM (VALUES ('a', 9223372036854775807), ('a', 1), ('b', 1)) v(k, x) GROUP BY k",
         "invalid: integer overflow in sum(): 9223372036854775808 does not fit into BIGINT", ""),
        ("SELECT sum(DISTINCT v), sum(v) FILTER (WHERE v > 100) FROM events", "21 | NULL", "BIGINT, BIGINT"),
        ("SELECT sum(DISTINCT x), sum(x) FROM (VALUES (1), (1), (2)) v(x)", "3 | 4", ""),
        ("SELECT sum(v) OVER (PARTITION BY k ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
            FROM events ORDER BY k, v", "1 ; 3 ; 7 ; 11 ; 3 ; 7", ""),
        ("SELECT sum(x), avg(x), count(x) FROM (VALUES (1.5), (2.5)) v(x)", "4.0 | 2.00000 | 2",
         "DECIMAL(12,1), DECIMAL(6,5), BIGINT"),
        ("SELECT sum(x) FROM (VALUES (1.5e0), (2.5e0)) v(x)", "4.0", "DOUBLE"),
        ("SELECT sum(v) FROM events WHERE v > 100", "NULL", ""),
    ])
    .await;
}

/// In Spark's words: the earlier of two, and as much later as the clocks jump.
#[tokio::test]
async fn times_of_zones_around_the_change_of_clocks() {
    check(&[
        ("SELECT to_utc_timestamp(TIMESTAMP '2022-10-30 02:30:00', 'Europe/Berlin'),
                 to_utc_timestamp(TIMESTAMP '2022-03-27 02:30:00', 'Europe/Berlin')",
         "2022-10-30T00:30:00Z | 2022-03-27T01:30:00Z", "TIMESTAMP, TIMESTAMP"),
        ("SELECT to_utc_timestamp('2022-11-06 01:30:00', 'America/New_York'),
                 to_utc_timestamp(TIMESTAMP '2022-03-13 02:30:00', 'America/New_York')",
         "2022-11-06T05:30:00Z | 2022-03-13T07:30:00Z", "TIMESTAMP, TIMESTAMP"),
        ("SELECT to_utc_timestamp(TIMESTAMP '2022-04-03 02:30:00', 'Australia/Sydney'),
                 to_utc_timestamp(TIMESTAMP '2022-10-02 02:30:00', 'Australia/Sydney')",
         "2022-04-02T15:30:00Z | 2022-10-01T16:30:00Z", ""),
        ("SELECT to_utc_timestamp(TIMESTAMP '2022-01-01 12:00:00', 'UTC+1'),
                 to_utc_timestamp(TIMESTAMP '2022-01-01 12:00:00', '-05:30')",
         "2022-01-01T11:00:00Z | 2022-01-01T17:30:00Z", ""),
        ("SELECT from_utc_timestamp(TIMESTAMP '2022-10-30 00:30:00', 'Europe/Berlin'),
                 from_utc_timestamp(TIMESTAMP '2022-10-30 01:30:00', 'Europe/Berlin'),
                 from_utc_timestamp(TIMESTAMP '2022-03-27 01:00:00', 'Europe/Berlin')",
         "2022-10-30T02:30:00Z | 2022-10-30T02:30:00Z | 2022-03-27T03:00:00Z", ""),
        ("SELECT TIMESTAMP '2022-10-30 00:30:00' AT TIME ZONE 'Europe/Berlin',
                 TIMESTAMP_NTZ '2022-10-30 02:30:00' AT TIME ZONE 'Europe/Berlin'",
         "2022-10-30T02:30:00 | 2022-10-30T00:30:00Z", "TIMESTAMP_NTZ, TIMESTAMP"),
        ("SELECT to_utc_timestamp(NULL, 'Europe/Berlin'), to_utc_timestamp(TIMESTAMP '2022-01-01', NULL)",
         "NULL | NULL", ""),
        ("SELECT to_utc_timestamp(TIMESTAMP '2022-01-01', 'Europe/Berlinn')",
         "invalid: 'Europe/Berlinn' is no time zone; write it like 'Europe/Berlin', 'UTC' or '+02:00'", ""),
    ])
    .await;
}

#[tokio::test]
async fn intervals() {
    let months = "invalid: months have no length in days: the two intervals can't be compared";
    check(&[
        ("SELECT INTERVAL '25 hours' > INTERVAL '1 day', INTERVAL '24' HOUR = INTERVAL '1' DAY", "true | true", ""),
        ("SELECT INTERVAL '13' MONTH > INTERVAL '1' YEAR, INTERVAL '1-1' YEAR TO MONTH = INTERVAL '13 months'",
         "true | true", ""),
        ("SELECT INTERVAL '1 month' > INTERVAL '30 days'", months, ""),
        ("SELECT make_interval(0, 1) > INTERVAL '30 days'", months, ""),
        ("SELECT make_interval(0, 0, 1, 1) > INTERVAL '7 days'", "true", ""),
        ("SELECT INTERVAL '1 day' IN (INTERVAL '24 hours', NULL), INTERVAL '1 day' NOT IN (INTERVAL '2 days')",
         "true | true", ""),
        ("SELECT DATE '2026-02-01' - DATE '2026-01-01', INTERVAL '1' MONTH", "PT2678400S | 0 years 1 mons",
         "INTERVAL DAY TO SECOND, INTERVAL YEAR TO MONTH"),
        ("SELECT CAST(INTERVAL '1 day' * 1.5 AS TEXT), CAST(3 * INTERVAL '1' YEAR / 2 AS TEXT)",
         "INTERVAL '1 12:00:00' DAY TO SECOND | INTERVAL '1-6' YEAR TO MONTH", ""),
        ("SELECT CAST(INTERVAL '1 second' / 3 AS TEXT), CAST(-INTERVAL '5' SECOND / 2 AS TEXT)",
         "INTERVAL '0 00:00:00.333333' DAY TO SECOND | INTERVAL '-0 00:00:02.5' DAY TO SECOND", ""),
        ("SELECT sequence(DATE '2026-01-01', DATE '2026-03-01', INTERVAL '1' MONTH),
                 size(sequence(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '6 hours'))",
         "[2026-01-01, 2026-02-01, 2026-03-01] | 5", ""),
        ("SELECT INTERVAL '1 day' / 0", "invalid: division by zero: an interval / 0", ""),
        ("SELECT INTERVAL '100000000 days' * 1000000", "invalid: interval overflow in an interval * 1000000", ""),
        ("SELECT DATE '2026-01-01' + INTERVAL '1 day', DATE '2026-01-01' + INTERVAL '36 hours'",
         "2026-01-02 | 2026-01-02T12:00:00Z", "DATE, TIMESTAMP"),
        ("SELECT INTERVAL '1 day' + TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-31' + INTERVAL '1 month'",
         "2026-01-02T00:00:00Z | 2026-02-28T00:00:00Z", ""),
        ("SELECT CAST(INTERVAL '1 day' + INTERVAL '90' MINUTE AS TEXT)",
         "INTERVAL '1 01:30:00' DAY TO SECOND", ""),
        ("SELECT CAST(INTERVAL '10 05:06:07.5' DAY TO SECOND AS TEXT)",
         "INTERVAL '10 05:06:07.5' DAY TO SECOND", ""),
        ("SELECT CASE WHEN true THEN INTERVAL '1 day' ELSE b - a END > INTERVAL '23 hours'
          FROM (VALUES (TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02')) v(a, b)", "true", ""),
    ])
    .await;
}

#[tokio::test]
async fn recursion() {
    check(&[
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT * FROM r",
         "1 ; 2 ; 3 ; 4", "BIGINT"),
        ("WITH RECURSIVE r(n, s) AS (SELECT 1, 'a' UNION SELECT n * 2, s || 'b' FROM r WHERE n < 4)
          SELECT * FROM r", "1 | a ; 2 | ab ; 4 | abb", ""),
        ("WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r",
         "1 ; 2 ; 3", ""),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100)
          SELECT count(*), sum(n) FROM r", "100 | 5050", ""),
    ])
    .await;
}

#[tokio::test]
async fn texts_and_nulls() {
    check(&[
        ("SELECT 'a' || NULL, concat('a', NULL), concat('a', 'b')", "NULL | NULL | ab", ""),
        ("SELECT 'a' || 1 || true, 'n=' || CAST(NULL AS INT), array(1) || array(2)", "a1true | NULL | [1, 2]", ""),
        ("SELECT substr('hello', 0, 2), substring('hello', -3, 2), substring('hello' FROM 2 FOR 3)",
         "he | ll | ell", "TEXT, TEXT, TEXT"),
        ("SELECT x FROM (VALUES (1), (NULL), (2)) v(x) ORDER BY x", "NULL ; 1 ; 2", ""),
        ("SELECT x FROM (VALUES (1), (NULL), (2)) v(x) ORDER BY x DESC", "2 ; 1 ; NULL", ""),
        ("SELECT 'it''s', length('a\\nb'), '\\d'", "it's | 3 | d", ""),
        ("SELECT ascii('a'), size(array(1, 2)), array(1, 2)[0], named_struct('a', 1).a",
         "97 | 2 | 1 | 1", ""),
        ("SELECT array(1, 2)[2]", "invalid: index 2 is outside of an array with 2 elements", ""),
        ("SELECT array(1, 2)[NULL], map('k', 1)['k']", "NULL | 1", ""),
        ("SELECT 1 WHERE NULL", "", ""),
        ("SELECT nullif(1, 1), if(true, 1, 2), try_cast('a' AS INT)", "NULL | 1 | NULL", ""),
    ])
    .await;
}

#[tokio::test]
async fn times_are_micros_in_utc() {
    check(&[
        ("SELECT TIMESTAMP '2024-01-01 00:00:00', CAST('2024-01-01T01:00:00+01:00' AS TIMESTAMP)",
         "2024-01-01T00:00:00Z | 2024-01-01T00:00:00Z", "TIMESTAMP, TIMESTAMP"),
        ("SELECT to_timestamp('2024-01-01T00:00:00Z'), to_timestamp(1.5)",
         "2024-01-01T00:00:00Z | 1970-01-01T00:00:01.500Z", "TIMESTAMP, TIMESTAMP"),
        ("SELECT date_bin(INTERVAL '10 seconds', TIMESTAMP '2024-01-01 00:00:13'),
                 date_bin(INTERVAL '10 seconds', TIMESTAMP '2024-01-01 00:00:13', TIMESTAMP '1970-01-01 00:00:00'),
                 date_trunc('hour', TIMESTAMP '2024-01-01 01:02:03')",
         "2024-01-01T00:00:10Z | 2024-01-01T00:00:10Z | 2024-01-01T01:00:00Z",
         "TIMESTAMP, TIMESTAMP, TIMESTAMP"),
        ("SELECT now() > TIMESTAMP '2024-01-01 00:00:00', current_timestamp() IS NULL", "true | false", ""),
        ("SELECT CAST(TIMESTAMP '1970-01-01 00:00:01.5' AS BIGINT), CAST(5 AS TIMESTAMP),
                 CAST(TIMESTAMP '1969-12-31 23:59:59.5' AS BIGINT), CAST(TIMESTAMP '1970-01-01 00:00:01.5' AS DOUBLE)",
         "1 | 1970-01-01T00:00:05Z | -1 | 1.5", "BIGINT, TIMESTAMP, BIGINT, DOUBLE"),
        ("SELECT year(ts), month(ts), day(ts), dayofweek(ts), quarter(ts), hour(ts), extract(minute FROM ts)
            FROM events WHERE v = 1", "2024 | 1 | 1 | 2 | 1 | 0 | 1", ""),
        ("SELECT DATE '2024-01-31' + INTERVAL 1 MONTH, TIMESTAMP '2024-01-01 00:00:00' - INTERVAL '5 seconds'",
         "2024-02-29 | 2023-12-31T23:59:55Z", "DATE, TIMESTAMP"),
        ("SELECT ts FROM events WHERE ts > '2024-01-01 00:06:00' ORDER BY ts",
         "2024-01-01T00:09:59Z ; 2024-01-01T00:15:00Z", "TIMESTAMP"),
        ("SELECT to_date('2024-01-01'), datediff(DATE '2024-01-03', DATE '2024-01-01')", "2024-01-01 | 2", ""),
    ])
    .await;
}

#[tokio::test]
async fn casts() {
    check(&[
        ("SELECT 5::TEXT, '5'::INT + 1, CAST(2.5e0 AS INT), CAST('1e3' AS DOUBLE), CAST(1 AS LONG)",
         "5 | 6 | 2 | 1000.0 | 1", "TEXT, INT, INT, DOUBLE, BIGINT"),
        ("SELECT CAST('abc' AS INT)", "invalid: cannot read 'abc' as INT", ""),
        ("SELECT CAST(300 AS TINYINT)", "invalid: 300 does not fit into TINYINT", ""),
        ("SELECT TIMESTAMP 'yesterday'", "invalid: 'yesterday' is not a TIMESTAMP", ""),
    ])
    .await;
}

#[tokio::test]
async fn queries() {
    check(&[
        ("SELECT k, v FROM events QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC) = 1 ORDER BY k",
         "a | 6 ; b | 4", ""),
        ("SELECT k, count(*) FROM events GROUP BY k ORDER BY count(*) DESC, k", "a | 4 ; b | 2", ""),
        ("SELECT DISTINCT k FROM events ORDER BY k", "a ; b", ""),
        ("SELECT \"k\" FROM events LIMIT 1", "a", ""),
        ("SELECT K FROM Events e WHERE E.V = 1", "a", ""),
        ("WITH events AS (SELECT 1 AS v) SELECT v FROM events", "1", ""),
        ("WITH events AS (SELECT v + 10 AS v FROM events WHERE v = 1) SELECT v FROM events", "11", ""),
        ("SELECT median(v), var_pop(v) FROM events", "3.5 | 2.9166666666666665", ""),
    ])
    .await;
}

async fn names(sql: &str) -> String {
    let (schema, _) = run(&state().await, sql).await.unwrap();
    schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn columns_are_called_as_written() {
    for (sql, want) in [
        (
            "SELECT count(*), avg(celsius), n + 1, Upper(sensor) FROM readings GROUP BY n, sensor",
            "count(*), avg(celsius), n + 1, Upper(sensor)",
        ),
        (
            "SELECT window(at, '1 minute'), count(*) FROM readings GROUP BY window(at, '1 minute')",
            "window, count(*)",
        ),
        (
            "SELECT window.start, window.end FROM readings GROUP BY window(at, '1 minute')",
            "start, end",
        ),
        ("SELECT place.room, r.sensor, r.place.floor FROM readings r", "room, sensor, floor"),
    ] {
        assert_eq!(names(sql).await, want, "{sql}");
    }
}

#[tokio::test]
async fn a_star_shows_declared_columns_only() {
    let all = "sensor, celsius, at, n, price, small, tags, place";
    for (sql, want) in [
        ("SELECT * FROM readings", all.to_string()),
        ("SELECT r.* FROM readings r", all.to_string()),
        ("SELECT *, _offset FROM readings", format!("{all}, _offset")),
        (
            "SELECT * EXCEPT (n, tags) FROM readings",
            "sensor, celsius, at, price, small, place".into(),
        ),
        ("SELECT * FROM readings JOIN rooms USING (sensor)", format!("{all}, room, since")),
        ("SELECT * FROM rooms, (SELECT 1 AS one)", "sensor, room, since, one".into()),
        ("SELECT * FROM (SELECT * FROM rooms)", "sensor, room, since".into()),
        ("SELECT * FROM (SELECT _offset, room FROM rooms)", "_offset, room".into()),
        ("WITH w AS (SELECT * FROM rooms) SELECT * FROM w", "sensor, room, since".into()),
        (
            "SELECT room FROM rooms UNION ALL (SELECT sensor FROM (SELECT * FROM rooms))",
            "room".into(),
        ),
        (
            "SELECT _partition, _offset, _key, _headers, _arrived FROM rooms",
            "_partition, _offset, _key, _headers, _arrived".into(),
        ),
    ] {
        assert_eq!(names(sql).await, want, "{sql}");
    }
}

/// Whole literals are INT, also where DataFusion's own functions would have BIGINT.
#[tokio::test]
async fn functions_take_whole_literals() {
    check(&[
        (
            "SELECT substr('hello', 2, 3), repeat('ab', 2), lpad('a', 3, 'b'), left('abc', 2)",
            "ell | abab | bba | ab",
            "",
        ),
        (
            "SELECT split_part('a,b', ',', 2), instr('abc', 'c'), elt(2, 'a', 'b'), chr(65)",
            "b | 3 | b | A",
            "",
        ),
        (
            "SELECT round(1.25, 1), round(15, -1), pow(2, 3), shiftleft(1, 2), factorial(5)",
            "1.3 | 20 | 8.0 | 4 | 120",
            "DECIMAL(3,1), INT, DOUBLE, INT, BIGINT",
        ),
        (
            "SELECT make_date(2024, 1, 31), add_months(DATE '2024-01-31', 1), DATE '2024-02-28' + 2",
            "2024-01-31 | 2024-02-29 | 2024-03-01",
            "DATE, DATE, DATE",
        ),
        ("SELECT array(1, 2)[1], size(array(1, 2)), array_contains(array(1, 2), 2)", "2 | 2 | true", ""),
        ("SELECT explode(sequence(1, 3))", "1 ; 2 ; 3", ""),
        (
            "SELECT row_number() OVER (ORDER BY x) + 1, lag(x, 1, 0) OVER (ORDER BY x),
                    nth_value(x, 1) OVER (ORDER BY x), ntile(2) OVER (ORDER BY x)
             FROM (VALUES (5), (7)) v(x)",
            "2 | 0 | 5 | 1 ; 3 | 5 | 5 | 2",
            "",
        ),
        ("SELECT x FROM (VALUES (1), (3000000000)) v(x) ORDER BY x LIMIT 1", "1", "BIGINT"),
        (
            "SELECT x % 2 AS r, count(*), sum(x) FROM (VALUES (1), (2), (3)) v(x) GROUP BY x % 2 \
             HAVING count(*) > 1 ORDER BY x % 2",
            "1 | 2 | 4",
            "INT, BIGINT, BIGINT",
        ),
        (
            "SELECT x FROM (SELECT 1 AS x UNION ALL SELECT 3000000000) ORDER BY 1 DESC",
            "3000000000 ; 1",
            "BIGINT",
        ),
    ])
    .await;
}
