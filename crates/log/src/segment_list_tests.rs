//! Cases of what is missing, and the bytes of the list.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use common::{Disk, Partition};
use testkit::SimDisk;

use super::*;

fn names(files: &[&str]) -> Vec<SegmentName> {
    files.iter().map(|name| SegmentName::parse(name).unwrap()).collect()
}

fn plain(base: i64) -> String {
    format!("{base:020}.log")
}

#[test]
fn what_the_list_and_the_start_promise_must_be_there() {
    // Listed, there, start → what is missing.
    let end = |base, end| (base, Some(end));
    type Case<'a> = (&'a [i64], &'a [i64], i64, &'a [(i64, Option<i64>)]);
    let cases: [Case<'_>; 13] = [
        (&[], &[], 0, &[]),
        (&[0, 10, 20], &[0, 10, 20], 0, &[]),
        (&[0, 10, 20], &[10, 20], 0, &[end(0, 10)]),
        (&[0, 10, 20], &[0, 20], 0, &[end(10, 20)]),
        (&[0, 10, 20], &[0, 10], 0, &[(20, None)]),
        (&[0, 10, 20], &[], 0, &[end(0, 10), end(10, 20), (20, None)]),
        // Removed by retention, or about to be.
        (&[0, 10, 20], &[10, 20], 10, &[]),
        (&[0, 10, 20], &[10, 20], 7, &[end(0, 10)]),
        (&[0, 10, 20], &[20], 25, &[]),
        // The crash came before the list was written.
        (&[0, 10], &[0, 10, 20], 0, &[]),
        (&[0, 10], &[0, 20], 0, &[end(10, 20)]),
        // No list: the start is known all the same.
        (&[], &[10, 20], 5, &[end(5, 10)]),
        (&[], &[10, 20], 10, &[]),
    ];
    for (listed, there, start, expected) in cases {
        let files: Vec<String> = there.iter().map(|base| plain(*base)).collect();
        let files = names(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let found = missing(listed, &files, start);
        let found: Vec<_> = found.iter().map(|m| (m.base.0, m.end.map(|e| e.0))).collect();
        assert_eq!(found, expected, "listed {listed:?}, there {there:?}, start {start}");
    }
}

#[test]
fn a_compacted_segment_stands_for_those_it_was_made_of() {
    let joined = "00000000000000000000-00000000000000000020-0000000001.log";
    assert_eq!(missing(&[0, 10, 20], &names(&[joined, &plain(20)]), 0), []);
    assert_eq!(missing(&[0, 20], &names(&[joined, &plain(20)]), 0), []);
    let gone = missing(&[0, 10, 20], &names(&[&plain(20)]), 0);
    assert_eq!(gone.len(), 2);
}

#[test]
fn the_error_names_everything() {
    let dir = Path::new("log/orders-3");
    let gone = MissingSegment { base: Offset(10), end: Some(Offset(20)) };
    let e = gone.error("orders", Partition(3), dir).to_string();
    for part in
        ["'orders' partition 3", "00000000000000000010.log", "offsets 10 to 19", "--before 20"]
    {
        assert!(e.contains(part), "{e}");
    }
    let newest = MissingSegment { base: Offset(10), end: None };
    let e = newest.error("orders", Partition(3), dir).to_string();
    assert!(e.contains("from 10 on") && e.contains("backup"), "{e}");
}

#[test]
fn a_list_is_read_as_written_or_not_at_all() {
    let disk = SimDisk::new(1);
    let path = path(Path::new("/log"), "id", 2);
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(load(&disk, &path), None);
    for bases in [&[0][..], &[0, 5, 1 << 40], &[7]] {
        store(&disk, &path, bases).unwrap();
        assert_eq!(load(&disk, &path).as_deref(), Some(bases));
    }
    let len = disk.files()[0].1;
    for at in 0..len {
        assert!(disk.flip_bit(&path, at, 3));
        assert_eq!(load(&disk, &path), None, "byte {at}");
        assert!(disk.flip_bit(&path, at, 3));
    }
    assert_eq!(load(&disk, &path).as_deref(), Some(&[7][..]));
}
