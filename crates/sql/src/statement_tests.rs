//! Reading of our statements, good and bad.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use catalog::kind::{TOPIC, VIEW};
use catalog::{Definition, Object, Storage};
use datafusion::arrow::datatypes::DataType;

use crate::order;
use crate::testing::{rendered, topic};
use crate::{ExplainWhat, Show, Statement, Text, altered, parse};

fn one(sql: &str) -> Statement {
    match parse(&Text::new(None, sql)) {
        Ok(mut all) => all.remove(0),
        Err(e) => panic!("{sql}\n{}", rendered(&e[0])),
    }
}

fn faults(sql: &str) -> usize {
    parse(&Text::new(None, sql)).map_or_else(|faults| faults.len(), |_| 0)
}

fn definition(sql: &str) -> Definition {
    match one(sql) {
        Statement::Create { definition, .. } => *definition,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_with_everything() {
    let t = topic(
        "-- sensors\nCREATE TOPIC IF NOT EXISTS Readings (
           sensor TEXT NOT NULL, \"Celsius\" DOUBLE, at TIMESTAMP, tags MAP<TEXT, ARRAY<INT>>,
           price DECIMAL(10, 2) NULL, place STRUCT<room: TEXT, floor: INT> /* nested */,
           WATERMARK FOR at AS at - INTERVAL '1 minute 5 seconds',
           CHECK (\"Celsius\" BETWEEN -60 AND 200), CONSTRAINT cheap CHECK (price < (10 + 5))
         ) WITH (format = 'json', key = 'sensor', partitions = 4, retention = '3 days',
           retention_bytes = '1 GB', archive = false);",
    );
    assert_eq!(t.name, "readings");
    let columns: Vec<(&str, bool)> =
        t.columns.iter().map(|c| (c.name.as_str(), c.nullable)).collect();
    assert_eq!(
        columns,
        [
            ("sensor", false),
            ("Celsius", true),
            ("at", true),
            ("tags", true),
            ("price", true),
            ("place", true)
        ]
    );
    assert_eq!(t.columns[4].data_type, DataType::Decimal128(10, 2));
    assert_eq!(t.watermark.unwrap().delay_us, 65_000_000);
    assert_eq!(t.checks[0].sql, "\"Celsius\" BETWEEN -60 AND 200");
    assert_eq!((t.checks[0].name.as_str(), t.checks[1].name.as_str()), ("check_1", "cheap"));
    assert_eq!((t.key.as_deref(), t.partitions, t.archive), (Some("sensor"), 4, false));
    let kept = (t.storage.retention_us, t.storage.retention_bytes);
    assert_eq!(kept, (Some(259_200_000_000), Some(1_000_000_000)));
}

#[test]
fn a_topic_says_how_its_records_are_kept() {
    let t = topic(
        "CREATE TOPIC t (value BINARY) WITH (format = 'raw', durability = 'page_cache',
           cleanup_policy = 'compact, delete', segment_time = '1 hour', segment_bytes = '64 MiB',
           max_message_bytes = 1048588, message_timestamp_type = 'LogAppendTime',
           min_cleanable_dirty_ratio = 0.1, delete_retention = '2 days',
           min_compaction_lag = '1 minute', retention = 'forever',
           max_compaction_lag = '1 hour', message_timestamp_before_max = '1 day',
           message_timestamp_after_max = 'any',
           kafka_configs = '{\"flush.ms\": \"9\"}')",
    );
    let wanted = Storage {
        retention_us: None,
        retention_bytes: None,
        segment_us: Some(3_600_000_000),
        segment_bytes: Some(64 << 20),
        max_message_bytes: Some(1_048_588),
        deletes: true,
        compacts: true,
        min_cleanable_dirty_ratio: 0.1,
        delete_retention_us: 172_800_000_000,
        min_compaction_lag_us: 60_000_000,
        max_compaction_lag_us: Some(3_600_000_000),
        timestamp_before_max_us: Some(86_400_000_000),
        timestamp_after_max_us: None,
        log_append_time: true,
        page_cache: true,
        kafka_configs: [("flush.ms".to_string(), "9".to_string())].into(),
    };
    assert_eq!(*t.storage, wanted);
    let options = [
        "cleanup_policy = 'compact'",
        "cleanup_policy = 'shrink'",
        "durability = 'none'",
        "kafka_configs = 'flush.ms=9'",
        "min_cleanable_dirty_ratio = 2",
        "segment_bytes = 0",
        "segment_time = '0 seconds'",
        "message_timestamp_type = 'mine'",
        "message_timestamp_after_max = 'never'",
        "max_compaction_lag = '0 s'",
        "min_compaction_lag = '2 s', max_compaction_lag = '1 s'",
    ];
    for option in options {
        let statement = format!("CREATE TOPIC t (a TEXT) WITH ({option})");
        assert_eq!(faults(&statement), 1, "{option}");
    }
}

#[test]
fn options_of_a_topic_are_altered() {
    let changes = |sql: &str| match one(sql) {
        Statement::AlterTopic { name, change, .. } => (name, change),
        other => panic!("{other:?}"),
    };
    let (name, set) = changes("ALTER TOPIC t SET (retention = '1 day', archive = false)");
    assert_eq!(name, "t");
    let (_, reset) = changes("alter topic t reset (partitions)");
    let statement = "CREATE TOPIC t (a TEXT) -- with\n WITH (partitions = 3, retention = '2 days')";
    let changed = altered(statement, &set).unwrap();
    let expected = "CREATE TOPIC t (a TEXT) -- with\nWITH (archive = 'false', partitions = '3', \
         retention = '1 day')";
    assert_eq!(changed, expected);
    assert_eq!(topic(&changed).storage.retention_us, Some(86_400_000_000));
    let (_, rest) = changes("ALTER TOPIC t RESET (archive, retention)");
    let without = altered(&altered(&changed, &reset).unwrap(), &rest).unwrap();
    assert_eq!(without.lines().next(), Some("CREATE TOPIC t (a TEXT) -- with"));
    assert_eq!(topic(&without).partitions, 1);
    for wrong in ["ALTER VIEW v SET (a = 1)", "ALTER TOPIC t DROP x y", "ALTER TOPIC t SET ()x"] {
        assert_eq!(faults(wrong), 1, "{wrong}");
    }
}

#[test]
fn columns_of_a_topic_are_altered() {
    let statement = "CREATE TOPIC t (a TEXT, -- the first, (with <signs>
      b ARRAY<STRUCT<x: INT, y: INT>> NOT NULL, check INT DEFAULT 1,
      CHECK (a < 'x' AND b > 1), WATERMARK FOR c AS c - INTERVAL '5 seconds',
      c TIMESTAMP -- the last
    ) WITH (partitions = 3)";
    let alter = |statement: &str, how: &str| match one(&format!("ALTER TOPIC t {how}")) {
        Statement::AlterTopic { change, .. } => altered(statement, &change),
        other => panic!("{other:?}"),
    };
    let columns = |statement: &str| -> Vec<String> {
        let column = |c: &catalog::Column| {
            let not_null = if c.nullable { "" } else { " NOT NULL" };
            let default = c.default.as_ref().map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
            format!("{} {}{not_null}{default}", c.name, formats::types::sql_name(&c.data_type))
        };
        topic(statement).columns.iter().map(column).collect()
    };
    let before = columns(statement);
    for (how, other) in [
        ("ADD COLUMN d DECIMAL(9,2) NOT NULL DEFAULT -1.5", "d DECIMAL(9,2) NOT NULL DEFAULT -1.5"),
        ("ADD d TEXT DEFAULT 'it''s'", "d TEXT DEFAULT \"it's\""),
        ("ADD d ARRAY<STRUCT<x: INT>> DEFAULT '[]'", "d ARRAY<STRUCT<x: INT>> DEFAULT []"),
        (
            "ADD d TIMESTAMP DEFAULT TIMESTAMP '2026-01-01T00:00:00Z'",
            "d TIMESTAMP DEFAULT \"2026-01-01T00:00:00Z\"",
        ),
    ] {
        let changed = alter(statement, how).unwrap();
        assert_eq!(columns(&changed), [&before[..], &[other.to_string()]].concat());
        assert_eq!(topic(&changed).partitions, 3);
        assert_eq!(topic(&changed).checks, topic(statement).checks);
        let back = alter(&changed, "DROP COLUMN D").unwrap();
        assert_eq!(topic(&back), topic(statement));
    }
    let without = ["a", "b", "check"].map(|c| alter(statement, &format!("DROP {c}")).unwrap());
    for (i, changed) in without.iter().enumerate() {
        let mut left = before.clone();
        left.remove(i);
        assert_eq!(columns(changed), left);
    }
    let typed = alter(statement, "ALTER COLUMN b TYPE ARRAY<STRUCT<x: BIGINT, y: INT>>").unwrap();
    assert_eq!(columns(&typed)[1], "b ARRAY<STRUCT<x: BIGINT, y: INT>> NOT NULL");
    let typed = alter(statement, "ALTER check SET DATA TYPE BIGINT").unwrap();
    assert_eq!(columns(&typed)[2], "check BIGINT DEFAULT 1");
    let unknown = alter(statement, "DROP COLUMN chek").unwrap_err();
    assert!(unknown.hint_text().unwrap_or_default().contains("'check'"), "{unknown}");
    for wrong in [
        "a INT DEFAULT 'x'",
        "a INT DEFAULT 1.5",
        "a TEXT DEFAULT 5 + 5",
        "a INT DEFAULT now()",
        "a TINYINT DEFAULT 500",
        "a DATE DEFAULT 'soon'",
        "a ARRAY<INT> DEFAULT '{}'",
    ] {
        assert!(faults(&format!("CREATE TOPIC t ({wrong})")) > 0, "{wrong}");
    }
}

#[test]
fn words_of_sql_can_be_columns() {
    let t = topic(
        "CREATE TOPIC t (at TIMESTAMP, window TEXT, value INT, key TEXT, time TEXT,
        date DATE, watermark INT, name TEXT, type TEXT, \"order\" INT, start INT, check_in TEXT,
        WATERMARK FOR at AS at)",
    );
    assert_eq!(t.columns.len(), 12);
    assert_eq!(t.watermark.unwrap().delay_us, 0);
    for delay in ["INTERVAL 5 SECONDS", "INTERVAL '5' SECOND", "interval '5 seconds'"] {
        let t = topic(&format!("CREATE TOPIC t (at TIMESTAMP, WATERMARK FOR at AS at - {delay})"));
        assert_eq!(t.watermark.unwrap().delay_us, 5_000_000, "{delay}");
    }
    let forever = topic("CREATE TOPIC t (a INT) WITH (retention = 'forever')");
    assert_eq!(forever.storage.retention_us, None);
}

#[test]
fn sources_views_and_sinks() {
    let d = definition(
        "CREATE SOURCE roof WITH (connector = 'mqtt', url = 'x', header.a = 'b') INTO Readings",
    );
    let Object::Source(s) = &d.object else { panic!() };
    assert_eq!((s.connector.as_str(), s.into.as_str()), ("mqtt", "readings"));
    assert_eq!(s.options.keys().collect::<Vec<_>>(), ["header.a", "url"]);
    assert_eq!(d.depends_on, [("readings".to_string(), 77..85)]);

    let sql = "SELECT 1; CREATE MATERIALIZED VIEW v AS\n  SELECT a FROM t JOIN \"T\" USING (a) ;";
    let all = parse(&Text::new(Some("a.sql"), sql)).unwrap();
    let Statement::Create { definition: d, .. } = &all[1] else { panic!() };
    let Object::View(v) = &d.object else { panic!() };
    assert_eq!(v.query, "SELECT a FROM t JOIN \"T\" USING (a)");
    assert_eq!(&sql[d.query_start..d.query_start + v.query.len()], v.query);
    assert_eq!(&sql[d.depends_on[1].1.clone()], "\"T\"");
    assert_eq!(d.origin.statement(), &sql[10..sql.len() - 2]);

    let d = definition(
        "CREATE SINK out FROM \"V\" WITH (connector = 'file', delivery = 'exactly_once')",
    );
    let Object::Sink(s) = &d.object else { panic!() };
    assert_eq!(s.query, "SELECT * FROM \"V\"");
    assert_eq!(d.query_start + "SELECT * FROM ".len(), 21);
    assert_eq!(s.options["delivery"], "exactly_once");
    let d = definition(
        "CREATE SINK out FROM (SELECT a FROM v WHERE (a > 1)) WITH (connector = 'file')",
    );
    let Object::Sink(s) = &d.object else { panic!() };
    assert_eq!(s.query, "SELECT a FROM v WHERE (a > 1)");
}

#[test]
fn references_leave_out_what_with_defines() {
    for (query, want) in [
        ("SELECT * FROM a, b x JOIN (SELECT * FROM c) y ON true", "a b c"),
        ("WITH w AS (SELECT * FROM a) SELECT * FROM w WHERE x IN (SELECT y FROM d)", "a d"),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a"),
        ("WITH a AS (SELECT * FROM z), b AS (SELECT * FROM a) SELECT * FROM b", "z"),
        ("SELECT (SELECT max(x) FROM s) FROM a UNION SELECT 1 FROM b", "s a b"),
        ("SELECT * FROM generate_series(1, 3)", ""),
    ] {
        let d = definition(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
        let names: Vec<&str> = d.depends_on.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names.join(" "), want, "{query}");
    }
}

#[test]
fn other_statements() {
    assert!(matches!(one("drop topic if exists T"),
        Statement::Drop { kind, if_exists: true, name, .. } if name == "t" && kind == &TOPIC));
    assert!(matches!(one("DROP VIEW v"), Statement::Drop { kind, .. } if kind == &VIEW));
    for (sql, want) in [
        ("SHOW TOPICS", Show::Objects(&TOPIC)),
        ("SHOW MATERIALIZED VIEWS;", Show::Objects(&VIEW)),
        ("show pipelines", Show::Objects(&VIEW)),
        ("SHOW FUNCTIONS", Show::Functions),
        (
            "SHOW CREATE MATERIALIZED VIEW v",
            Show::Create { kind: Some(&VIEW), name: "v".into(), span: 30..31 },
        ),
        ("SHOW CREATE v", Show::Create { kind: None, name: "v".into(), span: 12..13 }),
    ] {
        assert!(matches!(one(sql), Statement::Show(s) if s == want), "{sql}");
    }
    assert!(
        matches!(one("DESCRIBE readings"), Statement::Describe { name, span } if name == "readings" && span == (9..17))
    );
    assert!(
        matches!(one("DESC TOPIC readings"), Statement::Describe { name, .. } if name == "readings")
    );
    assert!(matches!(one("EXPLAIN ANALYZE SELECT 1"),
        Statement::Explain { analyze: true, what: ExplainWhat::Query { start: 16, text } } if text == "SELECT 1"));
    for sql in ["EXPLAIN v", "EXPLAIN MATERIALIZED VIEW v"] {
        assert!(matches!(one(sql),
            Statement::Explain { what: ExplainWhat::View { name, .. }, .. } if name == "v"));
    }
    assert!(
        matches!(one(" (SELECT 1) ;"), Statement::Query { text, start: 1 } if text == "(SELECT 1)")
    );
    assert!(matches!(
        one("CREATE OR REPLACE TOPIC t (a INT)"),
        Statement::Create { existing: crate::Existing::Replace, .. }
    ));
    assert!(parse(&Text::new(None, " -- nothing\n ;; /* at all */")).unwrap().is_empty());
}

/// The statement, and below it the rendered error.
fn check_faults(cases: &[(&str, &str)]) {
    let mut wrong = vec![];
    for (sql, want) in cases {
        let got = match parse(&Text::new(None, sql)) {
            Ok(s) => format!("no error: {s:?}"),
            Err(all) => all.iter().map(rendered).collect::<Vec<_>>().join("\n"),
        };
        let want = format!("{sql}\n{want}");
        if got != want {
            wrong.push(format!("got:\n{got}\nwant:\n{want}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn faults_of_topics() {
    check_faults(&[
        (
            "CREATE TOPIC t (a INT, a TEXT)",
            "                       ^\ninvalid: column 'a' is declared twice",
        ),
        (
            "CREATE TOPIC t (a STRIN)",
            "                  ^^^^^\ninvalid: unknown type 'STRIN' (did you mean 'STRING'?)",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (partition = 4)",
            "                             ^^^^^^^^^\ninvalid: unknown option 'partition' (did you mean 'partitions'?)",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (partitions = 5000)",
            "                                          ^^^^\ninvalid: '5000' is not a number of partitions (write a number from 1 to 1024)",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (key = 'b')",
            "                                   ^^^\nundefined_column: unknown column 'b' (did you mean 'a'?)",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (format = 'avro')",
            "                                      ^^^^^^\nunsupported: unknown format 'avro' ('json', 'raw', 'upsert' and 'debezium' are the formats there are)",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (format = 'raw')",
            "                                      ^^^^^\ninvalid: a topic of format 'raw' has one column, which is BINARY (write CREATE TOPIC name (value BINARY) WITH (format = 'raw'))",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (retention = 'long')",
            "                                         ^^^^^^\ninvalid: 'long' is not a duration (write '7 days', another number and unit, or 'forever')",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (archive = 'maybe')",
            "                                       ^^^^^^^\ninvalid: 'maybe' is none of true, false",
        ),
        (
            "CREATE TOPIC t (a INT, WATERMARK FOR a AS a - INTERVAL '5 s')",
            "                                     ^\ninvalid: 'a' is INT, not TIMESTAMP (a watermark needs a TIMESTAMP column)",
        ),
        (
            "CREATE TOPIC t (at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 fortnights')",
            "                                                                ^^^^^^^^^^^^^^\ninvalid: '5 fortnights' is not a duration (write a number and a unit, as in '5 seconds', '10 minutes', '7 days')",
        ),
        (
            "CREATE TOPIC t (at TIMESTAMP, WATERMARK FOR et AS et)",
            "                                            ^^\nundefined_column: unknown column 'et' (did you mean 'at'?)",
        ),
        (
            "CREATE TOPIC t (a INT, CHECK (a >))",
            "                                 ^\nsyntax: expected an expression, found the end of the statement",
        ),
        (
            "CREATE TOPIC t (a INT b TEXT)",
            "                  ^^^^^^^^^^\nsyntax: expected the end in type 'INT b TEXT', found 'b' (is a comma missing before 'b'?)",
        ),
        (
            "CREATE TOPIC t",
            "              ^\nsyntax: expected '(' and the columns, found the end of the statement (write CREATE TOPIC name (column TYPE, …))",
        ),
        (
            "CREATE TOPIC from (a INT)",
            "             ^^^^\nsyntax: 'from' is a reserved word (take another name, or write \"from\" wherever it is used)",
        ),
        (
            "CREATE TOPIC a.b (c INT)",
            "             ^^^\nsyntax: names have one part here (leave out the schema)",
        ),
        (
            "CREATE TOPIC t (_a INT)",
            "                ^^\ninvalid: '_a' begins with '_' (such names are kept for hidden columns; take another)",
        ),
        (
            "CREATE TOPIC t (a INT, b TEXT",
            "                             ^\nsyntax: expected ',' or ')', found the end of the statement",
        ),
        (
            "CREATE TOPIC t (a INT) WITH (key = a)",
            "                                   ^\nsyntax: expected a value, found a word (texts stand in single quotes, as in key = 'sensor')",
        ),
        (
            "CREATE TOPIC t (a INT) extra",
            "                       ^^^^^\nsyntax: expected the end of the statement, found 'extra'",
        ),
    ]);
}

#[test]
fn faults_of_other_statements() {
    check_faults(&[
        ("SELEC 1", "^^^^^\nsyntax: unknown statement 'SELEC' (did you mean 'SELECT'?)"),
        (
            "CREATE STREAM t (a INT)",
            "       ^^^^^^\nsyntax: expected TOPIC, SOURCE, MATERIALIZED VIEW, SINK or USER, found 'STREAM' (write CREATE TOPIC name (column TYPE, …))",
        ),
        (
            "CREATE TOPC t (a INT)",
            "       ^^^^\nsyntax: expected TOPIC, SOURCE, MATERIALIZED VIEW, SINK or USER, found 'TOPC' (did you mean 'TOPIC'?)",
        ),
        (
            "CREATE VIEW v AS SELECT 1",
            "       ^^^^\nunsupported: a view is always materialized (write CREATE MATERIALIZED VIEW …)",
        ),
        (
            "CREATE SOURCE s WITH (url = '*') INTO t",
            "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\ninvalid: source 's' names no connector (write WITH (connector = '…'))",
        ),
        (
            "CREATE SOURCE s WITH (connector = 'x')",
            "                                      ^\nsyntax: expected INTO and a topic, found the end of the statement (end with INTO topic)",
        ),
        (
            "CREATE SOURCE s WITH (connector = 'x', connector = 'y') INTO t",
            "                                       ^^^^^^^^^\ninvalid: option 'connector' is given twice",
        ),
        (
            "CREATE SINK s FROM v WITH (connector = 'x', delivery = 'exactly_onc')",
            "                                                       ^^^^^^^^^^^^^\ninvalid: unknown delivery 'exactly_onc' (did you mean 'exactly_once'?)",
        ),
        (
            "CREATE MATERIALIZED VIEW v WITH (refresh = '0 * * * *') AS SELECT 1",
            "                                 ^^^^^^^\nunsupported: a view on a schedule is not built yet (leave out 'refresh': the view is kept up to date all the time)",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT a FROM t WHERE",
            "                                                   ^\nsyntax: expected an expression, found the end of the statement",
        ),
        (
            "LOAD t",
            "^^^^\nunsupported: LOAD is not supported (events come in through INSERT, POST /api/topics/…, `watershed import` or a SOURCE)",
        ),
        (
            "SHOW TOPIC",
            "     ^^^^^\nsyntax: expected what to show, found 'TOPIC' (did you mean 'SHOW TOPICS'?)",
        ),
        (
            "DROP STREAM t",
            "     ^^^^^^\nsyntax: expected TOPIC, SOURCE, MATERIALIZED VIEW, SINK or USER, found 'STREAM'",
        ),
        (
            "SELECT 'abc",
            "       ^\nsyntax: this string is never closed (close it with \"'\"; a quote inside is written twice)",
        ),
        ("SELECT \"abc", "       ^\nsyntax: this quoted name is never closed (close it with '\"')"),
        (
            "SELECT 1 /* abc",
            "         ^\nsyntax: this comment is never closed (close it with '*/')",
        ),
        (
            "SELECT exists FROM t",
            "              ^^^^\nsyntax: expected '(', found 'FROM' ('exists' is a reserved word; as a name write \"exists\")",
        ),
        (
            "SELECT DISTINCT FROM t",
            "                ^^^^\nsyntax: expected an expression, found 'FROM' (name the columns, or write * for all)",
        ),
    ]);
}

#[test]
fn all_faults_of_a_file_at_once() {
    let sql =
        "CREATE TOPIC a (x INTT, y DUBLE);\nSELEC 1;\nSELECT 1;\nCREATE SINK s;\nSELECT 'open";
    let faults = parse(&Text::new(Some("sql/a.sql"), sql)).unwrap_err();
    let lines: Vec<String> = faults.iter().map(|e| e.to_string()).collect();
    assert_eq!(
        lines,
        [
            "sql/a.sql:1:19: unknown type 'INTT' (did you mean 'INT'?)",
            "sql/a.sql:1:27: unknown type 'DUBLE' (did you mean 'DOUBLE'?)",
            "sql/a.sql:2:1: unknown statement 'SELEC' (did you mean 'SELECT'?)",
            "sql/a.sql:4:14: expected FROM, found the end of the statement (write FROM view, or FROM (SELECT …))",
            "sql/a.sql:5:8: this string is never closed (close it with \"'\"; a quote inside is written twice)",
        ]
    );
    // Positions count characters on the screen and bytes in the text.
    let sql = "-- größer\nSELECT 'é', FROM t";
    let e = parse(&Text::new(None, sql)).unwrap_err().remove(0);
    assert_eq!(&sql[e.place().unwrap().span.clone()], "FROM");
    assert_eq!(e.place().unwrap().line_column(), (2, 13));
}

fn definitions(sql: &str) -> Vec<Definition> {
    let all = parse(&Text::new(Some("a.sql"), sql)).unwrap();
    let all = all.into_iter().map(|s| match s {
        Statement::Create { definition, .. } => *definition,
        other => panic!("{other:?}"),
    });
    all.collect()
}

#[test]
fn definitions_come_in_an_order_that_works() {
    let sql = "CREATE MATERIALIZED VIEW c AS SELECT * FROM b; CREATE SINK s FROM c WITH (connector='file');
        CREATE MATERIALIZED VIEW b AS SELECT * FROM a; CREATE SOURCE z WITH (connector='x') INTO a;
        CREATE TOPIC a (x INT)";
    let sorted = order(definitions(sql)).unwrap();
    let names: Vec<&str> = sorted.iter().map(|d| d.object.name()).collect();
    assert_eq!(names, ["a", "b", "c", "s", "z"]);
}

#[test]
fn faults_between_definitions() {
    for (sql, want) in [
        ("CREATE TOPIC readings (x INT); CREATE MATERIALIZED VIEW b AS SELECT * FROM reading",
         "a.sql:1:76: unknown topic or view 'reading' (did you mean 'readings'?)"),
        ("CREATE TOPIC a (x INT);\nCREATE MATERIALIZED VIEW a AS SELECT 1 AS x",
         "a.sql:2:26: 'a' is defined twice (the first is a TOPIC in a.sql, line 1)"),
        ("CREATE MATERIALIZED VIEW a AS SELECT * FROM c; CREATE MATERIALIZED VIEW b AS SELECT * FROM a;
          CREATE MATERIALIZED VIEW c AS SELECT * FROM b",
         "views depend on each other: a -> c -> b -> a"),
        ("CREATE MATERIALIZED VIEW a AS SELECT * FROM a", "views depend on each other: a -> a"),
        ("CREATE TOPIC t (x INT); CREATE SINK s FROM t WITH (connector='f'); CREATE MATERIALIZED VIEW v AS SELECT * FROM s",
         "'s' is a sink (only topics and views can be read)"),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1 AS x; CREATE SOURCE s WITH (connector='f') INTO v",
         "'v' is a view (a source writes into a topic)"),
    ] {
        let faults = order(definitions(sql)).unwrap_err();
        assert_eq!(faults.len(), 1, "{sql}: {faults:?}");
        assert!(faults[0].to_string().contains(want), "{}", faults[0]);
    }
}
