//! Crashes, replays and full files, on a real folder.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use catalog::Options;
use common::{Kind, SystemClock};
use connector::conformance::{Bench, Seen, check_sink, sample, sample_schema};
use serde_json::Value;
use tempfile::TempDir;

use super::*;

struct Folder {
    dir: TempDir,
    format: &'static str,
}

impl Folder {
    fn new(format: &'static str) -> Folder {
        Folder { dir: tempfile::tempdir().unwrap(), format }
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("out")).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("out").join(name)).unwrap()
    }
}

fn sink(dir: &Path, pairs: &[(&str, &str)]) -> Result<Box<dyn Sink>> {
    let options: Options =
        pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    let (schema, clock, health) = (sample_schema(), Arc::new(SystemClock), Arc::default());
    let (name, outside) = ("alerts".into(), Outside::of_folder(dir));
    crate::sink("file", &options, Context { name, outside, schema, clock, health })
}

#[async_trait]
impl Bench for Folder {
    fn make(&self) -> Result<Box<dyn Sink>> {
        sink(self.dir.path(), &[("path", "out"), ("format", self.format)])
    }

    async fn seen(&self) -> Result<Vec<Seen>> {
        let visible = self.files().into_iter().filter(|n| !n.starts_with('.'));
        Ok(visible
            .flat_map(
                |n| {
                    if self.format == "csv" { csv(&self.text(&n)) } else { json(&self.text(&n)) }
                },
            )
            .collect())
    }
}

fn json(text: &str) -> Vec<Seen> {
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| Seen {
        id: row["id"].as_i64().unwrap(),
        name: row["name"].as_str().unwrap().into(),
        op: row["_op"].as_str().map(Into::into),
    })
    .collect()
}

/// A reader of its own, so that the writer isn't its own judge.
fn csv(text: &str) -> Vec<Seen> {
    let (mut records, mut record, mut quoted) = (vec![], vec![String::new()], false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => {
                chars.next();
                record.last_mut().unwrap().push('"');
            }
            (_, '"') => quoted = !quoted,
            (false, ',') => record.push(String::new()),
            (false, '\n') => records.push(std::mem::replace(&mut record, vec![String::new()])),
            (_, c) => record.last_mut().unwrap().push(c),
        }
    }
    let header = records.remove(0);
    let column = |name: &str| header.iter().position(|h| h == name);
    let (id, name, op) = (column("id").unwrap(), column("name").unwrap(), column("_op"));
    let seen = |r: &Vec<String>| Seen {
        id: r[id].parse().unwrap(),
        name: r[name].clone(),
        op: op.map(|i| r[i].clone()),
    };
    records.iter().map(seen).collect()
}

#[tokio::test]
async fn conforms() {
    for format in ["ndjson", "csv"] {
        check_sink(|| Ok(Folder::new(format)), Delivery::ExactlyOnce).await.unwrap();
    }
}

#[tokio::test]
async fn files_carry_the_epoch_and_what_went() {
    let folder = Folder::new("csv");
    let mut sink = folder.make().unwrap();
    sink.open(sample_schema()).await.unwrap();
    let weights = Int8Array::from(vec![-1, 1]);
    sink.write(Epoch(7), &sample([3, 5]).unwrap(), Some(&weights)).await.unwrap();
    sink.write(Epoch(7), &sample([10, 4]).unwrap(), Some(&weights)).await.unwrap();
    assert_eq!(folder.files(), [".part-000000000007.csv.writing"]);
    sink.prepare(Epoch(7)).await.unwrap();
    sink.commit(Epoch(7)).await.unwrap();
    assert_eq!(folder.files(), ["part-000000000007.csv"]);
    let want = "_op,id,name,value\n-,3, blank ,\n+,5,plain,5.0\n-,10,plain,10.0\n+,4,\"\",4.0\n";
    assert_eq!(folder.text("part-000000000007.csv").replace("\" blank \"", " blank "), want);
}

#[tokio::test]
async fn a_name_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [("path", "out/alerts_{epoch}.jsonl")];
    let mut first = sink(dir.path(), &pairs).unwrap();
    assert_eq!(first.open(sample_schema()).await.unwrap(), None);
    first.write(Epoch(12), &sample([1]).unwrap(), None).await.unwrap();
    first.prepare(Epoch(12)).await.unwrap();
    first.commit(Epoch(12)).await.unwrap();
    let file = dir.path().join("out/alerts_000000000012.jsonl");
    let row = "{\"id\":1,\"name\":\"comma, quote \\\" and 'tick'\",\"value\":1.0}\n";
    assert_eq!(std::fs::read_to_string(file).unwrap(), row);
    // Other people's files in the folder don't confuse it.
    std::fs::write(dir.path().join("out/alerts_99.jsonl"), "").unwrap();
    std::fs::write(dir.path().join("out/alerts_x.jsonl"), "").unwrap();
    let mut second = sink(dir.path(), &pairs).unwrap();
    assert_eq!(second.open(sample_schema()).await.unwrap(), Some(Epoch(12)));
}

#[tokio::test]
async fn a_torn_write_leaves_no_half_rows() {
    let folder = Folder::new("ndjson");
    let names = Names::new(&folder.dir.path().join("out"), "ndjson").unwrap();
    let outside = Outside::of_folder(folder.dir.path());
    let (format, current, fresh) = (Format::Ndjson, None, true);
    let mut sink = FileSink { names, outside, format, current, fresh };
    sink.open(sample_schema()).await.unwrap();
    sink.write(Epoch(1), &sample([1]).unwrap(), None).await.unwrap();
    // A write that failed in the middle, as on a full disk.
    let current = sink.current.as_mut().unwrap();
    let file = current.file.as_mut().unwrap();
    file.write_all(b"{\"id\":2,\"na").await.unwrap();
    file.flush().await.unwrap();
    current.torn = true;
    sink.write(Epoch(1), &sample([2]).unwrap(), None).await.unwrap();
    sink.current.as_mut().unwrap().torn = false;
    sink.prepare(Epoch(1)).await.unwrap();
    sink.prepare(Epoch(1)).await.unwrap();
    sink.commit(Epoch(1)).await.unwrap();
    let ids: Vec<_> = folder.seen().await.unwrap().iter().map(|s| s.id).collect();
    assert_eq!(ids, [1, 2]);
}

#[tokio::test]
async fn a_folder_that_becomes_a_link_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(dir.path(), &[("path", "out"), ("retry_attempts_max", "1")]).unwrap();
    sink.open(sample_schema()).await.unwrap();
    std::fs::remove_dir(dir.path().join("out")).unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::os::unix::fs::symlink("data", dir.path().join("out")).unwrap();
    let rows = sample([1]).unwrap();
    let e = sink.write(Epoch(1), &rows, None).await.unwrap_err();
    assert!(e.kind() == Kind::Denied && e.message().contains("leads elsewhere"), "{e}");
    // Nor is a file of the sink's name that is a link written through.
    std::fs::remove_file(dir.path().join("out")).unwrap();
    sink.open(sample_schema()).await.unwrap();
    let target = dir.path().join("data/users.json");
    std::fs::write(&target, "users").unwrap();
    let staged = dir.path().join("out/.part-000000000001.ndjson.writing");
    std::os::unix::fs::symlink("../data/users.json", staged).unwrap();
    sink.write(Epoch(1), &rows, None).await.unwrap();
    sink.prepare(Epoch(1)).await.unwrap();
    sink.commit(Epoch(1)).await.unwrap();
    assert_eq!(std::fs::read_to_string(target).unwrap(), "users");
}

#[tokio::test]
async fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |pairs: &[(&str, &str)]| sink(dir.path(), pairs).err().unwrap().to_string();
    assert_eq!(
        fails(&[("path", "out/alerts.csv")]),
        "the path 'alerts.csv' names a single file (each epoch is a file: 'alerts-{epoch}.csv')"
    );
    assert_eq!(
        fails(&[("path", "out/{epoch}/alerts.csv")]),
        "'{epoch}' stands in the folder of the path (it belongs into the file name, as in \
         'out/alerts-{epoch}.csv')"
    );
    assert_eq!(
        fails(&[("path", "out"), ("format", "parquet")]),
        "sink connector 'file': option 'format': unknown value 'parquet' (known are: csv, ndjson)"
    );
    assert_eq!(
        fails(&[]),
        "sink connector 'file' needs the option 'path' (a folder, or a file name with {epoch} in \
         it, as in 'out/alerts-{epoch}.csv')"
    );
    std::fs::write(dir.path().join("taken"), "").unwrap();
    let quick = [("path", "taken"), ("retry_attempts_max", "2"), ("retry_delay_min", "1 ms")];
    let e = sink(dir.path(), &quick).unwrap().open(sample_schema()).await.unwrap_err();
    assert!(e.message().contains("creating") && e.kind() != Kind::Internal, "{e}");
}
