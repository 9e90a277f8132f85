//! The simulated disk keeps its contract, and breaks everything else.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::path::Path;

use common::{Disk, disk};

use crate::SimDisk;

fn disk_with(seed: u64, synced: &[u8], unsynced: &[u8]) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new("/d")).unwrap();
    let file = disk.open(Path::new("/d/a"), true).unwrap();
    file.write_at(synced, 0).unwrap();
    file.sync().unwrap();
    file.write_at(unsynced, synced.len() as u64).unwrap();
    disk
}

#[test]
fn synced_bytes_survive_and_others_have_every_fate() {
    let mut lens = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = disk_with(seed, b"safe", &[7; 2000]);
        let old = disk.open(Path::new("/d/a"), false).unwrap();
        disk.crash();
        assert!(old.len().is_err(), "handles do not survive");
        let bytes = disk::read(&disk, Path::new("/d/a")).unwrap();
        assert_eq!(&bytes[..4], b"safe");
        assert!(bytes[4..].iter().all(|b| *b == 7 || *b == 0));
        lens.insert((bytes.len(), bytes[4..].contains(&0)));
    }
    assert!(lens.contains(&(4, false)) && lens.contains(&(2004, false)));
    assert!(lens.contains(&(2004, true)), "a hole");
    assert!(lens.iter().any(|(len, _)| (5..2004).contains(len)), "a prefix");
}

#[test]
fn a_killed_process_loses_nothing() {
    let disk = disk_with(1, b"safe", b"too");
    disk.kill();
    assert_eq!(disk::read(&disk, Path::new("/d/a")).unwrap(), b"safetoo");
}

#[test]
fn a_full_disk_takes_what_fits_and_more_after_a_cut() {
    let disk = disk_with(1, b"safe", b"");
    disk.set_free(Some(2));
    let file = disk.open(Path::new("/d/a"), false).unwrap();
    file.write_at(b"SAFE", 0).unwrap();
    assert_eq!(file.write_at(b"more", 4).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 6);
    let refused = disk.open(Path::new("/d/b"), true).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    file.set_len(2).unwrap();
    file.write_at(b"more", 2).unwrap();
}

#[test]
fn a_failed_sync_is_told_once_and_the_bytes_stay_in_the_cache_only() {
    let mut lost = 0;
    for seed in 0..20 {
        let disk = disk_with(seed, b"safe", b"lost");
        let file = disk.open(Path::new("/d/a"), false).unwrap();
        disk.fail_syncs(1);
        assert!(file.sync().is_err());
        assert!(file.sync().is_ok());
        assert_eq!(file.len().unwrap(), 8);
        disk.crash();
        lost += usize::from(disk::read(&disk, Path::new("/d/a")).unwrap() == b"safe");
    }
    assert!((1..20).contains(&lost), "{lost}");
}

#[test]
fn a_power_cut_within_a_rename_leaves_one_of_the_two() {
    let mut seen = [0, 0];
    for seed in 0..20 {
        let disk = disk_with(seed, b"old", b"");
        disk::write_atomically(&disk, Path::new("/d/b"), b"new").unwrap();
        disk.cut_power_in(0);
        assert!(disk.rename(Path::new("/d/b"), Path::new("/d/a")).is_err());
        assert!(!disk.is_on());
        assert!(disk.list(Path::new("/d")).is_err());
        disk.crash();
        let bytes = disk::read(&disk, Path::new("/d/a")).unwrap();
        seen[usize::from(bytes == b"new")] += 1;
        assert!(bytes == b"new" || bytes == b"old");
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn the_same_seed_does_the_same() {
    let run = |seed| {
        let disk = disk_with(seed, b"safe", &[7; 5000]);
        disk.crash();
        disk::read(&disk, Path::new("/d/a")).unwrap()
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
