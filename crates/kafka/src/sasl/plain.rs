//! PLAIN (RFC 4616): name and password in one message.

use common::Secret;

/// `[authzid] NUL authcid NUL passwd`; none of a message that is not one, or that asks to act for
/// somebody else.
pub fn parse(message: &[u8]) -> Option<(String, Secret)> {
    let text = std::str::from_utf8(message).ok()?;
    let mut parts = text.split('\0');
    let (authzid, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !name.is_empty() && !password.is_empty();
    let is_same = authzid.is_empty() || authzid == name;
    (is_whole && is_same).then(|| (name.to_string(), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages() {
        for good in ["\0tim\0tanstaaftanstaaf", "tim\0tim\0tanstaaftanstaaf"] {
            let (name, password) = parse(good.as_bytes()).unwrap();
            assert_eq!((name.as_str(), password.expose()), ("tim", "tanstaaftanstaaf"));
        }
        for wrong in
            ["", "tim", "\0tim", "\0tim\0", "\0\0x", "Ursel\0tim\0x", "\0tim\0x\0", "\0\0\0"]
        {
            assert!(parse(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
        assert!(parse(b"\0tim\0\xff").is_none());
    }
}
