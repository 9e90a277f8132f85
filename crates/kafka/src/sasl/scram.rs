//! The server's side of SCRAM (RFC 5802, RFC 7677): two messages of the client, two answers. No
//! channel binding is offered, so a client that insists on it is refused, and one that only would
//! have liked it is not. Nothing here waits or looks up anything.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engine::{ScramMechanism, Verifier};

/// Longest message of a client, in bytes.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// What a client begins with.
#[derive(Debug, PartialEq)]
pub struct ClientFirst {
    pub name: String,
    /// Asks for a login with a delegation token (KIP-48), of which there are none here.
    pub is_token: bool,
    nonce: String,
    /// `gs2-header`, as sent.
    header: String,
    /// `client-first-message-bare`, as sent.
    bare: String,
}

impl ClientFirst {
    /// None of a message that is not one, or that asks for what is not offered.
    pub fn parse(message: &[u8]) -> Option<ClientFirst> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',')?;
        // 'y': would bind a channel, but has not seen that offered. True: it is not.
        if !matches!(flag, "n" | "y") {
            return None;
        }
        let (authzid, bare) = rest.split_once(',')?;
        let header = text.strip_suffix(bare)?.to_string();
        let mut attributes = bare.split(',');
        // In front of the name an 'm=' would be an extension that must be understood.
        let name = saslname(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let is_printable = |b: u8| (0x21..=0x7e).contains(&b);
        if nonce.is_empty() || !nonce.bytes().all(is_printable) {
            return None;
        }
        let other = match authzid {
            "" => None,
            text => Some(saslname(text.strip_prefix("a=")?)?),
        };
        // Nobody can act for somebody else.
        if other.is_some_and(|other| other != name) {
            return None;
        }
        let mut is_token = false;
        for extension in attributes {
            let (key, value) = extension.split_once('=')?;
            let is_key = key.len() == 1 && key.bytes().all(|b| b.is_ascii_alphabetic());
            let is_tokenauth = key == "tokenauth";
            if !(is_key || is_tokenauth) || value.is_empty() {
                return None;
            }
            is_token |= is_tokenauth && value.eq_ignore_ascii_case("true");
        }
        Some(ClientFirst { name, is_token, nonce: nonce.into(), header, bare: bare.into() })
    }
}

/// An exchange that waits for the client's proof.
pub struct Exchange {
    pub name: String,
    mechanism: ScramMechanism,
    verifier: Verifier,
    client_first_bare: String,
    server_first: String,
    /// `c=` and `r=` that the client must send, one or the other.
    expected: [String; 2],
}

impl Exchange {
    /// Answers the first message. `nonce` is random and printable.
    pub fn begin(
        mechanism: ScramMechanism,
        first: ClientFirst,
        verifier: Verifier,
        nonce: &str,
    ) -> (Exchange, String) {
        let client_nonce = &first.nonce;
        let nonce = format!("{client_nonce}{nonce}");
        let salt = STANDARD.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let binding = STANDARD.encode(&first.header);
        // librdkafka before 2.6.1 sends its own nonce once more (librdkafka#4895). No harm: the
        // proof is over what is sent, and the server's nonce is in it.
        let expected =
            [format!("c={binding},r={nonce}"), format!("c={binding},r={client_nonce}{nonce}")];
        let exchange = Exchange {
            name: first.name,
            mechanism,
            verifier,
            client_first_bare: first.bare,
            server_first: server_first.clone(),
            expected,
        };
        (exchange, server_first)
    }

    /// Answers the second message; none when the proof, or anything else, is wrong.
    pub fn finish(&self, message: &[u8]) -> Option<String> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let fits = |expected: &String| {
            let extensions = without_proof.strip_prefix(expected.as_str());
            extensions.is_some_and(|e| e.is_empty() || e.starts_with(','))
        };
        if !self.expected.iter().any(fits) {
            return None;
        }
        let proof = STANDARD.decode(proof).ok()?;
        let mut auth_message = String::new();
        let (first, server) = (&self.client_first_bare, &self.server_first);
        let _ = write!(auth_message, "{first},{server},{without_proof}");
        let signature = self.verifier.check(self.mechanism, auth_message.as_bytes(), &proof)?;
        Some(format!("v={}", STANDARD.encode(signature)))
    }
}

fn text(message: &[u8]) -> Option<&str> {
    std::str::from_utf8(message).ok().filter(|t| t.len() <= MESSAGE_BYTES_MAX && !t.contains('\0'))
}

/// A name with `=2C` for a comma and `=3D` for an equals sign (RFC 5802, section 5.1).
pub fn saslname(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('=') {
        name.push_str(before);
        name.push(match escaped.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        rest = escaped.get(2..)?;
    }
    name.push_str(rest);
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{Rng, SeedableRng};

    use super::*;

    /// The exchange of RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn exchange(first: &str) -> (Exchange, String) {
        let mechanism = ScramMechanism::Sha256;
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = mechanism.salted_password(b"pencil", &salt, 4096);
        let verifier = Verifier::from_salted(mechanism, salt, 4096, &salted).unwrap();
        let first = ClientFirst::parse(first.as_bytes()).unwrap();
        Exchange::begin(mechanism, first, verifier, NONCE)
    }

    /// A second message with the right proof for whatever the rest of it is.
    fn signed(first_bare: &str, without_proof: &str) -> String {
        let mechanism = ScramMechanism::Sha256;
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = mechanism.salted_password(b"pencil", &salt, 4096);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        let auth_message = format!("{first_bare},{SERVER_FIRST},{without_proof}");
        let stored_key = mechanism.hash(&client_key);
        let signature = mechanism.hmac(&stored_key, auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(k, s)| k ^ s).collect();
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let (exchange, server_first) = exchange(FIRST);
        assert_eq!(server_first, SERVER_FIRST);
        assert_eq!(exchange.finish(FINAL.as_bytes()).unwrap(), SERVER_FINAL);
    }

    #[test]
    fn the_second_message_must_fit_the_first() {
        let nonce = format!("rOprNGfwEbeRWgbNEkqO{NONCE}");
        let bare = &FIRST[3..];
        let finish = |text: String| exchange(FIRST).0.finish(text.as_bytes()).is_some();
        assert!(finish(signed(bare, &format!("c=biws,r={nonce}"))));
        assert!(finish(signed(bare, &format!("c=biws,r={nonce},x=extension"))));
        assert!(finish(signed(bare, &format!("c=biws,r=rOprNGfwEbeRWgbNEkqO{nonce}"))));
        for wrong in [
            // Another nonce, a longer one, a cut one, the client's part alone.
            format!("c=biws,r=x{nonce}"),
            format!("c=biws,r=rOprNGfwEbeRWgbNEkqOrOprNGfwEbeRWgbNEkqO{nonce}"),
            format!("c=biws,r={nonce}x"),
            format!("c=biws,r={}", &nonce[..nonce.len() - 1]),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO".into(),
            // Another channel binding than the first message said: "y,," and "p=tls-unique,,".
            format!("c=eSws,r={nonce}"),
            format!("c=cD10bHMtdW5pcXVlLCw=,r={nonce}"),
            format!("r={nonce},c=biws"),
            format!("r={nonce}"),
        ] {
            assert!(!finish(signed(bare, &wrong)), "{wrong}");
        }
        for wrong in ["", "p=", ",p=", "c=biws", &FINAL[..FINAL.len() - 1]] {
            assert!(!finish(wrong.into()), "{wrong}");
        }
    }

    #[test]
    fn first_messages() {
        let parse = |text: &str| ClientFirst::parse(text.as_bytes());
        let name = |text: &str| parse(text).map(|f| f.name);
        assert_eq!(name("n,,n=user,r=x").as_deref(), Some("user"));
        assert_eq!(name("y,,n=user,r=x").as_deref(), Some("user"));
        assert_eq!(name("n,a=user,n=user,r=x").as_deref(), Some("user"));
        assert_eq!(name("n,,n=a=2Cb=3Dc,r=x").as_deref(), Some("a,b=c"));
        assert_eq!(name("n,,n=user,r=x,e=1").as_deref(), Some("user"));
        assert!(parse("n,,n=user,r=x,tokenauth=true").unwrap().is_token);
        assert_eq!(exchange("y,,n=user,r=x").0.expected[0], format!("c=eSws,r=x{NONCE}"));
        for wrong in [
            "",
            "n",
            "n,,",
            "n,,n=user",
            "n,,r=x,n=user",
            "n,,n=,r=x",
            "n,,n=user,r=",
            "n,,n=user,r=a b",
            "n,,n=a=2cb,r=x",
            "n,,n=a=,r=x",
            "n,,n=a=3,r=x",
            "n,,n=ä=3,r=x",
            "n,,m=1,n=user,r=x",
            "n,a=root,n=user,r=x",
            "n,root,n=user,r=x",
            "p=tls-server-end-point,,n=user,r=x",
            "p,,n=user,r=x",
            "x,,n=user,r=x",
            "n,,n=user,r=x,",
            "n,,n=us\0er,r=x",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=x"), None);
        assert_eq!(parse(&format!("n,,n=user,r={}", "x".repeat(5000))), None);
    }

    #[test]
    fn garbage_is_no_login() {
        let seed = rand::random();
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let (exchange, _) = exchange(FIRST);
        let changed = |text: &str, random: &mut rand::rngs::StdRng| {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..random.random_range(1..5) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..3) {
                    0 => bytes[at] = random.random(),
                    1 => bytes.insert(at, *b",=npr".get(random.random_range(0..5)).unwrap()),
                    _ => drop(bytes.remove(at)),
                }
            }
            bytes
        };
        for _ in 0..20_000 {
            let first = changed(FIRST, &mut random);
            if let Some(first) = ClientFirst::parse(&first) {
                assert!(!first.name.is_empty() && !first.nonce.is_empty(), "SEED={seed}");
            }
            let last = changed(FINAL, &mut random);
            let accepted = exchange.finish(&last).is_some();
            assert!(!accepted || last == FINAL.as_bytes(), "SEED={seed}: {last:?}");
        }
    }
}
