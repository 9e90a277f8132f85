//! The Postgres door, spoken to byte by byte (so that it is always tested) and with psql where
//! there is one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::support::{PATIENCE, Project, READINGS, Server, free_port};

fn server() -> (Server, u16) {
    let port = free_port();
    let server = Project::new(READINGS).serve(&["--pg-port", &port.to_string()]);
    let event = r#"{"sensor":"a","celsius":20.5,"at":"2026-01-01T10:00:00Z"}"#;
    assert_eq!(server.post("/api/topics/readings", event).status, 200);
    (server, port)
}

/// A message: its tag and its bytes.
pub type Message = (u8, Vec<u8>);

pub struct Client(TcpStream);

impl Client {
    pub fn connect(port: u16) -> (Client, Vec<Message>) {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut body = 196_608u32.to_be_bytes().to_vec();
        body.extend_from_slice(b"user\0anyone\0database\0any\0\0");
        let length = (body.len() as u32 + 4).to_be_bytes();
        socket.write_all(&[&length[..], &body].concat()).unwrap();
        let mut client = Client(socket);
        let greeting = client.until_ready();
        (client, greeting)
    }

    pub fn query(&mut self, text: &str) -> Vec<Message> {
        let mut message = vec![b'Q'];
        message.extend_from_slice(&(text.len() as u32 + 5).to_be_bytes());
        message.extend_from_slice(text.as_bytes());
        message.push(0);
        self.0.write_all(&message).unwrap();
        self.until_ready()
    }

    pub fn into_socket(self) -> TcpStream {
        self.0
    }

    /// Describe of a portal, and Sync.
    fn describe_portal(&mut self, name: &str) -> Vec<Message> {
        let mut message = vec![b'D'];
        message.extend_from_slice(&(name.len() as u32 + 6).to_be_bytes());
        message.push(b'P');
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(&[0, b'S', 0, 0, 0, 4]);
        self.0.write_all(&message).unwrap();
        self.until_ready()
    }

    fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = vec![];
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).unwrap();
            messages.push((head[0], body));
            if head[0] == b'Z' {
                return messages;
            }
        }
    }
}

/// First column of each row as text.
pub fn first_column(messages: &[Message]) -> Vec<String> {
    let rows = messages.iter().filter(|(tag, _)| *tag == b'D');
    rows.map(|(_, body)| {
        let length = u32::from_be_bytes([body[2], body[3], body[4], body[5]]) as usize;
        String::from_utf8_lossy(&body[6..6 + length]).into_owned()
    })
    .collect()
}

/// Fields of the error, by their letter.
pub fn error_field(messages: &[Message], letter: u8) -> Option<String> {
    let (_, body) = messages.iter().find(|(tag, _)| *tag == b'E')?;
    let field = body.split(|b| *b == 0).find(|f| f.first() == Some(&letter))?;
    Some(String::from_utf8_lossy(&field[1..]).into_owned())
}

#[test]
fn queries_definitions_and_errors() {
    let (server, port) = server();
    let (mut client, greeting) = Client::connect(port);
    let parameters: Vec<String> = greeting
        .iter()
        .filter(|(tag, _)| *tag == b'S')
        .map(|(_, body)| String::from_utf8_lossy(body).replace('\0', "="))
        .collect();
    assert!(parameters.iter().any(|p| p.starts_with("server_version=16.6 (watershed")));
    assert_eq!(first_column(&client.query("SELECT count(*) FROM readings")), ["1"]);
    let version = first_column(&client.query("SELECT version()"));
    assert!(version[0].starts_with("PostgreSQL 16"), "{version:?}");
    // Errors carry a code that drivers understand, and the place that psql underlines.
    let answer = client.query("SELECT sensr FROM readings");
    assert_eq!(error_field(&answer, b'P').as_deref(), Some("8"), "{answer:?}");
    assert!(error_field(&answer, b'M').unwrap().contains("sensr"));
    let answer = client.query("SELEC 1");
    assert_eq!(error_field(&answer, b'C').as_deref(), Some("42601"));
    let answer = client.query("SELECT * FROM nothing");
    assert_eq!(error_field(&answer, b'C').as_deref(), Some("42P01"));
    // The session goes on after errors, and sees what others make.
    assert_eq!(first_column(&client.query("SELECT 1")), ["1"]);
    let answer = client.query("CREATE TOPIC made (a INT)");
    assert!(answer.iter().any(|(tag, body)| *tag == b'C' && body.starts_with(b"CREATE TOPIC")));
    assert_eq!(server.get("/api/topics/made/schema").status, 200);
    assert_eq!(first_column(&client.query("SELECT count(*) FROM made")), ["0"]);
}

#[test]
fn cursors_are_portals() {
    let (_server, port) = server();
    let (mut client, _) = Client::connect(port);
    client.query("BEGIN");
    client.query("DECLARE \"big\" CURSOR FOR SELECT sensor, celsius FROM readings");
    let answer = client.describe_portal("big");
    let (tag, body) = &answer[0];
    assert_eq!((*tag, &body[..2]), (b'T', &[0, 2][..]), "{answer:?}");
    assert_eq!(first_column(&client.query("FETCH FORWARD 5 FROM \"big\"")), ["a"]);
    assert!(first_column(&client.query("FETCH 1 FROM big")).is_empty());
    client.query("CLOSE big; COMMIT");
    assert_eq!(client.describe_portal("big")[0].0, b'E');
}

#[test]
fn psql_works_where_there_is_one() {
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("skipped: psql is not installed");
        return;
    }
    let (_server, port) = server();
    let psql = |text: &str| {
        let output = Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "any", "-d", "any"])
            .args(["-At", "-c", text])
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).trim().to_string();
        (out, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(psql("SELECT sensor, celsius FROM readings").0, "a|20.5");
    let (tables, err) = psql("\\d");
    assert!(tables.contains("readings"), "{tables} {err}");
    // What people type first.
    for (command, shows) in [
        ("\\d readings", "sensor|text"),
        ("\\d+ readings", "celsius|double precision"),
        ("\\du", "postgres|Superuser"),
        ("\\l", "watershed"),
        ("\\dn", "public"),
        ("\\dt+", "readings|table|postgres|permanent"),
        ("\\dp", "readings|table"),
        ("\\df", ""),
        ("\\dT", ""),
    ] {
        let (out, err) = psql(command);
        assert!(out.contains(shows) && err.trim().is_empty(), "{command}: {out} {err}");
    }
    let (_, err) = psql("SELECT sensr FROM readings");
    assert!(err.contains("LINE 1:") && err.contains('^'), "{err}");
}
