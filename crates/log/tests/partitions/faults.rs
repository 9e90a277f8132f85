//! A full disk, refused writes, failed syncs, rotten bytes: clear errors, nothing acknowledged is
//! lost, and the log goes on by itself as soon as the disk does.

use std::path::{Path, PathBuf};

use common::{Disk, Kind, Offset, Partition};
use testkit::SimDisk;

use super::{DIR, batch, no_threads, open, put, topic, try_read, values};

fn segment(base: i64) -> PathBuf {
    Path::new(DIR).join("readings-0").join(format!("{base:020}.log"))
}

#[test]
fn a_full_disk_refuses_appends_and_nothing_else() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(600));
    let p = topic(&log, "readings");
    put(&p, &["kept"]);
    let unsynced = p.append(batch(&["written before"])).unwrap();
    for free in [0, 1, 70, 200] {
        disk.set_free(Some(free));
        let e = p.append(batch(&["refused", &"x".repeat(500)])).unwrap_err();
        assert_eq!(e.kind(), Kind::Exhausted);
        assert!(e.to_string().contains("free some disk space"), "{e}");
    }
    p.wait_durable(unsynced).unwrap();
    assert_eq!(values(&p), ["kept", "written before"]);
    disk.set_free(None);
    put(&p, &["there is space again", &"x".repeat(500)]);
    assert_eq!(values(&p).len(), 4);
    disk.crash();
    drop(log);
    let (log, recovery) = open(&disk, no_threads(600));
    assert_eq!(recovery.partitions, []);
    assert_eq!(values(&log.topic("readings").unwrap().partitions()[0]).len(), 4);
}

#[test]
fn a_refused_write_leaves_nothing_behind() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (log, _) = open(&disk, no_threads(1 << 20));
        let p = topic(&log, "readings");
        let first = p.append(batch(&["first"])).unwrap();
        disk.fail_writes(1);
        // Now and then, the part that was written cannot be cut off at once either.
        disk.fail_cuts(seed as u32 % 2);
        let e = p.append(batch(&["half", &"x".repeat(900)])).unwrap_err();
        assert_eq!(e.kind(), Kind::Io);
        assert!(e.message().contains("append to '/data/log/readings-0/0"), "{e}");
        let second = p.append(batch(&["second"])).unwrap();
        p.wait_durable(first).unwrap();
        p.wait_durable(second).unwrap();
        assert_eq!(values(&p), ["first", "second"]);
        let len = disk.files().into_iter().find(|(path, _)| *path == segment(0)).unwrap().1;
        assert_eq!(len, log.stats().unwrap()[0].bytes);
    }
}

#[test]
fn a_failed_sync_undoes_what_was_not_acknowledged() {
    let disk = SimDisk::new(3);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "readings");
    put(&p, &["kept"]);
    let a = p.append(batch(&["lost"])).unwrap();
    let b = p.append(batch(&["lost too"])).unwrap();
    disk.fail_syncs(1);
    let e = p.wait_durable(a).unwrap_err();
    assert_eq!(e.kind(), Kind::Io);
    assert!(e.message().contains("sync partition 'readings-0'"), "{e}");
    assert_eq!(p.end_offset(), Offset(1));
    // Its offset is given out again; the old append must not be taken for the new one.
    let c = p.append(batch(&["again"])).unwrap();
    assert_eq!(c.first, a.first);
    p.wait_durable(c).unwrap();
    assert!(p.outcome(a).unwrap().is_err() && p.outcome(b).unwrap().is_err());
    assert!(p.outcome(c).unwrap().is_ok());
    assert_eq!(values(&p), ["kept", "again"]);
    disk.crash();
    drop(log);
    let (log, _) = open(&disk, no_threads(1 << 20));
    assert_eq!(values(&log.topic("readings").unwrap().partitions()[0]), ["kept", "again"]);
}

#[test]
fn a_tail_that_cannot_be_cut_back_stops_the_partition_until_it_is_reopened() {
    let disk = SimDisk::new(3);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "readings");
    put(&p, &["kept"]);
    let lost = p.append(batch(&["unsure"])).unwrap();
    disk.fail_syncs(1);
    disk.fail_cuts(1);
    assert!(p.wait_durable(lost).is_err());
    let e = p.append(batch(&["refused"])).unwrap_err();
    assert!(e.to_string().contains("takes no more appends"), "{e}");
    assert!(e.to_string().contains("check the disk, then restart"), "{e}");
    assert_eq!(values(&p), ["kept"]);
    log.close();
    drop(log);
    disk.kill();
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = log.topic("readings").unwrap().partition(Partition(0)).unwrap();
    let before = values(&p);
    assert_eq!(before[0], "kept");
    put(&p, &["new"]);
    disk.crash();
    drop((p, log));
    let (log, _) = open(&disk, no_threads(1 << 20));
    let after = values(&log.topic("readings").unwrap().partitions()[0]);
    assert_eq!(after[..before.len()], before[..], "what a reader saw stays");
    assert_eq!(after.last().unwrap(), "new");
}

#[test]
fn a_torn_tail_is_cut_off_and_reported() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "readings");
    put(&p, &["kept"]);
    let len = log.stats().unwrap()[0].bytes;
    drop((p, log));
    let torn = batch(&["torn", "too"]);
    let file = disk.open(&segment(0), false).unwrap();
    for (bytes, records, reason) in [
        (&torn[..30], 0, "it ends within a header"),
        (&[0; 200][..], 0, "its format version is not 2"),
        // Right but for its offset: bytes of an earlier life of the disk block.
        (&torn[..], 2, "it does not continue the offsets"),
    ] {
        file.write_at(bytes, len).unwrap();
        let (log, recovery) = open(&disk, no_threads(1 << 20));
        let report = &recovery.partitions[0];
        assert_eq!((report.topic.as_str(), report.next_offset), ("readings", Offset(1)));
        assert_eq!(report.file, segment(0));
        assert_eq!(
            (report.truncated_bytes, report.truncated_records),
            (bytes.len() as u64, records)
        );
        assert_eq!((report.reason, report.damage.len()), (Some(reason), 0));
        assert_eq!(values(&log.topic("readings").unwrap().partitions()[0]), ["kept"]);
        drop(log);
        let (_, recovery) = open(&disk, no_threads(1 << 20));
        assert_eq!(recovery.partitions, []);
    }
}

/// 100 batches of one record, some per segment; returns the places of all batches.
fn filled(disk: &SimDisk, segment_bytes_max: u64) -> Vec<(PathBuf, u64, i64)> {
    let (log, _) = open(disk, no_threads(segment_bytes_max));
    let p = topic(&log, "readings");
    let mut places = vec![];
    for i in 0..100 {
        let before = log.stats().unwrap()[0].clone();
        put(&p, &[&format!("value {i:03}, {}", "x".repeat(300))]);
        let base = *p.segment_bases().last().unwrap();
        let is_new = p.segment_bases().len() as u64 > before.segments || i == 0;
        let position = if is_new { 0 } else { places.last().map_or(0, next_position) };
        places.push((segment(base), position, i));
    }
    // Not closed in good order: the process dies here.
    disk.kill();
    places
}

fn next_position(place: &(PathBuf, u64, i64)) -> u64 {
    place.1 + batch(&[&format!("value 000, {}", "x".repeat(300))]).len() as u64
}

#[test]
fn a_flipped_bit_is_found_named_and_costs_no_other_record() {
    // In the payload, the checksum, the length, the base offset, the format version.
    for (at, bit) in [(200, 0), (18, 5), (8, 6), (10, 3), (11, 0), (5, 2), (16, 0)] {
        for (segment_bytes_max, victim) in [(1 << 20, 40), (5_000, 17), (1 << 20, 99), (5_000, 0)] {
            let disk = SimDisk::new(1);
            let places = filled(&disk, segment_bytes_max);
            let (path, position, offset) = &places[victim];
            assert!(disk.flip_bit(path, position + at, bit));
            let case = format!("byte {at}, bit {bit}, record {victim}");
            let (log, recovery) = open(&disk, no_threads(segment_bytes_max));
            let p = log.topic("readings").unwrap().partition(Partition(0)).unwrap();
            assert_eq!(p.high_watermark(), Offset(100), "{case}");
            let cut: u64 = recovery.partitions.iter().map(|r| r.truncated_bytes).sum();
            assert_eq!(cut, 0, "{case}");

            let e = try_read(&p, *offset, 1000).unwrap_err();
            assert_eq!(e.kind(), Kind::Corrupt, "{case}: {e}");
            let named = path.file_name().unwrap().to_string_lossy();
            assert!(
                e.message().contains(&*named) || e.message().contains("missing"),
                "{case}: {e}"
            );
            assert!(e.message().contains(&format!("offset {offset}")), "{case}: {e}");
            // All before it, and all after it, are read as before. A damaged length hides where
            // the next batch begins, up to the next index entry (about 16 KiB).
            for i in (0..100).filter(|i| i < offset || *i > offset + 50) {
                let read = p.read(Offset(i), 1).unwrap_or_else(|e| panic!("{case}, {i}: {e}"));
                assert_eq!(read.len(), 1);
            }
            // And the log goes on.
            assert_eq!(put(&p, &["more"]), Offset(100));
            assert_eq!(try_read(&p, 100, 10).unwrap(), [(100, "more".to_string())]);
        }
    }
}

#[test]
fn offsets_of_a_shortened_file_are_not_given_out_again() {
    let disk = SimDisk::new(1);
    let places = filled(&disk, 1 << 20);
    let (path, position, _) = &places[60];
    disk.open(path, false).unwrap().set_len(position + 33).unwrap();
    for _ in 0..2 {
        let (log, recovery) = open(&disk, no_threads(1 << 20));
        let damage = recovery.partitions[0].damage[0];
        assert_eq!((damage.first, damage.last), (Offset(60), Offset(99)));
        let p = log.topic("readings").unwrap().partition(Partition(0)).unwrap();
        let next = p.end_offset();
        assert_eq!(put(&p, &["more"]), next);
        assert!(next >= Offset(100));
        assert_eq!(p.read(Offset(60), 10).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(try_read(&p, next.0, 10).unwrap(), [(next.0, "more".to_string())]);
        assert_eq!(p.read(Offset(59), 10).unwrap().len(), 1);
        disk.kill();
    }
}

#[test]
fn bytes_that_come_back_behind_a_sealed_segment_are_not_read() {
    let disk = SimDisk::new(1);
    let places = filled(&disk, 5_000);
    let (_, _, next) = places.iter().find(|(path, ..)| *path != segment(0)).unwrap();
    // Right in every way, but cut off before the segment was sealed; its offset is taken.
    let mut ghost = batch(&["ghost"]).to_vec();
    ghost[..8].copy_from_slice(&next.to_be_bytes());
    let file = disk.open(&segment(0), false).unwrap();
    file.write_at(&ghost, file.len().unwrap()).unwrap();
    // With the index as it was stored, and with one rebuilt.
    for without_index in [false, true] {
        if without_index {
            disk.remove(&segment(0).with_extension("index")).unwrap();
        }
        let (log, _) = open(&disk, no_threads(5_000));
        let all = values(&log.topic("readings").unwrap().partitions()[0]);
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|value| value.starts_with("value")));
    }
}

#[test]
fn a_lost_segment_is_an_error_for_its_offsets_only() {
    let disk = SimDisk::new(1);
    let places = filled(&disk, 5_000);
    let (path, ..) = &places[50];
    let lost: Vec<i64> = places.iter().filter(|p| p.0 == *path).map(|p| p.2).collect();
    disk.remove(path).unwrap();
    let (log, _) = open(&disk, no_threads(5_000));
    let p = log.topic("readings").unwrap().partition(Partition(0)).unwrap();
    for i in 0..100 {
        match p.read(Offset(i), 1) {
            Ok(batches) => assert!(batches.len() == 1 && !lost.contains(&i), "{i}"),
            Err(e) => assert!(e.kind() == Kind::Corrupt && lost.contains(&i), "{i}: {e}"),
        }
    }
}
