//! Values that Postgres drivers write into the text of a statement come back as they went in, and
//! never as SQL: by hand as each driver quotes them, and with psql where there is one.

use std::process::Command;

use crate::pgwire::{Client, error_field, first_column};
use crate::support::{Project, READINGS, Server, free_port};

const VALUES: [&str; 9] = [
    r"C:\new\table",
    r"a\",
    r"\' OR 1=1 -- ",
    r"\\' OR 1=1 -- ",
    "it's",
    "100 %",
    "$$ $1 $x$",
    "; DROP TOPIC t; --",
    "\\x00ff /* \" ` é",
];

fn server() -> (Server, u16) {
    let port = free_port();
    let sql = format!("{READINGS}CREATE TOPIC t (id INT, s TEXT);\n");
    let server = Project::new(&sql).serve(&["--pg-port", &port.to_string()]);
    assert_eq!(server.post("/api/topics/t", r#"{"id":1,"s":"plain"}"#).status, 200);
    (server, port)
}

/// A value as drivers write it: psycopg2, libpq's PQescapeLiteral, pgjdbc and node-postgres.
fn written(value: &str) -> Vec<String> {
    let quoted = value.replace('\'', "''");
    vec![
        format!("'{quoted}'"),
        format!(" E'{}'", quoted.replace('\\', "\\\\")),
        format!("U&'{}'", quoted.replace('\\', "\\\\")),
        format!("$q0${value}$q0$"),
    ]
}

#[test]
fn values_are_not_read_as_sql() {
    let (server, port) = server();
    let (mut client, greeting) = Client::connect(port);
    let announced = greeting
        .iter()
        .any(|(tag, body)| *tag == b'S' && body.starts_with(b"standard_conforming_strings\0on\0"));
    assert!(announced);
    for value in VALUES {
        for written in written(value) {
            let got = client.query(&format!("SELECT {written}"));
            assert_eq!(first_column(&got), [value], "{written}: {got:?}");
            let got = client.query(&format!("SELECT id FROM t WHERE s = {written}"));
            assert!(first_column(&got).is_empty(), "{written}: {got:?}");
            assert_eq!(error_field(&got, b'M'), None, "{written}");
            let got = client.query(&format!("SELECT {written}; SELECT id FROM t"));
            assert_eq!(first_column(&got), [value, "1"], "{written}: {got:?}");
            let declare = format!("DECLARE c CURSOR FOR SELECT {written}; FETCH 1 FROM c; CLOSE c");
            assert_eq!(first_column(&client.query(&declare)), [value], "{written}");
        }
    }
    // Elsewhere Spark's rules go on.
    let answer = server.sql(r"SELECT 'a\'b\\c\n' AS s");
    assert_eq!(answer[0][0], "a'b\\c\n", "{answer}");
    // Nobody can switch the announced rules off.
    let answer = client.query("SET standard_conforming_strings = off");
    assert_eq!(error_field(&answer, b'C').as_deref(), Some("0A000"), "{answer:?}");
    let answer = client.query("SHOW standard_conforming_strings");
    assert_eq!(first_column(&answer), ["on"]);
    let answer = client.query(r"SELECT '\x00ff'::bytea = X'00FF', 'a\x41'::bytea");
    assert_eq!(first_column(&answer), ["t"], "{answer:?}");
}

#[test]
fn definitions_keep_their_meaning() {
    let (server, port) = server();
    let (mut client, _) = Client::connect(port);
    let create = r"CREATE MATERIALIZED VIEW v AS
        SELECT id, '\' AS a, E'b\'\n' AS b, $$c'\n$$ AS c FROM t WHERE s <> '\'' OR 1=1 -- '";
    let answer = client.query(create);
    assert!(answer.iter().any(|(tag, _)| *tag == b'C'), "{answer:?}");
    let read = "SELECT a || '|' || b || '|' || c FROM v";
    let want = "\\|b'\n|c'\\n";
    server.settle();
    assert_eq!(first_column(&client.query(read)), [want]);
    // Read again from the catalog, where Spark's rules hold.
    let (_, project) = server.stop();
    let server = project.serve(&["--pg-port", &port.to_string()]);
    server.settle();
    let (mut client, _) = Client::connect(port);
    assert_eq!(first_column(&client.query(read)), [want]);
}

#[test]
fn errors_point_into_what_the_client_sent() {
    let (_server, port) = server();
    let (mut client, _) = Client::connect(port);
    for (text, word) in [
        (r"SELECT '\', E'\n', wrong FROM t", "wrong"),
        (r"SELECT $$é$$; SELECT U&'\00e9', wrong FROM t", "wrong"),
        ("SELECT 1; SELECT 'open", "'open"),
        (r"DECLARE c CURSOR FOR SELECT E'\\', wrong FROM t", "wrong"),
    ] {
        let answer = client.query(text);
        let at = text[..text.find(word).unwrap()].chars().count() + 1;
        assert_eq!(error_field(&answer, b'P'), Some(at.to_string()), "{text}: {answer:?}");
    }
}

#[test]
fn psql_variables_are_values() {
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("skipped: psql is not installed");
        return;
    }
    let (_server, port) = server();
    for value in VALUES {
        let mut child = Command::new("psql");
        child.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "any", "-d", "any", "-AtX"]);
        child.args(["-v", &format!("v={value}"), "-f", "-"]);
        child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        child.stderr(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        let script = "SELECT :'v';\nSELECT id FROM t WHERE s = :'v';\n";
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let got = String::from_utf8_lossy(&output.stdout);
        assert_eq!(got, format!("{value}\n"), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn spans_of_time_have_days_and_hours() {
    let (_server, port) = server();
    let (mut client, _) = Client::connect(port);
    for (query, span) in [
        ("TIMESTAMP '2026-02-01 01:00:00.5' - TIMESTAMP '2026-01-01'", "31 days 01:00:00.500000"),
        ("TIMESTAMP '2026-01-01' - TIMESTAMP '2026-01-02 12:00:00'", "-1 days -12:00:00"),
        ("INTERVAL '14' MONTH", "1 year 2 mons"),
        ("INTERVAL '1 day' * 2", "2 days"),
    ] {
        let got = client.query(&format!("SELECT {query}"));
        assert_eq!(first_column(&got), [span], "{query}: {got:?}");
    }
}

#[test]
fn arrays_come_as_texts_too() {
    let (_server, port) = server();
    let (mut client, _) = Client::connect(port);
    for (query, answer) in [
        ("SELECT array_element('{1,2, 3}'::int[], 2)", "2"),
        ("SELECT cardinality('{}'::int[])", "0"),
        ("SELECT array_element('{NULL, 5}'::bigint[], 2)", "5"),
        ("SELECT array_element('{NULL, 5}'::bigint[], 1) IS NULL", "t"),
        ("SELECT array_element('{\"a,b\", \"\\\"}\", c}'::text[], 1)", "a,b"),
        ("SELECT array_element('{\"a,b\", \"\\\"}\", c}'::text[], 2)", "\"}"),
        ("SELECT array_element('{\"NULL\", x y}'::text[], 1)", "NULL"),
        ("SELECT array_element('{\"NULL\", x y}'::text[], 2)", "x y"),
        ("SELECT array_element(array_element('{{1,2},{3,4}}'::int[][], 2), 1)", "3"),
        ("SELECT 'plain' = ANY('{other,plain}'::text[])", "t"),
        ("SELECT id FROM t WHERE id = ANY('{1,7}'::int[])", "1"),
    ] {
        let got = client.query(query);
        assert_eq!(first_column(&got), [answer], "{query}: {:?}", error_field(&got, b'M'));
    }
    for wrong in ["'{1,two}'::int[]", "'{1,2'::int[]", "'{1,,2}'::int[]"] {
        let got = client.query(&format!("SELECT {wrong}"));
        assert!(error_field(&got, b'M').is_some(), "{wrong}: {got:?}");
    }
}
