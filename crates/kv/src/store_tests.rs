//! The store as its users see it: batches are whole, snapshots stand still, and a full disk, a
//! second process, a read-only folder and flipped bytes give errors that say what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Kind;

use super::*;
use crate::Pairs;

fn small() -> Options {
    Options { memtable_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() }
}

fn keys(pairs: Pairs) -> Vec<String> {
    pairs.map(|p| String::from_utf8_lossy(&p.unwrap().0).into_owned()).collect()
}

#[test]
fn a_batch_over_keyspaces_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Kv::open(dir.path(), Options::default()).unwrap();
    let (a, b) = (kv.keyspace("a").unwrap(), kv.keyspace("b").unwrap());
    let mut batch = kv.batch();
    for key in ["m/1", "m/2", "m/3", "n/1", "l"] {
        batch.put(&a, key, "v");
    }
    batch.put(&b, "x", "1");
    batch.delete(&a, "m/2");
    for value in ["first", "last"] {
        batch.delete(&b, "twice");
        batch.put(&b, "twice", value);
    }
    assert_eq!(a.len().unwrap(), 0);
    batch.commit_durable().unwrap();

    assert_eq!(&*b.get(b"twice").unwrap().unwrap(), b"last");
    let before = kv.snapshot().unwrap();
    assert_eq!(keys(a.prefix(b"m/").unwrap()), ["m/1", "m/3"]);
    let back: Vec<_> = a.prefix(b"m/").unwrap().rev().map(|p| p.unwrap().0.to_vec()).collect();
    assert_eq!(back, [b"m/3".to_vec(), b"m/1".to_vec()]);
    assert_eq!(keys(a.range("m/1".."n").unwrap()), ["m/1", "m/3"]);
    assert_eq!(keys(a.iter().unwrap()), ["l", "m/1", "m/3", "n/1"]);

    let mut batch = kv.batch();
    batch.put(&b, "x", "2");
    batch.delete_prefix(&a, b"m/").unwrap();
    batch.commit_durable().unwrap();
    assert_eq!(&*before.get(&b, b"x").unwrap().unwrap(), b"1");
    assert_eq!(keys(before.prefix(&a, b"m/").unwrap()).len(), 2);
    assert_eq!(&*b.get(b"x").unwrap().unwrap(), b"2");
    assert_eq!(a.len().unwrap(), 2);
    assert!(b.get(b"y").unwrap().is_none());
    assert_eq!(kv.keyspaces().unwrap(), ["a", "b"]);
    assert_eq!(kv.keyspace("_x").err().unwrap().kind(), Kind::Invalid);
}

/// Copies a folder as it is at one moment: again, if the store's own work changed it meanwhile.
fn copy_at_rest(from: &Path, to: &Path) {
    let files = || {
        let found = Command::new("find").arg(from).args(["-printf", "%p %s %T@\n"]).output();
        found.unwrap().stdout
    };
    for _ in 0..100 {
        let before = files();
        let copied = Command::new("cp").arg("-r").arg(from).arg(to).output().unwrap();
        if copied.status.success() && files() == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
    panic!("the folder never stood still");
}

#[test]
fn a_copy_of_the_folder_at_any_time_is_a_whole_commit() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Kv::open(dir.path().join("kv"), small()).unwrap();
    let (a, b) = (kv.keyspace("a").unwrap(), kv.keyspace("b").unwrap());
    for epoch in 1..=20u8 {
        let mut batch = kv.batch();
        batch.put(&a, "epoch", [epoch]);
        batch.put(&b, "epoch", [epoch]);
        batch.put(&a, [b'r', epoch], vec![epoch; 9_000]);
        batch.commit_durable().unwrap();
        if epoch % 5 == 0 {
            let copy = dir.path().join(format!("copy{epoch}"));
            copy_at_rest(&dir.path().join("kv"), &copy);
            let kv = Kv::open(copy, small()).unwrap();
            let (a, b) = (kv.keyspace("a").unwrap(), kv.keyspace("b").unwrap());
            assert_eq!(&*a.get(b"epoch").unwrap().unwrap(), [epoch]);
            assert_eq!(&*b.get(b"epoch").unwrap().unwrap(), [epoch]);
            assert_eq!(a.len().unwrap(), 1 + epoch as usize);
        }
    }
}

#[test]
fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Kv::open(dir.path(), small()).unwrap();
    let e = Kv::open(dir.path(), small()).err().unwrap();
    assert_eq!(e.kind(), Kind::Conflict);
    assert!(e.to_string().contains("in use by another process"), "{e}");
    drop(kv);
    Kv::open(dir.path(), small()).unwrap();
}

#[test]
fn a_dropped_keyspace_is_gone_and_its_name_free() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let kv = Kv::open(dir.path(), small()).unwrap();
        let (a, b) = (kv.keyspace("a").unwrap(), kv.keyspace("b").unwrap());
        let mut batch = kv.batch();
        batch.put(&a, "x", "1");
        batch.put(&b, [round], "1");
        batch.commit_durable().unwrap();
        kv.drop_keyspace("a").unwrap();
        kv.drop_keyspace("never").unwrap();
        assert_eq!(a.get(b"x").unwrap_err().kind(), Kind::NotFound);
        let mut late = kv.batch();
        late.put(&a, "x", "2");
        assert_eq!(late.commit_durable().unwrap_err().kind(), Kind::NotFound);
        assert!(kv.keyspace("a").unwrap().is_empty().unwrap());
        assert_eq!(kv.keyspace("b").unwrap().len().unwrap(), round as usize + 1);
    }
}

#[test]
fn a_reopening_keeps_handles_and_ends_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Kv::open(dir.path(), small()).unwrap();
    let a = kv.keyspace("a").unwrap();
    let mut batch = kv.batch();
    batch.put(&a, "x", "1");
    batch.commit_durable().unwrap();
    let snapshot = kv.snapshot().unwrap();
    kv.reopen().unwrap();
    assert!(!snapshot.is_valid());
    assert_eq!(snapshot.get(&a, b"x").unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(&*a.get(b"x").unwrap().unwrap(), b"1");
    batch.commit_durable().unwrap();
}

/// Flips bytes all over the files: each time there is either a clear error or a whole commit.
#[test]
fn flipped_bytes_never_pass_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    let kv = Kv::open(&good, small()).unwrap();
    let (a, b) = (kv.keyspace("a").unwrap(), kv.keyspace("b").unwrap());
    for epoch in 1..=40u8 {
        let mut batch = kv.batch();
        batch.put(&a, "epoch", [epoch]);
        batch.put(&b, "epoch", [epoch]);
        batch.put(&a, [b'r', epoch], vec![epoch; 4_000]);
        batch.commit_durable().unwrap();
    }
    drop((a, b, kv));
    let (mut refused, mut whole) = (0, 0);
    for (file, len) in files(&good) {
        let steps = if len > 2_000 { 6 } else { 3 };
        for step in 0..steps {
            let bad = dir.path().join("bad");
            let _ = fs::remove_dir_all(&bad);
            assert!(Command::new("cp").arg("-r").arg(&good).arg(&bad).status().unwrap().success());
            let path = bad.join(file.strip_prefix(&good).unwrap());
            let mut bytes = fs::read(&path).unwrap();
            let end = bytes.iter().rposition(|b| *b != 0).unwrap_or(0) as u64;
            let at = (step * end / steps + step % 3) as usize;
            if at >= bytes.len() {
                continue;
            }
            bytes[at] ^= 0x15;
            fs::write(&path, bytes).unwrap();
            match read_all(&bad) {
                Ok((a, b)) => {
                    assert_eq!(a, b, "{} at {at}", path.display());
                    whole += 1;
                }
                Err(e) => {
                    assert_eq!(e.kind(), Kind::Corrupt, "{e} ({} at {at})", path.display());
                    let text = e.to_string();
                    assert!(text.contains("bad") && text.contains("backup"), "{text}");
                    refused += 1;
                }
            }
        }
    }
    // The reach of the test: both outcomes must have happened.
    assert!(refused > 5 && whole > 0, "{refused} refused, {whole} whole");
}

#[test]
fn missing_and_foreign_files_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    for fault in ["keyspaces/0", "keyspaces/2", "version", "foreign"] {
        let path = dir.path().join(fault.replace('/', "_"));
        let kv = Kv::open(&path, small()).unwrap();
        let (a, b) = (kv.keyspace("a").unwrap(), kv.keyspace("b").unwrap());
        let mut batch = kv.batch();
        batch.put(&a, "x", "1");
        batch.put(&b, "x", "1");
        batch.commit_durable().unwrap();
        drop((a, b, batch, kv));
        match fault {
            "version" => fs::write(path.join(fault), b"nonsense").unwrap(),
            "foreign" => fs::create_dir(path.join("keyspaces/lost+found")).unwrap(),
            _ => fs::remove_dir_all(path.join(fault)).unwrap(),
        }
        let e = read_all(&path).err().unwrap_or_else(|| panic!("{fault} passed unseen"));
        assert_eq!(e.kind(), Kind::Corrupt, "{fault}: {e}");
    }
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(Kv::open(&file, small()).err().unwrap().to_string().contains("file"));
}

fn read_all(dir: &Path) -> Result<(usize, usize)> {
    let kv = Kv::open(dir, small())?;
    let (a, b) = (kv.keyspace("a")?, kv.keyspace("b")?);
    let (epoch_a, epoch_b) = (a.get(b"epoch")?, b.get(b"epoch")?);
    let number = |e: Option<crate::Value>| e.map_or(0, |e| e[0] as usize);
    let (epoch_a, epoch_b) = (number(epoch_a), number(epoch_b));
    let rows = a.prefix(b"r")?.collect::<Result<Vec<_>>>()?;
    for (key, value) in &rows {
        assert_eq!(**value, vec![key[1]; 4_000]);
    }
    assert_eq!(rows.len(), epoch_a);
    Ok((epoch_a, epoch_b))
}

fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        match meta.is_dir() {
            true => all.extend(files(&entry.path())),
            false => all.push((entry.path(), meta.len())),
        }
    }
    all.sort();
    all
}

/// A small file system of its own; unmounted at the end.
struct Small(tempfile::TempDir);

impl Small {
    /// None where mounting is not permitted: then nothing can be filled without harm to others.
    fn mount(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path());
        match mount.output() {
            Ok(out) if out.status.success() => Some(Self(dir)),
            _ => {
                eprintln!("skipped: this user may not mount a small tmpfs");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: usize) {
        use std::io::Write;
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len - free as u64).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", &option]).arg(self.path()).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_commits_and_loses_nothing() {
    // With a reserve fjall never meets the full disk; without, it breaks and is opened again.
    for reserve_bytes in [1 << 20, 0] {
        let Some(disk) = Small::mount(8) else { return };
        let options = Options { memtable_bytes: 64 << 10, reserve_bytes, ..Options::default() };
        let kv = Kv::open(disk.path().join("kv"), options).unwrap();
        let a = kv.keyspace("a").unwrap();
        let mut done = vec![];
        let mut put = |n: u32| {
            let mut batch = kv.batch();
            batch.put(&a, n.to_be_bytes(), noise(n, 10_000));
            batch.commit_durable().map(|()| done.push(n))
        };
        for n in 0..20 {
            put(n).unwrap();
        }
        disk.fill(100_000);
        // More than the disk holds, whatever the store clears away meanwhile.
        let e = (20..2_000).find_map(|n| put(n).err()).unwrap();
        assert_eq!(e.kind(), Kind::Exhausted, "{e}");
        assert!(e.hint_text().unwrap().contains("free some disk space"));
        assert_eq!(*a.get(&[0, 0, 0, 7]).unwrap().unwrap(), *noise(7, 10_000));
        disk.free();
        for n in 3_000..3_020 {
            put(n).unwrap();
        }
        for n in &done {
            let value = a.get(&n.to_be_bytes()).unwrap();
            assert!(value.is_some_and(|v| *v == *noise(*n, 10_000)), "{n} is lost");
        }
        drop(a);
    }
}

#[test]
fn a_disk_filled_while_files_are_written_does_not_hang() {
    let Some(disk) = Small::mount(24) else { return };
    let kv = Kv::open(disk.path().join("kv"), small()).unwrap();
    let a = kv.keyspace("a").unwrap();
    let mut written = 0u32;
    let e = loop {
        let mut batch = kv.batch();
        batch.put(&a, written.to_be_bytes(), noise(written, 60_000));
        match batch.commit_durable() {
            Ok(()) => written += 1,
            Err(e) => break e,
        }
        assert!(written < 1_000);
    };
    assert_eq!(e.kind(), Kind::Exhausted, "{e}");
    disk.remount("size=64m");
    let mut batch = kv.batch();
    batch.put(&a, "after", "1");
    batch.commit_durable().unwrap();
    for n in 0..written {
        assert_eq!(*a.get(&n.to_be_bytes()).unwrap().unwrap(), *noise(n, 60_000));
    }
}

/// Does not compress.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut x = u64::from(seed) + 1;
    let step = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..len).map(step).collect()
}

#[test]
fn a_read_only_folder_is_denied() {
    let Some(disk) = Small::mount(8) else { return };
    let path = disk.path().join("kv");
    drop(Kv::open(&path, small()).unwrap());
    disk.remount("ro");
    for path in [path, disk.path().join("new")] {
        let e = Kv::open(path, small()).err().unwrap();
        assert_eq!(e.kind(), Kind::Denied, "{e}");
        assert!(e.to_string().contains("mounted read-only"), "{e}");
    }
}

/// Twenty pipelines commit at once: all is there, in fewer writes than there were commits, and a
/// batch that can't be written does not take others along.
#[test]
fn commits_at_one_time_share_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Kv::open(dir.path(), Options { reserve_bytes: 0, ..Options::default() }).unwrap();
    let space = kv.keyspace("a").unwrap();
    const THREADS: usize = 20;
    const EACH: usize = 30;
    let start = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (kv, space, start) = (&kv, &space, &start);
            scope.spawn(move || {
                start.wait();
                for i in 0..EACH {
                    let mut batch = kv.batch();
                    batch.put(space, format!("{thread:02}/{i:03}"), "v");
                    batch.put(space, format!("last/{thread:02}"), i.to_string());
                    batch.commit_durable().unwrap();
                    let key = format!("last/{thread:02}");
                    assert_eq!(
                        *space.get(key.as_bytes()).unwrap().unwrap(),
                        *i.to_string().as_bytes()
                    );
                }
            });
        }
    });
    assert_eq!(space.len().unwrap(), THREADS * EACH + THREADS);
    let (groups, batches) = kv.group_commit.written();
    assert_eq!(batches, (THREADS * EACH) as u64);
    assert!(groups < batches / 2, "{groups} writes for {batches} commits");
    drop((kv, space));
    let kv = Kv::open(dir.path(), small()).unwrap();
    assert_eq!(kv.keyspace("a").unwrap().len().unwrap(), THREADS * EACH + THREADS);
}
