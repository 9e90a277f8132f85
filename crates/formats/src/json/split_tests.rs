//! Bodies and the records and refusals they give.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ContentKind::{Json, Ndjson};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

fn shown(body: &[u8], kind: ContentKind, max: usize) -> Vec<String> {
    split(body, kind, max)
        .map(|item| match item {
            Ok(r) => format!("{} {}", r.line, String::from_utf8_lossy(r.bytes)),
            Err(e) => format!("{} {} {}", e.line, e.kind.name(), e.reason),
        })
        .collect()
}

#[test]
fn lines() {
    for (body, want) in [
        (&b"{\"a\":1}\n{\"a\":2}\n"[..], &["1 {\"a\":1}", "2 {\"a\":2}"][..]),
        (b"\xEF\xBB\xBF{}\r\n\r\n  \n{\"b\":1}", &["1 {}", "4 {\"b\":1}"]),
        (b"", &[]),
        (b"\n\n\n", &[]),
        (b"broken\n{}", &["1 broken", "2 {}"]),
        (
            b"{}\n{\"long\":\"0123456789\"}\n{}",
            &["1 {}", "2 too_large 21 bytes are more than an event may have (20)", "3 {}"],
        ),
    ] {
        assert_eq!(shown(body, Ndjson, 20), want, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn arrays_and_single_objects() {
    for (body, want) in [
        (&b"[{\"a\":1},\n {\"a\":[1,2]},3]"[..], &["1 {\"a\":1}", "2 {\"a\":[1,2]}", "2 3"][..]),
        (b"\xEF\xBB\xBF\n{\n\"a\":\n1}\n", &["2 {\n\"a\":\n1}"]),
        (b"[]", &[]),
        (b" [ ] \n", &[]),
        (b"", &[]),
        (
            b"[\n{},\n{\"a\":}\n,{}]",
            &["2 {}", "3 parse not valid JSON at character 12: expected a value, found '}'"],
        ),
        (
            b"[{}\n{}]",
            &[
                "1 {}",
                "2 parse not valid JSON at character 5: \
                    expected ',' or ']' after a record, found '{'",
            ],
        ),
        (
            b"[{},\n\n{\"a\":\"x",
            &[
                "1 {}",
                "3 parse not valid JSON at character 14: \
                    expected '\"' at the end of a text, found the end",
            ],
        ),
        (
            b"[{},",
            &["1 {}", "1 parse not valid JSON at character 5: expected a value, found the end"],
        ),
        (b"[{},]", &["1 {}", "1 parse not valid JSON at character 5: expected a value, found ']'"]),
        (
            b"[{}]\n\n,",
            &["1 {}", "3 parse not valid JSON at character 7: expected the end, found ','"],
        ),
        (
            b"{}\n{}",
            &[
                "1 {}",
                "2 parse not valid JSON at character 4: expected the end after one \
            record (send several as an array, or one a line as application/x-ndjson), found '{'",
            ],
        ),
        (b"nonsense", &["1 parse not valid JSON at character 1: expected a value, found 'n'"]),
        (
            b"[{},{\"long\":\"0123456789\"},{}]",
            &["1 {}", "1 too_large 21 bytes are more than an event may have (20)", "1 {}"],
        ),
    ] {
        assert_eq!(shown(body, Json, 20), want, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_refusal_keeps_what_it_refused() {
    let refused: Vec<_> = split(b"[1,x{\"a\":1}]", Json, 99).filter_map(Result::err).collect();
    assert_eq!(refused[0].raw_text(), "x{\"a\":1}]");
}

#[test]
fn garbage_never_panics_nor_loops() {
    let good = b"[{\"a\":1,\"b\":[true,null]},\n{\"a\":\"x\\u00e9\"} , {} ]";
    let mut random = SmallRng::seed_from_u64(11);
    for _ in 0..8_000 {
        let mut body = good.to_vec();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..body.len());
            body[at] = random.random();
        }
        for kind in [Json, Ndjson] {
            assert!(split(&body, kind, 30).count() <= body.len());
        }
    }
}
