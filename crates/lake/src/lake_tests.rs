//! The archive as the log and queries use it: each offset once whatever is repeated or crashes, one
//! version for rows and offsets, the declared types, and clear errors from damage and full disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::process::Command;
use std::time::Instant;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use common::Kind;
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use formats::HIDDEN;
use formats::headers::HeadersBuilder;

use super::*;
use crate::Range;

fn lake(dir: &Path) -> Lake {
    Lake::open("file:lake", dir).unwrap()
}

fn range(partition: i32, from: i64, to: i64) -> Range {
    (Partition(partition), Offset(from), Offset(to))
}

fn declared() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("t", DataType::Utf8, true),
    ]))
}

/// Rows of some offsets, with values that follow from them.
fn rows(partition: i32, from: i64, to: i64) -> RecordBatch {
    let offsets: Vec<i64> = (from..to).collect();
    let columns: [(&str, ArrayRef); 6] = [
        ("n", Arc::new(offsets.iter().map(|o| o * 10).collect::<Int64Array>())),
        ("t", Arc::new(offsets.iter().map(|o| Some(format!("text {o}"))).collect::<StringArray>())),
        ("_partition", Arc::new(Int32Array::from(vec![partition; offsets.len()]))),
        ("_offset", Arc::new(Int64Array::from(offsets.clone()))),
        ("_key", Arc::new(BinaryArray::from_iter(offsets.iter().map(|_| Some([0xff_u8]))))),
        ("_arrived", Arc::new(TimestampMicrosecondArray::from(offsets).with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn append(lake: &Lake, ranges: &[Range]) -> Appended {
    let batches = ranges.iter().map(|(p, from, to)| rows(p.0, from.0, to.0)).collect();
    lake.append("plays", &declared().into(), batches, ranges).await.unwrap()
}

async fn sql(lake: &Lake, schema: &Schema, query: &str) -> Vec<RecordBatch> {
    let snapshot = lake.snapshot("plays", &Arc::new(schema.clone()).into()).await.unwrap().unwrap();
    let ctx = SessionContext::new();
    ctx.register_table("plays", snapshot.provider).unwrap();
    ctx.sql(query).await.unwrap().collect().await.unwrap()
}

/// Offsets of a partition as the table has them.
async fn offsets(lake: &Lake, partition: i32) -> Vec<i64> {
    let query =
        format!("SELECT _offset FROM plays WHERE _partition = {partition} ORDER BY _offset");
    let batches = sql(lake, &declared(), &query).await;
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_offset_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = lake(dir.path());
    assert!(first.snapshot("plays", &declared().into()).await.unwrap().is_none());
    assert!(first.archived("plays").await.unwrap().is_empty());
    let done = append(&first, &[range(0, 0, 5), range(2, 7, 9)]).await;
    let missing = Gap { partition: Partition(2), from: Offset(0), to: Offset(7) };
    assert_eq!((done.rows, done.gaps), (7, vec![missing]));
    // The same again, a part of it, an overlap and a new one: in this process and the next.
    let next = lake(dir.path());
    for lake in [&first, &next] {
        assert_eq!(append(lake, &[range(0, 0, 5), range(2, 7, 9)]).await, Appended::default());
        assert_eq!(append(lake, &[range(0, 2, 4)]).await.version, None);
    }
    assert_eq!(append(&next, &[range(0, 3, 8), range(2, 8, 9)]).await.rows, 3);
    assert_eq!(append(&first, &[range(1, 0, 2), range(0, 5, 9)]).await.rows, 3);
    for lake in [&first, &next] {
        assert_eq!(offsets(lake, 0).await, (0..9).collect::<Vec<_>>());
        assert_eq!(offsets(lake, 1).await, [0, 1]);
        assert_eq!(offsets(lake, 2).await, [7, 8]);
        let archived = lake.archived("plays").await.unwrap();
        let archived: Vec<_> = archived.iter().map(|(p, o)| (p.0, o.0)).collect();
        assert_eq!(archived, [(0, 9), (1, 2), (2, 9)]);
    }
    let snapshot = next.snapshot("plays", &declared().into()).await.unwrap().unwrap();
    assert_eq!((snapshot.version, snapshot.files), (3, 3));
    assert!(snapshot.bytes > 100);
    assert_eq!(snapshot.whole_from, [(Partition(2), Offset(7))].into());
    let gap = append(&next, &[range(1, 5, 6)]).await.gaps;
    assert_eq!(gap, [Gap { partition: Partition(1), from: Offset(2), to: Offset(5) }]);
    let whole_from =
        lake(dir.path()).snapshot("plays", &declared().into()).await.unwrap().unwrap().whole_from;
    assert_eq!(whole_from, [(Partition(1), Offset(5)), (Partition(2), Offset(7))].into());
    // A row outside the ranges would not be known as archived.
    let e = next.append("plays", &declared().into(), vec![rows(1, 6, 9)], &[range(1, 6, 8)]).await;
    assert_eq!(e.unwrap_err().kind(), Kind::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_commit_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let before = lake(dir.path());
    append(&before, &[range(0, 0, 5)]).await;
    let folder = before.table_folder("plays");
    let is_data = |p: &PathBuf| p.extension().is_some_and(|x| x == "parquet");
    let files = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
    let file = files.filter(is_data).last().unwrap();
    fs::copy(&file, folder.join("part-00000-left-over.zstd.parquet")).unwrap();
    fs::write(folder.join("part-00001-half.parquet#1"), b"PAR1half").unwrap();
    fs::write(folder.join("_delta_log/_commit_x.json.tmp"), b"{").unwrap();
    let after = lake(dir.path());
    assert_eq!(offsets(&after, 0).await, [0, 1, 2, 3, 4]);
    assert_eq!(append(&after, &[range(0, 0, 7)]).await.rows, 2);
    assert_eq!(offsets(&after, 0).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_appends() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::new(lake(dir.path()));
    append(&lake, &[range(0, 0, 10), range(1, 0, 10)]).await;
    let reader = |lake: Arc<Lake>| async move {
        for _ in 0..15 {
            let snapshot = lake.snapshot("plays", &declared().into()).await.unwrap().unwrap();
            let expected: i64 = snapshot.archived.values().map(|o| o.0).sum();
            let ctx = SessionContext::new();
            ctx.register_table("plays", snapshot.provider).unwrap();
            let count = ctx.sql("SELECT count(*) FROM plays").await.unwrap();
            let count = count.collect().await.unwrap();
            assert_eq!(count[0].column(0).as_primitive::<Int64Type>().value(0), expected);
        }
    };
    let readers: Vec<_> = (0..2).map(|_| tokio::spawn(reader(lake.clone()))).collect();
    for n in 1..10 {
        append(&lake, &[range(0, n * 10, n * 10 + 10), range(1, n * 10, n * 10 + 10)]).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path());
    append(&lake, &[range(0, 0, 2)]).await;
    let with = |name: &str, t: DataType| {
        let mut fields = declared().fields().to_vec();
        fields.insert(1, Arc::new(Field::new(name, t, true)));
        Arc::new(Schema::new(fields))
    };
    let wider = with("x", DataType::Float64);
    let more: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.5]));
    let batch = rows(0, 2, 4);
    let mut columns: Vec<(String, ArrayRef)> = vec![("x".into(), more)];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        columns.push((field.name().clone(), column.clone()));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    lake.append("plays", &wider.clone().into(), vec![batch], &[range(0, 2, 4)]).await.unwrap();
    // A column that is no longer declared is null from then on.
    append(&lake, &[range(0, 4, 5)]).await;
    let query = "SELECT n, x, t, _offset FROM plays ORDER BY _offset";
    let shown = pretty_format_batches(&sql(&lake, &wider, query).await).unwrap().to_string();
    let expected = "\
+----+-----+--------+---------+
| n  | x   | t      | _offset |
+----+-----+--------+---------+
| 0  |     | text 0 | 0       |
| 10 |     | text 1 | 1       |
| 20 | 1.5 | text 2 | 2       |
| 30 | 2.5 | text 3 | 3       |
| 40 |     | text 4 | 4       |
+----+-----+--------+---------+";
    assert_eq!(shown, expected);
    // One that is declared but not archived yet is null, also where it is filtered by.
    let newer = with("y", DataType::Utf8);
    let query = "SELECT y, n FROM plays WHERE y IS NULL AND n > 20";
    assert_eq!(sql(&lake, &newer, query).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);

    for (name, data_type, text) in [
        ("x", DataType::Utf8, "column 'x' of the archive of topic 'plays' is DOUBLE there"),
        ("X", DataType::Float64, "another case"),
        ("a b", DataType::Int32, "cannot have a column named 'a b'"),
        ("N", DataType::Int32, "two columns named"),
        ("d", DataType::Duration(TimeUnit::Second), "has no Delta type"),
    ] {
        let schema = with(name, data_type);
        let e = lake
            .append("plays", &schema.clone().into(), vec![rows(0, 5, 6)], &[range(0, 5, 6)])
            .await;
        let e = e.unwrap_err();
        assert!(e.to_string().contains(text), "{e}");
        assert!(e.hint_text().is_some(), "{e}");
    }
    assert_eq!(append(&lake, &[range(0, 5, 6)]).await.rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_come_back_as_declared() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path());
    let us = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("é"), None, Some("")]));
    let pair = StructArray::from(vec![(Arc::new(Field::new("s", DataType::Utf8, true)), inner)]);
    let times = TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_000_001)]);
    let decimals = Decimal128Array::from(vec![Some(-12_345), None, Some(1)]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("f", Arc::new(Float64Array::from(vec![Some(f64::NAN), None, Some(-0.0)]))),
        ("d", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]))),
        ("m", Arc::new(decimals.with_precision_and_scale(38, 4).unwrap())),
        ("z", Arc::new(times.clone().with_timezone("UTC"))),
        ("w", Arc::new(times)),
        ("v", Arc::new(StringViewArray::from(vec![Some("a view of a string"), None, Some("")]))),
        ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("l", Arc::new(list)),
        ("p", Arc::new(pair)),
    ];
    let fields = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let hidden: [(&str, ArrayRef); 2] = [
        ("_partition", Arc::new(Int32Array::from(vec![0; 3]))),
        ("_offset", Arc::new(Int64Array::from(vec![0, 1, 2]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.iter().cloned().chain(hidden).map(|(n, c)| (n, c, true)),
    );
    let batch = batch.unwrap();
    lake.append("plays", &schema.clone().into(), vec![batch.clone()], &[range(0, 0, 3)])
        .await
        .unwrap();

    // Any Delta reader since the first opens it, and skips files by offset.
    let commit = |n: u32| {
        let path = lake.table_folder("plays").join(format!("_delta_log/{n:020}.json"));
        fs::read_to_string(path).unwrap()
    };
    assert!(commit(0).contains(r#""minReaderVersion":1,"minWriterVersion":2"#), "{}", commit(0));
    assert!(!commit(0).contains("Features"));
    assert!(commit(1).contains(r#"\"_offset\":2"#), "{}", commit(1));
    assert!(commit(1).contains(r#""appId":"watershed/plays/0","version":2"#));

    let provider = lake.snapshot("plays", &schema.clone().into()).await.unwrap().unwrap().provider;
    let names: Vec<_> = provider.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names[10..], HIDDEN);
    let read = sql(&lake, &schema, "SELECT * FROM plays ORDER BY _offset").await;
    let read = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
    for (i, field) in provider.schema().fields().iter().enumerate() {
        assert_eq!(read.column(i).data_type(), field.data_type(), "{}", field.name());
        let hidden = HIDDEN.contains(&field.name().as_str());
        let declared = schema.field_with_name(field.name());
        assert!(hidden || declared.unwrap().data_type() == field.data_type());
        if let Some(column) = batch.column_by_name(field.name()) {
            assert_eq!(&read.column(i), &column, "{}", field.name());
        }
    }
    assert_eq!(read.column_by_name("w").unwrap().data_type(), &us(None));
    for (filter, count) in [
        ("v = 'a view of a string'", 1),
        ("u > 18446744073709551614", 1),
        ("w IS NULL", 1),
        ("z >= to_timestamp_micros(0)", 1),
        ("m < 0", 1),
        ("_offset >= 1 AND NOT b", 1),
        ("_partition = 1", 0),
    ] {
        let query = format!("SELECT count(*) FROM plays WHERE {filter}");
        let batches = sql(&lake, &schema, &query).await;
        let found = batches[0].column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(found, count, "{filter}");
    }
}

/// Two records: one with headers, of which the second comes again, and one without any.
fn rows_with_headers(from: i64) -> RecordBatch {
    let mut headers = HeadersBuilder::default();
    let some: [(&str, Option<&[u8]>); 3] = [("a", None), ("b", Some(b"")), ("b", Some(b"\xff"))];
    headers.append(some.into_iter());
    headers.append(std::iter::empty::<(&str, Option<&[u8]>)>());
    RecordBatch::try_from_iter_with_nullable([
        ("_partition", Arc::new(Int32Array::from(vec![0; 2])) as ArrayRef, true),
        ("_offset", Arc::new(Int64Array::from(vec![from, from + 1])), true),
        ("_headers", Arc::new(headers.finish().unwrap()), true),
    ])
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_keep_their_order_and_bytes_in_old_tables_too() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path());
    let schema = declared();
    // As the tables of before had them: an object as text.
    let fields = crate::columns::stored(&schema).unwrap();
    let fields = fields.fields().iter().map(|f| match f.name().as_str() {
        "_headers" => Field::new("_headers", DataType::Utf8, true),
        _ => f.as_ref().clone(),
    });
    let stored = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    lake.table("old").unwrap().create(&stored).await.unwrap();
    let texts = StringArray::from(vec![Some(r#"{"a":"second","b":""}"#), None]);
    let first = rows_with_headers(0);
    let columns = [first.column(0).clone(), first.column(1).clone(), Arc::new(texts)];
    let names = ["_partition", "_offset", "_headers"];
    let rows = RecordBatch::try_from_iter_with_nullable(
        names.into_iter().zip(columns).map(|(n, c)| (n, c, true)),
    );
    lake.append("old", &schema.clone().into(), vec![rows.unwrap()], &[range(0, 0, 2)])
        .await
        .unwrap();

    let query = "SELECT _offset, _headers FROM plays ORDER BY _offset";
    for (topic, from) in [("new", 0), ("old", 2)] {
        let (rows, range) = (rows_with_headers(from), range(0, from, from + 2));
        lake.append(topic, &schema.clone().into(), vec![rows], &[range]).await.unwrap();
        // What is written and read in one process, and what another one finds.
        for lake in [&lake, &Lake::open("file:lake", dir.path()).unwrap()] {
            let provider =
                lake.snapshot(topic, &schema.clone().into()).await.unwrap().unwrap().provider;
            let ctx = SessionContext::new();
            ctx.register_table("plays", provider).unwrap();
            let read = ctx.sql(query).await.unwrap().collect().await.unwrap();
            let read = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
            let last = rows_with_headers(from);
            let at = read.num_rows() - 2;
            assert_eq!(&read.column(1).slice(at, 2), last.column(2), "{topic}");
            if topic == "old" {
                let old = read.column(1).as_list::<i32>().value(0);
                let values = old.as_struct().column(1).as_binary::<i32>();
                assert_eq!(values.iter().collect::<Vec<_>>(), [Some(&b"second"[..]), Some(b"")]);
            }
            let found = ctx.sql("SELECT count(*) FROM plays WHERE _headers IS NULL").await;
            let found = found.unwrap().collect().await.unwrap();
            let without = found[0].column(0).as_primitive::<Int64Type>().value(0);
            assert_eq!(without as usize, read.num_rows() / 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_stay_quick() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path());
    let mut took = vec![];
    for n in 0..120 {
        let since = Instant::now();
        append(&lake, &[range(0, n * 3, n * 3 + 3), range(n as i32 % 4 + 1, n, n + 1)]).await;
        took.push(since.elapsed());
    }
    let sum = |part: &[std::time::Duration]| part.iter().sum::<std::time::Duration>();
    let (early, late) = (sum(&took[10..40]), sum(&took[90..120]));
    eprintln!("30 appends: {early:?} at first, {late:?} at last");
    // Without checkpoints each would read all commits before it.
    assert!(late < early * 6, "{early:?} at first, {late:?} at last");
    let checkpoint = "_delta_log/00000000000000000099.checkpoint.parquet";
    assert!(lake.table_folder("plays").join(checkpoint).exists());
    let since = Instant::now();
    let again = Lake::open("lake", dir.path()).unwrap();
    let archived = again.archived("plays").await.unwrap();
    eprintln!("opened in {:?}", since.elapsed());
    assert_eq!(archived[&Partition(0)], Offset(360));
    assert_eq!(archived[&Partition(1)], Offset(117));
    assert_eq!(archived[&Partition(4)], Offset(120));
    assert_eq!(offsets(&again, 0).await.len(), 360);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named() {
    for fault in ["garbage", "cut", "hole", "no log"] {
        let dir = tempfile::tempdir().unwrap();
        let good = lake(dir.path());
        for n in 0..4 {
            append(&good, &[range(0, n, n + 1)]).await;
        }
        let folder = good.table_folder("plays");
        let commit = |n: u32| folder.join(format!("_delta_log/{n:020}.json"));
        match fault {
            "garbage" => fs::write(commit(2), b"\x00\x01 no json\n").unwrap(),
            "cut" => {
                let text = fs::read(commit(4)).unwrap();
                fs::write(commit(4), &text[..text.len() / 2]).unwrap();
            }
            "hole" => fs::remove_file(commit(2)).unwrap(),
            _ => fs::remove_dir_all(folder.join("_delta_log")).unwrap(),
        }
        let bad = lake(dir.path());
        let e = bad.snapshot("plays", &declared().into()).await.err();
        let e = e.unwrap_or_else(|| panic!("'{fault}' passed unseen"));
        assert_eq!(e.kind(), Kind::Corrupt, "{fault}: {e}");
        assert!(e.to_string().contains("lake/plays"), "{e}");
        assert!(e.hint_text().unwrap().contains("backup"), "{e}");
        let e =
            bad.append("plays", &declared().into(), vec![rows(0, 4, 5)], &[range(0, 4, 5)]).await;
        assert_eq!(e.unwrap_err().kind(), Kind::Corrupt);
        // Moved away, the archive begins anew.
        fs::rename(&folder, dir.path().join("moved")).unwrap();
        assert_eq!(append(&lake(dir.path()), &[range(0, 0, 5)]).await.rows, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path());
    lake.drop_table("plays").await.unwrap();
    for _ in 0..2 {
        append(&lake, &[range(0, 0, 5)]).await;
        lake.drop_table("plays").await.unwrap();
        assert!(lake.snapshot("plays", &declared().into()).await.unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path().join("lake")).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_and_a_read_only_disk_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(dir.path());
    if !mount.output().is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: this user may not mount a small tmpfs");
        return;
    }
    struct Unmount(PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(dir.path().to_owned());
    let remount = |option: &str| {
        let mut mount = Command::new("mount");
        let option = format!("remount,{option}");
        assert!(mount.args(["-o", &option]).arg(dir.path()).status().unwrap().success());
    };
    let lake = lake(dir.path());
    append(&lake, &[range(0, 0, 5)]).await;
    let filler = dir.path().join("filler");
    // Full while the data is written, and full for the last small file: the commit.
    for free in [0, 8_192] {
        let full = fs::write(&filler, vec![1; 4 << 20]);
        assert!(full.is_err());
        let file = fs::File::options().write(true).open(&filler).unwrap();
        file.set_len(file.metadata().unwrap().len().saturating_sub(free)).unwrap();
        let e = lake
            .append("plays", &declared().into(), vec![rows(0, 5, 900)], &[range(0, 5, 900)])
            .await;
        let e = e.unwrap_err();
        assert_eq!(e.kind(), Kind::Exhausted, "{e}");
        assert_eq!(offsets(&lake, 0).await.len(), 5);
        fs::remove_file(&filler).unwrap();
    }
    remount("ro");
    let e = lake.append("plays", &declared().into(), vec![rows(0, 5, 9)], &[range(0, 5, 9)]).await;
    assert_eq!(e.unwrap_err().kind(), Kind::Denied);
    assert_eq!(offsets(&lake, 0).await.len(), 5);
    remount("rw");
    assert_eq!(append(&lake, &[range(0, 0, 9)]).await.rows, 4);
    assert_eq!(offsets(&lake, 0).await, (0..9).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_written_anew_keeps_its_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let first = lake(dir.path());
    append(&first, &[range(0, 0, 5), range(2, 7, 9)]).await;
    append(&first, &[range(0, 5, 7)]).await;
    let fields = [
        Field::new("n", DataType::Decimal128(22, 1), true),
        Field::new("t", DataType::Utf8, true),
        Field::new("more", DataType::Int32, true),
    ];
    let mut wide = crate::Declared::from(Arc::new(Schema::new(fields.to_vec())));
    wide.defaults.insert("more".into(), ScalarValue::Int32(Some(3)));
    // What is archived already changes nothing, not even the columns.
    let again = first.append("plays", &wide, vec![rows(0, 2, 4)], &[range(0, 2, 4)]).await;
    assert_eq!(again.unwrap(), Appended::default());
    let read = |lake: Lake| {
        let wide = wide.clone();
        async move {
            let snapshot = lake.snapshot("plays", &wide).await.unwrap().unwrap();
            let (archived, version) = (snapshot.archived.clone(), snapshot.version);
            let ctx = SessionContext::new();
            ctx.register_table("plays", snapshot.provider).unwrap();
            let query = "SELECT count(*) AS rows, sum(n) AS n, sum(more) AS more FROM plays";
            let rows = ctx.sql(query).await.unwrap().collect().await.unwrap();
            (archived, version, pretty_format_batches(&rows).unwrap().to_string())
        }
    };
    let (archived, version, before) = read(lake(dir.path())).await;
    assert!(before.contains("| 9    | 360.0 | 27   |"), "{before}");
    let old = sql(&first, &declared(), "SELECT n FROM plays WHERE _offset = 8").await;
    // One commit with the new columns and all rows, then the one of the append.
    let mut new = rows(0, 7, 8);
    let n = arrow::compute::cast(new.column(0), fields[0].data_type()).unwrap();
    let mut columns = new.columns().to_vec();
    columns[0] = n;
    let mut names: Vec<_> = new.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    names[0] = fields[0].clone();
    new = RecordBatch::try_new(Arc::new(Schema::new(names)), columns).unwrap();
    first.append("plays", &wide, vec![new], &[range(0, 7, 8)]).await.unwrap();
    let (after, then, text) = read(lake(dir.path())).await;
    assert_eq!(then, version + 2);
    assert!(text.contains("| 10   | 430.0 | 27   |"), "{text}");
    let mut grown = archived;
    grown.insert(Partition(0), Offset(8));
    assert_eq!(after, grown);
    assert_eq!(old[0].column(0).as_primitive::<Int64Type>().value(0), 80);
}
