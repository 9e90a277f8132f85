//! The keyspaces of `docs/formats/keyed-store.md` as the first release wrote them are read for ever:
//! `tests/golden/keyed-store-1.txt` has a pair a line, keyspace, key and value in hex. A new format
//! gets a new file beside it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use common::Epoch;
use graph::OutputKey;
use kv::{Kv, Options};
use stream::Change;

use crate::flows::outbox::Outbox;
use crate::flows::view_store::{ViewMeta, ViewStore};
use crate::stores::meta::{Meta, TopicRecord};

const SPACES: [&str; 4] = ["meta", "outbox", "view_meta", "view_rows"];

fn schema() -> SchemaRef {
    let fields = [("k", DataType::Utf8), ("n", DataType::Int64)];
    Arc::new(Schema::new(fields.map(|(name, t)| Field::new(name, t, true)).to_vec()))
}

fn changes() -> Vec<Change> {
    let keys: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), Some(2), Some(3)]));
    let batch = RecordBatch::try_new(schema(), vec![keys, numbers]).unwrap();
    vec![Change { batch, weights: Some(Int8Array::from(vec![1, 1, 1])) }]
}

fn views() -> [(&'static str, OutputKey); 3] {
    [
        ("keyed@1", OutputKey::Columns(vec![0])),
        ("append@2", OutputKey::Append),
        ("rows@3", OutputKey::Rows),
    ]
}

fn topic() -> TopicRecord {
    TopicRecord {
        name: "t".into(),
        columns: vec![("k".into(), "TEXT".into()), ("n".into(), "BIGINT".into())],
        key: Some("k".into()),
        partitions: 2,
        format: "json".into(),
        log_id: Some("55b1ee91-317d-4936-8f83-a963290fddcc".into()),
        nullable: vec!["n".into()],
        defaults: [("n".to_string(), "7".to_string())].into(),
        dropped: vec!["old".into()],
    }
}

/// What this program writes.
fn written(kv: &Arc<Kv>) -> String {
    let mut batch = kv.batch();
    for (id, key) in views() {
        let store = ViewStore::open(kv, id, schema(), key).unwrap();
        store.stage(&mut batch, Epoch(5), ViewMeta::default(), &changes()).unwrap();
    }
    Outbox::open(kv, "sink@1").unwrap().stage(&mut batch, Epoch(9), &changes()).unwrap();
    batch.commit_durable().unwrap();
    let meta = Meta::new(kv).unwrap();
    meta.put_topic(&topic()).unwrap();
    let (_, new) = meta.prepare_pipeline("keyed", "f", false).unwrap();
    meta.commit_pipelines(&[new.unwrap()], &[]).unwrap();
    meta.prepare_pipeline("other", "g", false).unwrap();
    meta.begin_drop("gone").unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut text = String::new();
    for space in SPACES {
        for pair in kv.keyspace(space).unwrap().iter().unwrap() {
            let (key, value) = pair.unwrap();
            // The store's own mark counts its commits.
            if !key.starts_with(&[0, 0]) {
                text.push_str(&format!("{space} {} {}\n", hex(&key), hex(&value)));
            }
        }
    }
    text
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let text = |b: &RecordBatch, row: usize| {
        let cell = |c: &ArrayRef| arrow::util::display::array_value_to_string(c, row).unwrap();
        b.columns().iter().map(cell).collect::<Vec<_>>().join("|")
    };
    batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| text(b, row))).collect()
}

#[test]
fn version_1_is_written_and_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/keyed-store-1.txt");
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| Kv::open(dir.path().join(name), Options::default()).unwrap();
    let now = written(&open("new"));
    let golden = std::fs::read_to_string(&path).unwrap();
    // Arrow's writer may change its bytes, its reader takes both.
    let but_ipc = |text: &str| -> Vec<String> {
        text.lines().filter(|l| !l.starts_with("outbox ")).map(String::from).collect()
    };
    assert_eq!(but_ipc(&now), but_ipc(&golden));

    let kv = open("old");
    let mut batch = kv.batch();
    for line in golden.lines() {
        let mut words = line.split(' ');
        let space = kv.keyspace(words.next().unwrap()).unwrap();
        let (key, value) = (words.next().unwrap(), words.next().unwrap_or_default());
        batch.put(&space, bytes(key), bytes(value));
    }
    batch.commit_durable().unwrap();
    let snapshot = kv.snapshot().unwrap();
    for (id, key) in views() {
        let store = ViewStore::open(&kv, id, schema(), key).unwrap();
        let meta = store.meta(&snapshot).unwrap();
        assert_eq!(meta, ViewMeta { epoch: Epoch(5), rows: 3 }, "{id}");
        let mut found = rows(&store.scan(&snapshot).unwrap());
        found.sort();
        let expected: &[&str] =
            if id == "keyed@1" { &["a|3", "|2"] } else { &["a|-1", "a|3", "|2"] };
        let mut expected: Vec<String> = expected.iter().map(|r| (*r).to_string()).collect();
        expected.sort();
        assert_eq!(found, expected, "{id}");
    }
    let waiting = Outbox::open(&kv, "sink@1").unwrap().first().unwrap().unwrap();
    let [(sent, weights)] = waiting.batches.as_slice() else { panic!("one batch waits") };
    assert_eq!((waiting.epoch, rows(std::slice::from_ref(sent)).len()), (Epoch(9), 3));
    assert_eq!(weights.as_ref().map(|w| w.values().to_vec()), Some(vec![1, 1, 1]));
    let meta = Meta::new(&kv).unwrap();
    assert_eq!(meta.topic("t").unwrap().unwrap(), topic());
    let pipelines = [("keyed".to_string(), "keyed@1".to_string(), "f".to_string())];
    assert_eq!(meta.pipelines().unwrap(), pipelines);
    assert_eq!(meta.retired().unwrap(), ["other@1"]);
    assert_eq!(meta.dropping().unwrap(), ["gone"]);
}
