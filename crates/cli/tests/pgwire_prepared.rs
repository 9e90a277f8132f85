//! Prepared statements over the Postgres door, with a driver that asks for everything in binary
//! (tokio-postgres) and byte by byte where a driver would hide what is sent.

use std::time::SystemTime;

use tokio::runtime::Runtime;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Error, NoTls, Row};

use crate::support::{MINUTES, Project, READINGS, Server, free_port};

const TYPES: &str = "CREATE TOPIC kinds (
  flag BOOLEAN, tiny TINYINT, small SMALLINT, n INT, big BIGINT, real FLOAT, wide DOUBLE,
  price DECIMAL(10,2), name TEXT, bytes BINARY, day DATE, at TIMESTAMP, wall TIMESTAMP_NTZ,
  tags ARRAY<TEXT>, numbers ARRAY<BIGINT>, place STRUCT<room: TEXT, floor: INT>,
  more MAP<TEXT, INT>
) WITH (partitions = 1);
";

/// A server with a row of every type, and a driver connected to it.
struct Session {
    server: Server,
    runtime: Runtime,
    client: Client,
}

fn session() -> Session {
    session_with(&[])
}

fn session_with(more: &[&str]) -> Session {
    let port = free_port();
    let pg_port = port.to_string();
    let arguments: Vec<&str> =
        ["--pg-port", &pg_port].into_iter().chain(more.iter().copied()).collect();
    let server = Project::new(&format!("{READINGS}{MINUTES}{TYPES}")).serve(&arguments);
    let events: String = (0..3)
        .map(|i| {
            format!(
                "{{\"sensor\":\"s{i}\",\"celsius\":{},\"at\":\"2026-01-01T10:00:0{i}Z\"}}\n",
                20 + i
            )
        })
        .collect();
    assert_eq!(server.post("/api/topics/readings", events).status, 200);
    let row = r#"{"flag":true,"tiny":-1,"small":-2,"n":3,"big":9007199254740993,"real":1.5,
        "wide":-2.25,"price":12.50,"name":"é","bytes":"AP8=","day":"2026-02-03",
        "at":"2026-01-01T10:00:00.000001Z","wall":"2026-01-01T10:00:00","tags":["a,b",null],
        "numbers":[1,2],"place":{"room":"attic","floor":2},"more":{"x":1}}"#;
    let answer = server.post("/api/topics/kinds", row.replace('\n', ""));
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.settle();
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let address = format!("host=127.0.0.1 port={port} user=any dbname=any");
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    });
    Session { server, runtime, client }
}

impl Session {
    fn try_query(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.runtime.block_on(self.client.query(text, values))
    }

    fn query(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.try_query(text, values).unwrap_or_else(|e| panic!("{text}: {e:?}"))
    }

    fn texts(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<String> {
        self.query(text, values).iter().map(|r| r.get(0)).collect()
    }

    /// SQLSTATE, message and position.
    fn refused(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> (String, String, Option<u32>) {
        use tokio_postgres::error::ErrorPosition;
        let e = self.try_query(text, values).unwrap_err();
        let e = e.as_db_error().unwrap_or_else(|| panic!("{text}: {e:?}"));
        let position = e.position().map(|p| match p {
            ErrorPosition::Original(at) => *at,
            ErrorPosition::Internal { .. } => 0,
        });
        (e.code().code().to_string(), e.message().to_string(), position)
    }

    fn described(&self, text: &str) -> (Vec<Type>, Vec<(String, Type)>) {
        let statement = self.runtime.block_on(self.client.prepare(text)).unwrap();
        let columns = statement.columns().iter();
        let columns = columns.map(|c| (c.name().to_string(), c.type_().clone())).collect();
        (statement.params().to_vec(), columns)
    }
}

/// The bytes of a value of any type.
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Bytes(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[test]
fn parameters_find_their_types() {
    let s = session();
    let value = |text: &str, v: &(dyn ToSql + Sync)| s.texts(text, &[v]);
    assert_eq!(value("SELECT sensor FROM readings WHERE sensor = $1", &"s1"), ["s1"]);
    assert_eq!(value("SELECT sensor FROM readings WHERE celsius > $1", &21.5_f64), ["s2"]);
    assert_eq!(value("SELECT name FROM kinds WHERE n = $1", &3_i32), ["é"]);
    assert_eq!(value("SELECT name FROM kinds WHERE small = $1", &-2_i16), ["é"]);
    assert_eq!(value("SELECT name FROM kinds WHERE big = $1", &9_007_199_254_740_993_i64), ["é"]);
    assert_eq!(value("SELECT name FROM kinds WHERE flag = $1", &true), ["é"]);
    assert_eq!(value("SELECT name FROM kinds WHERE bytes = $1", &&[0_u8, 255][..]), ["é"]);
    let ten = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_767_261_600);
    assert_eq!(
        s.texts("SELECT sensor FROM readings WHERE at > $1 ORDER BY at", &[&ten]),
        ["s1", "s2"]
    );
    assert_eq!(
        s.texts(
            "SELECT sensor FROM readings ORDER BY sensor LIMIT $1 OFFSET $2",
            &[&1_i64, &1_i64]
        ),
        ["s1"]
    );
    assert_eq!(
        s.texts("SELECT sensor FROM readings WHERE sensor IN ($1, $2) ORDER BY 1", &[&"s2", &"s0"]),
        ["s0", "s2"]
    );
    let any = "SELECT sensor FROM readings WHERE sensor = ANY($1) ORDER BY 1";
    assert_eq!(s.texts(any, &[&vec!["s2", "s1", "s7"]]), ["s1", "s2"]);
    assert_eq!(s.texts("SELECT $1 || $2::TEXT", &[&"a", &"b"]), ["ab"]);
    let none: Option<&str> = None;
    assert!(s.texts("SELECT sensor FROM readings WHERE sensor = $1", &[&none]).is_empty());
    // One statement, many values.
    let statement =
        s.runtime.block_on(s.client.prepare("SELECT celsius * $1 FROM readings WHERE sensor = $2"));
    let statement = statement.unwrap();
    for (i, sensor) in ["s0", "s1", "s2"].iter().enumerate() {
        let rows = s.runtime.block_on(s.client.query(&statement, &[&2.0_f64, sensor])).unwrap();
        assert_eq!(rows[0].get::<_, f64>(0), 2.0 * (20 + i) as f64);
    }
}

#[test]
fn statements_are_described_before_they_run() {
    let s = session();
    let own = |columns: &[(&str, Type)]| -> Vec<(String, Type)> {
        columns.iter().map(|(n, t)| (n.to_string(), t.clone())).collect()
    };
    let (parameters, columns) =
        s.described("SELECT sensor, w.start, n FROM minute_avg WHERE n >= $1 AND w.start < $2");
    assert_eq!(parameters, [Type::INT8, Type::TIMESTAMPTZ]);
    let want = [("sensor", Type::TEXT), ("start", Type::TIMESTAMPTZ), ("n", Type::INT8)];
    assert_eq!(columns, own(&want));
    let (parameters, columns) = s.described("SELECT n / $1, $2, price FROM kinds WHERE price > $3");
    assert_eq!(parameters, [Type::INT4, Type::TEXT, Type::NUMERIC]);
    let want = [("n / $1", Type::FLOAT8), ("$2", Type::TEXT), ("price", Type::NUMERIC)];
    assert_eq!(columns, own(&want));
    let (_, columns) = s.described("SHOW TOPICS");
    assert_eq!(columns[0], ("name".to_string(), Type::TEXT));
    // To describe is not to do.
    assert_eq!(s.described("CREATE TOPIC described (a INT)"), (vec![], vec![]));
    assert_eq!(s.server.get("/api/topics/described/schema").status, 404);
    assert!(s.query("CREATE TOPIC described (a INT)", &[]).is_empty());
    assert_eq!(s.server.get("/api/topics/described/schema").status, 200);
    // Hidden columns are hidden here, too, and can be asked for.
    assert_eq!(s.described("SELECT * FROM readings").1.len(), 3);
    assert_eq!(s.described("SELECT _offset FROM readings").1, own(&[("_offset", Type::INT8)]));
}

#[test]
fn every_type_comes_in_binary() {
    let s = session();
    let rows = s.query("SELECT * FROM kinds", &[]);
    let row = &rows[0];
    assert!(row.get::<_, bool>("flag"));
    assert_eq!(row.get::<_, i16>("tiny"), -1);
    assert_eq!(row.get::<_, i16>("small"), -2);
    assert_eq!(row.get::<_, i32>("n"), 3);
    assert_eq!(row.get::<_, i64>("big"), 9_007_199_254_740_993);
    assert_eq!(row.get::<_, f32>("real"), 1.5);
    assert_eq!(row.get::<_, f64>("wide"), -2.25);
    // 12.50: two groups of four digits, the first worth 10000^0, two digits shown.
    assert_eq!(row.get::<_, Bytes>("price").0, [0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x13, 0x88]);
    assert_eq!(row.get::<_, String>("name"), "é");
    assert_eq!(row.get::<_, Vec<u8>>("bytes"), [0, 255]);
    // Days since 2000.
    assert_eq!(row.get::<_, Bytes>("day").0, 9_530_i32.to_be_bytes());
    let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_767_261_600_000_001);
    assert_eq!(row.get::<_, SystemTime>("at"), at);
    assert_eq!(row.get::<_, Bytes>("wall").0, 820_576_800_000_000_i64.to_be_bytes());
    assert_eq!(row.get::<_, Vec<Option<String>>>("tags"), [Some("a,b".to_string()), None]);
    assert_eq!(row.get::<_, Vec<i64>>("numbers"), [1, 2]);
    assert_eq!(row.columns()[15].type_(), &Type::RECORD);
    assert_eq!(row.get::<_, Bytes>("more").0, b"{\"x\":1}");
    let nothing = s.query("SELECT NULL::INTERVAL, NULL::DECIMAL(4,1), NULL", &[]);
    for i in 0..3 {
        assert!(nothing[0].get::<_, Option<Bytes>>(i).is_none());
    }
}

#[test]
fn errors_have_code_and_place() {
    let s = session();
    let (code, message, at) = s.refused("SELECT sensr FROM readings WHERE sensor = $1", &[&"a"]);
    assert_eq!((code.as_str(), at), ("42703", Some(8)), "{message}");
    let (code, ..) = s.refused("SELECT * FROM nothing", &[]);
    assert_eq!(code, "42P01");
    let (code, message, at) = s.refused("SELECT 'é', 1 / $1::INT", &[&0_i32]);
    assert_eq!((code.as_str(), at.is_some()), ("22023", true), "{message}");
    let (code, message, _) = s.refused("SELECT 1; SELECT 2", &[]);
    assert_eq!(code, "42601", "{message}");
    // The session goes on.
    assert_eq!(s.texts("SELECT $1::TEXT", &[&"on"]), ["on"]);
}

#[test]
fn large_results_come_in_pieces() {
    let mut s = session();
    let numbers = "SELECT value FROM generate_series(1, 5000) ORDER BY value";
    let Session { runtime, client, .. } = &mut s;
    let pieces = runtime.block_on(async {
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind(numbers, &[]).await.unwrap();
        let mut pieces = vec![];
        loop {
            let rows = transaction.query_portal(&portal, 1999).await.unwrap();
            pieces.push(rows.len());
            if rows.len() < 1999 {
                break;
            }
        }
        // A cursor gives the same.
        transaction.batch_execute(&format!("DECLARE c CURSOR FOR {numbers}")).await.unwrap();
        transaction.batch_execute("MOVE 4990 FROM c").await.unwrap();
        let rows = transaction.query("FETCH FORWARD 100 FROM c", &[]).await.unwrap();
        assert_eq!((rows.len(), rows[0].get::<_, i64>(0)), (10, 4991));
        transaction.commit().await.unwrap();
        let e = client.query("FETCH 1 FROM c", &[]).await.unwrap_err();
        assert!(e.as_db_error().unwrap().message().contains("unknown cursor 'c'"));
        pieces
    });
    assert_eq!(pieces, [1999, 1999, 1002]);
}

#[test]
fn queries_end_when_asked_or_when_their_time_is_up() {
    let s = session();
    let endless = "SELECT sum(value % 7) FROM generate_series(1, 1000000000000)";
    s.query("SET statement_timeout = 200", &[]);
    let (code, message, _) = s.refused(endless, &[]);
    assert_eq!(code, "57014", "{message}");
    s.query("SET statement_timeout = 0", &[]);
    let token = s.client.cancel_token();
    let asked = s.runtime.spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    });
    let (code, message, _) = s.refused(endless, &[]);
    assert_eq!(code, "57014", "{message}");
    s.runtime.block_on(asked).unwrap().unwrap();
    // Also while rows are sent already.
    let cancelled = s.runtime.block_on(async {
        use futures::TryStreamExt;
        let rows = "SELECT value FROM generate_series(1, 1000000000)";
        let rows = s.client.query_raw(rows, Vec::<String>::new()).await.unwrap();
        let token = s.client.cancel_token();
        let mut rows = std::pin::pin!(rows);
        rows.try_next().await.unwrap();
        token.cancel_query(NoTls).await.unwrap();
        loop {
            match rows.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(e) => return e.code().cloned(),
            }
        }
    });
    assert_eq!(cancelled.map(|c| c.code().to_string()).as_deref(), Some("57014"));
    assert_eq!(s.texts("SELECT 'still here'", &[]), ["still here"]);
    // Not only the wait for them has ended.
    s.server.wait_until("nothing computes any more", |server| {
        server.get("/metrics").text().contains("\nwatershed_queries_running 0\n")
    });
}

#[test]
fn a_failed_transaction_waits_for_its_end() {
    let s = session();
    s.runtime.block_on(async {
        s.client.batch_execute("BEGIN").await.unwrap();
        s.client.query("SELECT nothing_like_it", &[]).await.unwrap_err();
        let e = s.client.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(e.code().map(|c| c.code()), Some("25P02"));
        s.client.batch_execute("ROLLBACK").await.unwrap();
        s.client.query("SELECT 1", &[]).await.unwrap();
        // Several statements at once, up to the fault.
        let e = s.client.batch_execute("SELECT 1; SELECT 2; SELECT oops").await.unwrap_err();
        assert_eq!(e.code().map(|c| c.code()), Some("42703"));
    });
}

#[test]
fn what_changed_since_it_was_prepared() {
    let s = session();
    s.query("CREATE TOPIC short (a INT)", &[]);
    let statement = s.runtime.block_on(s.client.prepare("SELECT a FROM short")).unwrap();
    let run = || s.runtime.block_on(s.client.query(&statement, &[]));
    assert!(run().unwrap().is_empty());
    s.query("DROP TOPIC short", &[]);
    assert_eq!(run().unwrap_err().code().map(|c| c.code()), Some("42P01"));
    s.query("CREATE TOPIC short (a TEXT)", &[]);
    assert_eq!(run().unwrap_err().code().map(|c| c.code()), Some("0A000"));
}

#[test]
fn savepoints_and_resets_of_pools() {
    let s = session();
    s.runtime.block_on(async {
        let run = |text: &'static str| s.client.batch_execute(text);
        let code = |e: tokio_postgres::Error| e.code().unwrap().code().to_string();
        assert_eq!(code(run("SAVEPOINT a").await.unwrap_err()), "25P01");
        run("BEGIN; SAVEPOINT a").await.unwrap();
        run("SELECT nothing_like_it").await.unwrap_err();
        assert_eq!(code(run("SELECT 1").await.unwrap_err()), "25P02");
        run("ROLLBACK TO SAVEPOINT a").await.unwrap();
        run("SELECT 1; RELEASE a; COMMIT").await.unwrap();
        // Npgsql and asyncpg, before a connection goes back.
        run("CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); RESET ALL").await.unwrap();
        run("DISCARD ALL; DEALLOCATE ALL").await.unwrap();
    });
}

#[test]
fn copies_out_and_columns_of_one_name() {
    let s = session();
    let copied = |text: &str| {
        s.runtime.block_on(async {
            use futures::TryStreamExt;
            let rows = s.client.copy_out(text).await?;
            let rows: Vec<bytes::Bytes> = rows.try_collect().await?;
            Ok::<_, Error>(String::from_utf8(rows.concat()).unwrap())
        })
    };
    let text = copied("COPY (SELECT sensor, celsius, NULL FROM readings ORDER BY 1) TO STDOUT");
    assert_eq!(text.unwrap(), "s0\t20.0\t\\N\ns1\t21.0\t\\N\ns2\t22.0\t\\N\n");
    let csv = copied("COPY kinds (name, tags) TO STDOUT (FORMAT csv, HEADER)");
    assert_eq!(csv.unwrap(), "name,tags\né,\"{\"\"a,b\"\",NULL}\"\n");
    for (refused, code) in [
        ("COPY nothing_like_it TO STDOUT", "42P01"),
        ("COPY readings TO '/tmp/x'", "0A000"),
        ("COPY (SELECT 1) TO PROGRAM 'cat'", "0A000"),
        ("COPY readings TO STDOUT (FORMAT binary)", "0A000"),
    ] {
        let e = copied(refused).unwrap_err();
        assert_eq!(e.code().unwrap().code(), code, "{refused}: {e}");
    }
    let (_, columns) = s.described("SELECT 1 AS a, 2 AS A, sensor, sensor FROM readings");
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "A", "sensor", "sensor"]);
    let row = s.query("SELECT 1 AS a, 2 AS a, 3, 3", &[]);
    let values: Vec<i32> = (0..4).map(|i| row[0].get(i)).collect();
    assert_eq!(values, [1, 2, 3, 3]);
    let answer = s.server.post("/api/sql", r#"{"query":"SELECT 1 AS a, 2 AS a"}"#).json();
    assert_eq!(
        (&answer["columns"][0]["name"], &answer["columns"][1]["name"]),
        (&"a".into(), &"a".into())
    );
}

#[test]
fn the_catalog_is_that_of_postgres() {
    let s = session();
    let columns = s.query(
        "SELECT column_name::TEXT, ordinal_position, data_type::TEXT, udt_name::TEXT
         FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position LIMIT 3",
        &[&"readings"],
    );
    let shown: Vec<(String, i32, String, String)> =
        columns.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect();
    let row = |name: &str, n, kind: &str, udt: &str| (name.into(), n, kind.into(), udt.into());
    assert_eq!(
        shown,
        [
            row("sensor", 1, "text", "text"),
            row("celsius", 2, "double precision", "float8"),
            row("at", 3, "timestamp with time zone", "timestamptz"),
        ]
    );
    // Columns are named as Postgres names them, also two the same.
    let (_, columns) =
        s.described("SELECT current_user, session_user, current_setting('TimeZone')");
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["session_user", "session_user", "current_setting"]);
    let setting = s.texts("SELECT current_setting('server_version_num')", &[]);
    assert_eq!(setting, ["160006"]);
    let types = s
        .query("SELECT t.typname::TEXT FROM pg_type t WHERE t.typinput = 'array_in'::regproc", &[]);
    assert!(!types.is_empty());
}

#[test]
fn settings_are_obeyed_or_refused() {
    let s = session();
    for utc in ["'UTC'", "'GMT'", "DEFAULT", "0"] {
        s.query(&format!("SET TIME ZONE {utc}"), &[]);
    }
    s.query("SET timezone TO 'Etc/UTC'", &[]);
    for asked in ["SHOW timezone", "SHOW TIME ZONE"] {
        assert_eq!(s.texts(asked, &[]), ["UTC"], "{asked}");
    }
    for (statement, code) in [
        ("SET TIME ZONE 'Europe/Berlin'", "0A000"),
        ("SET timezone = 'Europe/Berlin'", "0A000"),
        ("SET LOCAL TIME ZONE 'Europe/Berlin'", "0A000"),
        ("SET client_encoding = 'LATIN1'", "0A000"),
        ("SET statement_timeout = 'soon'", "22023"),
        ("SHOW nothing_like_it", "42704"),
    ] {
        let (refused, message, _) = s.refused(statement, &[]);
        assert_eq!(refused, code, "{statement}: {message}");
    }
    assert_eq!(s.texts("SHOW transaction_isolation", &[]), ["read committed"]);
    assert_eq!(s.texts("SHOW server_version_num", &[]), ["160006"]);
}

#[test]
fn drivers_ask_about_the_server() {
    let s = session();
    let names =
        s.texts("SELECT relname::TEXT FROM pg_catalog.pg_class WHERE relname = $1", &[&"readings"]);
    assert_eq!(names, ["readings"]);
    assert_eq!(s.texts("SHOW search_path", &[]).len(), 1);
}
