//! Starting and stopping: ports, locks, folders, signals, settings.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::support::{MINUTES, Project, READINGS, Ran};

fn ran(project: &Project, arguments: &[&str]) -> Ran {
    Ran::new(&project.command(arguments).output().unwrap())
}

#[test]
fn a_port_in_use_names_the_port_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let project = Project::new(READINGS);
    let ran =
        ran(&project, &["serve", ".", "--pg-port", "0", "--kafka-port", "0", "--http-port", &port]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains(&port) && ran.err.contains("--http-port"), "{}", ran.err);
    assert!(!project.path().join("data").exists(), "the data folder is not touched");
}

#[test]
fn a_second_process_is_told_who_holds_the_data() {
    let server = Project::new(READINGS).serve(&[]);
    let second = ran(
        &server.project,
        &["serve", ".", "--http-port", "0", "--pg-port", "0", "--kafka-port", "0"],
    );
    assert_eq!(second.code, 4, "{}", second.err);
    assert!(second.err.contains(&server.pid().to_string()), "{}", second.err);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_read_only_folder_is_said_to_be_one() {
    let project = Project::new(READINGS);
    let data = project.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(data.join("probe"), "").is_ok() {
        // Root may write everywhere: a file in place of the folder stands for it.
        std::fs::remove_file(data.join("probe")).unwrap();
        std::fs::remove_dir(&data).unwrap();
        std::fs::write(&data, "").unwrap();
    }
    let ran =
        ran(&project, &["serve", ".", "--http-port", "0", "--pg-port", "0", "--kafka-port", "0"]);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("data"), "{}", ran.err);
    let _ = std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755));
}

#[test]
fn a_stop_is_graceful_and_a_restart_goes_on() {
    let server = Project::new(&format!("{READINGS}{MINUTES}")).serve(&[]);
    let event = r#"{"sensor":"a","celsius":20,"at":"2026-01-01T10:00:00Z"}"#;
    for _ in 0..20 {
        assert_eq!(server.post("/api/topics/readings", event).status, 200);
    }
    let (code, project) = server.stop();
    assert_eq!(code, Some(0));
    let server = project.serve(&[]);
    server.wait_until("caught up", |s| s.get("/api/views/minute_avg").json()["rows"][0]["n"] == 20);
    // Killed without warning: what was acknowledged is there, once.
    for _ in 0..20 {
        assert_eq!(server.post("/api/topics/readings", event).status, 200);
    }
    let server = server.kill().serve(&[]);
    assert_eq!(server.sql("SELECT count(*) FROM readings")[0][0], 40);
    server.wait_until("caught up", |s| s.get("/api/views/minute_avg").json()["rows"][0]["n"] == 40);
}

#[test]
fn a_stop_ends_open_streams() {
    let server = Project::new(&format!("{READINGS}{MINUTES}")).serve(&[]);
    let stream = std::net::TcpStream::connect(&server.address).unwrap();
    use std::io::{Read, Write};
    let mut stream = stream;
    let head =
        format!("GET /api/views/minute_avg/changes HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).unwrap();
    let mut some = [0; 64];
    assert!(stream.read(&mut some).unwrap() > 0);
    let started = std::time::Instant::now();
    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
    assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
}

#[test]
fn settings_show_where_they_come_from_and_all_faults_at_once() {
    let project = Project::new("");
    project.write("watershed.toml", "[http]\nport = 5000\n");
    let output = project
        .command(&["config", "show", "--json", "--pg-port", "0"])
        .env("WATERSHED_QUERY_TIMEOUT", "10 s")
        .output()
        .unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let origin = |key: &str| {
        let all = settings.as_array().unwrap();
        let found = all.iter().find(|s| s["key"] == key).unwrap();
        found["origin"].as_str().unwrap().to_string()
    };
    assert_eq!(origin("http.port"), "watershed.toml:2");
    assert_eq!(origin("query.timeout"), "environment WATERSHED_QUERY_TIMEOUT");
    assert_eq!(origin("pg.port"), "flag --pg-port");
    assert_eq!(origin("lake"), "default");
    project.write("watershed.toml", "[http]\nprot = 5000\nport = \"x\"\n");
    let ran = ran(&project, &["config", "show"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("did you mean 'http.port'?"), "{}", ran.err);
    assert!(ran.err.contains("watershed.toml:3:8"), "{}", ran.err);
}

#[test]
fn only_loopback_may_be_listened_on() {
    let project = Project::new("");
    let ran = ran(&project, &["serve", ".", "--set", "host=0.0.0.0"]);
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.contains("loopback"), "{}", ran.err);
}

#[test]
fn new_makes_a_project_that_passes_its_tests_and_runs() {
    let outer = Project::new("");
    let made = ran(&outer, &["new", "mine"]).ok();
    assert!(made.out.contains("watershed dev mine"), "{}", made.out);
    let tested = ran(&outer, &["test", "mine"]);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    assert!(tested.out.contains("2 passed, 0 failed"), "{}", tested.out);
    let again = ran(&outer, &["new", "mine"]);
    assert_eq!(again.code, 4, "{}", again.err);
    // A test that fails says what differs.
    let path = "mine/tests/minutes.toml";
    let text = std::fs::read_to_string(outer.path().join(path)).unwrap();
    outer.write(path, &text.replace("n = 2", "n = 3"));
    let tested = ran(&outer, &["test", "mine"]);
    assert_eq!(tested.code, 1, "{}{}", tested.out, tested.err);
    assert!(tested.out.contains("missing row"), "{}", tested.out);
}

#[test]
fn logs_are_structured_when_asked() {
    let project = Project::new(READINGS);
    let server = project.serve(&["--log-format", "json"]);
    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn nobody_answers() {
    let project = Project::new("");
    let ran = ran(&project, &["sql", "SELECT 1", "--url", "http://127.0.0.1:1"]);
    assert_eq!(ran.code, 8);
    assert!(ran.err.contains("watershed dev"), "{}", ran.err);
}
