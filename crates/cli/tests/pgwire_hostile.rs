//! Clients of the Postgres door that mean no good: many that come and go or stay, half messages,
//! nonsense. Memory is bounded, and the others go on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};

use crate::pgwire::{Client, first_column};
use crate::support::{Project, READINGS, Server, free_port};

fn server(config: &[(&str, &str)]) -> (Server, u16) {
    let port = free_port();
    let project = Project::new(READINGS);
    let keys: String = config.iter().map(|(k, v)| format!("{k} = {v}\n")).collect();
    let path = project.path().join("watershed.toml");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    project.write("watershed.toml", &format!("{before}\n[pg]\n{keys}"));
    (project.serve(&["--pg-port", &port.to_string()]), port)
}

/// Megabytes of memory that the server has in use.
fn resident_mb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn works(port: u16) {
    let (mut client, _) = Client::connect(port);
    assert_eq!(first_column(&client.query("SELECT 41 + 1")), ["42"]);
}

/// What the server says before it closes.
fn last_words(socket: &mut TcpStream) -> String {
    let mut all = vec![];
    let _ = socket.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn connections_leave_no_memory_behind() {
    let (server, port) = server(&[]);
    let ask = |client: &mut Client| {
        assert_eq!(first_column(&client.query("SELECT 1")), ["1"]);
        let answer = client.query("SELECT relname FROM pg_class WHERE relname = 'readings'");
        assert_eq!(first_column(&answer), ["readings"]);
    };
    for _ in 0..10 {
        ask(&mut Client::connect(port).0);
    }
    let before = resident_mb(&server);
    for _ in 0..300 {
        ask(&mut Client::connect(port).0);
    }
    let grown = resident_mb(&server).saturating_sub(before);
    assert!(grown < 100, "300 connections that came and went left {grown} MB");
    let before = resident_mb(&server);
    let mut idle: Vec<Client> = (0..200).map(|_| Client::connect(port).0).collect();
    idle.iter_mut().for_each(ask);
    let grown = resident_mb(&server).saturating_sub(before);
    assert!(grown < 100, "200 idle connections take {grown} MB");
}

#[test]
fn half_messages_are_bounded_and_given_up() {
    let (server, port) = server(&[
        ("message_timeout", "\"3 s\""),
        ("message_bytes_max", "\"48 MiB\""),
        ("messages_bytes_max", "\"64 MiB\""),
    ]);
    works(port);
    let before = resident_mb(&server);
    // 40 clients send 39 MiB of a message of 40 MiB each, as far as they are let.
    let part = vec![b'x'; 1 << 20];
    let mut sockets: Vec<TcpStream> = (0..40)
        .map(|_| {
            let (client, _) = Client::connect(port);
            let mut socket = client.into_socket();
            socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            let _ = socket.write_all(&[&b"Q"[..], &(40_u32 << 20).to_be_bytes()].concat());
            for _ in 0..39 {
                if socket.write_all(&part).is_err() {
                    break;
                }
            }
            socket
        })
        .collect();
    let used = resident_mb(&server).saturating_sub(before);
    assert!(used < 250, "half messages take {used} MB");
    works(port);
    // Each is ended: for want of room, or of time.
    let began = Instant::now();
    for socket in &mut sockets {
        let words = last_words(socket);
        assert!(words.is_empty() || words.contains("53200") || words.contains("08006"), "{words}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // What is announced is not reserved: a thousand heads take nothing.
    let heads: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut socket = Client::connect(port).0.into_socket();
            socket.write_all(&[&b"Q"[..], &(47_u32 << 20).to_be_bytes(), b"SEL"].concat()).unwrap();
            socket
        })
        .collect();
    assert!(resident_mb(&server).saturating_sub(before) < 250);
    drop(heads);
    works(port);
}

#[test]
fn limits_hold_before_the_greeting() {
    let (_server, port) = server(&[
        ("connections_max", "3"),
        ("startup_timeout", "\"1 s\""),
        ("message_bytes_max", "\"1 MiB\""),
    ]);
    let mut silent: Vec<TcpStream> = (0..3).map(|_| connect(port)).collect();
    std::thread::sleep(Duration::from_millis(200));
    // The fourth is told why, also when it asks for TLS first.
    let mut late = connect(port);
    late.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut no = [0];
    late.read_exact(&mut no).unwrap();
    assert_eq!(no, *b"N");
    let mut hello = [&[0, 0, 0, 16, 0, 3, 0, 0][..], b"user\0a\0\0"].concat();
    hello[3] = hello.len() as u8;
    late.write_all(&hello).unwrap();
    assert!(last_words(&mut late).contains("53300"));
    // Those who say nothing make room.
    silent.iter_mut().for_each(|s| assert!(last_words(s).contains("08006")));
    works(port);
    // Too long is refused by its head, with the key to change.
    let mut socket = Client::connect(port).0.into_socket();
    socket.write_all(&[&b"Q"[..], &(2_u32 << 20).to_be_bytes()].concat()).unwrap();
    let words = last_words(&mut socket);
    assert!(words.contains("08P01") && words.contains("pg.message_bytes_max"), "{words}");
}

#[test]
fn malformed_messages_end_their_connection_only() {
    let (_server, port) = server(&[]);
    let (mut good, _) = Client::connect(port);
    let frame = |kind: u8, body: &[u8]| {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    };
    for bytes in [
        frame(b'P', b""),
        frame(b'P', b"\0SELECT 1\0"),
        frame(b'P', b"\0SELECT 1\0\xff\xff"),
        frame(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
        frame(b'B', b"\0\0\0\0"),
        frame(b'D', b""),
        frame(b'C', b""),
        frame(b'E', b"\0\0"),
        frame(b'Q', b"SELECT 1"),
        frame(b'p', b"secret\0"),
        vec![b'Q', 0, 0, 0, 0],
        vec![b'Q', 0xff, 0xff, 0xff, 0xff],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut socket = Client::connect(port).0.into_socket();
        socket.write_all(&bytes).unwrap();
        let words = last_words(&mut socket);
        assert!(words.contains("08P01"), "{bytes:?}: {words:?}");
        assert_eq!(first_column(&good.query("SELECT 1")), ["1"], "after {bytes:?}");
    }
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 0], &[0xff; 64], &[0, 0, 0, 9, 0, 3, 0, 0, 1]]
    {
        let mut socket = connect(port);
        socket.write_all(bytes).unwrap();
        assert!(last_words(&mut socket).contains("08P01"), "{bytes:?}");
    }
}

#[test]
fn random_frames_harm_nobody() {
    let (_server, port) = server(&[]);
    let seed: u64 = std::env::var("SEED").map_or(7, |s| s.parse().unwrap());
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let (mut ended, mut answered) = (0, 0);
    for _ in 0..400 {
        let greeted = random.random_bool(0.8);
        let mut socket =
            if greeted { Client::connect(port).0.into_socket() } else { connect(port) };
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        if random.random_bool(0.5) {
            let _ = socket.write_all(b"Q\0\0\0\x0dSELECT 1\0");
        }
        for _ in 0..random.random_range(1..6) {
            let mut body: Vec<u8> = (0..random.random_range(0..40))
                .map(|_| if random.random_bool(0.4) { 0 } else { random.random() })
                .collect();
            if random.random_bool(0.5) {
                body.extend_from_slice(b"SELECT 1\0\0\0");
            }
            let kind = *b"QPBDECSHXdcfpFzZ\0".get(random.random_range(0..17)).unwrap();
            let wrong: i32 = if random.random_bool(0.2) { random.random_range(-6..60) } else { 0 };
            let length = (body.len() as i32 + 4 + wrong) as u32;
            let _ = socket.write_all(&[&[kind][..], &length.to_be_bytes(), &body].concat());
        }
        let _ = socket.write_all(b"S\0\0\0\x04");
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let words = last_words(&mut socket);
        ended += u32::from(words.contains("08P01"));
        answered += u32::from(words.contains("SELECT 1"));
    }
    assert!(ended > 50 && answered > 50, "the reach: {ended} ended, {answered} answered");
    works(port);
}
