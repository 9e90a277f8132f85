//! Topics whose records replace one another (`format = 'upsert'` and `'debezium'`) are tables: in
//! queries, in views, over restarts, and beside their archive.

use serde_json::{Value, json};

use crate::support::{Project, Server};

const TABLES: &str = "CREATE TOPIC users (id BIGINT NOT NULL, name TEXT, city TEXT)
  WITH (format = 'upsert', key = 'id', partitions = 3, segment_bytes = '64kB');
CREATE TOPIC stock (item TEXT NOT NULL, n INT) WITH (format = 'debezium', key = 'item');
CREATE MATERIALIZED VIEW per_city AS SELECT city, count(*) AS n FROM users GROUP BY city;
CREATE MATERIALIZED VIEW left_over AS SELECT item, n FROM stock WHERE n > 0;
";

/// The records of a topic, sent with keys; a value of null removes the row.
fn produce(server: &Server, topic: &str, records: &[Value]) -> Value {
    let body = json!({ "records": records }).to_string();
    server.post(&format!("/api/topics/{topic}/records"), body).json()
}

fn sorted(rows: &Value) -> Vec<String> {
    let mut rows: Vec<String> = rows.as_array().unwrap().iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

fn until(server: &Server, query: &str, wanted: &[&str]) {
    server.wait_until(query, |s| sorted(&s.sql(query)) == wanted);
}

const USERS: [&str; 2] = [r#"[2,"Bo","Rome"]"#, r#"[3,"Cy",null]"#];

#[test]
fn rows_are_replaced_and_removed() {
    let often = ("WATERSHED_LAKE_ARCHIVE_INTERVAL", "200ms");
    let server = Project::new(TABLES).serve_with(&[], &[often]);
    let lines = "{\"id\":1,\"name\":\"Ada\",\"city\":\"Bern\"}\n{\"id\":2,\"name\":\"Bo\"}\n\
                 {\"id\":2,\"name\":\"Bo\",\"city\":\"Rome\"}\n{\"id\":3,\"name\":\"Cy\"}\n";
    let taken = server.post("/api/topics/users", lines).json();
    assert_eq!(taken["accepted"], 4, "{taken}");
    let gone = produce(&server, "users", &[json!({ "key": "1", "value": null })]);
    assert_eq!(gone["accepted"], 1, "{gone}");
    let (users, cities) = ("SELECT * FROM users", "SELECT * FROM per_city");
    until(&server, users, &USERS);
    until(&server, cities, &[r#"["Rome",1]"#, "[null,1]"]);
    // A record without a key, or a row that lacks what it must have, is no row of the table.
    let bad = produce(&server, "users", &[json!({ "key": "9", "value": { "name": "nobody" } })]);
    assert_eq!((&bad["accepted"], &bad["errors"][0]["column"]), (&json!(0), &json!("id")), "{bad}");
    let keyless = json!({ "records": [{ "value": { "id": 9 } }] }).to_string();
    assert_eq!(server.post("/api/topics/users/records", keyless).status, 400);
    let server = server.kill().serve_with(&[], &[often]);
    until(&server, users, &USERS);
    until(&server, cities, &[r#"["Rome",1]"#, "[null,1]"]);
    // Many records of few keys, so that segments are compacted and rows come from the archive too.
    for round in 0..40 {
        let line = |id: u32| {
            let pad = "x".repeat(100);
            format!("{{\"id\":{id},\"name\":\"{pad}{round}\",\"city\":\"Oslo\"}}\n")
        };
        let lines: String = (10..110).map(line).collect();
        assert_eq!(server.post("/api/topics/users", lines).json()["accepted"], 100);
    }
    let all = "SELECT count(*), count(DISTINCT name) FROM users WHERE city = 'Oslo'";
    until(&server, all, &["[100,1]"]);
    until(&server, "SELECT n FROM per_city WHERE city = 'Oslo'", &["[100]"]);
    until(&server, "SELECT count(*) FROM users", &["[102]"]);
    // Records that remove rows have no columns, and are archived like all others.
    server.wait_until("all is archived", |s| {
        let status = s.get("/api/status").json();
        let all = status["archive"].as_array().unwrap().iter().all(|a| a["lag_events"] == 0);
        all && status["archive"][1]["archived_offset_sum"] == 4_005
    });
    until(&server, "SELECT count(*) FROM users", &["[102]"]);
    until(&server, "SELECT * FROM users WHERE id < 10", &USERS);
}

#[test]
fn change_events_of_a_database_are_a_table() {
    let server = Project::new(TABLES).serve(&[]);
    let lines = r#"{"op":"c","before":null,"after":{"item":"tea","n":3},"ts_ms":1}
{"op":"c","after":{"item":"jam","n":1}}
{"op":"u","before":{"item":"tea","n":3},"after":{"item":"tea","n":2}}
{"op":"d","before":{"item":"jam","n":1},"after":null}
{"op":"t"}
{"op":"c","after":{"n":4}}
{"item":"bread","n":4}
"#;
    let taken = server.post("/api/topics/stock", lines).json();
    assert_eq!((&taken["accepted"], &taken["refused"]), (&json!(4), &json!(3)), "{taken}");
    let reasons: Vec<&str> =
        taken["errors"].as_array().unwrap().iter().map(|e| e["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].contains(r#"op "t" is none of"#), "{reasons:?}");
    assert!(reasons[2].contains("it has no 'op'"), "{reasons:?}");
    until(&server, "SELECT * FROM stock", &[r#"["tea",2]"#]);
    until(&server, "SELECT * FROM left_over", &[r#"["tea",2]"#]);
    // As its connector in Kafka Connect sends them: by key, a tombstone behind what is deleted.
    let event = json!({ "payload": { "op": "d", "before": { "item": "tea", "n": 2 } } });
    let records = [
        json!({ "key": "tea", "value": event }),
        json!({ "key": "tea", "value": null }),
        json!({ "key": "oil", "value": { "op": "r", "after": { "item": "oil", "n": 7 } } }),
    ];
    let taken = produce(&server, "stock", &records);
    assert_eq!(taken["accepted"], 3, "{taken}");
    until(&server, "SELECT * FROM left_over", &[r#"["oil",7]"#]);
    until(&server, "SELECT * FROM stock", &[r#"["oil",7]"#]);
    let csv = server.send("POST", "/api/topics/stock", &[("content-type", "text/csv")], b"a\n1\n");
    assert!(csv.status == 400 && csv.text().contains("change events"), "{}", csv.text());
}

#[test]
fn a_table_without_a_key_is_refused() {
    for (options, wanted) in [
        ("format = 'upsert'", "needs a key that is NOT NULL"),
        ("format = 'debezium', key = 'name'", "needs a key that is NOT NULL"),
        ("format = 'upsert', key = 'id', cleanup_policy = 'delete'", "keeps the last of each key"),
    ] {
        let sql = format!("CREATE TOPIC t (id INT NOT NULL, name TEXT) WITH ({options});");
        let ran = Project::new(&sql).command(&["check", "."]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && said.contains(wanted), "{options}: {said}");
    }
}
