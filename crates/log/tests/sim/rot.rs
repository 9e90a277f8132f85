//! A bit rots in a file of the log: what is read afterwards is what was there before, or an error;
//! never something else. The end of an active segment looks like a torn write then, and is cut; the
//! report of the recovery says so.

use std::collections::BTreeMap;
use std::path::Path;

use log::Header;
use rand::Rng;
use rand::rngs::SmallRng;

use super::broker::{Broker, TOMBSTONE};
use super::oracle::{Oracle, try_read_all};

pub fn run(rng: &mut SmallRng, broker: &mut Broker, oracle: &mut Oracle) {
    let mut files: Vec<_> = broker.disk.files().into_iter().filter(|(_, len)| *len > 0).collect();
    // Descriptions of topics have other names in each run.
    files.sort_by_cached_key(|(path, _)| name_of(broker, path));
    let data: Vec<_> = files.iter().filter(|(path, _)| is_data(path)).collect();
    // Half of the times in what matters most.
    let (path, len) = match rng.random() {
        true => data[rng.random_range(0..data.len())],
        false => &files[rng.random_range(0..files.len())],
    };
    if path.starts_with("/data/coordinators") {
        // The store is another's part, with checksums of its own.
        return;
    }
    let position = rng.random_range(0..*len);
    if is_base_offset(broker, path, position) {
        return;
    }
    broker.disk.flip_bit(path, position, rng.random_range(0..8));
    oracle.note(|| format!("bit of byte {position} of {} rots", name_of(broker, path)));
    let mut is_found = check(broker, oracle, &BTreeMap::new());
    broker.disk.kill();
    match broker.restart() {
        Err(e) => {
            assert_eq!(e.kind(), common::Kind::Corrupt, "{e}");
            is_found = true;
        }
        Ok(()) => {
            let cut = broker.recovery.partitions.iter();
            let cut: BTreeMap<_, _> =
                cut.map(|p| ((p.topic.clone(), p.partition.0), p.next_offset.0)).collect();
            is_found |= !cut.is_empty() | check(broker, oracle, &cut);
        }
    }
    if is_found {
        oracle.outcomes.add("rot detected");
    }
}

/// A name that is the same in each run.
fn name_of(broker: &Broker, path: &Path) -> String {
    let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (id, part) = match &*ending {
        "json" => (&*stem, String::new()),
        // A list of segments: the topic's id and the partition.
        "segments" => stem.rsplit_once('-').map(|(id, p)| (id, format!("-{p}.segments"))).unwrap(),
        _ => return path.display().to_string(),
    };
    let description = path.with_file_name(format!("{id}.json"));
    let Ok(text) = common::disk::read(&broker.disk.attach(), &description) else {
        return path.display().to_string();
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let name = text.lines().find(|line| line.contains("\"name\"")).unwrap_or_default();
    format!("{name}{part}")
}

/// Whether it is in a base offset of a compacted segment: Kafka's checksum does not cover that, and
/// only where it leaves the order of offsets is it known to be wrong.
fn is_base_offset(broker: &Broker, path: &Path, position: u64) -> bool {
    let is_compacted = path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains('-'));
    if !is_data(path) || !is_compacted {
        return false;
    }
    let bytes = common::disk::read(&broker.disk.attach(), path).unwrap();
    let mut at = 0;
    while let Some(header) = Header::parse(&bytes[at..]) {
        if (at..at + 8).contains(&(position as usize)) {
            return true;
        }
        at += header.batch_len().unwrap();
    }
    false
}

fn is_data(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// Reads each record by itself; whether one could not be read.
fn check(broker: &Broker, oracle: &Oracle, cut: &BTreeMap<(String, i32), i64>) -> bool {
    let mut is_found = false;
    for (topic, partition) in oracle.places() {
        let log = broker.partition(topic, partition);
        let seen = oracle.seen((topic, partition));
        if let Ok(all) = try_read_all(&log, log.start_offset().0, 1_000) {
            for (offset, (_, value)) in &all {
                let value = value.trim_end_matches(TOMBSTONE);
                assert_eq!(seen.get(offset).map(String::as_str), Some(value), "offset {offset}");
            }
        }
        for (offset, value) in seen {
            let is_cut = cut.get(&(topic.to_owned(), partition)).is_some_and(|end| offset >= end);
            match try_read_all(&log, *offset, 1) {
                _ if is_cut => is_found = true,
                Err(e) => {
                    assert_eq!(e.kind(), common::Kind::Corrupt, "{e}");
                    is_found = true;
                }
                Ok(read) => match read.get(offset) {
                    Some((_, found)) => {
                        let is_same = found.trim_end_matches(TOMBSTONE) == value;
                        assert!(is_same, "{topic}-{partition} {offset}: {found} for {value}");
                    }
                    None => panic!("{topic}-{partition} {offset} is gone without a word"),
                },
            }
        }
    }
    is_found
}
