//! Whatever is sent through a door for SQL, nothing is written and nothing is made but what the
//! engine makes, and nothing is read but what the platform has.

use std::path::Path;

use crate::pgwire::{Client, first_column};
use crate::support::{Project, READINGS, Server, free_port};

/// Statements that would do it, `{f}` for a path.
const STATEMENTS: [&str; 35] = [
    "COPY (SELECT 1) TO '{f}' STORED AS CSV",
    "COPY readings TO '{f}.parquet'",
    "COPY (VALUES (1)) TO '{f}.json' STORED AS JSON",
    "COPY readings FROM '/etc/passwd'",
    "CREATE EXTERNAL TABLE made STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE EXTERNAL TABLE made (a TEXT) STORED AS CSV LOCATION '{f}'",
    "CREATE UNBOUNDED EXTERNAL TABLE made STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE TABLE made (a INT)",
    "CREATE TABLE made AS SELECT 1 AS a",
    "CREATE TEMPORARY TABLE made AS SELECT 1 AS a",
    "CREATE TABLE pg_catalog.made AS SELECT 1 AS a",
    "CREATE VIEW made AS SELECT 1 AS a",
    "CREATE VIEW pg_made AS SELECT 1 AS a",
    "CREATE SCHEMA made",
    "CREATE DATABASE made",
    "CREATE FUNCTION made(a INT) RETURNS INT RETURN a + 1",
    "CREATE INDEX made ON readings (sensor)",
    "DROP TABLE readings",
    "DROP SCHEMA public CASCADE",
    "DROP FUNCTION abs",
    "INSERT INTO pg_catalog.pg_class VALUES (1)",
    "INSERT OVERWRITE readings SELECT * FROM readings",
    "UPDATE readings SET celsius = 1",
    "DELETE FROM readings",
    "TRUNCATE TABLE readings",
    "MERGE INTO readings USING readings r ON 1=1 WHEN MATCHED THEN DELETE",
    "WITH a AS (SELECT 1) INSERT INTO readings SELECT * FROM readings",
    "WITH a AS (INSERT INTO readings SELECT * FROM readings RETURNING 1) SELECT * FROM a",
    "WITH a AS (SELECT 1) DELETE FROM readings",
    "SELECT 1 AS a INTO made",
    "SELECT 1 AS a INTO made UNION SELECT oid FROM pg_class",
    "PREPARE p AS COPY (SELECT 1) TO '{f}' STORED AS CSV",
    "PREPARE p AS INSERT INTO readings SELECT * FROM readings",
    "EXECUTE p",
    "DEALLOCATE p",
];

/// Queries that would open a file.
const READERS: [&str; 7] = [
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT *, pg_backend_pid() FROM '/etc/passwd'",
    "SELECT * FROM pg_catalog.pg_class, \"/etc/passwd\"",
];

/// The same statement in other clothes.
fn dressed(statement: &str) -> Vec<String> {
    vec![
        statement.to_string(),
        format!("  /* a /* b */ */ -- c\n\t{statement} ;"),
        format!("({statement})"),
        format!("EXPLAIN {statement}"),
        format!("EXPLAIN ANALYZE {statement}"),
        format!("BEGIN; {statement}"),
        format!("SELECT version(); {statement}"),
        format!("DECLARE c CURSOR FOR {statement}"),
        format!("SET x = 1; {statement}"),
    ]
}

fn objects(server: &Server) -> String {
    let names = ["TOPICS", "VIEWS", "SOURCES", "SINKS"];
    names.iter().map(|n| server.sql(&format!("SHOW {n}")).to_string()).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn nothing_gets_past_the_engine() {
    let port = free_port();
    let server = Project::new(READINGS).serve(&["--pg-port", &port.to_string()]);
    let event = r#"{"sensor":"a","celsius":20.5,"at":"2026-01-01T10:00:00Z"}"#;
    assert_eq!(server.post("/api/topics/readings", event).status, 200);
    server.settle();
    let folder = tempfile::tempdir().unwrap();
    let before = objects(&server);
    assert!(before.contains("readings"), "{before}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = format!("host=127.0.0.1 port={port} user=any dbname=any");
    let extended = runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&address, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    });
    let (mut simple, _) = Client::connect(port);
    for (i, statement) in STATEMENTS.iter().chain(&READERS).enumerate() {
        let path = folder.path().join(format!("out{i}"));
        let statement = statement.replace("{f}", &path.display().to_string());
        for text in dressed(&statement) {
            let answer = simple.query(&text);
            let refused = answer.iter().any(|(tag, _)| *tag == b'E');
            let told = first_column(&answer);
            assert!(refused, "simple: {text}: {answer:?}");
            assert!(!told.iter().any(|row| row.contains("root:")), "simple: {text}");
            simple.query("ROLLBACK");
            assert!(runtime.block_on(extended.query(text.as_str(), &[])).is_err(), "{text}");
            let _ = runtime.block_on(extended.simple_query("ROLLBACK"));
            let body = serde_json::json!({ "query": text }).to_string();
            let answer = server.post("/api/sql", body);
            assert!(answer.status >= 400, "REST: {text}: {}", answer.text());
            assert_eq!(files(folder.path()), Vec::<String>::new(), "{text}");
        }
    }
    assert_eq!(objects(&server), before);
    // The catalog of Postgres has no more tables than before, and the doors go on.
    let made = simple.query("SELECT relname FROM pg_class WHERE relname LIKE '%made%'");
    assert_eq!(first_column(&made), Vec::<String>::new(), "{made:?}");
    let listed = simple.query("SELECT relname FROM pg_class WHERE relname = 'readings'");
    assert_eq!(first_column(&listed), ["readings"]);
    let listed = simple.query(
        "SELECT table_name FROM information_schema.tables
        WHERE table_name = 'readings'",
    );
    assert_eq!(first_column(&listed), ["readings"], "{listed:?}");
    assert_eq!(first_column(&simple.query("SELECT count(*) FROM readings")), ["1"]);
}

#[test]
fn questions_about_the_server_end_in_time() {
    let port = free_port();
    let _server = Project::new(READINGS).serve(&["--pg-port", &port.to_string()]);
    let (mut client, _) = Client::connect(port);
    client.query("SET statement_timeout = '300ms'");
    let began = std::time::Instant::now();
    let endless = "SELECT count(*) FROM pg_type a, pg_type b, pg_type c, pg_type d, pg_type e
        WHERE a.oid + b.oid + c.oid + d.oid < e.oid";
    let answer = client.query(endless);
    let code = crate::pgwire::error_field(&answer, b'C');
    assert_eq!(code.as_deref(), Some("57014"), "{answer:?}");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    client.query("RESET ALL");
    assert_eq!(first_column(&client.query("SELECT 1")), ["1"]);
}
