//! "Bad input" of the doors: each case gets a clear error, and none costs an acknowledged event.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::support::{PATIENCE, Project, READINGS, Server, read_answer};

const GOOD: &str = r#"{"sensor":"a","celsius":20.5,"at":"2026-01-01T10:00:00Z"}"#;

fn count(server: &Server) -> i64 {
    server.sql("SELECT count(*) FROM readings")[0][0].as_i64().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_bodies_whole_half_and_as_bombs() {
    let server = Project::new(READINGS).serve(&["--set", "http.body_bytes_max=4 MiB"]);
    let path = "/api/topics/readings";
    let lines = format!("{GOOD}\n").repeat(1_000);
    let packed = gzip(lines.as_bytes());
    let answer = server.send("POST", path, &[("content-encoding", "gzip")], &packed);
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(1_000)));
    let zstd = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    let answer = server.send("POST", path, &[("content-encoding", "zstd")], &zstd);
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(1_000)));

    for (coding, body) in [("gzip", &packed), ("zstd", &zstd)] {
        let half = &body[..body.len() / 2];
        let answer = server.send("POST", path, &[("content-encoding", coding)], half);
        assert_eq!(answer.status, 400, "half {coding}: {}", answer.text());
        assert!(answer.text().contains("nothing of it was taken"), "{}", answer.text());
    }
    let bomb = gzip(&vec![b' '; 200 << 20]);
    let answer = server.send("POST", path, &[("content-encoding", "gzip")], &bomb);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("too_large")));
    let answer = server.send("POST", path, &[("content-encoding", "br")], b"x");
    assert_eq!(answer.status, 415, "{}", answer.text());
    assert_eq!(count(&server), 2_000);
    assert!(resident_mib(&server) < 600, "{} MiB", resident_mib(&server));
}

/// Resident memory of the program.
fn resident_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Each would cost gigabytes if all refusals or rows were kept at once.
#[test]
fn millions_of_short_lines_cost_no_memory() {
    let topic = "CREATE TOPIC free (a INT, CHECK (a > 0)) WITH (partitions = 1);\n";
    let server = Project::new(&format!("{READINGS}{topic}")).serve(&[]);
    let lines = |line: &str| line.repeat((6 << 20) / line.len()).into_bytes();
    for (path, line, taken) in [
        ("/api/topics/readings", "x\n", false),
        ("/api/topics/free", "{}\n", true),
        ("/api/topics/free", "{\"a\":0}\n", false),
    ] {
        let body = lines(line);
        let n = (body.len() / line.len()) as u64;
        let answer = server.send("POST", path, &[("content-encoding", "gzip")], &gzip(&body));
        let json = answer.json();
        let counted = if taken { &json["accepted"] } else { &json["refused"] };
        assert_eq!(counted.as_u64(), Some(n), "{line}: {}", &answer.text()[..200]);
        assert!(answer.text().len() < 100_000, "{}", answer.text().len());
    }
    let kept = server.sql("SELECT count(*) FROM dead_letters")[0][0].as_i64().unwrap();
    assert_eq!(kept, 20_002, "the first of each request, and how many more there were");
    assert!(resident_mib(&server) < 650, "{} MiB", resident_mib(&server));
}

#[test]
fn a_line_of_100_mb_is_refused_and_the_program_lives() {
    let server = Project::new(READINGS).serve(&[]);
    let path = "/api/topics/readings";
    let mut body = vec![b'x'; 100 << 20];
    body.push(b'\n');
    let answer = server.send("POST", path, &[], &body);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("too_large")));
    // Packed it is small, and unpacked too large all the same.
    let answer = server.send("POST", path, &[("content-encoding", "gzip")], &gzip(&body));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("too_large")));
    // One that fits into a body is refused alone; its neighbours go in.
    let mut body = format!("{GOOD}\n").into_bytes();
    body.extend(std::iter::repeat_n(b'x', 3 << 20));
    body.extend_from_slice(format!("\n{GOOD}\n").as_bytes());
    let answer = server.post(path, &body);
    let json = answer.json();
    assert_eq!(
        (json["accepted"].as_u64(), json["errors"][0]["code"].as_str()),
        (Some(2), Some("too_large")),
        "{json}"
    );
    assert_eq!(json["errors"][0]["line"], 2);
    assert_eq!(count(&server), 2);
}

#[test]
fn a_body_that_is_cut_off_takes_nothing_in() {
    let server = Project::new(READINGS).serve(&[]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /api/topics/readings HTTP/1.1\r\nhost: {}\r\ncontent-length: 100000\r\n\r\n{GOOD}\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    // The program goes on, and the half body left nothing.
    assert_eq!(server.post("/api/topics/readings", GOOD).status, 200);
    assert_eq!(count(&server), 1);
}

#[test]
fn invalid_utf8_is_refused_with_its_line() {
    let server = Project::new(READINGS).serve(&[]);
    let mut body = format!("{GOOD}\n{{\"sensor\":\"").into_bytes();
    body.extend_from_slice(b"\xff\xfe");
    body.extend_from_slice(format!("\"}}\n{GOOD}\n").as_bytes());
    let answer = server.post("/api/topics/readings", &body).json();
    assert_eq!(answer["accepted"], 2, "{answer}");
    assert_eq!(answer["errors"][0]["line"], 2, "{answer}");
    assert_eq!(answer["errors"][0]["code"], "encoding", "{answer}");
    let letters = server.get("/api/dead-letters?kind=encoding").json();
    assert_eq!(letters["total"], 1, "{letters}");
}

#[test]
fn refused_lines_are_in_the_dead_letters() {
    let server = Project::new(READINGS).serve(&[]);
    let body = format!(
        "{GOOD}\n{{broken\n{{\"sensor\":\"a\",\"celsius\":\"warm\"}}\n{{\"celsius\":1}}\n\
         {{\"sensor\":\"a\",\"celsius\":999}}\n\
         {{\"sensor\":\"a\",\"at\":\"2999-01-01T00:00:00Z\"}}\n"
    );
    let answer = server.post("/api/topics/readings", body).json();
    let codes: Vec<(u64, &str)> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["line"].as_u64().unwrap(), e["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        codes,
        [(2, "parse"), (3, "type"), (4, "missing"), (5, "check"), (6, "future")],
        "{answer}"
    );
    for kind in ["parse", "type", "missing", "check", "future"] {
        let letters = server.get(&format!("/api/dead-letters?kind={kind}")).json();
        let rows = letters["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{kind}: {letters}");
        assert_eq!(rows[0]["topic"], "readings");
        assert!(!rows[0]["raw"].as_str().unwrap().is_empty());
    }
    let bad = server.get("/api/dead-letters?kind=odd");
    assert_eq!(bad.status, 400, "{}", bad.text());
}

#[test]
fn only_loopback_names_and_own_pages_may_come() {
    let server = Project::new(READINGS).serve(&[]);
    let path = "/api/topics/readings";
    let foreign = server.send("GET", "/api/status", &[("host", "evil.example")], b"");
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    for header in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let answer = server.send("POST", path, &[header], GOOD.as_bytes());
        assert_eq!(answer.status, 403, "{header:?}: {}", answer.text());
    }
    // The name stands in `Host`, in an absolute target, or in both.
    for (target, host) in [
        ("/api/status", "evil@127.0.0.1"),
        ("/api/status", "127.0.0.1@evil"),
        ("http://evil.example/api/status", "127.0.0.1"),
        ("http://127.0.0.1/api/status", "evil.example"),
        ("http://127.0.0.1@evil.example/api/status", "127.0.0.1"),
    ] {
        let answer = server.send("GET", target, &[("host", host)], b"");
        assert_eq!(answer.status, 403, "{target} {host}: {}", answer.text());
    }
    let own = format!("http://{}", server.address);
    assert_eq!(server.send("POST", path, &[("origin", &own)], GOOD.as_bytes()).status, 200);
    let answer = server.send("GET", "/api/status", &[], b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(count(&server), 1);
}

#[test]
fn too_many_at_once_are_asked_to_come_back() {
    let server = crate::queries::big(&["--set", "http.requests_max=2"]);
    let body = serde_json::json!({ "query": crate::queries::ENDLESS }).to_string();
    let mut open: Vec<TcpStream> = vec![];
    while server.get("/api/topics").status != 503 {
        assert!(open.len() < 100, "two running requests do not fill two places");
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let head = format!(
            "POST /api/sql HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
            server.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        open.push(stream);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let answer = server.get("/api/topics");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(server.get("/health").status, 200, "health answers however busy it is");
    drop(open);
    server.wait_until("free again", |s| s.get("/api/topics").status == 200);
}

#[test]
fn nonsense_on_the_socket_harms_nobody_else() {
    let server = Project::new(READINGS).serve(&[]);
    for noise in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0\0\0\0\0\0", b"GET\r\n\r\n"] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = vec![];
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(server.get("/health").text(), "ok");
    // Several requests on one connection still work.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..3 {
        let head = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut reader).unwrap().status, 200);
    }
}

#[test]
fn no_digit_is_lost_on_the_way() {
    let server = Project::new(READINGS).serve(&[]);
    let query = "SELECT CAST('12345678901234567890.123' AS DECIMAL(30,3)) AS d";
    let answer = server.post("/api/sql", serde_json::json!({ "query": query }).to_string());
    assert!(answer.text().contains("[[12345678901234567890.123]]"), "{}", answer.text());
    let ran = server.run(&["sql", query, "--json"]).ok();
    assert!(ran.out.contains("12345678901234567890.123"), "{}", ran.out);
}
