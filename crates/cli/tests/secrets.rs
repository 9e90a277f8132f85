//! One word in every place where a secret can stand, and then a search for it: in all that the
//! doors answer, in all that the program prints, and in every file that it writes. Beside it, what
//! statements that come through a door may read, write and reach.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::pgwire::Client;
use crate::support::{MINUTES, Project, READINGS, Server, free_port};

const CANARY: &str = "kanari3nvogel";

/// Right and mistyped statements that have the canary in them.
fn statements(port: u16) -> Vec<String> {
    let url = format!("url = 'http://127.0.0.1:{port}/'");
    let sink = |name: &str, rest: &str| {
        format!("CREATE SINK {name} FROM minute_avg WITH (connector = 'http', {rest})")
    };
    vec![
        sink("typed", &format!("{url}, headers = 'Authorization: Bearer {CANARY}'")),
        sink("mixed", &format!("{url}, headers = 'A: ${{env:TOKEN}}, B: {CANARY}'")),
        sink("by_env", &format!("{url}, headers = 'Authorization: ${{env:TOKEN}}'")),
        sink("by_file", &format!("{url}, headers = 'Authorization: ${{secret:token}}'")),
        sink("in_url", &format!("url = 'http://me:{CANARY}@127.0.0.1:{port}/?key={CANARY}'")),
        sink("no_number", "url = 'http://127.0.0.1:1/', body_bytes_max = '${secret:token}'"),
        sink("no_url", "url = '${env:TOKEN}'"),
        sink("bad", &format!("{url}, headers = '{CANARY}'")),
        sink("bad", &format!("{url}, heders = '{CANARY}'")),
        sink("bad", &format!("{url}, headers = 'A: b' timeout = '{CANARY}'")),
        sink("bad", &format!("{url}, headers = {CANARY}")),
        sink("bad", &format!("{url}, headers = \"{CANARY}\"")),
        sink("bad", &format!("{url}, headers = 'it'{CANARY}'")),
        sink("bad", &format!("{url}, headers = 'A: {CANARY}")),
        sink("bad", &format!("{url}, headers = 'A: {CANARY}', retry_attempts_max = 0")),
        sink("bad", &format!("url = 'kafka://a?sasl.password={CANARY}'")),
        sink("bad", &format!("{url}, headers = 'A: {CANARY}'")).replace("minute_avg", "minute_agv"),
        sink("bad", &format!("{url}, headers = 'A: {CANARY}'")).replace("SINK", "SNIK"),
        sink("bad", &format!("{url}, headers = 'A: {CANARY}'")).replace("'http'", "'kafka'"),
        format!("CREATE USER ann PASSWORD '{CANARY}'"),
        format!("CREATE USER ann PASSWORD '{CANARY}'"),
        format!("ALTER USER ann WITH PASSWORD '{CANARY}'"),
        format!("ALTER USER nobody PASSWORD '{CANARY}'"),
        format!("CREATE USER x PASSWORT '{CANARY}'"),
        format!("CREATE USER x\nPASSWORT\n'{CANARY}'"),
        format!("CREATE USR x PASSWORD '{CANARY}'"),
        format!("CREAT USER x PASSWORD '{CANARY}'"),
        format!("CREATE USER x '{CANARY}'"),
        format!("CREATE USER x PASSWORD {CANARY}"),
        format!("CREATE ROLE x LOGIN PASSWORD '{CANARY}'"),
        format!("EXPLAIN CREATE USER x PASSWORD '{CANARY}'"),
        format!("SELECT 1; CREATE USER x PASSWORD '{CANARY}'"),
        format!("SET PASSWORD = '{CANARY}'"),
        "SHOW CREATE SINK typed".into(),
        "SHOW CREATE SINK of_file".into(),
        "SHOW CREATE SINK in_url".into(),
        "SHOW SINKS".into(),
        "SHOW USERS".into(),
        "DESCRIBE typed".into(),
        "EXPLAIN typed".into(),
        "EXPLAIN of_file".into(),
    ]
}

/// A server that answers every request with what it was sent, as a fault.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut head = String::new();
            let mut reader = BufReader::new(stream);
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
            let said: String = head.lines().filter(|l| l.to_lowercase().contains("auth")).collect();
            let answer = format!(
                "HTTP/1.1 400 Bad\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{said}",
                said.len()
            );
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    port
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes())
}

fn assert_none_in_files(project: &Project) {
    let data = project.path().join("data");
    let secrets = data.join("secrets");
    let mut kept = 0;
    for path in files(&data) {
        if path.starts_with(&secrets) {
            kept += 1;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
            continue;
        }
        assert!(!contains(&std::fs::read(&path).unwrap()), "{}", path.display());
    }
    assert!(kept >= 4, "typed, mixed, in_url, of_file and token: {kept}");
    let mode = std::fs::metadata(&data).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

/// Every GET that the OpenAPI document knows, and the pages of the console.
fn assert_none_in_answers(server: &Server) {
    let document = server.get("/api/openapi.json").json();
    let mut paths: Vec<String> = vec!["/".into(), "/sinks".into(), "/views/minute_avg".into()];
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_some() && !path.ends_with("/changes") {
            paths.push(path.replace("{topic}", "readings").replace("{view}", "minute_avg"));
        }
    }
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let answer = server.get(&path);
        assert!(!contains(&answer.body), "{path}: {}", answer.text());
    }
}

fn project(port: u16) -> Project {
    let of_file = format!(
        "CREATE SINK of_file FROM minute_avg WITH (connector = 'http',
           url = 'http://127.0.0.1:{port}/', headers = 'Authorization: Bearer {CANARY}');\n"
    );
    let project = Project::new(&format!("{READINGS}{MINUTES}{of_file}"));
    let toml = format!(
        "[http]\nallowed = [\"127.0.0.1:{port}\", \"127.0.0.1:1\"]\n\
         [secrets]\nallowed = [\"env:TOKEN\", \"secret:token\", \"secret:tokn\"]\n"
    );
    project.write("watershed.toml", &toml);
    project.write("data/secrets/token", &format!("{CANARY}\n"));
    project
}

#[test]
fn no_outlet_shows_a_secret() {
    // The program gets it from here.
    let port = echo();
    let pg = free_port();
    let mut server =
        project(port).serve_with(&["--pg-port", &pg.to_string()], &[("TOKEN", CANARY)]);
    for second in 0..3 {
        let at = format!("2026-01-01T10:0{second}:00Z");
        let event = format!(r#"{{"sensor":"a","celsius":20.5,"at":"{at}"}}"#);
        server.post("/api/topics/readings", event);
    }
    let (mut postgres, _) = Client::connect(pg);
    let mut made = 0;
    for statement in statements(port) {
        let body = serde_json::json!({ "query": statement }).to_string();
        let answer = server.post("/api/sql", body);
        made += usize::from(statement.starts_with("CREATE SINK") && answer.status == 200);
        assert!(!contains(&answer.body), "{statement}: {}", answer.text());
        for (tag, message) in postgres.query(&statement) {
            let said = format!("{tag} {message:?}");
            assert!(!contains(said.as_bytes()) && !contains(&message), "{statement}: {said}");
        }
        let ran = server.run(&["sql", &statement]);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!contains(said.as_bytes()), "{statement}: {said}");
    }
    assert_eq!(made, 5, "typed, mixed, by_env, by_file, in_url");
    server.wait_until("the echo is told", |s| s.get("/api/status").text().contains("answered 400"));
    assert_none_in_answers(&server);
    let shown = server.sql("SHOW CREATE SINK of_file").to_string();
    assert!(shown.contains("headers = '***'"), "{shown}");
    let config = server.run(&["config", "show"]);
    assert!(!contains(config.out.as_bytes()), "{}", config.out);
    let printed = server.printed();
    assert!(!contains(printed.as_bytes()) && !printed.contains("Basic"), "{printed}");
    let (_, project) = server.stop();
    assert_none_in_files(&project);
    // The next start finds the secrets where they are kept.
    let server = project.serve_with(&[], &[("TOKEN", CANARY)]);
    let shown = server.sql("SHOW CREATE SINK typed").to_string();
    assert!(shown.contains("${secret:sink.typed.headers}"), "{shown}");
    let sinks = server.get("/api/status").json()["sinks"].as_array().unwrap().len();
    assert_eq!(sinks, 6);
    assert_none_in_answers(&server);
    server.sql("DROP SINK typed");
    let secret = server.project.path().join("data/secrets/sink.typed.headers");
    assert!(!secret.exists());
    let (_, project) = server.stop();
    assert_none_in_files(&project);
}

#[test]
fn a_missing_secret_is_named() {
    let server = project(1).serve(&[]);
    for (value, said) in [
        ("${secret:tokn}", "there is no secret 'tokn'"),
        ("${env:TOKEN}", "there is no environment variable 'TOKEN'"),
    ] {
        let sink = format!(
            "CREATE SINK s FROM minute_avg WITH (connector = 'http', url = 'http://127.0.0.1:1/', \
             headers = 'A: {value}')"
        );
        let answer = refused(&server, &sink);
        assert!(answer["detail"].as_str().unwrap().contains(said), "{answer}");
    }
    // Whoever types statements could send it anywhere.
    let sink = "CREATE SINK s FROM minute_avg WITH (connector = 'http', \
                url = 'http://127.0.0.1:1/${env:PATH}')";
    let answer = refused(&server, sink);
    assert!(answer["detail"].as_str().unwrap().contains("may not use ${env:PATH}"), "{answer}");
    assert!(answer["hint"].as_str().unwrap().contains("secrets.allowed"), "{answer}");
}

fn refused(server: &Server, statement: &str) -> Value {
    let body = serde_json::json!({ "query": statement }).to_string();
    let answer = server.post("/api/sql", body);
    assert!(answer.status >= 400, "{statement}: {}", answer.text());
    answer.json()
}

#[test]
fn statements_typed_reach_only_what_the_keys_allow() {
    let project = Project::new(&format!("{READINGS}{MINUTES}"));
    project.write("tests/a.toml", "");
    std::os::unix::fs::symlink("data", project.path().join("link")).unwrap();
    let outer = tempfile::tempdir().unwrap();
    let outer = outer.path().canonicalize().unwrap();
    let trusted = format!(
        "CREATE SINK trusted FROM minute_avg WITH (connector = 'file', path = '{}');\n",
        outer.display()
    );
    project.write("sql/trusted.sql", &trusted);
    let server = project.serve(&[]);
    let file = |path: &str| {
        format!("CREATE SINK s FROM minute_avg WITH (connector = 'file', path = '{path}')")
    };
    let absolute = server.project.path().join("data/users.json");
    for path in [
        "data",
        "data/users.json",
        "out/../data",
        "sql",
        "sql/a-{epoch}.sql",
        "link/x",
        "watershed.toml",
        "tests",
        "../x",
        "/tmp/x",
        &absolute.to_string_lossy(),
    ] {
        let answer = refused(&server, &file(path));
        assert_eq!(answer["code"], "denied", "{path}: {answer}");
    }
    assert!(refused(&server, &file("/tmp/x"))["hint"].to_string().contains("files.allowed"));
    for host in ["127.0.0.1:1", "localhost", "2130706433", "[::1]", "169.254.169.254", "10.0.0.1"] {
        let sink = format!(
            "CREATE SINK s FROM minute_avg WITH (connector = 'http', url = 'http://{host}/')"
        );
        let answer = refused(&server, &sink);
        assert!(answer["hint"].to_string().contains("http.allowed"), "{host}: {answer}");
    }
    // The keys belong to the configuration.
    for statement in ["SET http.allowed = '*'", "SET files.allowed = '/'", "RESET http.allowed"] {
        assert!(refused(&server, statement)["hint"].to_string().contains("watershed.toml"));
    }
    server.sql(&file("out"));
    server.sql("DROP SINK s");
    // What the owner wrote is trusted, the same statement typed is not.
    std::fs::remove_file(server.project.path().join("sql/trusted.sql")).unwrap();
    let (_, project) = server.stop();
    let server = project.serve(&[]);
    let answer = refused(&server, trusted.trim().trim_end_matches(';'));
    assert_eq!(answer["code"], "denied", "{answer}");
}
