//! Faults of the machine below: a flipped byte, a damaged catalog, a full disk. Each is said
//! clearly, and no acknowledged event goes missing silently.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Project, READINGS, Server};

const EVENT: &str = r#"{"sensor":"a","celsius":20.5,"at":"2026-01-01T10:00:00Z"}"#;

fn segment(project: &Project) -> PathBuf {
    project.path().join("data/log/readings-0/00000000000000000000.log")
}

/// Starts `serve` where it is expected to fail: exit code and what it said.
fn refused(project: &Project) -> (i32, String) {
    let output = project
        .command(&["serve", ".", "--http-port", "0", "--pg-port", "0", "--kafka-port", "0"])
        .output()
        .unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_flipped_byte_is_found_and_not_skipped() {
    let server = Project::new(READINGS).serve(&["--set", "lake.archive_interval=1 day"]);
    for _ in 0..10 {
        assert_eq!(server.post("/api/topics/readings", EVENT).status, 200);
    }
    let project = server.kill();
    let path = segment(&project);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
    // Either the start says so, or the first reading does; never fewer rows without a word.
    let mut child = Server::start_unready(project, &["--set", "lake.archive_interval=1 day"]);
    match child.wait_for_start() {
        Err(said) => assert!(said.contains("readings"), "{said}"),
        Ok(()) => {
            let body = serde_json::json!({ "query": "SELECT count(*) FROM readings" });
            let answer = child.post("/api/sql", body.to_string());
            assert_eq!(answer.status, 500, "{}", answer.text());
            assert_eq!(answer.json()["code"], "corrupt", "{}", answer.text());
            assert_eq!(child.get("/health").status, 200);
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_said_so() {
    let server = Project::new(READINGS).serve(&["--set", "lake.archive_interval=1 day"]);
    for _ in 0..10 {
        assert_eq!(server.post("/api/topics/readings", EVENT).status, 200);
    }
    let project = server.kill();
    let path = segment(&project);
    let whole = std::fs::read(&path).unwrap();
    // Half of a batch that was being written when the power went.
    let half = &whole[..whole.len() / 20];
    std::fs::write(&path, [&whole[..], half].concat()).unwrap();
    let mut server = project.serve(&[]);
    assert_eq!(server.sql("SELECT count(*) FROM readings")[0][0], 10);
    assert!(server.printed().contains("torn"), "{}", server.printed());
    assert_eq!(server.post("/api/topics/readings", EVENT).status, 200);
    assert_eq!(server.sql("SELECT count(*) FROM readings")[0][0], 11);
}

#[test]
fn a_damaged_catalog_stops_the_start() {
    let (_, project) = Project::new(READINGS).serve(&[]).stop();
    let path = project.path().join("data/catalog.json");
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in [good.replace("DOUBLE", "DOUBLF"), good[..good.len() / 2].to_string()] {
        std::fs::write(&path, bad).unwrap();
        let (code, said) = refused(&project);
        assert_eq!(code, 9, "{said}");
        assert!(said.contains("catalog.json"), "{said}");
    }
    std::fs::write(&path, good).unwrap();
    let server = project.serve(&[]);
    assert_eq!(server.post("/api/topics/readings", EVENT).status, 200);
}

/// A small disk of its own; None where mounting is not allowed.
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

#[test]
fn a_full_disk_refuses_loses_nothing_and_heals() {
    let project = Project::new(READINGS);
    let data = project.path().join("data");
    let Some(_disk) = SmallDisk::mount(&data, 160) else {
        eprintln!("skipped: a small tmpfs can't be mounted here");
        return;
    };
    let server = project.serve(&["--set", "lake.archive_interval=1 day"]);
    let ballast = data.join("ballast");
    let body = format!("{EVENT}\n").repeat(2_000);
    let mut accepted = 0;
    let send = |server: &Server| {
        let answer = server.post("/api/topics/readings", &body);
        (answer.status, answer)
    };
    assert_eq!(send(&server).0, 200);
    accepted += 2_000;
    // All but a little is gone at a stroke, the rest is written by us.
    fill(&ballast);
    let mut refusals = 0;
    for _ in 0..50 {
        match send(&server) {
            (200, _) => accepted += 2_000,
            (status, answer) => {
                assert_eq!(status, 507, "{}", answer.text());
                assert_eq!(answer.json()["code"], "exhausted", "{}", answer.text());
                refusals += 1;
            }
        }
    }
    assert!(refusals > 0, "the disk was never full");
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.sql("SELECT count(*) FROM readings")[0][0], accepted);
    std::fs::remove_file(&ballast).unwrap();
    server.wait_until("healed", |s| s.post("/api/topics/readings", EVENT).status == 200);
    accepted += 1;
    assert_eq!(server.sql("SELECT count(*) FROM readings")[0][0], accepted);
    let server = server.kill().serve(&[]);
    assert_eq!(server.sql("SELECT count(*) FROM readings")[0][0], accepted);
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 64 << 10, 4 << 10] {
        let piece = vec![0u8; size];
        while file.write_all(&piece).is_ok() {}
    }
}
