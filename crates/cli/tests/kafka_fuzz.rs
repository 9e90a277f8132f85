//! Requests of every kind and version with bodies that are nearly right: made of what fields look
//! like, in any order, cut off anywhere. Each is answered or its connection is closed; nothing
//! panics, and others are served as before. `SEED=7` begins elsewhere, `BODIES=500` sends more.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::kafka::{Broker, ask, framed};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Something that could be a field.
fn field(rng: &mut SmallRng, body: &mut Vec<u8>) {
    let small = [-1_i64, 0, 1, 2, 3, 7, 100, i64::MAX, i64::MIN];
    let n = small[rng.random_range(0..small.len())];
    let texts: [&[u8]; 6] = [b"t", b"fuzz", b"", b"range", b"consumer", b"\xff\xfe"];
    let text = texts[rng.random_range(0..texts.len())];
    match rng.random_range(0..11) {
        0 => body.push(n as u8),
        1 => body.extend((n as i16).to_be_bytes()),
        2 | 3 => body.extend((n as i32).to_be_bytes()),
        4 => body.extend(n.to_be_bytes()),
        5 => body.extend([&(text.len() as i16).to_be_bytes()[..], text].concat()),
        6 => body.extend([&[text.len() as u8 + 1][..], text].concat()),
        7 => body.extend([0; 16]),
        // A varint of five bytes: a compact length far too large.
        8 => body.extend([0xff, 0xff, 0xff, 0xff, 0x07]),
        9 => body.extend((0..rng.random_range(1..40)).map(|_| rng.random::<u8>())),
        _ => body.extend([0, 0]),
    }
}

fn request(rng: &mut SmallRng, key: i16, version: i16, is_flexible: bool) -> Vec<u8> {
    let mut bytes = [key.to_be_bytes(), version.to_be_bytes()].concat();
    bytes.extend([0, 0, 0, 7, 0, 4]);
    bytes.extend(b"fuzz");
    if is_flexible {
        bytes.push(0);
    }
    for _ in 0..rng.random_range(0..25) {
        field(rng, &mut bytes);
    }
    if rng.random_bool(0.2) {
        bytes.truncate(rng.random_range(4..=bytes.len()));
    }
    framed(&bytes)
}

/// Sends one; whether the connection can be used further.
fn send(socket: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut len = [0; 4];
    if socket.write_all(bytes).is_err() || socket.read_exact(&mut len).is_err() {
        return false;
    }
    let mut answer = vec![0; u32::from_be_bytes(len) as usize];
    socket.read_exact(&mut answer).is_ok()
}

#[test]
fn nearly_right_requests_are_answered_or_cut_off() {
    let mut broker = Broker::start("", &[]);
    broker.produce("good", &[], "a\n");
    let mut rng = SmallRng::seed_from_u64(number("SEED", 0));
    let api = ask(&mut broker.connect(), 3, &ApiVersionsRequest::default());
    let (mut answered, mut closed) = (0, 0);
    for served in &api.api_keys {
        let key = ApiKey::try_from(served.api_key).unwrap();
        let mut socket = broker.connect();
        // A long poll, or a join that waits for others, is as good as an answer.
        socket.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
        for version in served.min_version..=served.max_version {
            let is_flexible = key.request_header_version(version) == 2;
            for _ in 0..number("BODIES", 12) {
                let bytes = request(&mut rng, served.api_key, version, is_flexible);
                if send(&mut socket, &bytes) {
                    answered += 1;
                } else {
                    closed += 1;
                    socket = broker.connect();
                    socket.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
                }
            }
        }
    }
    assert!(answered > 100 && closed > 100, "{answered} answered, {closed} closed");
    assert_eq!(broker.consume("good", &[]), ["0 a"]);
    let printed = broker.server.printed();
    assert!(!printed.contains("panicked"), "{printed}");
}
