//! INSERT, UPDATE, DELETE and MERGE, over HTTP and from a driver of Postgres: what a statement
//! writes is there for the next one, in views too; what can't be written leaves nothing behind.

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::support::{Project, Server, free_port, try_send};

const BANK: &str = "CREATE TABLE accounts (
  id BIGINT PRIMARY KEY, owner TEXT NOT NULL, balance DECIMAL(12,2) DEFAULT 0, note TEXT,
  CHECK (balance >= 0)
) WITH (partitions = 3);
CREATE TOPIC events (at TIMESTAMP, id BIGINT, n INT DEFAULT 7);
CREATE TOPIC words (value BINARY) WITH (format = 'raw');
CREATE MATERIALIZED VIEW per_owner AS
  SELECT owner, sum(balance) AS total, count(*) AS n FROM accounts GROUP BY owner;
";

/// What a statement answers: its rows, what it did, or why it was refused.
fn said(server: &Server, query: &str) -> String {
    said_at(&server.address, query)
}

fn said_at(address: &str, query: &str) -> String {
    let body = json!({ "query": query }).to_string();
    let answer = try_send(address, "POST", "/api/sql", &[], body.as_bytes()).unwrap().json();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    match (&answer["rows"], &answer["message"]) {
        (Value::Array(rows), _) => {
            let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
            rows.join(" ")
        }
        (_, Value::String(message)) => message.clone(),
        _ => format!("{}: {}", text(&answer["code"]), text(&answer["detail"])),
    }
}

fn check(server: &Server, script: &[(&str, &str)]) {
    for (query, wanted) in script {
        assert_eq!(said(server, query), *wanted, "{query}");
    }
}

const ALL: &str = "SELECT id, owner, CAST(balance AS DOUBLE), note FROM accounts ORDER BY id";

#[test]
fn rows_are_inserted_updated_and_deleted() {
    let server = Project::new(BANK).serve(&[]);
    check(
        &server,
        &[
            (
                "INSERT INTO accounts (id, owner, balance)
                 VALUES (1, 'ada', 10.5), (2, 'bo', '20'), (3, 'ada', DEFAULT)",
                "inserted 3 rows into 'accounts'",
            ),
            (ALL, r#"[1,"ada",10.5,null] [2,"bo",20.0,null] [3,"ada",0.0,null]"#),
            (
                "UPDATE accounts SET balance = balance * 2, note = 'twice' WHERE owner = 'ada'",
                "updated 2 rows of 'accounts'",
            ),
            (
                "UPDATE accounts SET (balance, note) = (1, NULL) WHERE id = 3",
                "updated 1 row of 'accounts'",
            ),
            ("DELETE FROM accounts WHERE id = 2", "deleted 1 row from 'accounts'"),
            (ALL, r#"[1,"ada",21.0,"twice"] [3,"ada",1.0,null]"#),
            (
                "INSERT INTO accounts (id, owner, balance) VALUES (1, 'x', 5), (9, 'new', 1)
                 ON CONFLICT (id) DO UPDATE SET balance = accounts.balance + excluded.balance
                 WHERE accounts.balance > 20",
                "inserted 2 rows into 'accounts'",
            ),
            (
                "INSERT INTO accounts (id, owner) VALUES (1, 'x'), (4, 'y'), (4, 'z') ON CONFLICT DO NOTHING",
                "inserted 1 row into 'accounts'",
            ),
            (
                ALL,
                r#"[1,"ada",26.0,"twice"] [3,"ada",1.0,null] [4,"y",0.0,null] [9,"new",1.0,null]"#,
            ),
            (
                "UPDATE accounts AS a SET note = u.why
                 FROM (VALUES (4, 'four'), (5, 'five')) AS u(id, why) WHERE u.id = a.id",
                "updated 1 row of 'accounts'",
            ),
            (
                "DELETE FROM accounts USING (VALUES ('four'), ('four')) AS u(note) WHERE u.note = accounts.note",
                "deleted 1 row from 'accounts'",
            ),
            (
                "INSERT INTO events (at, id) SELECT TIMESTAMP '2026-01-01 00:00:00', id FROM accounts",
                "inserted 3 rows into 'events'",
            ),
            ("INSERT INTO events VALUES (NULL, 8, NULL)", "inserted 1 row into 'events'"),
            ("SELECT id, n FROM events ORDER BY id", "[1,7] [3,7] [8,null] [9,7]"),
            ("INSERT INTO words VALUES (X'00ff')", "inserted 1 row into 'words'"),
            ("SELECT hex(value) FROM words", r#"["00FF"]"#),
        ],
    );
    server.wait_until("the view has followed", |s| {
        said(s, "SELECT owner, CAST(total AS INT), n FROM per_owner ORDER BY owner")
            == r#"["ada",27,2] ["new",1,1]"#
    });
    let server = server.kill().serve(&[]);
    check(&server, &[(ALL, r#"[1,"ada",26.0,"twice"] [3,"ada",1.0,null] [9,"new",1.0,null]"#)]);
}

#[test]
fn rows_are_merged() {
    let server = Project::new(BANK).serve(&[]);
    check(
        &server,
        &[
            (
                "INSERT INTO accounts (id, owner, balance) VALUES (1, 'ada', 1), (2, 'bo', 2), (3, 'cy', 3)",
                "inserted 3 rows into 'accounts'",
            ),
            (
                "MERGE INTO accounts AS a
                 USING (VALUES (1, 'gone', 0.0), (2, 'bo', 7.25), (7, 'di', 1.0), (8, 'no', -1))
                   AS s(id, owner, amount) ON a.id = s.id
                 WHEN MATCHED AND s.owner = 'gone' THEN DELETE
                 WHEN MATCHED THEN UPDATE SET balance = a.balance + s.amount
                 WHEN NOT MATCHED AND s.amount > 0 THEN
                   INSERT (id, owner, balance) VALUES (s.id, s.owner, s.amount)",
                "merged 3 rows into 'accounts'",
            ),
            (ALL, r#"[2,"bo",9.25,null] [3,"cy",3.0,null] [7,"di",1.0,null]"#),
            (
                "MERGE INTO accounts USING (VALUES (7)) AS s(id) ON accounts.id = s.id
                 WHEN NOT MATCHED BY SOURCE AND accounts.owner = 'cy' THEN DELETE
                 WHEN NOT MATCHED BY SOURCE THEN UPDATE SET note = 'left over'",
                "merged 2 rows into 'accounts'",
            ),
            (ALL, r#"[2,"bo",9.25,"left over"] [7,"di",1.0,null]"#),
            (
                "MERGE INTO accounts USING (VALUES (2), (2)) AS s(id) ON accounts.id = s.id
                 WHEN MATCHED THEN UPDATE SET note = 'which?'",
                "invalid: the statement writes the row with key '2' of 'accounts' twice",
            ),
            (
                "MERGE INTO accounts USING (VALUES ('q')) AS s(owner) ON accounts.owner = s.owner
                 WHEN NOT MATCHED THEN INSERT (id, owner) VALUES (7, s.owner)",
                "already_exists: 'accounts' has a row with key '7' already",
            ),
            (ALL, r#"[2,"bo",9.25,"left over"] [7,"di",1.0,null]"#),
        ],
    );
}

#[test]
fn what_does_not_fit_leaves_nothing() {
    let server = Project::new(BANK).serve(&[]);
    check(
        &server,
        &[
            (
                "INSERT INTO accounts (id, owner) VALUES (1, 'ada')",
                "inserted 1 row into 'accounts'",
            ),
            (
                "INSERT INTO accounts (id, owner) VALUES (2, 'bo'), (1, 'x')",
                "already_exists: 'accounts' has a row with key '1' already",
            ),
            (
                "INSERT INTO accounts (id, owner) VALUES (2, 'bo'), (2, 'x')",
                "invalid: the statement writes the row with key '2' of 'accounts' twice",
            ),
            (
                "INSERT INTO accounts (id, owner, balance) VALUES (2, 'bo', 1), (3, 'x', -1)",
                "invalid: row 2 is no row of 'accounts': breaks CHECK (balance >= 0)",
            ),
            (
                "INSERT INTO accounts VALUES (4, 'x')",
                "invalid: row 1 of VALUES has 2 values for 4 columns",
            ),
            (
                "INSERT INTO accounts SELECT 5, 'z'",
                "invalid: the query gives 2 columns, and 4 are written",
            ),
            (
                "INSERT INTO accounts (owner) VALUES ('x')",
                "invalid: a row of 'accounts' needs its key",
            ),
            (
                "INSERT INTO accounts (id, onwer) VALUES (1, 'a')",
                "undefined_column: unknown column 'onwer'",
            ),
            (
                "INSERT INTO accounts (id, owner) VALUES ($1, 'a')",
                "invalid: parameter '$1' has no value",
            ),
            (
                "INSERT INTO accounts (id, owner) VALUES ('one', 'a')",
                "invalid: cannot read 'one' as BIGINT",
            ),
            (
                "INSERT INTO accounts (id, owner) VALUES (5, 'a') ON CONFLICT (owner) DO NOTHING",
                "invalid: rows of 'accounts' are told apart by 'id'",
            ),
            (
                "INSERT INTO accounts (id, owner) VALUES (5, 'a') RETURNING id",
                "unsupported: RETURNING is not supported here",
            ),
            ("UPDATE accounts SET id = 5", "unsupported: the key 'id' of a row can't change"),
            (
                "UPDATE accounts SET balance = 1, balance = 2",
                "invalid: column 'balance' is set twice",
            ),
            (
                "UPDATE accounts SET owner = NULL",
                "invalid: row 1, column 'owner' is no row of 'accounts': 'owner' must not be NULL",
            ),
            ("UPDATE events SET n = 1", "unsupported: the events of topic 'events' never change"),
            (
                "DELETE FROM per_owner",
                "unsupported: 'per_owner' is a view, which is not written to",
            ),
            (
                "MERGE INTO nowhere USING accounts ON true WHEN MATCHED THEN DELETE",
                "not_found: unknown topic 'nowhere'",
            ),
            ("TRUNCATE accounts", "unsupported: TRUNCATE is not supported"),
            (ALL, r#"[1,"ada",0.0,null]"#),
            ("SELECT count(*) FROM dead_letters", "[0]"),
        ],
    );
}

#[test]
fn a_table_says_what_tells_its_rows_apart() {
    let server = Project::new(BANK).serve(&[]);
    check(
        &server,
        &[
            ("CREATE TABLE t (a INT)", "invalid: table 't' has no PRIMARY KEY"),
            (
                "CREATE TABLE t (a INT, b INT, PRIMARY KEY (a, b))",
                "unsupported: a primary key is one column",
            ),
            ("CREATE TABLE t (a INT, PRIMARY KEY (b))", "undefined_column: unknown column 'b'"),
            (
                "CREATE TABLE t (a INT PRIMARY KEY) WITH (key = 'a')",
                "invalid: the PRIMARY KEY says the key of a table already",
            ),
            (
                "CREATE TABLE t (a INT PRIMARY KEY, PRIMARY KEY (a))",
                "invalid: a table has one primary key only",
            ),
            ("CREATE TOPIC t (a INT PRIMARY KEY)", "unsupported: a topic has no primary key"),
            ("CREATE TABLE t (\"A\" INT, PRIMARY KEY (\"A\"))", "created topic 't'"),
            ("INSERT INTO t VALUES (1), (2)", "inserted 2 rows into 't'"),
            ("DELETE FROM t WHERE \"A\" > 1", "deleted 1 row from 't'"),
            ("SELECT * FROM t", "[1]"),
            (
                "SHOW CREATE TABLE t",
                "[\"CREATE TABLE t (\\\"A\\\" INT, PRIMARY KEY (\\\"A\\\"))\",null]",
            ),
            ("DROP TABLE t", "dropped topic 't'"),
        ],
    );
}

const MANY: &str = "INSERT INTO accounts (id, owner, note)
  SELECT value, 'many', repeat('x', 100) FROM generate_series(1, 20000)";
const COUNT: &str = "SELECT count(*), count(DISTINCT note) FROM accounts";

/// More than one batch of the log, over three partitions.
#[test]
fn a_large_statement_is_one_change() {
    let server = Project::new(BANK).serve(&[]);
    assert_eq!(said(&server, MANY), "inserted 20000 rows into 'accounts'");
    assert_eq!(said(&server, COUNT), "[20000,1]");
    assert_eq!(said(&server, "UPDATE accounts SET note = 'y'"), "updated 20000 rows of 'accounts'");
    assert_eq!(said(&server, COUNT), "[20000,1]");
    let server = server.kill().serve(&[]);
    assert_eq!(said(&server, COUNT), "[20000,1]");
    assert_eq!(said(&server, "DELETE FROM accounts"), "deleted 20000 rows from 'accounts'");
    server.wait_until("the view has followed", |s| said(s, "SELECT * FROM per_owner").is_empty());
}

/// Killed while it is written, a statement has written everything or nothing; nobody waits for
/// what it left open.
#[test]
fn a_statement_that_is_killed_is_whole_or_not_there() {
    let mut project = Project::new(BANK);
    let mut found = std::collections::BTreeSet::new();
    for round in 0..8 {
        let server = project.serve(&[]);
        let count = said(&server, COUNT);
        assert!(["[0,0]", "[20000,1]"].contains(&count.as_str()), "{count} in round {round}");
        let one = "INSERT INTO accounts (id, owner) VALUES (0, 'one') ON CONFLICT DO NOTHING";
        assert_eq!(said(&server, one), "inserted 1 row into 'accounts'");
        found.insert(count);
        // The next round begins with nothing.
        said(&server, "DELETE FROM accounts");
        let address = server.address.clone();
        let writing = std::thread::spawn(move || {
            let body = json!({ "query": MANY }).to_string();
            let _ = try_send(&address, "POST", "/api/sql", &[], body.as_bytes());
        });
        std::thread::sleep(std::time::Duration::from_millis(150 * (round + 1)));
        project = server.kill();
        writing.join().unwrap();
    }
    assert!(found.contains("[0,0]"), "{found:?}");
}

/// Statements on one table run one after the other: no update is lost.
#[test]
fn counters_of_several_clients_add_up() {
    let server = Project::new(BANK).serve(&[]);
    assert_eq!(
        said(&server, "INSERT INTO accounts (id, owner) VALUES (1, 'all')"),
        "inserted 1 row into 'accounts'"
    );
    let address = &server.address;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..10 {
                    let add = "UPDATE accounts SET balance = balance + 1 WHERE id = 1";
                    assert_eq!(said_at(address, add), "updated 1 row of 'accounts'");
                }
            });
        }
    });
    assert_eq!(said(&server, "SELECT CAST(balance AS INT) FROM accounts"), "[40]");
}

fn connected(runtime: &Runtime, port: u16) -> Client {
    runtime.block_on(async {
        let address = format!("host=127.0.0.1 port={port} user=any dbname=any");
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    })
}

#[test]
fn a_driver_of_postgres_writes_with_parameters() {
    let port = free_port();
    let server = Project::new(BANK).serve(&["--pg-port", &port.to_string()]);
    let runtime = Runtime::new().unwrap();
    let client = connected(&runtime, port);
    runtime.block_on(async {
        let insert = "INSERT INTO accounts (id, owner, note) VALUES ($1, $2, $3)";
        let insert = client.prepare(insert).await.unwrap();
        for (id, owner) in [(1_i64, "ada"), (2, "bo")] {
            let note: Option<&str> = None;
            assert_eq!(client.execute(&insert, &[&id, &owner, &note]).await.unwrap(), 1);
        }
        let update = "UPDATE accounts SET note = $1 WHERE id > $2";
        assert_eq!(client.execute(update, &[&"new", &0_i64]).await.unwrap(), 2);
        let upsert = "INSERT INTO accounts (id, owner) VALUES ($1, $2)
          ON CONFLICT (id) DO UPDATE SET owner = excluded.owner";
        assert_eq!(client.execute(upsert, &[&2_i64, &"bob"]).await.unwrap(), 1);
        let e = client.execute(&insert, &[&1_i64, &"x", &"y"]).await.unwrap_err();
        let e = e.as_db_error().unwrap();
        assert!(e.message().contains("has a row with key '1' already"), "{e}");
        assert_eq!(
            client.execute("DELETE FROM accounts WHERE id = $1", &[&1_i64]).await.unwrap(),
            1
        );
        let rows = client.query("SELECT id, owner, note FROM accounts", &[]).await.unwrap();
        let rows: Vec<(i64, &str, &str)> =
            rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
        assert_eq!(rows, [(2, "bob", "new")]);
    });
    drop(server);
}
