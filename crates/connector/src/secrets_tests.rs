//! References, what is moved out of a statement, and what errors must not say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::Permissions;

use super::*;
use crate::{Delivery, Promise, Role};

const SPEC: Spec = Spec {
    name: "demo",
    role: Role::Sink,
    doc: "For these tests.",
    options: &[
        OptionSpec::optional("headers", OptionKind::List, "Which.").secret(),
        OptionSpec::optional("plain", OptionKind::Text, "What."),
        OptionSpec::optional("url", OptionKind::Url, "where"),
    ],
    delivery: Promise { kept: &[Delivery::AtLeastOnce], how: "", why_not: "" },
};

fn moved(with: &str) -> (String, Vec<(String, String)>) {
    let (statement, secrets) = moved_out(&SPEC, "hot ä", with);
    (statement, secrets.into_iter().map(|(n, s)| (n, s.expose().to_string())).collect())
}

#[test]
fn secrets_are_moved_out_of_a_statement() {
    let statement = "CREATE SINK s FROM v WITH (headers = 'A: it''s', plain = 'x')";
    let (stored, secrets) = moved(statement);
    let name = "sink.hot%20%C3%A4.headers";
    let reference = format!("${{secret:{name}}}");
    assert_eq!(stored, statement.replace("A: it''s", &reference));
    assert_eq!(secrets, [(name.to_string(), "A: it's".to_string())]);
    // What has been moved stays.
    assert_eq!(moved(&stored), (stored, vec![]));
    let (stored, secrets) =
        moved("CREATE SINK s FROM v WITH (headers = 'A: ${env:T}, B: x\\,y, C: z')");
    assert_eq!(secrets.iter().map(|(_, s)| s.as_str()).collect::<Vec<_>>(), ["B: x,y", "C: z"]);
    assert!(stored.contains("'A: ${env:T}, ${secret:"), "{stored}");
    assert!(stored.contains(".headers.2}"), "{stored}");
    for url in ["http://u:p@h/", "kafka://h:1?sasl.password=p"] {
        let statement = format!("CREATE SINK s FROM v WITH (url = '{url}')");
        assert_eq!(moved(&statement).1[0].1, url);
        assert!(masked(Some(&SPEC), &statement).contains("url = '***'"));
    }
    let open = "CREATE SINK s FROM v WITH (url = 'http://h/p', plain = 'x', headers = '')";
    assert_eq!(moved(open), (open.to_string(), vec![]));
    assert_eq!(masked(Some(&SPEC), open), open);
}

#[test]
fn references_are_resolved_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = Secrets::new(dir.path().join("data/secrets"));
    secrets.put("token", &Secret::new("a,b")).unwrap();
    let outside = Outside::of_folder(dir.path());
    let list = |text: &str| Secrets::resolve(&outside, OptionKind::List, text).map(|r| r.0);
    assert_eq!(list("A: ${secret:token}, B: c").unwrap(), "A: a\\,b, B: c");
    assert_eq!(list("${secret:token}").unwrap(), "a,b");
    // A secret's content is not read for references.
    secrets.put("token", &Secret::new("${env:PATH}\n")).unwrap();
    assert_eq!(list("${secret:token}").unwrap(), "${env:PATH}");
    for (text, what) in [
        ("${secret:tokn}", "there is no secret 'tokn'"),
        ("${secret:../users.json}", "'../users.json' can't be"),
        ("${secret:.x}", "'.x' can't be"),
        ("${env:NO_SUCH_VARIABLE}", "no environment variable 'NO_SUCH_VARIABLE'"),
        ("${nev:X}", "is no reference"),
        ("${env:X", "is no reference"),
    ] {
        let e = list(text).unwrap_err();
        assert!(e.to_string().contains(what), "{text}: {e}");
    }
    let path = dir.path().join("data/secrets/token");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&dir.path().join("data/secrets"))), (0o600, 0o700));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    list("${secret:token}").unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn only_what_was_moved_here_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = Secrets::new(dir.path());
    for name in ["mine", "sink.a.headers", "sink.b.headers"] {
        secrets.put(name, &Secret::new("x")).unwrap();
    }
    secrets.keep_named(&["… '${secret:sink.b.headers}'"]).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["mine", "sink.b.headers"]);
}

#[test]
fn errors_have_stars() {
    let mut scrub = Scrub::default();
    scrub.add("Authorization: Bearer canary, X: other\\,one");
    scrub.add_url("http://me:geheim@host/p?key=schluessel");
    for said in [
        "got 'Authorization: Bearer canary'",
        "bad token canary",
        "X was other,one",
        "http://me:geheim@host/p?key=schluessel refused",
        "geheim and schluessel",
    ] {
        let e = scrub.error(Error::invalid(said).hint(said));
        let shown = format!("{e:?} {}", e.to_json());
        for secret in ["canary", "other,one", "geheim", "schluessel"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
