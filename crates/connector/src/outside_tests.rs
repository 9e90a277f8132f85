//! Which paths and addresses a definition may use, by where it came from.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

struct Bench {
    _dir: tempfile::TempDir,
    project: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().canonicalize().unwrap().join("project");
        for folder in ["data", "sql", "out", "tests", "../elsewhere"] {
            fs::create_dir_all(project.join(folder)).unwrap();
        }
        fs::write(project.join("watershed.toml"), "").unwrap();
        Bench { _dir: dir, project }
    }

    fn outside(&self, is_trusted: bool, files: &[&str], hosts: &[&str]) -> Outside {
        let texts = |items: &[&str]| items.iter().map(|i| i.to_string()).collect();
        let rules = Rules {
            project_dir: self.project.clone(),
            secrets: Secrets::new(self.project.join("data/secrets")),
            files_allowed: texts(files),
            http_allowed: texts(hosts),
            secrets_allowed: vec![],
            own: ["data", "sql", "watershed.toml"].map(|d| self.project.join(d)).to_vec(),
            of_owner: vec![self.project.join("tests")],
        };
        Outside::new(Arc::new(rules), is_trusted)
    }
}

#[test]
fn typed_statements_use_their_own_secrets_and_listed_ones() {
    let bench = Bench::new();
    let of = |is_trusted, allowed: &[&str]| {
        let outside = bench.outside(is_trusted, &[], &[]);
        let mut rules = Arc::into_inner(outside.rules).unwrap();
        rules.secrets_allowed = allowed.iter().map(|a| a.to_string()).collect();
        Outside::new(Arc::new(rules), is_trusted).of(Role::Sink, "hot ones")
    };
    let typed = of(false, &["env:TOKEN", "secret:token"]);
    for (kind, name) in
        [("env", "TOKEN"), ("secret", "token"), ("secret", "sink.hot%20ones.headers")]
    {
        typed.reference(kind, name).unwrap();
    }
    for (kind, name) in [
        ("env", "PATH"),
        ("env", "token"),
        ("env", "sink.hot%20ones.headers"),
        ("secret", "TOKEN"),
        ("secret", "sink.hot%20ones2.headers"),
        ("secret", "source.hot%20ones.headers"),
    ] {
        let e = typed.reference(kind, name).unwrap_err();
        assert_eq!(e.kind(), common::Kind::Denied, "{kind}:{name}");
        assert!(e.hint_text().unwrap().contains("secrets.allowed"), "{e:?}");
        of(true, &[]).reference(kind, name).unwrap();
        of(false, &["*"]).reference(kind, name).unwrap();
    }
}

#[test]
fn typed_statements_use_allowed_folders() {
    let bench = Bench::new();
    let link = |name: &str, to: &str| symlink(to, bench.project.join(name)).unwrap();
    link("to_data", "data");
    link("to_elsewhere", "../elsewhere");
    link("to_nowhere", "not/there");
    link("out/up", "..");
    let typed = bench.outside(false, &["."], &[]);
    let project = &bench.project;
    for good in ["out", "new/er/a-{epoch}.csv", "data2", "out/../other", "out/up/other"] {
        assert!(typed.path(good).unwrap().starts_with(project), "{good}");
    }
    let absolute = project.join("data/users.json").to_string_lossy().into_owned();
    for own in [
        "data",
        "data/users.json",
        "out/../data/users.json",
        "./sql/a.sql",
        "sql",
        "watershed.toml",
        "to_data/x",
        "out/up/data/x",
        "new/../data/x",
        "to_elsewhere/../project/sql",
        absolute.as_str(),
    ] {
        for outside in [&typed, &bench.outside(true, &[], &[])] {
            let e = outside.path(own).unwrap_err();
            assert!(e.to_string().contains("the project's own"), "{own}: {e}");
        }
    }
    for elsewhere in ["../elsewhere", "to_elsewhere/x", "/etc/passwd", "tests/a.toml", ".."] {
        let e = typed.path(elsewhere).unwrap_err();
        assert!(e.hint_text().unwrap().contains("files.allowed"), "{elsewhere}: {e}");
        assert_eq!(e.kind(), common::Kind::Denied);
        bench.outside(true, &[], &[]).path(elsewhere).unwrap();
    }
    assert!(typed.path("to_nowhere/x").is_err());
    let wider = bench.outside(false, &["../elsewhere"], &[]);
    wider.path("../elsewhere/new").unwrap();
    wider.path("to_elsewhere/x").unwrap();
    assert!(wider.path("out").is_err());
    assert!(bench.outside(false, &["data", "/"], &[]).path("data/x").is_err());
}

#[test]
fn typed_statements_reach_public_hosts() {
    let bench = Bench::new();
    let typed = bench.outside(false, &[], &["LISTED:81", "10.0.0.1", "[::1]:80"]);
    for (host, port) in [("example.com", 80), ("8.8.8.8", 53), ("[2606:4700::1111]", 443)] {
        assert_eq!(typed.host(host, port).unwrap(), Reach::Public, "{host}");
    }
    for (host, port) in [("listed", 81), ("10.0.0.1", 9), ("[::1]", 80)] {
        assert_eq!(typed.host(host, port).unwrap(), Reach::All, "{host}");
    }
    for (host, port) in [("localhost", 80), ("LocalHost.", 80), ("a.localhost", 1), ("[::1]", 81)] {
        let e = typed.host(host, port).unwrap_err();
        assert!(e.hint_text().unwrap().contains("http.allowed"), "{host}: {e}");
        assert_eq!(bench.outside(true, &[], &[]).host(host, port).unwrap(), Reach::All);
        assert_eq!(bench.outside(false, &[], &["*"]).host(host, port).unwrap(), Reach::All);
    }
    // A name on another port is like any other.
    assert_eq!(typed.host("listed", 82).unwrap(), Reach::Public);
}

#[test]
fn addresses_of_this_network_are_not_public() {
    for ip in [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "2001:db8::1",
        "2001::1",
        "64:ff9b:1::1",
    ] {
        assert!(!is_public(ip.parse().unwrap()), "{ip}");
    }
    for ip in
        ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8", "2001:4860::1"]
    {
        assert!(is_public(ip.parse().unwrap()), "{ip}");
    }
}
