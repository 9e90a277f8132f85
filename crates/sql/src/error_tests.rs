//! Every kind of mistake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use crate::testing::{run, state, rendered};

#[tokio::test]
async fn dump() {
    let state = state().await;
    for sql in [
        "SELECT sensr FROM readings", "SELECT r.sensr FROM readings r", "SELECT x.sensor FROM readings r", "SELECT sensor FROM reading",
        "SELECT srqt(celsius) FROM readings", "SELECT sqrt('hello')", "SELECT sqrt(sensor) FROM readings", "SELECT celsius + at FROM readings", "SELECT * FROM readings WHERE count(*) > 1",
        "SELECT sensor, celsius, count(*) FROM readings GROUP BY sensor",
        "SELECT sensor FROM readings JOIN rooms ON readings.sensor = rooms.sensor",
        "SELECT 1 UNION ALL SELECT 1, 2", "SELECT window(at, '5 fortnights') FROM readings", "SELECT interval '5 fortnights'", "SELECT cast('abc' as int)", "SELECT timestamp 'yesterday'",
        "SELECT count(*) FROM readings GROUP BY window(at, '1 minute'), window(at, '2 minutes')",
        "SELECT sensor celsius at FROM readings", "SELECT 'abc FROM readings", "SELECT (1 + 2 FROM readings", "SELECT 1) FROM readings", "SELECT order FROM readings", "SELECT sensor FROM readings WHERE", "SELECT FROM readings", "SELECT sensor, FROM readings",
        "SELECT sensor, sensor FROM readings", "SELECT sum(sensor) FROM readings", "SELECT cast(1 as strin)", "SELECT celsius = sensor FROM readings WHERE at = 5", "SELECT * FROM readings TABLESAMPLE (10 PERCENT)",
        "SELECT * FROM readings NATURAL JOIN rooms", "SELECT place.rom FROM readings", "SELECT * FROM readings WHERE sensor", "SELECT * FROM readings HAVING celsius > 1", "SELECT sensor FROM readings ORDER BY foo", "SELECT sensor FROM readings ORDER BY 3", "SELECT sum(count(*)) FROM readings", "SELECT 9223372036854775807 + 1", "SELECT sum(x) FROM (VALUES (9223372036854775807),(1)) v(x)", "SELECT 1/0", "SELECT window(at) FROM readings", "SELECT window(sensor, 5) FROM readings", "SELECT window(at, '1 minute', '5 minutes') FROM readings", "SELECT session_window(at, '1 minute') FROM readings", "SELECT * FROM readings LIMIT -1", "SELECT * FROM readings LIMIT x", "SELECT max(sensor, 1) FROM readings", "SELECT (SELECT 1, 2)", "SELECT * FROM readings r JOIN rooms r ON true", "SELECT sensor FROM readings WHERE sensor IN (SELECT sensor, room FROM rooms)", "WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a", "SELECT now() FROM readings WHERE at > 'abc'", "INSERT INTO readings VALUES (1)", "SELECT row_number() FROM readings", "SELECT upper(1, 2)", "SELECT substr()", "SELECT *, count(*) FROM readings", "SELECT a.b.c.d FROM readings",
    ] {
        match run(&state, sql).await { Ok((s, _)) => println!("OK {sql} -> {:?}", s.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect::<Vec<_>>()), Err(e) => println!("{}\n", rendered(&e)) }
    }
}
