//! `watershed import`: every kind of file, refusals with their lines, and stops at any moment.

use std::sync::Arc;

use crate::support::{Project, READINGS, Server, root};

fn count(server: &Server, topic: &str) -> i64 {
    server.sql(&format!("SELECT count(*) FROM {topic}"))[0][0].as_i64().unwrap()
}

fn start() -> Server {
    Project::new(READINGS).serve(&[])
}

#[test]
fn the_turbofan_file_gives_all_its_rows() {
    let file = root().join("../shared/data/cmapss/train_FD001.txt");
    if !file.exists() {
        eprintln!("skipped: {} is not there", file.display());
        return;
    }
    let server = start();
    let ran = server.run(&["import", file.to_str().unwrap(), "--into", "turbofan"]).ok();
    assert!(ran.out.contains("20,631"), "{}", ran.out);
    assert!(ran.err.contains("there is no topic 'turbofan' yet"), "{}", ran.err);
    assert_eq!(count(&server, "turbofan"), 20_631);
    let schema = server.get("/api/topics/turbofan/schema").json();
    assert_eq!(schema["columns"].as_array().unwrap().len(), 26);
    let last = server.sql("SELECT max(c1), count(DISTINCT c1) FROM turbofan");
    assert_eq!(last[0][0], 100);
}

#[test]
fn again_and_again_does_not_double() {
    let server = start();
    let text: String = (0..5_000).map(|i| format!("s{},{}.5\n", i % 7, i % 90)).collect();
    server.project.write("data.csv", &format!("sensor,celsius\n{text}"));
    let import = ["import", "data.csv", "--into", "readings"];
    assert!(server.run(&import).ok().out.contains("5,000"));
    let again = server.run(&import).ok();
    assert!(again.out.contains("already"), "{}", again.out);
    assert_eq!(count(&server, "readings"), 5_000);
    server.run(&[&import[..], &["--again"]].concat()).ok();
    assert_eq!(count(&server, "readings"), 10_000);
}

#[test]
fn refused_rows_are_counted_with_their_lines() {
    let server = start();
    server.project.write(
        "data.csv",
        "sensor,celsius,note\na,20.5,\"two\nlines\"\nb,warm,x\n\nc,999,x\nd,1,x\n",
    );
    let ran = server.run(&["import", "data.csv", "--into", "readings"]).ok();
    assert!(ran.err.contains("left out, not in the topic: note"), "{}", ran.err);
    assert!(ran.err.contains("2 rows were refused"), "{}", ran.err);
    assert!(ran.err.contains("line 4, column celsius"), "{}", ran.err);
    assert!(ran.err.contains("line 6:"), "{}", ran.err);
    assert_eq!(count(&server, "readings"), 2);
    assert_eq!(server.get("/api/dead-letters?topic=readings").json()["total"], 2);
}

#[test]
fn kinds_of_files() {
    let server = start();
    server.project.write("a.tsv", "Sensor\tCelsius\na\t1.5\nb\t2.5\n");
    server.project.write("b.txt", "sensor;celsius\n\"a;b\";3\n");
    server.project.write("c.ndjson", "{\"sensor\":\"a\",\"celsius\":4}\n\n{\"sensor\":\"b\"}");
    server.project.write("d.dat", "x 1.0 2026-01-01T00:00:00Z\ny 2.0 2026-01-01T00:00:01Z");
    for (file, rows) in [("a.tsv", 2), ("b.txt", 1), ("c.ndjson", 2), ("d.dat", 2)] {
        let ran = server.run(&["import", file, "--into", "readings", "--json"]);
        let json: serde_json::Value =
            serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{file}: {}", ran.err));
        assert_eq!(json["accepted"], rows, "{file}: {} {}", ran.out, ran.err);
        assert_eq!(json["refused"], 0, "{file}: {} {}", ran.out, ran.err);
    }
    assert_eq!(count(&server, "readings"), 7);
    let odd = server.sql("SELECT celsius FROM readings WHERE sensor = 'a;b'");
    assert_eq!(odd[0][0], 3.0);
}

#[test]
fn parquet() {
    use arrow::array::{Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
    let server = start();
    let n = 20_000;
    let names: Vec<String> = (0..n).map(|i| format!("s{}", i % 5)).collect();
    let batch = RecordBatch::try_from_iter([
        ("sensor", Arc::new(StringArray::from(names)) as arrow::array::ArrayRef),
        ("celsius", Arc::new(Float64Array::from_iter_values((0..n).map(|i| f64::from(i % 100))))),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(
                    (0..n).map(|i| 1_767_225_600_000_000 + i64::from(i)),
                )
                .with_timezone("UTC"),
            ),
        ),
    ])
    .unwrap();
    let file = std::fs::File::create(server.project.path().join("data.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    for topic in ["readings", "made_new"] {
        server.run(&["import", "data.parquet", "--into", topic]).ok();
        assert_eq!(count(&server, topic), i64::from(n));
        let last = server.sql(&format!("SELECT max(at) FROM {topic}"));
        assert_eq!(last[0][0], "2026-01-01T00:00:00.019999Z");
    }
}

#[test]
fn a_stopped_import_goes_on_without_doubling() {
    let mut server = start();
    let rows = 200_000;
    let text: String = (0..rows).map(|i| format!("sensor-{i},{}\n", i % 90)).collect();
    server.project.write("data.csv", &format!("sensor,celsius\n{text}"));
    let arguments = ["import", "data.csv", "--into", "readings"];
    let address = server.address.clone();
    // Importer and platform are killed in turn; every run gets somewhat further.
    for round in 0..4u64 {
        let mut importer = server
            .project
            .command(&arguments)
            .env("WATERSHED_URL", server.url())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(60 + 90 * round));
        if round % 2 == 0 {
            importer.kill().unwrap();
            importer.wait().unwrap();
        } else {
            let port = address.rsplit(':').next().unwrap().to_string();
            let project = server.kill();
            importer.kill().unwrap();
            importer.wait().unwrap();
            // On the same port: the address is part of an import's identity.
            server = project.serve(&["--http-port", &port]);
        }
    }
    let ran = server.run(&arguments).ok();
    assert!(ran.out.contains("200,000") || ran.out.contains("already"), "{}", ran.out);
    assert_eq!(count(&server, "readings"), rows);
    let distinct = server.sql("SELECT count(DISTINCT sensor) FROM readings");
    assert_eq!(distinct[0][0], rows);
}

#[test]
fn a_platform_made_anew_gets_everything_again() {
    let server = start();
    let rows: String = (0..200_000).map(|i| format!("sensor-{i},{}\n", i % 90)).collect();
    server.project.write("long.csv", &format!("sensor,celsius\n{rows}"));
    server.project.write("short.csv", "sensor,celsius\na,1\nb,2\n");
    let port = server.address.rsplit(':').next().unwrap().to_string();
    for file in ["long.csv", "short.csv"] {
        server.run(&["import", file, "--into", "readings"]).ok();
    }
    let (_, project) = server.stop();
    std::fs::remove_dir_all(project.path().join("data")).unwrap();
    let server = project.serve(&["--http-port", &port]);
    let ran = server.run(&["import", "long.csv", "--into", "readings"]).ok();
    assert!(ran.out.contains("imported 200,000 rows"), "{}{}", ran.out, ran.err);
    server.run(&["import", "short.csv", "--into", "readings"]).ok();
    assert_eq!(count(&server, "readings"), 200_002);
}

#[test]
fn files_that_can_t_be_imported() {
    let server = start();
    server.project.write("empty.csv", "");
    server.project.write("three.txt", "1 2 3 4\n5 6 7 8\n");
    server.project.write("array.json", "[{\"sensor\":\"a\"}]");
    server.project.write("bad.parquet", "PAR1 no");
    for (file, text) in [
        ("missing.csv", "missing.csv"),
        ("empty.csv", "is empty"),
        ("three.txt", "has 3"),
        ("array.json", "jq"),
        ("bad.parquet", "Parquet"),
        ("sql", "is a folder"),
    ] {
        let ran = server.run(&["import", file, "--into", "readings"]);
        assert_ne!(ran.code, 0, "{file}");
        assert!(ran.err.contains(text), "{file}: {}", ran.err);
    }
    assert_eq!(count(&server, "readings"), 0);
}

/// Rows of a new topic and its columns with their types.
fn imported(server: &Server, topic: &str) -> (i64, String) {
    let schema = server.get(&format!("/api/topics/{topic}/schema")).json();
    let columns = schema["columns"].as_array().unwrap().iter();
    let shown = columns.map(|c| format!("{} {}", c["name"], c["type"]).replace('"', ""));
    (count(server, topic), shown.collect::<Vec<_>>().join(", "))
}

/// What was inferred takes every row it was inferred from.
#[test]
fn files_give_all_their_rows() {
    let server = start();
    let utf16: Vec<u8> = "sensor;grad\r\nkühl;1,5\r\nwarm;20,25\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"a,b\n1,x\n2,y\n").unwrap();
    for (file, bytes) in [
        ("mixed.ndjson", &b"{\"v\":12}\n{\"v\":\"n/a\"}\n{\"v\":{\"a\":1}}\n"[..]),
        ("lists.ndjson", b"{\"l\":[]}\n{\"l\":[1]}\n"),
        (
            "objects.ndjson",
            b"{\"i\":[{\"a\":\"x\"}]}\n{\"i\":[{\"a\":\"y\",\"b\":true}]}\n{\"i\":[]}\n",
        ),
        ("bom.ndjson", b"\xEF\xBB\xBF{\"id\":1,\"first\":\"only\"}\n{\"id\":2}\n"),
        ("case.ndjson", b"{\"UserUPN\":\"x\"}\n{\"UserUpn\":\"y\"}\n"),
        ("names.ndjson", b"{\"_id\":\"65f0\",\"o\":{},\"Sensor ID\":7}\n"),
        ("big.ndjson", b"{\"id\":9007199254740993}\n{\"id\":18446744073709551615}\n"),
        ("cut.ndjson", "{\"t\":\"2026-01-31 10:00:… about\"}\n".as_bytes()),
        ("index.csv", b",sensor,celsius\n0,roof,12.5\n"),
        ("twice.csv", b"id,value,value\n1,2.5,3.5\n"),
        ("two_lines.csv", b"id,\"temperature\n(C)\",note\n1,20.5,\"a\nb\"\n"),
        ("codes.csv", b"phone,part\n+4915112345678,12E5\n"),
        ("packed.csv.gz", &gzip.finish().unwrap()),
        ("utf16.csv", &utf16),
        ("latin.csv", b"wort,n\ngr\xFC\xDFe,1\n"),
        ("local.csv", b"at;v\n28.11.2026 12:30;NA\n28.11.2026 13:30;-7,5\n"),
    ] {
        std::fs::write(server.project.path().join(file), bytes).unwrap();
    }
    let types = "--types=v=DECIMAL(6,2)";
    let times = ["--time-format=%d.%m.%Y %H:%M", "--zone=Europe/Berlin", "--null=NA"];
    for (file, more, rows, columns) in [
        ("mixed.ndjson", &[][..], 3, "v TEXT"),
        ("lists.ndjson", &[], 2, "l ARRAY<BIGINT>"),
        ("objects.ndjson", &[], 3, "i ARRAY<STRUCT<a: TEXT, b: BOOLEAN>>"),
        ("bom.ndjson", &[], 2, "id BIGINT, first TEXT"),
        ("case.ndjson", &[], 2, "UserUPN TEXT, UserUpn_2 TEXT"),
        ("names.ndjson", &[], 1, "id TEXT, o MAP<TEXT, TEXT>, sensor_id BIGINT"),
        ("big.ndjson", &[], 2, "id DECIMAL(20,0)"),
        ("cut.ndjson", &[], 1, "t TEXT"),
        ("index.csv", &[], 1, "column_1 BIGINT, sensor TEXT, celsius DOUBLE"),
        ("twice.csv", &[], 1, "id BIGINT, value DOUBLE, value_2 DOUBLE"),
        ("two_lines.csv", &[], 1, "id BIGINT, temperature_c DOUBLE, note TEXT"),
        ("codes.csv", &[], 1, "phone TEXT, part TEXT"),
        ("packed.csv.gz", &[], 2, "a BIGINT, b TEXT"),
        ("utf16.csv", &["--decimal-comma"], 2, "sensor TEXT, grad DOUBLE"),
        ("latin.csv", &["--encoding=latin1"], 1, "wort TEXT, n BIGINT"),
        (
            "local.csv",
            &[types, "--decimal-comma", times[0], times[1], times[2]],
            2,
            "at TIMESTAMP, v DECIMAL(6,2)",
        ),
    ] {
        let topic = file.split('.').next().unwrap();
        let arguments = [&["import", file, "--into", topic], more].concat();
        let ran = server.run(&arguments).ok();
        assert_eq!(imported(&server, topic), (rows, columns.into()), "{file}: {}", ran.err);
    }
    for (query, rows) in [
        ("SELECT v FROM mixed", serde_json::json!([["12"], ["n/a"], ["{\"a\":1}"]])),
        (
            "SELECT id FROM big WHERE id > 1e19",
            serde_json::json!([[18_446_744_073_709_551_615_u64]]),
        ),
        (
            "SELECT \"UserUpn_2\" FROM \"case\" WHERE \"UserUPN\" IS NULL",
            serde_json::json!([["y"]]),
        ),
        ("SELECT id, sensor_id FROM names", serde_json::json!([["65f0", 7]])),
        ("SELECT wort FROM latin", serde_json::json!([["grüße"]])),
        ("SELECT grad FROM utf16 ORDER BY 1", serde_json::json!([[1.5], [20.25]])),
        (
            "SELECT at, v FROM \"local\" ORDER BY at",
            serde_json::json!([["2026-11-28T11:30:00Z", null], ["2026-11-28T12:30:00Z", -7.5]]),
        ),
    ] {
        assert_eq!(server.sql(query), rows, "{query}");
    }
}

#[test]
fn several_files_patterns_and_standard_input() {
    let server = start();
    for n in 1..=3 {
        let dir = server.project.path().join("in");
        std::fs::create_dir_all(&dir).unwrap();
        // What one file alone says of the type is not enough.
        let value = ["1", "2.5", "3"][n - 1];
        std::fs::write(dir.join(format!("{n}.csv")), format!("n,v\n{n},{value}\n")).unwrap();
    }
    let tried = server.run(&["import", "in/*.csv", "--into", "all", "--dry-run"]).ok();
    assert!(tried.out.contains("in/3.csv: 2 fields between ',', named by the first line"));
    assert!(tried.err.contains("\"v\" DOUBLE"), "{}", tried.err);
    assert_eq!(server.get("/api/topics/all/schema").status, 404);
    server.run(&["import", "in/*.csv", "--into", "all"]).ok();
    assert_eq!(imported(&server, "all"), (3, "n BIGINT, v DOUBLE".into()));
    let again = server.run(&["import", "in/1.csv", "in/2.csv", "--into", "all"]).ok();
    assert_eq!(again.out.matches("already").count(), 2, "{}", again.out);
    assert_eq!(count(&server, "all"), 3);
    for _ in 0..2 {
        let piped = server.run_with(&["import", "-", "--into", "piped"], "{\"a\":1}\n{\"a\":2}\n");
        piped.ok();
    }
    assert_eq!(imported(&server, "piped"), (4, "a BIGINT".into()));
    for (arguments, says) in [
        (&["in/*.txt"][..], "no file is like"),
        (&["in/1.csv", "-"], "alone"),
        (&["in/1.csv", "--types", "x=INT"], "has its types already"),
        (&["in/1.csv", "--zone", "Mars"], "no time zone 'Mars'"),
        (&["in/1.csv", "--encoding", "klingon"], "no encoding 'klingon'"),
    ] {
        let ran = server.run(&[&["import", "--into", "all"], arguments].concat());
        assert!(ran.code != 0 && ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn more_refused_than_taken_is_a_failure_and_letters_name_the_line() {
    let server = start();
    let rows: String = (0..60_000).map(|i| format!("s{i},{}\n\n", i % 90)).collect();
    let bad = "x,warm\ny,hot\n";
    server.project.write("long.csv", &format!("sensor,celsius\n{rows}{bad}"));
    let ran = server.run(&["import", "long.csv", "--into", "readings"]).ok();
    assert!(ran.err.contains("long.csv, line 120002, column celsius"), "{}", ran.err);
    let letters = "SELECT file, line, CAST(raw AS TEXT) FROM dead_letters ORDER BY line";
    let expected =
        serde_json::json!([["long.csv", 120_002, "x,warm"], ["long.csv", 120_003, "y,hot"]]);
    assert_eq!(server.sql(letters), expected);
    server.project.write("bad.csv", "sensor,celsius\na,1\nx,warm\ny,hot\n");
    let ran = server.run(&["import", "bad.csv", "--into", "readings"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}
