//! OAUTHBEARER at the Kafka door: tokens that are good, and all kinds that are not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::kafka::{Broker, exchange, framed};
use crate::kafka_sasl::{authenticate, handshake, is_closed, is_served};
use crate::support::Project;

const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// A key that signs tokens.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Signer {
        Signer(KeyPair::generate().unwrap())
    }

    fn jwks(&self, id: &str) -> String {
        // An uncompressed point: 4, x, y.
        let point = self.0.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
            "x": part(1..33), "y": part(33..65),
        });
        json!({ "keys": [key] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let key = EncodingKey::from_ec_der(self.0.serialized_der());
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "sub": "alice", "iss": "https://issuer", "aud": "events", "exp": now() + 60 })
}

fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

fn message(token: &str) -> String {
    format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}")
}

fn broker(signer: &Signer) -> Broker {
    let project = Project::new("");
    project.write("keys.json", &signer.jwks("k1"));
    let settings = [
        "kafka.sasl=OAUTHBEARER",
        "kafka.oauth.jwks=keys.json",
        "kafka.oauth.issuer=https://issuer",
        "kafka.oauth.audience=events",
        "kafka.oauth.algorithms=ES256",
    ];
    let options: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
    Broker::on(project, &options)
}

/// The last answer's code, and for how many milliseconds the session is good.
fn login(broker: &Broker, message: &str) -> (i16, i64) {
    let mut socket = broker.connect();
    assert_eq!(handshake(&mut socket, 1, "OAUTHBEARER").error_code, 0);
    let answer = authenticate(&mut socket, 2, message);
    if answer.auth_bytes.is_empty() {
        let served = answer.error_code == 0 && is_served(&mut socket);
        assert_eq!(served, answer.error_code == 0);
        return (answer.error_code, answer.session_lifetime_ms);
    }
    // RFC 7628: the fault is said as a challenge, and the client ends the exchange.
    assert_eq!(&answer.auth_bytes[..], br#"{"status":"invalid_token"}"#);
    assert_eq!(answer.error_code, 0);
    let answer = authenticate(&mut socket, 2, "\u{1}");
    assert!(is_closed(&mut socket));
    (answer.error_code, answer.session_lifetime_ms)
}

#[test]
fn a_good_token_is_good_until_it_expires() {
    let signer = Signer::new();
    let broker = broker(&signer);
    let (code, lifetime) = login(&broker, &message(&signer.token(&claims())));
    assert_eq!(code, 0);
    assert!((50_000..=60_000).contains(&lifetime), "{lifetime}");
    let audiences = with("aud", json!(["other", "events"]));
    assert_eq!(login(&broker, &message(&signer.token(&audiences))).0, 0);
    let acting = format!("n,a=alice,{}", &message(&signer.token(&claims()))[3..]);
    assert_eq!(login(&broker, &acting).0, 0);
    // The session ends with the token.
    let mut socket = broker.connect();
    handshake(&mut socket, 1, "OAUTHBEARER");
    let short = signer.token(&with("exp", json!(now() + 2)));
    assert_eq!(authenticate(&mut socket, 2, message(&short)).error_code, 0);
    assert!(is_served(&mut socket));
    std::thread::sleep(Duration::from_millis(2_100));
    let metadata = framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(exchange(&mut socket, &metadata, 1), b"");
}

#[test]
fn tokens_that_are_not_accepted() {
    let (signer, other) = (Signer::new(), Signer::new());
    let mut broker = broker(&signer);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let good = signer.token(&claims());
    let pieces: Vec<&str> = good.split('.').collect();
    let unsigned = |alg: &str| format!("{}.{}.", part(&json!({ "alg": alg })), part(&claims()));
    // The public key taken for a shared secret.
    let secret = EncodingKey::from_secret(signer.0.public_key_raw());
    let confused =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
    let mut named = Header::new(Algorithm::ES256);
    named.kid = Some("k2".into());
    let key = EncodingKey::from_ec_der(signer.0.serialized_der());
    let named = jsonwebtoken::encode(&named, &claims(), &key).unwrap();
    let without = |member: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(member);
        signer.token(&claims)
    };
    for (what, token) in [
        ("expired", signer.token(&with("exp", json!(now() - 1)))),
        ("expired long ago", signer.token(&with("exp", json!(1)))),
        ("not yet", signer.token(&with("nbf", json!(now() + 600)))),
        ("another issuer", signer.token(&with("iss", json!("https://other")))),
        ("another audience", signer.token(&with("aud", json!("other")))),
        ("another key", other.token(&claims())),
        ("an unknown key's name", named),
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg ES256 without signature", unsigned("ES256")),
        ("alg HS256 with the public key", confused),
        ("no expiry", without("exp")),
        ("no issuer", without("iss")),
        ("no audience", without("aud")),
        ("no name", without("sub")),
        ("a name that is no text", signer.token(&with("sub", json!(7)))),
        ("an empty name", signer.token(&with("sub", json!("")))),
        ("a name with a line break", signer.token(&with("sub", json!("a\nb")))),
        (
            "other claims",
            format!("{}.{}.{}", pieces[0], part(&with("sub", json!("root"))), pieces[2]),
        ),
        ("cut", good[..good.len() - 2].to_string()),
        ("no token", "x".into()),
    ] {
        let (code, _) = login(&broker, &message(&token));
        assert_eq!(code, SASL_AUTHENTICATION_FAILED, "{what}");
    }
    let acting = format!("n,a=root,{}", &message(&good)[3..]);
    assert_eq!(login(&broker, &acting).0, SASL_AUTHENTICATION_FAILED);
    for wrong in ["", "n,,", &good, &message("")] {
        assert_eq!(login(&broker, wrong).0, SASL_AUTHENTICATION_FAILED, "{wrong:?}");
    }
    assert!(!broker.server.printed().contains(pieces[1]));
}

#[test]
fn keys_are_read_again_when_their_file_changes() {
    let (old, new) = (Signer::new(), Signer::new());
    let mut broker = broker(&old);
    let broken = "{}";
    broker.server.project.write("keys.json", broken);
    broker.server.wait_for_line("the keys for tokens stay as they were");
    assert_eq!(login(&broker, &message(&old.token(&claims()))).0, 0);
    broker.server.project.write("keys.json", &new.jwks("k2"));
    broker.server.wait_for_line("the keys for tokens were read again");
    assert_eq!(login(&broker, &message(&new.token(&claims()))).0, 0);
    let answer = login(&broker, &message(&old.token(&claims())));
    assert_eq!(answer.0, SASL_AUTHENTICATION_FAILED);
}

#[test]
fn faults_of_the_configuration_name_key_and_file() {
    let signer = Signer::new();
    let project = Project::new("");
    project.write("good.json", &signer.jwks("k1"));
    project.write("broken.json", "{\"keys\": 1}");
    let secret = URL_SAFE_NO_PAD.encode("a secret for all");
    let shared = json!({ "keys": [{ "kty": "oct", "alg": "HS256", "k": secret }] });
    project.write("shared.json", &shared.to_string());
    for (jwks, more, part) in [
        ("none.json", "kafka.oauth.audience=a", "none.json"),
        ("broken.json", "kafka.oauth.audience=a", "'kafka.oauth.jwks': './broken.json'"),
        ("shared.json", "kafka.oauth.audience=a", "no key that signatures can be checked with"),
        ("good.json", "kafka.oauth.audience=", "'kafka.oauth.audience' is missing"),
        ("good.json", "kafka.oauth.algorithms=none", "unknown value 'none'"),
        ("good.json", "kafka.oauth.algorithms=HS256", "unknown value 'HS256'"),
    ] {
        let jwks = format!("kafka.oauth.jwks={jwks}");
        let settings = ["kafka.sasl=OAUTHBEARER", "kafka.oauth.issuer=i", &jwks, more];
        let options: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        let arguments = [&["serve", ".", "--http-port", "0"], &options[..]].concat();
        let ran = project.command(&arguments).output().unwrap();
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && err.contains(part), "{jwks} {more}: {err}");
    }
}
