//! Files and bodies, whole and in pieces, and the rows and refusals they give.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::Field;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::csv::sniff;
use crate::json::{Shape, write_rows};
use crate::types::parse;

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let field = |(name, declared): &(&str, &str)| {
        let plain = declared.strip_suffix(" NOT NULL");
        Field::new(*name, parse(plain.unwrap_or(declared)).unwrap(), plain.is_none())
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn sensors() -> SchemaRef {
    schema(&[("sensor", "TEXT NOT NULL"), ("celsius", "DOUBLE"), ("at", "TIMESTAMP")])
}

fn rows(batches: &[Rows]) -> String {
    let mut out = vec![];
    for batch in batches {
        write_rows(&batch.batch, Shape::Arrays, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn refused(batches: &[Rows]) -> Vec<String> {
    let all = batches.iter().flat_map(|b| &b.refused);
    all.map(|r| {
        let column = r.column.as_deref().unwrap_or("-");
        format!("{} {} {column}: {}", r.line, r.kind.name(), r.reason)
    })
    .collect()
}

/// Reads a body whole and in pieces of every small size; both must agree.
fn read(schema: &SchemaRef, options: &Options, body: &[u8]) -> (String, Vec<String>) {
    let once = |size| {
        let mut reader = Reader::new(schema.clone(), options.clone()).unwrap();
        let batches = reader.read_all(body, size).unwrap();
        let lines: Vec<u64> = batches.iter().flat_map(|b| b.lines.clone()).collect();
        assert_eq!(reader.position().bytes, body.len() as u64);
        (rows(&batches), refused(&batches), lines)
    };
    let whole = once(usize::MAX);
    for size in 1..10 {
        assert_eq!(once(size), whole, "in pieces of {size}");
    }
    (whole.0, whole.1)
}

#[test]
fn bodies_with_a_header() {
    for (body, want, faults) in [
        (
            "sensor,celsius,at\na,1.5,2026-11-22T10:00:00Z\nb,,\n",
            r#"["a",1.5,"2026-11-22T10:00:00Z"],["b",null,null]"#,
            &[][..],
        ),
        (
            "\u{feff}AT,Sensor,other\r\n1700000000000,\"x \"\"y\"\"\n,z\",9\r\n",
            r#"["x \"y\"\n,z",null,"2023-11-14T22:13:20Z"]"#,
            &[],
        ),
        ("sensor,celsius\n\"\",1\n\n , 2 \n", r#"["",1.0,null],[" ",2.0,null]"#, &[]),
        (
            "celsius,sensor\n1,a,x\n2\nwarm,b\n3,\n4,d",
            r#"["d",4.0,null]"#,
            &[
                "2 parse -: expected 2 fields, got 3",
                "3 parse -: expected 2 fields, got 1",
                "4 type celsius: expected a DOUBLE, got the text 'warm'",
                "5 missing sensor: 'sensor' must not be NULL",
            ],
        ),
        (
            "sensor,celsius\n\"a,1\nb,2\n5\" pipe,3\n",
            r#"["b",2.0,null],["5\" pipe",3.0,null]"#,
            &["2 parse -: a quoted field goes on after its closing quote"],
        ),
        (
            "sensor,celsius\na,1\n\"b,2\nc,3\n",
            r#"["a",1.0,null],["c",3.0,null]"#,
            &["3 parse -: a quoted field is not closed"],
        ),
        (
            "sensor,celsius\na,NaN\nb,1e999\nc,+5.\n",
            r#"["c",5.0,null]"#,
            &[
                "2 type celsius: expected a DOUBLE, got the text 'NaN'",
                "3 type celsius: expected a DOUBLE, got the text '1e999', which is out of range",
            ],
        ),
        (
            "sensor,celsius\n\"two\nlines\",x\nb,1\n",
            r#"["b",1.0,null]"#,
            &["2 type celsius: expected a DOUBLE, got the text 'x'"],
        ),
        ("sensor,celsius\r\na,1\r\nb,2\r", r#"["a",1.0,null],["b",2.0,null]"#, &[]),
        ("sensor\n", "", &[]),
        ("", "", &[]),
    ] {
        let (got, reasons) = read(&sensors(), &Options::default(), body.as_bytes());
        assert_eq!(
            (got.as_str(), reasons),
            (want, faults.iter().map(ToString::to_string).collect()),
            "{body}"
        );
    }
}

#[test]
fn broken_text_and_long_lines() {
    let options = Options { record_bytes_max: 20, ..Options::default() };
    let body = b"sensor,celsius\na,1\n\xFF,2\nlong long long long long line,3\nb,4\n\
        \"open\nlooooooooooooooong\n";
    let (got, reasons) = read(&sensors(), &options, body);
    assert_eq!(got, r#"["a",1.0,null],["b",4.0,null]"#);
    assert_eq!(reasons[0], "3 encoding -: byte 1 is not UTF-8");
    assert!(reasons[1].starts_with("4 too_large -: 3"), "{}", reasons[1]);
    assert_eq!(reasons[2], "6 parse -: a quoted field is not closed");
    assert_eq!(reasons.len(), 4);
}

#[test]
fn headers_that_make_no_sense() {
    for (body, want) in [
        (
            "a,b\n1,2\n",
            "no column is named in the header 'a,b' \
            (the first line must name columns: sensor, celsius, at)",
        ),
        ("sensor,SENSOR\n", "two columns of the header are named 'SENSOR'"),
    ] {
        let mut reader = Reader::new(sensors(), Options::default()).unwrap();
        assert_eq!(reader.feed(body.as_bytes()).unwrap_err().to_string(), want);
    }
}

#[test]
fn nested_values_are_json() {
    let schema = schema(&[("l", "ARRAY<INT>"), ("s", "STRUCT<a: TEXT>"), ("b", "BOOLEAN")]);
    let body = b"l,s,b\n\"[1, null]\",\"{\"\"a\"\":\"\"x\"\"}\",YES\n\"[1\",,0\n";
    let (got, reasons) = read(&schema, &Options::default(), body);
    assert_eq!(got, r#"[[1,null],{"a":"x"},true]"#);
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].starts_with("3 parse l: not valid JSON at character 3"), "{}", reasons[0]);
}

#[test]
fn an_import_goes_on_behind_its_last_row() {
    let body = b"sensor,celsius\na,1\n\"b\nb\",2\nc,x\nd,4\n";
    let mut reader = Reader::new(sensors(), Options::default()).unwrap();
    let first = reader.feed(&body[..27]).unwrap();
    assert_eq!(first.ends, [19, 27]);
    assert_eq!(first.position, Position { bytes: 27, line: 5 });
    let options = Options {
        header: Header::Names(reader.names().to_vec()),
        start: first.position,
        ..Options::default()
    };
    let mut resumed = Reader::new(sensors(), options).unwrap();
    let rest = resumed.read_all(&body[27..], 3).unwrap();
    assert_eq!(rows(&rest), r#"["d",4.0,null]"#);
    assert_eq!(refused(&rest), ["5 type celsius: expected a DOUBLE, got the text 'x'"]);
    assert_eq!(rest.last().unwrap().ends, [body.len() as u64]);
}

/// Reads a turbofan file by what `sniff` says of it.
fn read_turbofan(file: &[u8]) -> Vec<Rows> {
    let sniffed = sniff(&file[..file.len().min(1 << 20)], false, None, None);
    assert_eq!((sniffed.delimiter, sniffed.has_header), (Delimiter::Whitespace, false));
    assert_eq!(sniffed.columns.len(), 26);
    assert_eq!(sniffed.columns[25].0, "c26");
    let fields = sniffed.columns.into_iter().map(|(n, s)| Field::new(n, s.data_type(), false));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options =
        Options { delimiter: sniffed.delimiter, header: Header::None, ..Options::default() };
    Reader::new(schema, options).unwrap().read_all(file, 64 * 1024).unwrap()
}

#[test]
fn the_turbofan_file() {
    let excerpt = include_bytes!("../../testdata/turbofan_50.txt");
    let batches = read_turbofan(excerpt);
    assert_eq!(refused(&batches), [""; 0]);
    let first = rows(&batches);
    assert!(first.starts_with("[1,1,-0.0007,-0.0004,100,518.67,641.82,"), "{}", &first[..80]);
    assert_eq!(batches.iter().map(|b| b.batch.num_rows()).sum::<usize>(), 50);

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/cmapss/train_FD001.txt");
    let Ok(file) = std::fs::read(path) else {
        return;
    };
    let batches = read_turbofan(&file);
    assert_eq!(refused(&batches), [""; 0]);
    let all = concat_batches(&batches[0].batch.schema(), batches.iter().map(|b| &b.batch)).unwrap();
    assert_eq!((all.num_rows(), all.num_columns()), (20_631, 26));
    assert_eq!(batches.last().unwrap().position.bytes, file.len() as u64);
}

#[test]
fn garbage_never_panics() {
    let good = b"sensor,celsius,at\na,1.5,2026-11-22\n\"b \"\"\n\",2,\nc,3,1700000000000\r\n";
    let mut random = SmallRng::seed_from_u64(3);
    for _ in 0..4_000 {
        let mut body = good.to_vec();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(18..body.len());
            let pool = b"\",\n\r \xFF;x0";
            body[at] = pool[random.random_range(0..pool.len())];
        }
        let options = Options { record_bytes_max: 30, ..Options::default() };
        let size = random.random_range(1..80);
        let mut reader = Reader::new(sensors(), options).unwrap();
        let batches = reader.read_all(&body, size).unwrap();
        assert_eq!(reader.position().bytes, body.len() as u64);
        let found: usize = batches.iter().map(|b| b.batch.num_rows() + b.refused.len()).sum();
        assert!(found >= 1, "{}", String::from_utf8_lossy(&body));
        let newlines = body.iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(reader.position().line, newlines + 1);
    }
}
