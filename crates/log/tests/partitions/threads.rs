//! With threads, on the real disk: group commit under many writers, a reader at the tail, a full
//! file system, and silence when there is nothing to do.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Kind, Offset, Partition, SystemClock, SystemDisk};
use log::{Log, LogConfig, TopicConfig};

use super::{batch, try_read, values};

fn open(dir: &Path, config: LogConfig) -> Arc<Log> {
    Log::open(Arc::new(SystemDisk), Arc::new(SystemClock), dir, config).unwrap().0
}

#[test]
fn many_writers_share_syncs_and_a_reader_follows() {
    let dir = tempfile::tempdir().unwrap();
    let config = || LogConfig { segment_bytes_max: 5_000, ..LogConfig::default() };
    let log = open(dir.path(), config());
    let topic = log
        .create_topic("readings", TopicConfig { partitions: 4, ..TopicConfig::default() })
        .unwrap();
    let (writers, rounds) = (16, 40);
    let done = AtomicBool::new(false);
    let followed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..writers)
            .map(|w| {
                let p = topic.partition(Partition(w % 4)).unwrap();
                scope.spawn(move || {
                    for i in 0..rounds {
                        let names = [format!("{w} {i} a"), format!("{w} {i} b")];
                        let appended = p.append(batch(&[&names[0], &names[1]])).unwrap();
                        p.wait_durable(appended).unwrap();
                        assert!(p.high_watermark() > appended.last);
                        let read = p.read(appended.first, 1).unwrap();
                        assert_eq!(read.len(), 1, "what is acknowledged can be read");
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let commits = log.commits();
            let (mut next, mut seen) = ([0_i64; 4], 0);
            while !done.load(Ordering::SeqCst) || next.iter().sum::<i64>() < 1280 {
                for p in topic.partitions() {
                    let read = try_read(&p, next[p.id().0 as usize], 5_000).unwrap();
                    next[p.id().0 as usize] += read.len() as i64;
                }
                seen = commits.wait(seen, Duration::from_millis(100));
            }
            followed.store(next.iter().sum::<i64>() as usize, Ordering::SeqCst);
        });
        handles.into_iter().for_each(|h| h.join().unwrap());
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(followed.load(Ordering::SeqCst), 1280);
    let stats = log.stats().unwrap();
    let syncs: u64 = stats.iter().map(|s| s.syncs).sum();
    assert!(syncs < 600, "{syncs} syncs for 640 acknowledged appends");
    assert!(stats.iter().all(|s| s.segments > 1 && s.records_appended == 320));
    log.close();
    let log = open(dir.path(), config());
    for w in 0..writers {
        let p = log.topic("readings").unwrap().partition(Partition(w % 4)).unwrap();
        let own: Vec<_> =
            values(&p).into_iter().filter(|v| v.starts_with(&format!("{w} "))).collect();
        let expected: Vec<_> =
            (0..rounds).flat_map(|i| [format!("{w} {i} a"), format!("{w} {i} b")]).collect();
        assert_eq!(own, expected, "in the writer's order");
    }
}

#[test]
fn without_work_no_thread_wakes_up() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig::default());
    let topic = log
        .create_topic("readings", TopicConfig { partitions: 3, ..TopicConfig::default() })
        .unwrap();
    for p in topic.partitions() {
        p.append(batch(&["a"])).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while topic.partitions().iter().any(|p| p.high_watermark() < Offset(1)) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    // Other tests in this process have such threads too, so some may have come, gone or worked;
    // and on a busy machine these ones come to rest late.
    let is_quiet = || {
        let before = wake_ups();
        assert!(!before.is_empty(), "the threads are found");
        std::thread::sleep(Duration::from_millis(400));
        wake_ups().iter().any(|now| before.contains(now))
    };
    assert!((0..25).any(|_| is_quiet()), "{:?}", wake_ups());
}

/// Thread ids of flushers with how often they gave up the processor.
fn wake_ups() -> Vec<(String, String)> {
    let mut found = vec![];
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        if status.starts_with("Name:\tlog-flush") {
            let line = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches"));
            let id = task.file_name().to_string_lossy().into_owned();
            found.push((id, line.unwrap_or_default().to_string()));
        }
    }
    found
}

/// A file system of its own, as small as wanted.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn tmpfs(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &options, "none"];
        let output = Command::new("mount").args(mount).arg(dir.path()).output().ok()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!("skipped: no tmpfs can be mounted here: {}", why.trim());
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_file_system_refuses_and_then_goes_on() {
    let Some(mounted) = Mounted::tmpfs("1m") else { return };
    let dir = mounted.0.path();
    let config = || LogConfig { segment_bytes_max: 100_000, ..LogConfig::default() };
    let log = open(&dir.join("log"), config());
    let p = log.create_topic("readings", TopicConfig::default()).unwrap().partitions()[0].clone();
    fs::write(dir.join("ballast"), vec![1; 300_000]).unwrap();
    let big = "x".repeat(10_000);
    let mut acknowledged = 0;
    let e = loop {
        match p.append(batch(&[&format!("{acknowledged}"), &big])) {
            Ok(appended) => {
                p.wait_durable(appended).unwrap();
                acknowledged += 1;
            }
            Err(e) => break e,
        }
        assert!(acknowledged < 1000);
    };
    assert_eq!(e.kind(), Kind::Exhausted);
    assert!(e.to_string().contains("free some disk space"), "{e}");
    assert!(acknowledged > 30, "{acknowledged}");
    assert_eq!(values(&p).len(), acknowledged * 2);
    fs::remove_file(dir.join("ballast")).unwrap();
    for _ in 0..10 {
        p.wait_durable(p.append(batch(&["again", &big])).unwrap()).unwrap();
    }
    drop((p, log));
    let log = open(&dir.join("log"), config());
    let p = log.topic("readings").unwrap().partitions()[0].clone();
    assert_eq!(values(&p).len(), acknowledged * 2 + 20);
}

#[test]
fn a_folder_that_cannot_be_written_says_so() {
    let Some(mounted) = Mounted::tmpfs("1m") else { return };
    let dir = mounted.0.path();
    drop(open(&dir.join("log"), LogConfig::default()));
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(dir).status().unwrap();
    assert!(remount.success());
    let log = open(&dir.join("log"), LogConfig::default());
    let e = log.create_topic("readings", TopicConfig::default()).unwrap_err();
    assert_eq!(e.kind(), Kind::Denied);
    assert!(e.to_string().contains("mounted read-only"), "{e}");
}
