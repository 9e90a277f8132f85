//! Tables of records and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::json::{Shape, write_rows};
use crate::types::parse;

/// `sensor TEXT NOT NULL, celsius DOUBLE`.
fn schema(columns: &str) -> SchemaRef {
    let mut fields = vec![];
    for column in columns.split("; ") {
        let (name, declared) = column.split_once(' ').unwrap();
        let plain = declared.strip_suffix(" NOT NULL");
        let data_type = parse(plain.unwrap_or(declared)).unwrap();
        fields.push(Field::new(name, data_type, plain.is_none()));
    }
    Arc::new(Schema::new(fields))
}

fn rows(batch: &RecordBatch) -> String {
    let mut out = vec![];
    write_rows(batch, Shape::Arrays, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shown(refused: &[Refused]) -> Vec<String> {
    let line = |r: &Refused| {
        let column = r.column.as_deref().unwrap_or("-");
        format!("{} {} {}: {}", r.record, r.kind.name(), column, r.reason)
    };
    refused.iter().map(line).collect()
}

/// Decodes one value of a type: the value as JSON, or the reason why not.
fn one(data_type: &str, json: &str) -> String {
    let mut decoder = Decoder::new(schema(&format!("v {data_type}")), None).unwrap();
    let record = format!("{{\"v\":{json}}}");
    let decoded = decoder.decode(&[record.as_bytes()]).unwrap();
    match decoded.refused.first() {
        None => rows(&decoded.batch).trim_start_matches('[').trim_end_matches(']').to_string(),
        Some(refused) => refused.reason.clone(),
    }
}

fn check(cases: &[(&str, &str, &str)]) {
    for (data_type, json, want) in cases {
        assert_eq!(one(data_type, json), *want, "{data_type} {json}");
    }
}

#[test]
fn numbers_by_type() {
    check(&[
        ("BIGINT", "9223372036854775807", "9223372036854775807"),
        ("BIGINT", "5.0", "5"),
        ("BIGINT", "5.5", "expected a BIGINT, got the number 5.5, which is not whole"),
        (
            "BIGINT",
            "9223372036854775808",
            "expected a BIGINT, got the number 9223372036854775808, which is out of range",
        ),
        ("BIGINT", "\"5\"", "expected a BIGINT, got the text '5'"),
        ("INT", "2147483648", "expected an INT, got the number 2147483648, which is out of range"),
        ("TINYINT", "-128", "-128"),
        ("SMALLINT", "true", "expected a SMALLINT, got TRUE"),
        ("DOUBLE", "\"abc\"", "expected a DOUBLE, got the text 'abc'"),
        ("DOUBLE", "1e400", "expected a DOUBLE, got the number 1e400, which is out of range"),
        ("DOUBLE", "-0.0", "-0.0"),
        (
            "DOUBLE",
            "NaN",
            "not valid JSON at character 6: expected a value, found NaN or \
            Infinity, which JSON does not have",
        ),
        (
            "DOUBLE",
            "-Infinity",
            "not valid JSON at character 6: expected a digit, found NaN or \
            Infinity, which JSON does not have",
        ),
        ("DOUBLE", "\"NaN\"", "expected a DOUBLE, got the text 'NaN'"),
        ("FLOAT", "0.1", "0.1"),
        ("DECIMAL(10,2)", "12345678.90", "12345678.90"),
        ("DECIMAL(10,2)", "-0.05", "-0.05"),
        ("DECIMAL(10,2)", "1.5000", "1.50"),
        (
            "DECIMAL(10,2)",
            "1.505",
            "expected a DECIMAL(10,2), got the number 1.505, which has too many digits \
                after the point",
        ),
        (
            "DECIMAL(10,2)",
            "123456789",
            "expected a DECIMAL(10,2), got the number 123456789, which is out of range",
        ),
        (
            "DECIMAL(38,18)",
            "12345678901234567890.123456789012345678",
            "12345678901234567890.123456789012345678",
        ),
        ("BIGINT", "null", "null"),
    ]);
}

#[test]
fn other_values_by_type() {
    let stamp = "expected a TIMESTAMP (RFC 3339 text, or a number since 1970), got ";
    check(&[
        ("BOOLEAN", "false", "false"),
        ("BOOLEAN", "0", "expected a BOOLEAN, got the number 0"),
        ("TEXT", r#""a\u00e9\ud83d\ude00\n\"""#, r#""aé😀\n\"""#),
        ("TEXT", "5.10", r#""5.10""#),
        ("TEXT", "[1, {\"a\":\"b\"}]", r#""[1, {\"a\":\"b\"}]""#),
        ("TEXT", "true", r#""true""#),
        ("TEXT", r#""\ud83d""#, "\\ud83d is half of a pair and no character"),
        ("BINARY", "\"AP8=\"", "\"AP8=\""),
        ("BINARY", "\"AP8\"", "\"AP8=\""),
        ("BINARY", "\"?\"", "expected a BINARY (base64 text), got the text '?'"),
        ("DATE", "\"2026-11-22\"", "\"2026-11-22\""),
        ("DATE", "20000", "expected a DATE (text as YYYY-MM-DD), got the number 20000"),
        ("TIMESTAMP", "\"2026-11-22T11:00:00.5+01:00\"", "\"2026-11-22T10:00:00.500Z\""),
        ("TIMESTAMP", "\"2026-11-22 10:00:00.123456\"", "\"2026-11-22T10:00:00.123456Z\""),
        ("TIMESTAMP", "1700000000123", "\"2023-11-14T22:13:20.123Z\""),
        (
            "TIMESTAMP",
            "1700000000000.5",
            &format!(
                "{stamp}the number 1700000000000.5, which has a fraction and is too large for \
                 seconds"
            ),
        ),
        ("TIMESTAMP", "1700000000", "\"2023-11-14T22:13:20Z\""),
        ("TIMESTAMP", "1700000000.123456", "\"2023-11-14T22:13:20.123456Z\""),
        ("TIMESTAMP", "1700000000123456", "\"2023-11-14T22:13:20.123456Z\""),
        ("TIMESTAMP", "1700000000123456789", "\"2023-11-14T22:13:20.123456Z\""),
        ("TIMESTAMP", "-300000000000", "\"1960-06-29T18:40:00Z\""),
        (
            "TIMESTAMP",
            "19000",
            &format!(
                "{stamp}the number 19000, which is too small for seconds since 1970; times before \
                 1973 have to be text"
            ),
        ),
        ("TIMESTAMP", "\"soon\"", &format!("{stamp}the text 'soon'")),
        ("TIMESTAMP_NTZ", "\"2026-11-22T10:00:00\"", "\"2026-11-22T10:00:00\""),
        ("ARRAY<BIGINT>", "[1, null ,3]", "1,null,3"),
        ("ARRAY<BIGINT>", "[1,\"x\"]", "expected a BIGINT, got the text 'x'"),
        ("ARRAY<BIGINT>", "1", "expected an ARRAY<BIGINT>, got the number 1"),
        ("STRUCT<a: INT, b: TEXT>", r#"{"b":"x","c":[{}]}"#, r#"{"a":null,"b":"x"}"#),
        ("MAP<TEXT, INT>", r#"{"a":1,"b":null,"a":2}"#, r#"{"b":null,"a":2}"#),
        ("MAP<TEXT, INT>", "{}", "{}"),
    ]);
    assert!(
        one("TIMESTAMP_NTZ", "\"2026-11-22T10:00:00Z\"").ends_with("which has an offset from UTC")
    );
}

#[test]
fn a_bad_record_harms_only_itself() {
    let records: [&[u8]; 14] = [
        br#"{"sensor":"a","celsius":1.5,"tags":["x"],"w":{"lo":1,"hi":2}}"#,
        br#"{"sensor":"b","celsius":"warm","tags":["y","z"],"w":{"lo":1,"hi":2}}"#,
        br#"{"celsius":2}"#,
        br#"{"sensor":null}"#,
        br#"{"sensor":"c","tags":2}"#,
        br#"{"sensor":"d","w":{"lo":1}}"#,
        br#"{"sensor":"e","celsius":3.5,"tags":["q"] "#,
        b"{\"sensor\":\"\xFF\"}",
        br#"[1]"#,
        b"  ",
        br#"{"sensor":"f"} x"#,
        br#"{"celsius":"warm","sensor":"g",}"#,
        br#"{"sensor":"h","w":{"lo":"x","hi":1}}"#,
        br#" { "sensor" : "i" , "tags" : [ ] , "unknown" : { "a" : [ 1 , "\"" ] } } "#,
    ];
    let columns = "sensor TEXT NOT NULL; celsius DOUBLE; tags ARRAY<TEXT>; \
        w STRUCT<lo: BIGINT, hi: BIGINT NOT NULL>";
    let mut decoder = Decoder::new(schema(columns), None).unwrap();
    let decoded = decoder.decode(&records).unwrap();
    assert_eq!(rows(&decoded.batch), r#"["a",1.5,["x"],{"lo":1,"hi":2}],["i",null,[],null]"#);
    assert_eq!(decoded.kept, [0, 13]);
    assert_eq!(
        shown(&decoded.refused),
        [
            "1 type celsius: expected a DOUBLE, got the text 'warm'",
            "2 missing sensor: 'sensor' is missing and must not be NULL",
            "3 missing sensor: 'sensor' must not be NULL",
            "4 type tags: expected an ARRAY<TEXT>, got the number 2",
            "5 missing w.hi: 'hi' is missing and must not be NULL",
            "6 parse -: not valid JSON at character 42: expected ',' or '}', found the end",
            "7 encoding -: byte 12 is not UTF-8",
            "8 type -: expected a JSON object, got an array",
            "9 parse -: the record is empty",
            "10 parse -: not valid JSON at character 16: expected the end, found 'x'",
            "11 parse -: not valid JSON at character 32: expected a name in quotes, found '}'",
            "12 type w.lo: expected a BIGINT, got the text 'x'",
        ]
    );
    let again = decoder.decode(&records[..1]).unwrap();
    assert_eq!(rows(&again.batch), r#"["a",1.5,["x"],{"lo":1,"hi":2}]"#);
}

#[test]
fn member_names() {
    for (columns, record, want) in [
        ("celsius DOUBLE; n INT", r#"{"CELSIUS":1.0,"N":2}"#, "[1.0,2]"),
        ("celsius DOUBLE; n INT", r#"{"celsius":1.0,"CELSIUS":2.0}"#, "[1.0,null]"),
        ("celsius DOUBLE; n INT", r#"{"CELSIUS":2.0,"celsius":1.0}"#, "[1.0,null]"),
        ("celsius DOUBLE; n INT", r#"{"CELSIUS":2.0,"Celsius":3.0}"#, "[3.0,null]"),
        ("a INT; A INT", r#"{"a":1,"A":2}"#, "[1,2]"),
        ("aB INT; Ab INT", r#"{"ab":1,"Ab":2}"#, "[null,2]"),
        ("a INT; b INT", r#"{"a":1,"b":5,"a":2}"#, "[2,5]"),
        ("a INT; b INT", r#"{"a":"x","b":5,"a":2}"#, "[2,5]"),
        ("a INT; b INT", r#"{"\u0061":7}"#, "[7,null]"),
        ("é INT; b INT", r#"{"é":7}"#, "[7,null]"),
        ("a INT; b INT", "{}", "[null,null]"),
    ] {
        let mut decoder = Decoder::new(schema(columns), None).unwrap();
        for _ in 0..2 {
            let decoded = decoder.decode(&[record.as_bytes(), b"{\"zz\":1,\"a\":1}"]).unwrap();
            assert_eq!(shown(&decoded.refused), [""; 0], "{record}");
            assert!(rows(&decoded.batch).starts_with(want), "{record}: {}", rows(&decoded.batch));
        }
    }
}

#[test]
fn projection_reads_what_is_wanted() {
    let columns = "a INT NOT NULL; b TEXT; c DOUBLE";
    let records: [&[u8]; 3] =
        [br#"{"a":1,"b":"x","c":2.5}"#, br#"{"a":"no","C":3,"B":[1]}"#, br#"{"b":tru,"c":1}"#];
    let mut decoder = Decoder::new(schema(columns), Some(&[2, 1])).unwrap();
    assert_eq!(decoder.schema().field(0).name(), "c");
    let decoded = decoder.decode(&records[..1]).unwrap();
    assert_eq!(rows(&decoded.batch), r#"[2.5,"x"]"#);
    let mut only_c = Decoder::new(schema(columns), Some(&[2])).unwrap();
    let decoded = only_c.decode(&records).unwrap();
    assert_eq!(rows(&decoded.batch), "[2.5],[3.0]");
    assert_eq!(decoded.refused[0].kind, RefusedKind::Parse);
    let mut none = Decoder::new(schema(columns), Some(&[])).unwrap();
    assert_eq!(none.decode(&records).unwrap().batch.num_rows(), 2);
    assert!(Decoder::new(schema(columns), Some(&[3])).is_err());
}

#[test]
fn columns_no_topic_can_have() {
    use arrow::datatypes::{DataType, TimeUnit};
    for data_type in [
        DataType::UInt64,
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Struct(Fields::empty()),
    ] {
        let schema = Arc::new(Schema::new(vec![Field::new("a", data_type, true)]));
        assert!(Decoder::new(schema, None).is_err());
    }
}

#[test]
fn deep_nesting_ends_in_a_refusal() {
    let mut decoder = Decoder::new(schema("a INT"), None).unwrap();
    let deep = format!("{{\"x\":{}{}}}", "[{\"y\":".repeat(5000), "}]".repeat(5000));
    let fine = format!("{{\"x\":{}1{},\"a\":4}}", "[".repeat(100), "]".repeat(100));
    let decoded = decoder.decode(&[deep.as_bytes(), fine.as_bytes()]).unwrap();
    assert_eq!(rows(&decoded.batch), "[4]");
    assert!(decoded.refused[0].reason.ends_with("nested too deep"));
}

#[test]
fn garbage_never_panics_and_never_harms() {
    let columns = "s TEXT; d DOUBLE; n BIGINT NOT NULL; at TIMESTAMP; x DECIMAL(20,4); b BOOLEAN; \
        bin BINARY; day DATE; l ARRAY<STRUCT<a: INT, b: MAP<TEXT, ARRAY<TEXT>>>>; \
        m MAP<TEXT, DOUBLE>";
    let mut decoder = Decoder::new(schema(columns), None).unwrap();
    let good = r#"{"s":"a\"é\u00e9","d":-1.5e3,"n":5,"at":"2026-11-22T10:00:00Z","x":12.5000,
        "b":true,"bin":"AP8=","day":"2026-01-01","l":[{"a":1,"b":{"k":["v",null]}}],"m":{"k":1}}"#;
    let expected = rows(&decoder.decode(&[good.as_bytes()]).unwrap().batch);
    let mut random = SmallRng::seed_from_u64(7);
    let alphabet = b"{}[]\",:\\u0eE+-.tfn1 \xFF\x00\n";
    let (mut kept, mut refused) = (0, 0);
    for _ in 0..8_000 {
        let mut bad = good.as_bytes().to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bad.len().max(1));
            if bad.is_empty() {
                continue;
            }
            match random.random_range(0..4) {
                0 => bad[at] = random.random(),
                1 => bad[at] = alphabet[random.random_range(0..alphabet.len())],
                2 => drop(bad.remove(at)),
                _ => bad.truncate(at.max(1)),
            }
        }
        let decoded = decoder.decode(&[&bad, good.as_bytes()]).unwrap();
        assert_eq!(decoded.kept.len() + decoded.refused.len(), 2);
        assert_eq!(rows(&decoded.batch.slice(decoded.kept.len() - 1, 1)), expected);
        kept += decoded.kept.len() - 1;
        refused += decoded.refused.len();
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bad) {
            assert!(decoded.refused.iter().all(|r| r.kind != RefusedKind::Parse), "{value}");
        } else {
            assert_eq!(decoded.refused.len(), 1, "{}", String::from_utf8_lossy(&bad));
        }
    }
    assert!(kept > 200 && refused > 2_000, "{kept} {refused}");
}
