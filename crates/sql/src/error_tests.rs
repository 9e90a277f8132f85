//! Every kind of mistake in a query, with the text as the terminal shows it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::testing::{rendered, run, state};

async fn check(cases: &[(&str, &str)]) {
    let state = state().await;
    let mut wrong = vec![];
    for (sql, want) in cases {
        let got = match run(&state, sql).await {
            Ok((schema, _)) => format!("no error: {schema:?}"),
            Err(e) => rendered(&e),
        };
        let want = format!("{sql}\n{want}");
        if got != want {
            wrong.push(format!("got:\n{got}\nwant:\n{want}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn unknown_names() {
    check(&[
        ("SELECT sensr FROM readings",
         "       ^^^^^\nundefined_column: unknown column 'sensr' (did you mean 'sensor'?)"),
        ("SELECT r.sensr FROM readings r",
         "         ^^^^^\nundefined_column: unknown column 'sensr' (did you mean 'sensor'?)"),
        ("SELECT x.sensor FROM readings r",
         "       ^\nnot_found: unknown table 'x' (did you mean 'r'?)"),
        ("SELECT sensor FROM reading",
         "                   ^^^^^^^\nnot_found: unknown topic or view 'reading' (did you mean 'readings'?)"),
        ("SELECT srqt(celsius) FROM readings",
         "       ^^^^\nundefined_function: unknown function 'srqt' (did you mean 'sqrt'?)"),
        ("SELECT sensor FROM readings ORDER BY foo",
         "                                     ^^^\nundefined_column: unknown column 'foo' (known are: sensor, celsius, at, n, price, small, tags, place)"),
        ("SELECT cast(1 as strin)",
         "                 ^^^^^\ninvalid: unknown type 'strin' (did you mean 'STRING'?)"),
        ("SELECT place.rom FROM readings", "             ^^^\ninvalid: unknown field 'rom'"),
        ("SELECT * EXCEPT (sensr) FROM readings",
         "                 ^^^^^\nundefined_column: unknown column 'sensr' (did you mean 'sensor'?)"),
        ("SELECT sensor FROM readings JOIN rooms ON readings.sensor = rooms.sensor",
         "       ^^^^^^\ninvalid: column 'sensor' is in several tables (say which one, as in t.sensor)"),
        ("SELECT * FROM readings r JOIN rooms r ON true",
         "                                    ^\ninvalid: two tables are called 'r' (give one of them another name with AS)"),
        ("SELECT sensor, sensor FROM readings",
         "       ^^^^^^\ninvalid: two columns are called 'sensor' (give one of them another name with AS)"),
        ("WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a",
         "     ^\ninvalid: WITH defines 'a' twice"),
    ])
    .await;
}

#[tokio::test]
async fn wrong_types() {
    check(&[
        ("SELECT sqrt('hello')",
         "       ^^^^\ninvalid: sqrt() cannot take TEXT (it takes sqrt(DOUBLE/FLOAT))"),
        ("SELECT celsius + at FROM readings",
         "       ^^^^^^^^^^^^\ninvalid: cannot compute DOUBLE + TIMESTAMP"),
        ("SELECT sensor FROM readings WHERE at = 5",
         "                                  ^^^^^^\ninvalid: cannot compare TIMESTAMP with INT (cast one side to the other's type)"),
        ("SELECT * FROM readings WHERE sensor",
         "                             ^^^^^^\ninvalid: WHERE needs a condition, got TEXT"),
        ("SELECT sum(sensor) FROM readings",
         "       ^^^\ninvalid: sum() cannot take TEXT (it takes sum(DECIMAL), sum(BIGINT), sum(DOUBLE), sum(INTERVAL))"),
        ("SELECT upper('a', 'b')", "       ^^^^^\ninvalid: upper() takes 1 argument, got 2"),
        ("SELECT max(sensor, 1) FROM readings", "       ^^^\ninvalid: max() takes 1 argument, got 2"),
        ("SELECT interval '5 fortnights'",
         "                ^^^^^^^^^^^^^^\ninvalid: '5 fortnights' is not an interval (write a number and a unit, as in '5 seconds')"),
        ("SELECT cast('abc' as int)",
         "            ^^^^^\ninvalid: cannot read 'abc' as INT (try_cast gives NULL instead)"),
        ("SELECT timestamp 'yesterday'",
         "                 ^^^^^^^^^^^\ninvalid: 'yesterday' is not a TIMESTAMP (write it as '2024-01-31 12:00:00' or '2024-01-31T12:00:00Z')"),
        ("SELECT sensor FROM events e JOIN readings ON v > 0 WHERE ts > 'abc'",
         "                                                              ^^^^^\ninvalid: 'abc' is not a TIMESTAMP (write it as '2024-01-31 12:00:00' or '2024-01-31T12:00:00Z')"),
        ("SELECT v / 0 FROM events",
         "       ^^^^^\ninvalid: division by zero in v / 0 (nullif(x, 0) gives NULL instead)"),
        ("SELECT sum(x) FROM (VALUES (9223372036854775807), (1)) v(x)",
         "       ^^^\ninvalid: integer overflow in sum(): 9223372036854775808 does not fit into BIGINT (compute in a wider type, as in CAST(x AS DECIMAL(38,0)))"),
    ])
    .await;
}

#[tokio::test]
async fn misplaced() {
    check(&[
        ("SELECT * FROM readings WHERE count(*) > 1",
         "                       ^^^^^\ninvalid: an aggregate cannot stand in WHERE (filter groups with HAVING)"),
        ("SELECT sensor, celsius, count(*) FROM readings GROUP BY sensor",
         "               ^^^^^^^\ninvalid: column 'celsius' is neither grouped by nor aggregated (add it to GROUP BY, or write an aggregate such as max(celsius))"),
        ("SELECT * FROM readings HAVING celsius > 1",
         "                       ^^^^^^\ninvalid: HAVING can use grouped columns and aggregates only (filter rows with WHERE)"),
        ("SELECT sum(count(*)) FROM readings",
         "           ^^^^^\ninvalid: count() cannot stand inside sum() (aggregate in a subquery first)"),
        ("SELECT row_number() FROM readings",
         "       ^^^^^^^^^^\ninvalid: row_number() needs a window (write row_number() OVER (PARTITION BY … ORDER BY …))"),
        ("SELECT 1 UNION ALL SELECT 1, 2",
         "         ^^^^^\ninvalid: the queries of a UNION have different numbers of columns (select as many columns in each)"),
        ("SELECT sensor FROM readings ORDER BY 3",
         "                            ^^^^^\ninvalid: ORDER BY 3 is not a column: the query has 1"),
        ("SELECT * FROM readings LIMIT -1", "                       ^^^^^\ninvalid: LIMIT cannot be negative"),
        ("SELECT (SELECT 1, 2)",
         "^^^^^^^^^^^^^^^^^^^^\ninvalid: a subquery that is used as a value gives one column (select one column in it)"),
    ])
    .await;
}

#[tokio::test]
async fn windows() {
    check(&[
        ("SELECT count(*) FROM readings GROUP BY window(at, '1 minute'), window(at, '2 minutes')",
         "                                                               ^^^^^^^^^^^^^^^^^^^^^^\ninvalid: a query block can have one time window only (group by the second window in a view or subquery of its own)"),
        ("SELECT window(at, '5 fortnights') FROM readings",
         "                  ^^^^^^^^^^^^^^\ninvalid: '5 fortnights' is not a duration (write a number and a unit, as in '5 seconds', '10 minutes', '7 days')"),
        ("SELECT window(at) FROM readings",
         "       ^^^^^^\ninvalid: window() takes a time, a size, and perhaps a slide and an offset"),
        ("SELECT window(sensor, 5) FROM readings",
         "       ^^^^^^\ninvalid: window() needs a duration, as in '1 minute'; got BIGINT"),
        ("SELECT window(n, '5 minutes') FROM readings",
         "       ^^^^^^\ninvalid: window() needs a TIMESTAMP, got BIGINT"),
        ("SELECT window(at, '1 minute', '5 minutes') FROM readings",
         "       ^^^^^^\ninvalid: the slide of window() cannot be larger than its size"),
        ("SELECT session_window(at, '1 minute') FROM readings",
         "       ^^^^^^^^^^^^^^\ninvalid: session_window() can only stand in GROUP BY"),
        ("SELECT window(at, interval '1 month') FROM readings",
         "       ^^^^^^\ninvalid: months differ in length; window() needs days or smaller units"),
    ])
    .await;
}

#[tokio::test]
async fn syntax_and_what_is_not_there() {
    check(&[
        ("SELECT sensor celsius at FROM readings",
         "                      ^^\nsyntax: expected the end of the statement, found 'at' (is a comma missing before 'at'?)"),
        ("SELECT 'abc FROM readings",
         "       ^\nsyntax: this string is never closed (close it with \"'\"; a quote inside is written twice)"),
        ("SELECT (1 + 2 FROM readings", "       ^\nsyntax: this '(' is never closed (close it with ')')"),
        ("SELECT 1) FROM readings", "        ^\nsyntax: this ')' closes nothing (take it out)"),
        ("SELECT sensor FROM readings WHERE",
         "                                 ^\nsyntax: expected an expression, found the end of the statement"),
        ("SELECT FROM readings",
         "       ^^^^\nsyntax: expected an expression, found 'FROM' (name the columns, or write * for all)"),
        ("SELECT sensor, FROM readings",
         "               ^^^^\nsyntax: expected an expression, found 'FROM' (take out the comma before 'FROM')"),
        ("SELECT * FROM readings TABLESAMPLE (10 PERCENT)",
         "                       ^^^^^^^^^^^\nunsupported: TABLESAMPLE is not supported (filter by a hash of a column instead)"),
        ("SELECT * FROM readings NATURAL JOIN (SELECT sensor, 1 + 1 FROM rooms)",
         "                       ^^^^^^^\nunsupported: NATURAL JOIN with a topic is not supported (name the columns: JOIN … USING (column))"),
    ])
    .await;
}
