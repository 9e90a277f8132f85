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
