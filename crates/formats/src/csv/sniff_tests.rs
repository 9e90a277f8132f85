//! Samples and what they are taken for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::types::sql_name;

fn shown(sample: &str) -> String {
    let found = sniff(sample.as_bytes(), true, None, None);
    let columns: Vec<String> =
        found.columns.iter().map(|(n, s)| format!("{n} {}", sql_name(&s.data_type()))).collect();
    let delimiter = match found.delimiter {
        Delimiter::Char(c) => format!("{:?}", char::from(c)),
        Delimiter::Whitespace => "blanks".into(),
    };
    format!("{delimiter} {} {}", found.has_header, columns.join(", "))
}

#[test]
fn samples() {
    for (sample, want) in [
        ("id,name,x\n1,a,2.5\n2,b,3", "',' true id BIGINT, name TEXT, x DOUBLE"),
        ("1,a\n2,b\n", "',' false c1 BIGINT, c2 TEXT"),
        (
            "a\tb\n2026-01-01\ttrue\n2026-01-02 10:00:00\tfalse\n",
            "'\\t' true a TIMESTAMP, b BOOLEAN",
        ),
        ("a;b\n1,5;007\n2,5;008\n", "';' true a TEXT, b TEXT"),
        ("x|y\n2026-01-01|\n|5\n", "'|' true x DATE, y BIGINT"),
        ("1  2.5 3 \n4 5   6  \n", "blanks false c1 BIGINT, c2 DOUBLE, c3 BIGINT"),
        ("t v\n1 2\n3 4\n", "blanks true t BIGINT, v BIGINT"),
        ("name,city\nann,bern\nbob,rome\n", "',' true name TEXT, city TEXT"),
        ("ann,bern\nbob,rome\nann,oslo\n", "',' false c1 TEXT, c2 TEXT"),
        ("at\n2026-01-01 10:00:00\n2026-01-01 11:00:00\n", "',' true at TIMESTAMP"),
        ("\"a,b\",c\n\"x\ny\",1\n\"z\",2\n", "',' true a,b TEXT, c BIGINT"),
        ("\u{feff}a,a,\n1,2,3\n", "',' true a BIGINT, a BIGINT,  BIGINT"),
        (",sensor,celsius\n0,roof,12.5\n", "',' true  BIGINT, sensor TEXT, celsius DOUBLE"),
        (",a\nx,b\n", "',' false c1 TEXT, c2 TEXT"),
        ("id,\"t\n(C)\",note\n1,20.5,\"a\nb\"\n", "',' true id BIGINT, t\n(C) DOUBLE, note TEXT"),
        ("phone,part\n+49151,12E5\n+49152,7e10\n", "',' true phone TEXT, part TEXT"),
        ("n\n99999999999999999999\n", "',' true n DECIMAL(20,0)"),
        ("", "',' false "),
    ] {
        assert_eq!(shown(sample), want, "{sample}");
    }
}

#[test]
fn a_cut_last_line_does_not_count() {
    let sample = b"k,v\n1,2026-01-01\n1,2026";
    let types = |whole| {
        let found = sniff(sample, whole, None, None);
        sql_name(&found.columns[1].1.data_type())
    };
    assert_eq!((types(false), types(true)), ("DATE".into(), "TEXT".into()));
}
