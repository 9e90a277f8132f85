//! A topic's definition changes under running views and stored events.

use common::Kind;

use super::support::*;

fn topic(columns: &str) -> String {
    format!("CREATE TOPIC events ({columns}) WITH (partitions = 2, key = 'k');\n")
}

const V1: &str = "id BIGINT NOT NULL, k TEXT, v BIGINT";

#[test]
fn a_column_is_added_while_views_run() {
    let bench = Bench::new(&format!("{}{TOTALS}", topic(V1)));
    bench.send("events", &events(0..10));
    bench.until_equal();
    bench.archive().unwrap();
    let rows = "CREATE MATERIALIZED VIEW rows AS SELECT id, note FROM events;\n";
    bench
        .place
        .write("sql/project.sql", &format!("{}{TOTALS}{rows}", topic(&format!("{V1}, note TEXT"))));
    let report = bench.apply().unwrap();
    // The view that does not read the column goes on from where it is.
    assert_eq!((report.changed, report.kept), (strings(["events"]), strings(["totals"])));
    bench.send("events", "{\"id\":10,\"k\":\"k0\",\"v\":1,\"note\":\"new\"}\n");
    bench.until_equal();
    let expected = bench.sorted("SELECT id, note FROM events");
    assert!(expected.contains(&"3|NULL".into()) && expected.contains(&"10|new".into()));
    bench.until("SELECT * FROM rows", &expected);
    bench.archive().unwrap();
    assert_eq!(bench.sorted("SELECT id, note FROM events"), expected);
    let bench = bench.reopen();
    assert_eq!(bench.sorted("SELECT id, note FROM events"), expected);
    bench.until_equal();
    bench.until("SELECT * FROM rows", &expected);
}

#[test]
fn a_column_made_not_null_keeps_the_nulls_of_before() {
    let bench = Bench::new(&topic(V1));
    bench.send("events", "{\"id\":1,\"k\":\"a\"}\n{\"id\":2,\"k\":\"a\",\"v\":5}\n");
    let strict = V1.replace("v BIGINT", "v BIGINT NOT NULL");
    let views = "CREATE MATERIALIZED VIEW nulls AS
SELECT k, count(*) AS n, count(v) AS known, sum(CASE WHEN v IS NULL THEN 1 ELSE 0 END) AS missing
FROM events GROUP BY k;\n";
    bench.place.write("sql/project.sql", &format!("{}{views}", topic(&strict)));
    bench.apply().unwrap();
    let answer = bench.send("events", "{\"id\":3,\"k\":\"a\"}\n{\"id\":4,\"k\":\"a\",\"v\":6}\n");
    assert_eq!((answer.accepted, answer.refused), (1, 1));
    let batch = "SELECT k, count(*), count(v), sum(CASE WHEN v IS NULL THEN 1 ELSE 0 END)
FROM events GROUP BY k";
    assert_eq!(bench.sql(batch), ["a|3|2|1"]);
    bench.until("SELECT * FROM nulls", &strings(["a|3|2|1"]));
    bench.archive().unwrap();
    // Also when the definition is read again, and from the archive.
    let bench = bench.reopen();
    assert_eq!(bench.sql(batch), ["a|3|2|1"]);
    bench.until("SELECT * FROM nulls", &strings(["a|3|2|1"]));
    assert_eq!(bench.sql("SELECT id FROM events WHERE v IS NULL"), ["1"]);
}

#[test]
fn what_stored_events_would_not_survive_is_refused() {
    let bench = Bench::new(&format!("{}{TOTALS}", topic(V1)));
    bench.send("events", &events(0..10));
    for (columns, says) in [
        ("id BIGINT NOT NULL, k TEXT, v INT", "column 'v' can't change from BIGINT to INT"),
        ("id BIGINT NOT NULL, k TEXT, v BIGINT DEFAULT 5", "default of column 'v' can't change"),
        ("id BIGINT NOT NULL, k BINARY, v BIGINT", "column 'k' can't change from TEXT"),
        ("id BIGINT NOT NULL, k TEXT, v TEXT", "column 'v' can't change from BIGINT"),
        ("id BIGINT NOT NULL, k TEXT, v BIGINT, w INT NOT NULL", "'w' can't be NOT NULL"),
    ] {
        bench.place.write("sql/project.sql", &topic(columns));
        let faults = bench.apply().unwrap_err();
        assert_kind(&faults[0], Kind::Conflict, &[says, "sql/project.sql:1:1", "'events'"]);
    }
    let other = EVENTS.replace("partitions = 2", "partitions = 1");
    bench.place.write("sql/project.sql", &other);
    assert_kind(&bench.apply().unwrap_err()[0], Kind::Conflict, &["partitions"]);
    bench.send("events", &events(10..20));
    bench.until_equal();
}

#[test]
fn a_table_keeps_its_format_and_partitions() {
    let table = "CREATE TOPIC events (id BIGINT NOT NULL, v INT)
  WITH (format = 'upsert', key = 'id', partitions = 3);";
    let bench = Bench::new(table);
    bench.send("events", "{\"id\":1,\"v\":1}\n{\"id\":1,\"v\":2}\n");
    for (from, to, says) in [
        ("partitions = 3", "partitions = 4", "keeps 3 partitions"),
        ("format = 'upsert'", "format = 'json'", "can't change from 'upsert' to 'json'"),
    ] {
        bench.place.write("sql/project.sql", &table.replace(from, to));
        let faults = bench.apply().unwrap_err();
        assert_kind(&faults[0], Kind::Conflict, &[says, "sql/project.sql:1:1", "'events'"]);
    }
    bench.place.write("sql/project.sql", table);
    bench.apply().unwrap();
    assert_eq!(bench.sql("SELECT * FROM events"), ["1|2"]);
}

#[test]
fn a_topic_grows_and_keeps_its_events() {
    let project = format!("{}{TOTALS}", topic(V1));
    let bench = Bench::new(&project);
    bench.send("events", &events(0..50));
    bench.until_equal();
    bench.place.write("sql/project.sql", &project.replace("partitions = 2", "partitions = 5"));
    bench.apply().unwrap();
    bench.until_equal();
    bench.send("events", &events(50..150));
    bench.until_equal();
    assert_eq!(bench.sql("SELECT max(_partition) > 1 FROM events"), ["true"]);
    assert_eq!(bench.sql("SELECT count(*) FROM events"), ["150"]);
}

#[test]
fn an_empty_topic_may_change_as_it_likes() {
    let bench = Bench::new(&format!("{}{TOTALS}", topic(V1)));
    for partitions in ["4", "1", "3"] {
        let sql = format!("{}{TOTALS}", topic("k TEXT, v BIGINT, id BIGINT NOT NULL"));
        let sql = sql.replace("partitions = 2", &format!("partitions = {partitions}"));
        bench.place.write("sql/project.sql", &sql);
        bench.apply().unwrap();
    }
    bench.send("events", &events(0..100));
    bench.until_equal();
    let partitions = bench.sql("SELECT count(DISTINCT _partition) FROM events");
    assert_eq!(partitions, ["3"]);
}

#[test]
fn a_column_in_use_is_missed_where_it_is_used() {
    let bench = Bench::new(&format!("{}{TOTALS}", topic(V1)));
    bench
        .place
        .write("sql/project.sql", &format!("{}{TOTALS}", topic("id BIGINT NOT NULL, k TEXT")));
    let faults = bench.apply().unwrap_err();
    assert!(faults[0].to_string().contains("sql/project.sql:3:30"), "{}", faults[0]);
    assert!(faults[0].to_string().contains("'v'"), "{}", faults[0]);
}

/// Answers before and after what they read is archived, and after a restart.
fn stays(bench: Bench, query: &str, expected: &[String]) -> Bench {
    assert_eq!(bench.sorted(query), expected, "from the log");
    bench.archive().unwrap();
    assert_eq!(bench.sorted(query), expected, "from the archive");
    let bench = bench.reopen();
    assert_eq!(bench.sorted(query), expected, "after a restart");
    bench
}

#[test]
fn types_become_wider() {
    let orders =
        |columns: &str| format!("CREATE TOPIC orders ({columns}) WITH (partitions = 2);\n");
    let views = "CREATE MATERIALIZED VIEW sums AS
        SELECT g, sum(n) AS n, sum(price) AS price, max(place.x) AS x FROM orders GROUP BY g;\n";
    let narrow = "g TEXT, n INT, price DECIMAL(6,2), place STRUCT<x: INT>, tags ARRAY<SMALLINT>";
    let wide = "g TEXT, n BIGINT, price DECIMAL(12,4), place STRUCT<y: TEXT, x: BIGINT>,
        tags ARRAY<BIGINT>";
    let bench = Bench::new(&format!("{}{views}", orders(narrow)));
    bench.send(
        "orders",
        "{\"g\":\"a\",\"n\":2147483647,\"price\":1.25,\"place\":{\"x\":1},\"tags\":[1,2]}\n",
    );
    bench.archive().unwrap();
    // Not archived yet when the types change.
    bench.send("orders", "{\"g\":\"a\",\"n\":1,\"price\":2,\"place\":null}\n");
    bench.place.write("sql/project.sql", &format!("{}{views}", orders(wide)));
    let report = bench.apply().unwrap();
    assert_eq!(report.changed, strings(["orders", "sums"]));
    bench.send(
        "orders",
        "{\"g\":\"b\",\"n\":9000000000,\"price\":12345678.0001,\"place\":{\"x\":5000000000,\"y\":\"z\"},\"tags\":[3000000000]}\n",
    );
    let all = strings([
        "a|1|2.0000|NULL|NULL|NULL",
        "a|2147483647|1.2500|NULL|1|[1, 2]",
        "b|9000000000|12345678.0001|z|5000000000|[3000000000]",
    ]);
    let query = "SELECT g, n, price, place.y, place.x, tags FROM orders";
    let bench = stays(bench, query, &all);
    let expected = strings(["a|2147483648|3.2500|1", "b|9000000000|12345678.0001|5000000000"]);
    bench.until("SELECT g, n, price, x FROM sums", &expected);
    // Filters and columns of a table that was written anew.
    assert_eq!(bench.sql("SELECT n FROM orders WHERE n > 3000000000"), ["9000000000"]);
    assert_eq!(bench.sql("SELECT count(*) FROM orders WHERE _offset >= 0"), ["3"]);
    bench.send("orders", "{\"g\":\"b\",\"n\":1}\n");
    bench.archive().unwrap();
    assert_eq!(bench.sql("SELECT count(*), sum(n) FROM orders"), ["4|11147483649"]);
}

#[test]
fn a_default_is_what_events_without_the_column_have() {
    let totals = "CREATE MATERIALIZED VIEW kinds AS
        SELECT kind, count(*) AS n, sum(w) AS w FROM events GROUP BY kind;\n";
    let wide = format!("{V1}, kind TEXT DEFAULT 'none', w INT NOT NULL DEFAULT 7");
    let bench = Bench::new(&topic(V1));
    bench.send("events", "{\"id\":1,\"k\":\"a\"}\n");
    bench.archive().unwrap();
    bench.send("events", "{\"id\":2,\"k\":\"a\"}\n");
    bench.place.write("sql/project.sql", &format!("{}{totals}", topic(&wide)));
    bench.apply().unwrap();
    // Before anything is written under the new definition.
    let both = strings(["1|none|7", "2|none|7"]);
    assert_eq!(bench.sorted("SELECT id, kind, w FROM events"), both);
    let answer = bench.send(
        "events",
        "{\"id\":3,\"k\":\"a\",\"kind\":null}\n{\"id\":4,\"k\":\"a\",\"kind\":\"x\",\"w\":1}\n\
         {\"id\":5,\"k\":\"a\",\"w\":null}\n",
    );
    assert_eq!((answer.accepted, answer.refused), (2, 1), "NULL is not what is missing");
    let answer = bench.csv("events", "id,k,kind\n6,a,\n7,a,y\n");
    assert_eq!((answer.accepted, answer.refused), (2, 0));
    let all = strings(["1|none|7", "2|none|7", "3|NULL|7", "4|x|1", "6|none|7", "7|y|7"]);
    let bench = stays(bench, "SELECT id, kind, w FROM events", &all);
    let expected = strings(["NULL|1|7", "none|3|21", "x|1|1", "y|1|7"]);
    bench.until("SELECT kind, n, w FROM kinds", &expected);
    assert_eq!(bench.sql("SELECT count(*) FROM events WHERE kind = 'none'"), ["3"]);
    // A tombstone has nothing.
    let other = wide.replace("'none'", "'some'");
    bench.place.write("sql/project.sql", &topic(&other));
    assert_kind(&bench.apply().unwrap_err()[0], Kind::Conflict, &["default of column 'kind'"]);
}

#[test]
fn a_dropped_column_is_gone_for_good() {
    let bench = Bench::new("");
    bench.sql("CREATE TOPIC notes (id INT, text TEXT, extra INT) WITH (partitions = 1)");
    bench.send("notes", "{\"id\":1,\"text\":\"a\",\"extra\":5}\n");
    bench.archive().unwrap();
    bench.send("notes", "{\"id\":2,\"text\":\"b\",\"extra\":6}\n");
    bench.sql("ALTER TOPIC notes DROP COLUMN extra");
    let bench = stays(bench, "SELECT * FROM notes", &strings(["1|a", "2|b"]));
    let back = bench.refused("ALTER TOPIC notes ADD COLUMN extra INT");
    assert_kind(&back, Kind::Conflict, &["'extra' can't come again"]);
    bench.sql("ALTER TOPIC notes ADD COLUMN more BIGINT NOT NULL DEFAULT 3");
    bench.sql("ALTER TOPIC notes ALTER COLUMN id TYPE BIGINT");
    bench.send("notes", "{\"id\":9000000000,\"text\":\"c\",\"more\":4}\n");
    let all = strings(["1|a|3", "2|b|3", "9000000000|c|4"]);
    let bench = stays(bench, "SELECT * FROM notes", &all);
    let described = bench.sql("DESCRIBE notes");
    assert!(described.iter().any(|c| c.starts_with("more|BIGINT") && c.ends_with("default 3")));
    let e = bench.refused("ALTER TOPIC notes DROP COLUMN texts");
    assert!(e.to_string().contains("unknown column 'texts'"), "{e}");
    bench.sql("CREATE MATERIALIZED VIEW texts AS SELECT id, text FROM notes");
    let used = bench.refused("ALTER TOPIC notes DROP COLUMN text");
    assert!(used.to_string().contains("unknown column 'text'"), "{used}");
}
