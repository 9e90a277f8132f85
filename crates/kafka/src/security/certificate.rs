//! The name in a client's certificate: the common name (CN) of its subject. Certificates come here
//! after their signatures are checked. Only so much of DER (X.690) is read as is needed for it.

/// Tag of a SEQUENCE.
const SEQUENCE: u8 = 0x30;
/// Tag of an OBJECT IDENTIFIER.
const OID: u8 = 0x06;
/// The version of a certificate, `[0]`.
const VERSION: u8 = 0xa0;
/// Encoded 2.5.4.3, commonName.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// UTF8String, PrintableString and IA5String: all are UTF-8.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// The CN of the subject (RFC 5280, section 4.1); of several the last, which is the most specific.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let mut rest = inside(certificate, SEQUENCE)?;
    let mut rest = inside(take(&mut rest)?.1, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        take(&mut rest)?;
    }
    // Serial number, signature algorithm, issuer, validity; then the subject.
    for _ in 0..4 {
        take(&mut rest)?;
    }
    let mut names = inside(rest, SEQUENCE)?;
    let mut found = None;
    while !names.is_empty() {
        let (_, _, mut set) = take_whole(&mut names)?;
        while !set.is_empty() {
            let (_, _, mut attribute) = take_whole(&mut set)?;
            let (tag, _, oid) = take_whole(&mut attribute)?;
            if tag == OID && oid == COMMON_NAME {
                let (tag, _, value) = take_whole(&mut attribute)?;
                let text = TEXTS.contains(&tag).then(|| std::str::from_utf8(value).ok());
                found = Some(text.flatten()?.to_string());
            }
        }
    }
    found.filter(|name| !name.is_empty() && !name.chars().any(char::is_control))
}

/// The content of the first element, which must be of this tag.
fn inside(mut bytes: &[u8], tag: u8) -> Option<&[u8]> {
    take_whole(&mut bytes).filter(|(t, _, _)| *t == tag).map(|(_, _, content)| content)
}

/// Cuts off the first element: its tag and all of it.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    take_whole(bytes).map(|(tag, whole, _)| (tag, whole))
}

/// Cuts off the first element: its tag, all of it, its content.
fn take_whole<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    let (head, len) = match first {
        0..=0x7f => (2, usize::from(first)),
        // One to three bytes of length: certificates are not larger.
        0x81..=0x83 => {
            let n = usize::from(first & 0x7f);
            let len = bytes.get(2..2 + n)?.iter().fold(0, |len, b| len << 8 | usize::from(*b));
            (2 + n, len)
        }
        _ => return None,
    };
    let whole = bytes.get(..head + len)?;
    *bytes = bytes.get(head + len..)?;
    Some((tag, whole, whole.get(head..)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{Rng, SeedableRng};

    use super::*;

    /// `openssl req -x509 -subj '/O=Example/CN=alice' -newkey ed25519`.
    const ALICE: &[u8] = include_bytes!("../../tests/certificates/alice.der");

    #[test]
    fn the_common_name_of_the_subject() {
        assert_eq!(common_name(ALICE).as_deref(), Some("alice"));
        assert_eq!(common_name(b""), None);
        for end in 0..ALICE.len() {
            assert!(common_name(&ALICE[..end]).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let seed = rand::random();
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let mut bytes = ALICE.to_vec();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let name = common_name(&bytes);
            assert!(name.is_none_or(|n| n.len() < bytes.len()), "SEED={seed}");
        }
    }
}
