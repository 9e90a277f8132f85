//! The message of OAUTHBEARER (RFC 7628, section 3.1). What the token is worth, `tokens.rs` says.

use common::Secret;

use super::scram::saslname;

/// Between the parts of a message.
const SEPARATOR: char = '\u{1}';
/// What a client is told whose token is not accepted; it has to answer once more (section 3.2.3).
pub const REFUSED: &[u8] = br#"{"status":"invalid_token"}"#;

/// A token, and for whom the client wants to act.
#[derive(Debug)]
pub struct Message {
    pub token: Secret,
    pub authzid: Option<String>,
}

/// `n,[a=name],^Aauth=Bearer token^A[key=value^A…]^A`; none of a message that is not one.
pub fn parse(message: &[u8]) -> Option<Message> {
    let text = std::str::from_utf8(message).ok()?;
    let (header, rest) = text.split_once(SEPARATOR)?;
    let (flag, authzid) = header.strip_suffix(',')?.split_once(',')?;
    if !matches!(flag, "n" | "y") {
        return None;
    }
    let authzid = match authzid {
        "" => None,
        text => Some(saslname(text.strip_prefix("a=")?)?),
    };
    // Each pair ends with a separator, and so does the message.
    let pairs = rest.strip_suffix(SEPARATOR)?.strip_suffix(SEPARATOR)?;
    let mut token = None;
    for pair in pairs.split(SEPARATOR) {
        let (key, value) = pair.split_once('=')?;
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphabetic());
        if !is_key || (key == "auth" && token.is_some()) {
            return None;
        }
        if key == "auth" {
            let (scheme, credentials) = value.split_once(' ')?;
            let credentials = credentials.trim_start_matches(' ');
            if !scheme.eq_ignore_ascii_case("bearer") || !is_b64token(credentials) {
                return None;
            }
            token = Some(Secret::new(credentials));
        }
    }
    Some(Message { token: token?, authzid })
}

/// RFC 6750, section 2.1.
fn is_b64token(text: &str) -> bool {
    let is_one = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    !text.is_empty() && text.bytes().all(is_one)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{Rng, SeedableRng};

    use super::*;

    /// The message of RFC 7628, section 4.1.
    const EXAMPLE: &str = "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
        auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";

    #[test]
    fn messages() {
        let message = parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(message.token.expose(), "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        assert_eq!(message.authzid.as_deref(), Some("user@example.com"));
        let message = parse(b"n,,\x01auth=bearer a.b.c\x01\x01").unwrap();
        assert_eq!((message.token.expose(), message.authzid), ("a.b.c", None));
        for wrong in [
            "",
            "n,,",
            "n,,\x01",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer a\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Bearer a b\x01\x01",
            "n,,\x01auth=Basic a\x01\x01",
            "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
            "n,,\x01host=x\x01\x01",
            "n,,\x01=x\x01auth=Bearer a\x01\x01",
            "n,user,\x01auth=Bearer a\x01\x01",
            "n,a=,\x01auth=Bearer a\x01\x01",
            "p=x,,\x01auth=Bearer a\x01\x01",
            "\x01auth=Bearer a\x01\x01",
        ] {
            assert!(parse(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let seed = rand::random();
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            for _ in 0..random.random_range(1..5) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..3) {
                    0 => bytes[at] = random.random(),
                    1 => bytes.insert(at, *b"\x01,= n".get(random.random_range(0..5)).unwrap()),
                    _ => drop(bytes.remove(at)),
                }
            }
            if let Some(message) = parse(&bytes) {
                assert!(is_b64token(message.token.expose()), "SEED={seed}");
            }
        }
    }
}
