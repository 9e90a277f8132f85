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
        ("id BIGINT NOT NULL, k TEXT", "column 'v' can't be removed"),
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
