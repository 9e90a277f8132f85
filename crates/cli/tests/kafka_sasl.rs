//! Logins at the Kafka door, byte by byte and with a real client: PLAIN, SCRAM, logins anew, and
//! what must not get through. Tokens have tests of their own (`kafka_tokens`), so has TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use engine::ScramMechanism;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::describe_user_scram_credentials_response as described;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiKey, ApiVersionsRequest,
    DescribeUserScramCredentialsRequest, MetadataRequest, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::{Broker, ask, exchange, framed};
use crate::support::Project;

/// Error codes of Kafka.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const ILLEGAL_SASL_STATE: i16 = 34;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

const ALL: &str = "kafka.sasl=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";

/// A server where alice and bob can log in.
fn broker(more: &[&str]) -> Broker {
    let broker = Broker::start("", &[&["--set", ALL], more].concat());
    for user in ["alice", "bob"] {
        let sql = format!("CREATE USER {user} PASSWORD '{user}''s secret'");
        broker.server.run(&["sql", &sql]).ok();
    }
    broker
}

pub fn handshake(
    socket: &mut (impl Read + Write),
    version: i16,
    mechanism: &str,
) -> SaslHandshakeResponse {
    let mechanism = StrBytes::from_string(mechanism.into());
    ask(socket, version, &SaslHandshakeRequest::default().with_mechanism(mechanism))
}

pub fn authenticate(
    socket: &mut (impl Read + Write),
    version: i16,
    message: impl Into<Vec<u8>>,
) -> SaslAuthenticateResponse {
    let message = Bytes::from(message.into());
    ask(socket, version, &SaslAuthenticateRequest::default().with_auth_bytes(message))
}

/// Whether the other side closed the connection and sent nothing more.
pub fn is_closed(socket: &mut impl Read) -> bool {
    matches!(socket.read(&mut [0]), Ok(0) | Err(_))
}

fn plain(socket: &mut TcpStream, name: &str, password: &str) -> SaslAuthenticateResponse {
    assert_eq!(handshake(socket, 1, "PLAIN").error_code, 0);
    authenticate(socket, 2, format!("\0{name}\0{password}"))
}

/// A client's side of SCRAM; `wrong` may change its last message. The answer to that, and whether
/// the server proved that it knows the password.
fn scram(
    socket: &mut TcpStream,
    mechanism: ScramMechanism,
    name: &str,
    password: &str,
    wrong: impl Fn(String) -> String,
) -> (SaslAuthenticateResponse, bool) {
    assert_eq!(handshake(socket, 1, mechanism.name()).error_code, 0);
    let bare = format!("n={name},r=fyko+d2lbbFgONRv9qkxdawL");
    let first = authenticate(socket, 1, format!("n,,{bare}"));
    assert_eq!(first.error_code, 0);
    let server_first = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
    let parts: Vec<&str> = server_first.split(',').collect();
    let nonce = parts[0].strip_prefix("r=").unwrap();
    assert!(nonce.starts_with("fyko+d2lbbFgONRv9qkxdawL") && nonce.len() > 50, "{nonce}");
    let salt = STANDARD.decode(parts[1].strip_prefix("s=").unwrap()).unwrap();
    let iterations: u32 = parts[2].strip_prefix("i=").unwrap().parse().unwrap();
    assert!(iterations >= 4096);
    let salted = mechanism.salted_password(password.as_bytes(), &salt, iterations);
    let without_proof = format!("c=biws,r={nonce}");
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let client_key = mechanism.hmac(&salted, b"Client Key");
    let signature = mechanism.hmac(&mechanism.hash(&client_key), auth_message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(k, s)| k ^ s).collect();
    let last = format!("{without_proof},p={}", STANDARD.encode(proof));
    let answer = authenticate(socket, 1, wrong(last));
    let server_key = mechanism.hmac(&salted, b"Server Key");
    let signature = mechanism.hmac(&server_key, auth_message.as_bytes());
    let is_proven = answer.auth_bytes == format!("v={}", STANDARD.encode(signature));
    (answer, is_proven)
}

/// Whether requests are served.
pub fn is_served(socket: &mut (impl Read + Write)) -> bool {
    ask(socket, 1, &MetadataRequest::default().with_topics(None)).brokers.len() == 1
}

#[test]
fn only_a_login_is_answered_before_a_login() {
    let broker = broker(&[]);
    let mut socket = broker.connect();
    let api = ask(&mut socket, 3, &ApiVersionsRequest::default());
    for key in [ApiKey::SaslHandshake, ApiKey::SaslAuthenticate] {
        assert!(api.api_keys.iter().any(|k| k.api_key == key as i16), "{key:?}");
    }
    // Metadata, FindCoordinator, and a request that there is not.
    for key in [3, 10, 999_u16] {
        let [high, low] = key.to_be_bytes();
        let request = framed(&[high, low, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(exchange(&mut broker.connect(), &request, 1), b"", "request {key}");
        let mut begun = broker.connect();
        handshake(&mut begun, 1, "SCRAM-SHA-256");
        authenticate(&mut begun, 2, "n,,n=alice,r=x");
        assert_eq!(exchange(&mut begun, &request, 1), b"", "request {key} within a login");
    }
    // Too large for anything before a login.
    let large = [&(1_u32 << 20).to_be_bytes()[..], &[0; 64]].concat();
    assert_eq!(exchange(&mut broker.connect(), &large, 1), b"");
    // Messages without a handshake.
    let answer = authenticate(&mut broker.connect(), 2, "\0alice\0alice's secret");
    assert_eq!(answer.error_code, ILLEGAL_SASL_STATE);
    // A second handshake.
    let mut socket = broker.connect();
    assert_eq!(handshake(&mut socket, 1, "PLAIN").error_code, 0);
    assert_eq!(handshake(&mut socket, 1, "PLAIN").error_code, ILLEGAL_SASL_STATE);
    assert!(is_closed(&mut socket));
}

#[test]
fn an_unknown_mechanism_is_told_which_there_are() {
    let broker = broker(&[]);
    for (version, name) in [(0, "GSSAPI"), (1, "OAUTHBEARER"), (1, "plain"), (1, "")] {
        let mut socket = broker.connect();
        let answer = handshake(&mut socket, version, name);
        assert_eq!(answer.error_code, UNSUPPORTED_SASL_MECHANISM, "{name}");
        let names: Vec<&str> = answer.mechanisms.iter().map(|m| m.as_str()).collect();
        assert_eq!(names, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
        assert!(is_closed(&mut socket));
    }
}

#[test]
fn where_nobody_needs_to_log_in_nobody_can() {
    let broker = Broker::start("", &[]);
    let mut socket = broker.connect();
    assert!(is_served(&mut socket));
    let api = ask(&mut socket, 3, &ApiVersionsRequest::default());
    assert!(!api.api_keys.iter().any(|k| k.api_key == ApiKey::SaslHandshake as i16));
    assert_eq!(handshake(&mut socket, 1, "PLAIN").error_code, ILLEGAL_SASL_STATE);
}

#[test]
fn plain_in_both_forms() {
    let broker = broker(&[]);
    for version in 0..=2 {
        let mut socket = broker.connect();
        assert_eq!(handshake(&mut socket, 1, "PLAIN").error_code, 0);
        let answer = authenticate(&mut socket, version, "\0alice\0alice's secret");
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0));
        assert!(is_served(&mut socket));
    }
    // Without headers, as before KIP-152.
    let mut socket = broker.connect();
    assert_eq!(handshake(&mut socket, 0, "PLAIN").error_code, 0);
    let answer = exchange(&mut socket, &framed(b"\0alice\0alice's secret"), 4);
    assert_eq!(answer, [0; 4]);
    assert!(is_served(&mut socket));
    let mut socket = broker.connect();
    assert_eq!(handshake(&mut socket, 0, "PLAIN").error_code, 0);
    assert_eq!(exchange(&mut socket, &framed(b"\0alice\0wrong"), 4), b"");
}

#[test]
fn scram_and_its_wrong_turns() {
    let broker = broker(&[]);
    for mechanism in ScramMechanism::ALL {
        let mut socket = broker.connect();
        let login =
            |socket: &mut TcpStream| scram(socket, mechanism, "alice", "alice's secret", |m| m);
        let (answer, is_proven) = login(&mut socket);
        assert_eq!((answer.error_code, is_proven), (0, true));
        assert!(is_served(&mut socket));
        let wrong: [fn(String) -> String; 4] = [
            |m| m.replacen("c=biws", "c=eSws", 1),
            |m| m.replacen("r=fyko", "r=Fyko", 1),
            |m| m.split(",p=").next().unwrap().into(),
            |_| "p=".into(),
        ];
        for wrong in wrong {
            let mut socket = broker.connect();
            let (answer, is_proven) =
                scram(&mut socket, mechanism, "alice", "alice's secret", wrong);
            assert_eq!((answer.error_code, is_proven), (SASL_AUTHENTICATION_FAILED, false));
            assert!(is_closed(&mut socket));
        }
    }
    // A channel binding is asked for that was not offered: no downgrade to none.
    let mut socket = broker.connect();
    handshake(&mut socket, 1, "SCRAM-SHA-256");
    let answer = authenticate(&mut socket, 2, "p=tls-server-end-point,,n=alice,r=x");
    assert_eq!(answer.error_code, SASL_AUTHENTICATION_FAILED);
}

#[test]
fn a_failed_login_does_not_tell_what_was_wrong() {
    let mut broker = broker(&[]);
    let mut answers = vec![];
    for (name, password) in [("alice", "bob's secret"), ("nobody", "x"), ("", ""), ("alice", "")] {
        let mut socket = broker.connect();
        let before = Instant::now();
        let answer = plain(&mut socket, name, password);
        assert!(before.elapsed() >= Duration::from_millis(100), "answered at once");
        assert!(is_closed(&mut socket));
        answers.push(answer);
        if !name.is_empty() {
            let mut socket = broker.connect();
            let mechanism = ScramMechanism::Sha256;
            answers.push(scram(&mut socket, mechanism, name, password, |m| m).0);
        }
    }
    for answer in &answers {
        assert_eq!(answer.error_code, SASL_AUTHENTICATION_FAILED);
        assert_eq!(answer, &answers[0]);
    }
    // The salt of a user that is not there is the same each time, as that of one that is.
    let salt_of = |name: &str| {
        let mut socket = broker.connect();
        handshake(&mut socket, 1, "SCRAM-SHA-512");
        let first = authenticate(&mut socket, 2, format!("n,,n={name},r=x"));
        let text = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
        text.split(',').nth(1).unwrap().to_string()
    };
    assert_eq!(salt_of("nobody"), salt_of("nobody"));
    assert_ne!(salt_of("nobody"), salt_of("nobody2"));
    assert_eq!(salt_of("nobody").len(), salt_of("alice").len());
    let printed = broker.server.printed();
    assert!(printed.contains("a Kafka login failed"), "{printed}");
    for secret in ["secret", "nobody"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_session_ends_unless_the_client_logs_in_anew() {
    let broker = broker(&["--set", "kafka.session_lifetime=2 s"]);
    let mut socket = broker.connect();
    let answer = plain(&mut socket, "alice", "alice's secret");
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 2_000));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1_000));
        assert!(is_served(&mut socket));
        let answer = plain(&mut socket, "alice", "alice's secret");
        assert_eq!(answer.session_lifetime_ms, 2_000);
        assert!(is_served(&mut socket));
    }
    let mut other = broker.connect();
    assert_eq!(plain(&mut other, "bob", "bob's secret").error_code, 0);
    std::thread::sleep(Duration::from_millis(2_100));
    let metadata = framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(exchange(&mut socket, &metadata, 1), b"");
    // Too late is better than never, but neither as somebody else nor in another way.
    assert_eq!(plain(&mut other, "bob", "bob's secret").error_code, 0);
    let answer = handshake(&mut other, 1, "SCRAM-SHA-256");
    assert_eq!(answer.error_code, UNSUPPORTED_SASL_MECHANISM);
    assert_eq!(answer.mechanisms, [StrBytes::from_static_str("PLAIN")]);
    let mut other = broker.connect();
    assert_eq!(plain(&mut other, "bob", "bob's secret").error_code, 0);
    let answer = plain(&mut other, "alice", "alice's secret");
    assert_eq!(answer.error_code, SASL_AUTHENTICATION_FAILED);
    assert!(is_closed(&mut other));
}

#[test]
fn users_outlive_a_crash_and_no_outlet_shows_their_passwords() {
    let mut broker = broker(&[]);
    let run = |broker: &Broker, sql: &str| broker.server.run(&["sql", sql]);
    let taken = run(&broker, "CREATE USER alice PASSWORD 'other'");
    assert!(taken.code != 0 && taken.err.contains("exists already"), "{}", taken.err);
    run(&broker, "CREATE USER IF NOT EXISTS alice PASSWORD 'other'").ok();
    run(&broker, "CREATE USER \"Carol, 1=1\" PASSWORD 'secret c'").ok();
    run(&broker, "ALTER USER bob PASSWORD 'secret b2'").ok();
    let faulty = run(&broker, "CREATE USER dave PASSWORD 'secret d' x");
    assert!(faulty.code != 0 && !faulty.err.contains("secret"), "{}", faulty.err);
    let unknown = run(&broker, "DROP USER alicia");
    assert!(unknown.err.contains("did you mean 'alice'"), "{}", unknown.err);
    let shown = run(&broker, "SHOW USERS").ok().out;
    assert!(shown.contains("SCRAM-SHA-256, SCRAM-SHA-512"), "{shown}");
    let printed = format!("{shown}{}", broker.server.printed());
    let status = broker.server.get("/api/status").text() + &broker.server.get("/metrics").text();
    let file = |broker: &Broker, name: &str| {
        std::fs::read_to_string(broker.server.project.path().join(name)).unwrap_or_default()
    };
    let users = file(&broker, "data/users.json");
    assert!(users.contains("\"alice\""), "{users}");
    for text in [printed, status, users, file(&broker, "data/catalog.json")] {
        assert!(!text.contains("secret"), "{text}");
    }
    let broker = Broker::on(broker.server.kill(), &["--set", ALL]);
    for (name, password, code) in [
        ("alice", "alice's secret", 0),
        ("bob", "secret b2", 0),
        ("bob", "bob's secret", SASL_AUTHENTICATION_FAILED),
        ("Carol, 1=1", "secret c", 0),
    ] {
        assert_eq!(plain(&mut broker.connect(), name, password).error_code, code, "{name}");
        let name = name.replace('=', "=3D").replace(',', "=2C");
        let login = scram(&mut broker.connect(), ScramMechanism::Sha512, &name, password, |m| m).0;
        assert_eq!(login.error_code, code, "{name}");
    }
    run(&broker, "DROP USER alice").ok();
    let gone = plain(&mut broker.connect(), "alice", "alice's secret");
    assert_eq!(gone.error_code, SASL_AUTHENTICATION_FAILED);
    // A project's files are no place for passwords.
    broker.server.project.write("sql/users.sql", "CREATE USER eve PASSWORD 'secret e';");
    let (_, project) = broker.server.stop();
    let ports = ["--http-port", "0", "--pg-port", "0", "--kafka-port", "0"];
    let ran = project.command(&[&["serve", "."], &ports[..]].concat()).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && err.contains("sql/users.sql"), "{err}");
    assert!(!err.contains("secret"), "{err}");
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The password "carol's", salted.
fn upsert(name: &str, iterations: i32, number: i8) -> ScramCredentialUpsertion {
    let salted = ScramMechanism::Sha256.salted_password(b"carol's", b"a salt", iterations as u32);
    ScramCredentialUpsertion::default()
        .with_name(text(name))
        .with_mechanism(number)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(b"a salt"))
        .with_salted_password(salted.into())
}

fn deletion(name: &str, number: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion::default().with_name(text(name)).with_mechanism(number)
}

/// Users with error code, mechanisms and iterations.
fn describe(socket: &mut TcpStream, names: Option<&[&str]>) -> Vec<String> {
    let user = |name: &&str| UserName::default().with_name(text(name));
    let users = names.map(|names| names.iter().map(user).collect());
    let request = DescribeUserScramCredentialsRequest::default().with_users(users);
    let answer = ask(socket, 0, &request);
    assert_eq!(answer.error_code, 0);
    let one = |r: &described::DescribeUserScramCredentialsResult| {
        let infos: Vec<_> =
            r.credential_infos.iter().map(|i| (i.mechanism, i.iterations)).collect();
        format!("{} {} {infos:?}", &*r.user, r.error_code)
    };
    answer.results.iter().map(one).collect()
}

#[test]
fn kafkas_admin_requests_change_the_same_users() {
    let broker = broker(&[]);
    let mut socket = broker.connect();
    assert_eq!(plain(&mut socket, "alice", "alice's secret").error_code, 0);
    let request = AlterUserScramCredentialsRequest::default()
        .with_upsertions(vec![
            upsert("carol", 8192, 1),
            upsert("few", 4095, 1),
            upsert("many", 16_385, 1),
            upsert("kind", 8192, 3),
            upsert("twice", 8192, 1),
            upsert("", 8192, 1),
        ])
        .with_deletions(vec![deletion("bob", 1), deletion("twice", 1), deletion("nobody", 2)]);
    let answer = ask(&mut socket, 0, &request);
    let codes: Vec<_> = answer.results.iter().map(|r| (&*r.user, r.error_code)).collect();
    let want = [("", 93), ("bob", 0), ("carol", 0), ("few", 93), ("kind", 33), ("many", 93)];
    assert_eq!(codes[..6], want);
    assert_eq!(codes[6..], [("nobody", 91), ("twice", 92)]);
    let login = |name: &str, password: &str, mechanism| {
        scram(&mut broker.connect(), mechanism, name, password, |m| m).0.error_code
    };
    let (sha_256, sha_512) = (ScramMechanism::Sha256, ScramMechanism::Sha512);
    assert_eq!(login("carol", "carol's", sha_256), 0);
    assert_eq!(login("carol", "carol's", sha_512), SASL_AUTHENTICATION_FAILED);
    assert_eq!(plain(&mut broker.connect(), "carol", "carol's").error_code, 0);
    assert_eq!(login("bob", "bob's secret", sha_256), SASL_AUTHENTICATION_FAILED);
    assert_eq!(login("bob", "bob's secret", sha_512), 0);
    let all = ["alice 0 [(1, 4096), (2, 4096)]", "bob 0 [(2, 4096)]", "carol 0 [(1, 8192)]"];
    assert_eq!(describe(&mut socket, None), all);
    let named = describe(&mut socket, Some(&["carol", "nobody", "bob", "bob"]));
    assert_eq!(named, ["bob 92 []", "carol 0 [(1, 8192)]", "nobody 91 []"]);
    // Without a verifier there is no user.
    let request =
        AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion("bob", 2)]);
    assert_eq!(ask(&mut socket, 0, &request).results[0].error_code, 0);
    let shown = broker.server.run(&["sql", "SHOW USERS"]).ok().out;
    assert!(shown.contains("carol") && !shown.contains("bob"), "{shown}");
}

#[test]
fn a_real_client_logs_in() {
    let mut broker = broker(&[]);
    let login = |mechanism: &str, user: &str, password: &str| {
        [
            "security.protocol=SASL_PLAINTEXT".to_string(),
            format!("sasl.mechanisms={mechanism}"),
            format!("sasl.username={user}"),
            format!("sasl.password={password}"),
        ]
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let settings = login(mechanism, "alice", "alice's secret");
        let options: Vec<&str> = settings.iter().flat_map(|s| ["-X", s]).collect();
        broker.produce(mechanism, &options, "a\nb\n");
        assert_eq!(broker.consume(mechanism, &options), ["0 a", "1 b"]);
        let settings = login(mechanism, "alice", "wrong");
        let options: Vec<&str> = settings.iter().flat_map(|s| ["-X", s]).collect();
        let listed = broker.kcat(&[&["-L", "-m", "3"], &options[..]].concat(), "");
        assert!(listed.is_err(), "{listed:?}");
    }
    assert!(broker.kcat(&["-L", "-m", "3"], "").is_err());
    let printed = broker.server.printed();
    assert!(printed.contains("came before a login"), "{printed}");
}

#[test]
fn the_door_is_not_opened_to_others_without_tls_and_logins() {
    let project = Project::new("");
    for (settings, part) in [
        (&["kafka.host=0.0.0.0"][..], "kafka.host = \"0.0.0.0\" would open the door to everybody"),
        (&["kafka.host=0.0.0.0", "kafka.sasl=SCRAM-SHA-256"], "kafka.tls.certificate"),
        (&["kafka.sasl=SCRAM"], "'kafka.sasl': unknown value 'SCRAM'"),
        (&["host=0.0.0.0", "kafka.insecure=true"], "host = \"0.0.0.0\""),
    ] {
        let options: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        let arguments = [&["serve", ".", "--http-port", "0"], &options[..]].concat();
        let ran = project.command(&arguments).output().unwrap();
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && err.contains(part), "{settings:?}: {err}");
    }
}
