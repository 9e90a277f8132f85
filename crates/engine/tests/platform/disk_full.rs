//! A disk that fills up: refused and said so, nothing acknowledged is lost, and it heals by itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Kind;

use super::support::*;

/// A small disk of its own; none where mounting is not allowed.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mib: u32) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|s| s.success()).then(|| SmallDisk(at.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 64 << 10, 4 << 10] {
        let piece = vec![0u8; size];
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    let place = Place::new(&format!("{EVENTS}{TOTALS}"), &[]);
    let data = place.path().join("data");
    let Some(disk) = SmallDisk::mount(&data, 160) else {
        eprintln!("skipped: a small tmpfs can't be mounted here");
        return;
    };
    let bench = place.start();
    bench.send("events", &events(0..100));
    bench.until_equal();
    let mut accepted = 100;
    for sequence in 1..=2 {
        let ballast = data.join("ballast");
        fill(&ballast);
        let mut refused = 0;
        for _ in 0..40 {
            match bench.try_send("events", &events(accepted..accepted + 1000)) {
                Ok(answer) => accepted += answer.accepted,
                Err(e) => {
                    assert_kind(&e, Kind::Exhausted, &["free some disk space"]);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "the disk was never full");
        // A numbered batch, refused as often as it takes, is in once.
        let body = format!("{}bad\n", events(accepted..accepted + 10));
        let e = bench.import("events", sequence, &body).unwrap_err();
        assert_kind(&e, Kind::Exhausted, &[]);
        // Reading goes on.
        assert_eq!(bench.sql("SELECT count(*) FROM events"), [accepted.to_string()]);
        assert!(bench.try_send("events", "bad\n").is_err(), "a dead letter needs room too");
        std::fs::remove_file(&ballast).unwrap();
        bench.wait("healed", |b| b.import("events", sequence, &body).is_ok());
        accepted += 10;
        let once = "SELECT count(*), count(DISTINCT id) FROM events";
        assert_eq!(bench.sql(once), [format!("{accepted}|{accepted}")], "round {sequence}");
        bench.until_equal();
        bench.wait("no error is left", |b| b.platform.ready().is_ok());
        bench.archive().unwrap();
        assert_eq!(bench.sql(once), [format!("{accepted}|{accepted}")]);
    }
    let letters = bench.sql("SELECT count(*) FROM dead_letters");
    assert_eq!(letters, ["2"]);
    let bench = bench.reopen();
    assert_eq!(bench.sql("SELECT count(*) FROM events"), [accepted.to_string()]);
    bench.until_equal();
    bench.close();
    drop(disk);
}
