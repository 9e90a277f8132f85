//! TLS at the Kafka door, with a real client (kcat): certificates of the server and of clients,
//! files that change, and a password that is not shown to the network.

use std::io::Write;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use crate::kafka::{Broker, exchange};
use crate::support::Project;

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes `{file}.pem` and `{file}.key`.
    fn issue(&self, project: &Project, file: &str, name: Option<&str>) {
        let key = KeyPair::generate().unwrap();
        let hosts = ["127.0.0.1".to_string(), "localhost".to_string()];
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        project.write(&format!("{file}.pem"), &certificate.pem());
        project.write(&format!("{file}.key"), &key.serialize_pem());
    }
}

const SERVER: [&str; 4] =
    ["--set", "kafka.tls.certificate=server.pem", "--set", "kafka.tls.key=server.key"];

/// A project with the authority's certificate in `ca.pem` and one for the server.
fn project(authority: &Authority) -> Project {
    let project = Project::new("");
    project.write("ca.pem", &authority.0.pem());
    authority.issue(&project, "server", Some("server"));
    project
}

/// kcat's options for TLS; `client` names the files of a certificate to show.
fn tls(broker: &Broker, client: Option<&str>) -> Vec<String> {
    let path = |name: &str| broker.server.project.path().join(name).display().to_string();
    let mut settings =
        vec!["security.protocol=SSL".to_string(), format!("ssl.ca.location={}", path("ca.pem"))];
    if let Some(client) = client {
        settings.push(format!("ssl.certificate.location={}", path(&format!("{client}.pem"))));
        settings.push(format!("ssl.key.location={}", path(&format!("{client}.key"))));
    }
    settings.into_iter().flat_map(|s| ["-X".to_string(), s]).collect()
}

fn list(broker: &Broker, options: &[String]) -> Result<String, String> {
    let options = options.iter().map(String::as_str);
    broker.kcat(&["-L", "-m", "4"].into_iter().chain(options).collect::<Vec<_>>(), "")
}

#[test]
fn records_over_tls() {
    let authority = Authority::new("authority");
    let broker = Broker::on(project(&authority), &SERVER);
    let options = tls(&broker, None);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    // More than one record of TLS, and more than a socket's buffer.
    let line = "x".repeat(100_000);
    let lines: String = (0..50).map(|i| format!("{i} {line}\n")).collect();
    broker.produce("sealed", &options, &lines);
    let got = broker.consume("sealed", &options);
    let want: Vec<String> = lines.lines().enumerate().map(|(i, l)| format!("{i} {l}")).collect();
    assert!(got == want, "{} of {} records, or others", got.len(), want.len());
    // Who trusts somebody else, and who does not speak TLS.
    broker.server.project.write("ca.pem", &Authority::new("authority").0.pem());
    assert!(list(&broker, &tls(&broker, None)).is_err());
    assert!(list(&broker, &[]).is_err());
    let mut socket = broker.connect();
    socket.write_all(&[0; 64]).unwrap();
    // An alert of TLS at most.
    let answer = exchange(&mut socket, b"", 64);
    assert!(answer.len() <= 7, "{answer:?}");
}

#[test]
fn a_client_that_speaks_tls_to_a_plain_door_is_explained() {
    let mut broker = Broker::on(project(&Authority::new("authority")), &[]);
    assert!(list(&broker, &tls(&broker, None)).is_err());
    broker.server.wait_for_line("this is TLS, and there is no kafka.tls.certificate");
}

#[test]
fn clients_show_certificates_where_that_is_wanted() {
    let authority = Authority::new("authority");
    let project = project(&authority);
    authority.issue(&project, "alice", Some("alice"));
    authority.issue(&project, "nameless", None);
    Authority::new("authority").issue(&project, "stranger", Some("alice"));
    let wanted = [&SERVER[..], &["--set", "kafka.tls.client_ca=ca.pem"]].concat();
    let mut broker = Broker::on(project, &wanted);
    let options = tls(&broker, Some("alice"));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    broker.produce("signed", &options, "a\n");
    assert_eq!(broker.consume("signed", &options), ["0 a"]);
    for client in [None, Some("stranger"), Some("nameless")] {
        let listed = list(&broker, &tls(&broker, client));
        assert!(listed.is_err(), "{client:?}: {listed:?}");
    }
    broker.server.wait_for_line("no common name");
}

#[test]
fn a_new_certificate_is_used_from_then_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mut broker = Broker::on(project(&old), &SERVER);
    assert!(list(&broker, &tls(&broker, None)).is_ok());
    // Half a change: the key fits no certificate.
    new.issue(&broker.server.project, "other", None);
    let path = |name: &str| broker.server.project.path().join(name);
    std::fs::rename(path("other.pem"), path("server.pem")).unwrap();
    let (from, to) = (path("other.key"), path("server.key"));
    broker.server.wait_for_line("the Kafka door keeps its certificate");
    assert!(list(&broker, &tls(&broker, None)).is_ok());
    std::fs::rename(from, to).unwrap();
    broker.server.wait_for_line("the certificate of the Kafka door was read again");
    assert!(list(&broker, &tls(&broker, None)).is_err());
    broker.server.project.write("ca.pem", &new.0.pem());
    assert!(list(&broker, &tls(&broker, None)).is_ok());
}

#[test]
fn logins_over_tls_on_an_open_address() {
    let project = project(&Authority::new("authority"));
    let more = ["--set", "kafka.sasl=PLAIN", "--set", "kafka.host=0.0.0.0"];
    let broker = Broker::on(project, &[&SERVER[..], &more].concat());
    broker.server.run(&["sql", "CREATE USER alice PASSWORD 'alice''s'"]).ok();
    let mut options = tls(&broker, None);
    options[1] = "security.protocol=SASL_SSL".into();
    for setting in ["sasl.mechanisms=PLAIN", "sasl.username=alice"] {
        options.extend(["-X".to_string(), setting.to_string()]);
    }
    let with = |password: &str| {
        let password = ["-X".to_string(), format!("sasl.password={password}")];
        list(&broker, &[&options[..], &password].concat())
    };
    assert!(with("alice's").is_ok());
    assert!(with("bob's").is_err());
}

#[test]
fn the_advertised_address_is_the_configured_one() {
    let advertised = ["--set", "kafka.advertised=events.example.org:9093"];
    let broker = Broker::start("", &advertised);
    let listed = list(&broker, &[]).unwrap();
    assert!(listed.contains("broker 1 at events.example.org:9093"), "{listed}");
}

#[test]
fn faults_of_files_are_named() {
    let authority = Authority::new("authority");
    let project = project(&authority);
    authority.issue(&project, "other", None);
    project.write("empty.pem", "nothing\n");
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    project.write("broken.pem", broken);
    for (certificate, key, part) in [
        ("none.pem", "server.key", "'kafka.tls.certificate': reading './none.pem'"),
        ("server.pem", "none.key", "'kafka.tls.key': reading './none.key'"),
        (
            "empty.pem",
            "server.key",
            "'kafka.tls.certificate': './empty.pem': it has no certificate",
        ),
        ("broken.pem", "server.key", "'kafka.tls.certificate': './broken.pem'"),
        ("server.pem", "server.pem", "'kafka.tls.key': './server.pem': it has no private key"),
        ("server.pem", "other.key", "must belong together"),
        ("server.pem", "", "'kafka.tls.key' is missing"),
    ] {
        let certificate = format!("kafka.tls.certificate={certificate}");
        let key = format!("kafka.tls.key={key}");
        let arguments = ["serve", ".", "--http-port", "0", "--set", &certificate, "--set", &key];
        let ran = project.command(&arguments).output().unwrap();
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && err.contains(part), "{certificate} {key}: {err}");
    }
}
