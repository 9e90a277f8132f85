//! Bodies as clients send them, whole, half, and as bombs.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use axum::http::{HeaderMap, HeaderValue, header};
use common::{Kind, Result};

use super::Decoder;

fn unpack(coding: &str, packed: &[u8], piece: usize, max: usize) -> Result<Vec<u8>> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_str(coding).unwrap());
    let mut decoder = Decoder::new(&headers, max)?;
    for p in packed.chunks(piece) {
        decoder.push(p)?;
    }
    decoder.finish()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn text(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| format!("{{\"n\":{i}}}\n").into_bytes()).collect()
}

#[test]
fn comes_back_however_the_pieces_fall() {
    let plain = text(3_000);
    for piece in [1, 7, 1_000, 1 << 20] {
        assert_eq!(unpack("identity", &plain, piece, 1 << 20).unwrap(), plain);
        assert_eq!(unpack("gzip", &gzip(&plain), piece, 1 << 20).unwrap(), plain);
        assert_eq!(unpack("zstd", &zstd(&plain), piece, 1 << 20).unwrap(), plain);
    }
}

#[test]
fn several_members_are_one_body() {
    let (a, b) = (text(10), text(20));
    let both = [a.clone(), b.clone()].concat();
    for piece in [3, 1 << 20] {
        assert_eq!(unpack("gzip", &[gzip(&a), gzip(&b)].concat(), piece, 9_999).unwrap(), both);
        assert_eq!(unpack("zstd", &[zstd(&a), zstd(&b)].concat(), piece, 9_999).unwrap(), both);
    }
}

#[test]
fn nothing_is_nothing() {
    for coding in ["identity", "gzip", "zstd"] {
        assert_eq!(unpack(coding, b"", 1, 10).unwrap(), b"");
    }
}

#[test]
fn half_a_body_is_refused() {
    let plain = text(2_000);
    for (coding, packed) in [("gzip", gzip(&plain)), ("zstd", zstd(&plain))] {
        for cut in [1, 5, packed.len() / 2, packed.len() - 1] {
            let e = unpack(coding, &packed[..cut], 64, 1 << 20).unwrap_err();
            assert_eq!(e.kind(), Kind::Invalid, "{coding} cut at {cut}: {e}");
        }
    }
}

#[test]
fn damaged_bodies_are_refused() {
    let plain = text(2_000);
    let mut packed = gzip(&plain);
    let last = packed.len() - 6;
    packed[last] ^= 1;
    assert_eq!(unpack("gzip", &packed, 64, 1 << 20).unwrap_err().kind(), Kind::Invalid);
    for coding in ["gzip", "zstd"] {
        let e = unpack(coding, b"{\"plain\": 1}\n", 64, 1 << 20).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid, "{coding}: {e}");
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let bomb = vec![b' '; 50 << 20];
    for (coding, packed) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb))] {
        assert!(packed.len() < 100_000, "{coding} packs well");
        let e = unpack(coding, &packed, 16 << 10, 1 << 20).unwrap_err();
        assert_eq!(e.kind(), Kind::TooLarge, "{coding}: {e}");
    }
    let e = unpack("identity", &bomb, 16 << 10, 1 << 20).unwrap_err();
    assert_eq!(e.kind(), Kind::TooLarge);
}

#[test]
fn unknown_codings_are_named() {
    let e = unpack("br", b"x", 1, 10).unwrap_err();
    assert_eq!(e.kind(), Kind::Unsupported);
    assert!(e.to_string().contains("'br'"), "{e}");
}
