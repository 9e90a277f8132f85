//! `watershed dev`: reload on save, and faults that leave the last good version running.

use crate::support::{MINUTES, Project, READINGS, Server};

#[test]
fn an_edit_is_live_and_a_typo_keeps_the_last_good_version() {
    let mut server = Server::start(Project::new(READINGS), "dev", &[]);
    server.project.write("sql/minutes.sql", MINUTES);
    server.wait_for_line("minute_avg");
    server.post(
        "/api/topics/readings",
        r#"{"sensor":"a","celsius":20.5,"at":"2026-01-01T10:00:00Z"}"#,
    );
    let rows = |s: &Server| s.get("/api/views/minute_avg").json()["rows"].clone();
    server.wait_until("counted", |s| rows(s)[0]["n"] == 1);

    server.project.write("sql/minutes.sql", &MINUTES.replace("SELECT sensor", "SELECT sensr"));
    let line = server.wait_for_line("sensr");
    assert!(line.contains("error"), "{line}");
    server.wait_for_line("sql/minutes.sql:2:");
    server.wait_for_line("^^^^^");
    server.wait_for_line("last good version goes on");
    let problems = server.get("/api/status").json()["problems"].clone();
    assert_eq!(problems[0]["place"]["file"], "sql/minutes.sql", "{problems}");
    assert_eq!(problems[0]["place"]["line"], 2, "{problems}");
    server.post(
        "/api/topics/readings",
        r#"{"sensor":"a","celsius":20.5,"at":"2026-01-01T10:00:01Z"}"#,
    );
    server.wait_until("counted on", |s| rows(s)[0]["n"] == 2);

    server.project.write("sql/minutes.sql", &MINUTES.replace("count(*) AS n", "count(*) AS m"));
    server.wait_for_line("reloaded; changed minute_avg");
    server.wait_until("replanned", |s| rows(s)[0]["m"] == 2);
    assert_eq!(server.get("/api/status").json()["problems"].as_array().unwrap().len(), 0);
}

#[test]
fn a_project_with_a_fault_starts_in_dev_and_not_in_serve() {
    let broken = READINGS.replace("DOUBLE", "DUBLE");
    let project = Project::new(&broken);
    let output = project.command(&["serve", ".", "--http-port", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains("sql/project.sql:2") && shown.contains('^'), "{shown}");
    let mut server = Server::start(project, "dev", &[]);
    assert!(server.printed().contains("nothing runs yet"), "{}", server.printed());
    server.project.write("sql/project.sql", READINGS);
    server.wait_for_line("created readings");
    assert_eq!(server.get("/api/topics/readings/schema").status, 200);
}

#[test]
fn a_start_on_a_faulty_file_runs_what_ran_last() {
    let server = Server::start(Project::new(READINGS), "dev", &[]);
    let event = r#"{"sensor":"a","celsius":20.5,"at":"2026-01-01T10:00:00Z"}"#;
    assert_eq!(server.post("/api/topics/readings", event).json()["accepted"], 1);
    let (_, project) = server.stop();
    project.write(
        "sql/wrong.sql",
        "CREATE MATERIALIZED VIEW v AS SELECT avgg(celsius) FROM readings;",
    );
    let mut server = Server::start(project, "dev", &[]);
    let printed = server.printed();
    assert!(
        printed.contains("avgg") && printed.contains("goes on running (1 defined)"),
        "{printed}"
    );
    assert_eq!(server.post("/api/topics/readings", event).json()["accepted"], 1);
    assert_eq!(server.sql("SELECT count(*) FROM readings")[0][0], 2);
}
