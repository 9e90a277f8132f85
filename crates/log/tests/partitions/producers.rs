//! Idempotent and transactional producers as a client sees them: what is taken, what is refused
//! and with which code, what a read_committed reader gets, also after restarts and with damaged
//! or missing snapshot files.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use common::{Disk, Offset, Partition};
use log::{
    AbortedTransaction, ErrorCode, HEADER_LEN, Header, Log, PartitionLog, TopicConfig, records,
};
use testkit::SimDisk;

use super::{DIR, batch, no_threads, open, put, topic};

pub const TRANSACTIONAL: i16 = 0x10;
const CRC_FROM: usize = 21;

/// A batch as an idempotent producer sends it.
pub fn sent(values: &[&str], producer: (i64, i16), sequence: i32, attributes: i16) -> Bytes {
    let mut bytes = BytesMut::from(&batch(values)[..]);
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    bytes[43..51].copy_from_slice(&producer.0.to_be_bytes());
    bytes[51..53].copy_from_slice(&producer.1.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

fn send(p: &Arc<PartitionLog>, bytes: Bytes) -> Result<i64, ErrorCode> {
    let appended = p.append_produced(bytes).map_err(|refusal| refusal.code)?;
    p.wait_durable(appended).unwrap();
    Ok(appended.first.0)
}

/// Values a read_committed reader sees, read in steps of `bytes_max`.
pub fn committed(p: &PartitionLog, bytes_max: usize) -> Vec<String> {
    let mut next = p.start_offset();
    let mut out = vec![];
    loop {
        let read = p.read_committed(next, bytes_max).unwrap();
        for batch in &read.batches {
            for record in records::iter(batch).unwrap() {
                let record = record.unwrap();
                out.push(String::from_utf8_lossy(record.value.unwrap()).into_owned());
            }
        }
        if read.next == next {
            return out;
        }
        next = read.next;
    }
}

fn end(p: &Arc<PartitionLog>, producer: (i64, i16), commit: bool) -> Option<i64> {
    let appended = p.end_transaction(producer.0, producer.1, commit).unwrap()?;
    p.wait_durable(appended).unwrap();
    Some(appended.first.0)
}

fn reopened(disk: &SimDisk) -> (Arc<Log>, Arc<PartitionLog>) {
    let (log, _) = open(disk, no_threads(900));
    let p = log.topic("t").unwrap().partition(Partition(0)).unwrap();
    (log, p)
}

#[test]
fn a_batch_sent_twice_is_stored_once() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let p = topic(&log, "t");
    let a = (7, 0);
    assert_eq!(send(&p, sent(&["a", "b"], a, 0, 0)), Ok(0));
    assert_eq!(send(&p, sent(&["c"], a, 2, 0)), Ok(2));
    assert_eq!(send(&p, sent(&["a", "b"], a, 0, 0)), Ok(0), "the first place is the answer");
    assert_eq!(send(&p, sent(&["d"], (8, 0), 0, 0)), Ok(3), "others have their own sequences");
    for (n, sequence) in (4..).zip(3..8) {
        assert_eq!(send(&p, sent(&["e"], a, sequence, 0)), Ok(n));
    }
    let refused = send(&p, sent(&["c"], a, 2, 0));
    assert_eq!(refused, Err(ErrorCode::OutOfOrderSequenceNumber), "older than the last five");
    assert_eq!(p.high_watermark(), Offset(9));
}

#[test]
fn who_begins_with_a_failure_goes_on_with_that_batch() {
    for fail in [SimDisk::fail_writes, SimDisk::fail_syncs] {
        let disk = SimDisk::new(1);
        let (log, _) = open(&disk, no_threads(1 << 20));
        let p = topic(&log, "t");
        fail(&disk, 1);
        if let Ok(appended) = p.append_produced(sent(&["a"], (7, 0), 3, 0)) {
            log.flush();
            assert!(p.outcome(appended).unwrap().is_err());
        }
        // It was under way when the answer came.
        let second = send(&p, sent(&["b"], (7, 0), 4, 0));
        assert_eq!(second, Err(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(send(&p, sent(&["a"], (7, 0), 3, 0)), Ok(0));
        assert_eq!(send(&p, sent(&["b"], (7, 0), 4, 0)), Ok(1));
        assert_eq!(send(&p, sent(&["c"], (7, 1), 0, 0)), Ok(2), "a new epoch begins at 0");
    }
}

#[test]
fn sequences_and_epochs_must_follow() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let p = topic(&log, "t");
    assert_eq!(send(&p, sent(&["a"], (7, 3), i32::MAX - 1, 0)), Ok(0), "any at first");
    assert_eq!(send(&p, sent(&["b", "c"], (7, 3), i32::MAX, 0)), Ok(1), "over the border");
    assert_eq!(send(&p, sent(&["d"], (7, 3), 1, 0)), Ok(3));
    let gap = send(&p, sent(&["x"], (7, 3), 5, 0));
    assert_eq!(gap, Err(ErrorCode::OutOfOrderSequenceNumber));
    let fenced = send(&p, sent(&["x"], (7, 2), 2, 0));
    assert_eq!(fenced, Err(ErrorCode::InvalidProducerEpoch));
    let new_epoch = send(&p, sent(&["x"], (7, 4), 2, 0));
    assert_eq!(new_epoch, Err(ErrorCode::OutOfOrderSequenceNumber), "a new epoch begins at 0");
    assert_eq!(send(&p, sent(&["e"], (7, 4), 0, 0)), Ok(4));
    let state = p.producers()[0];
    assert_eq!((state.producer_id, state.epoch, state.last_sequence), (7, 4, 0));
}

#[test]
fn what_no_client_may_send_is_refused() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let p = topic(&log, "t");
    let invalid = Err(ErrorCode::InvalidRecord);
    let none = (-1, -1);
    for attributes in [0x20, 0x30, 0x40, 1 << 14, i16::MIN] {
        assert_eq!(send(&p, sent(&["x"], (7, 0), 0, attributes)), invalid);
    }
    assert_eq!(send(&p, sent(&["x"], none, -1, TRANSACTIONAL)), invalid);
    assert_eq!(send(&p, sent(&["x"], (7, -1), 0, 0)), invalid);
    assert_eq!(send(&p, sent(&["x"], (7, 0), -1, 0)), invalid);
    let corrupt = Err(ErrorCode::CorruptMessage);
    let two = [&sent(&["x"], none, -1, 0)[..], &sent(&["y"], none, -1, 0)[..]].concat();
    assert_eq!(send(&p, two.into()), corrupt);
    let mut flipped = BytesMut::from(&sent(&["x"], (7, 0), 0, 0)[..]);
    flipped[65] ^= 1;
    assert_eq!(send(&p, flipped.freeze()), corrupt);
    assert_eq!(send(&p, Bytes::from_static(b"short")), corrupt);
    assert_eq!(send(&p, Bytes::new()), corrupt);
    assert_eq!(p.end_offset(), Offset(0));
}

#[test]
fn records_may_bear_the_time_of_their_arrival() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let arrival = TopicConfig {
        message_timestamp_type: log::TimestampType::LogAppendTime,
        ..TopicConfig::default()
    };
    let p = log.create_topic("t", arrival).unwrap().partition(Partition(0)).unwrap();
    let early = super::batch_at(super::T0 - 5_000_000, &["a", "b"]);
    assert_eq!(send(&p, early), Ok(0));
    let stored = p.read(Offset(0), 1).unwrap().remove(0);
    assert!(Header::parse(&stored).unwrap().is_log_append_time());
    let times = records::iter(&stored).unwrap().map(|r| r.unwrap().timestamp_ms);
    assert_eq!(times.collect::<Vec<_>>(), [super::T0 / 1000; 2]);
}

#[test]
fn timestamps_too_far_from_the_clock_are_refused_and_named() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let p = topic(&log, "t");
    let hour = 3_600_000_000;
    let refused = |at_us: i64| {
        let refusal = p.append_produced(super::batch_at(at_us, &["a", "b"])).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidTimestamp);
        refusal.records.into_iter().map(|(i, _)| i).collect::<Vec<_>>()
    };
    assert_eq!(send(&p, super::batch_at(super::T0 - 1_000 * hour, &["of old"])), Ok(0));
    assert_eq!(send(&p, super::batch_at(super::T0 + hour, &["ahead"])), Ok(1));
    assert_eq!(refused(super::T0 + hour + 1_000), [0, 1]);
    let near = TopicConfig {
        timestamp_before_max_us: Some(hour),
        timestamp_after_max_us: None,
        ..TopicConfig::default()
    };
    log.alter("t", near).unwrap();
    assert_eq!(refused(super::T0 - hour - 1_000), [0, 1]);
    assert_eq!(send(&p, super::batch_at(super::T0 - hour, &["old"])), Ok(2));
    assert_eq!(send(&p, super::batch_at(super::T0 + 1_000 * hour, &["far ahead"])), Ok(3));
}

#[test]
fn only_committed_records_are_seen() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let p = topic(&log, "t");
    let (a, b) = ((7, 0), (8, 0));
    put(&p, &["plain"]);
    send(&p, sent(&["a1"], a, 0, TRANSACTIONAL)).unwrap();
    send(&p, sent(&["b1"], b, 0, TRANSACTIONAL)).unwrap();
    put(&p, &["later"]);
    assert_eq!(p.last_stable_offset(), Offset(1));
    assert_eq!(committed(&p, 1), ["plain"]);
    let refused = send(&p, sent(&["x"], a, 1, 0));
    assert_eq!(refused, Err(ErrorCode::InvalidTxnState), "outside of its open transaction");
    assert_eq!(end(&p, a, false), Some(4));
    assert_eq!(p.last_stable_offset(), Offset(2));
    assert_eq!(end(&p, b, true), Some(5));
    assert_eq!(p.last_stable_offset(), Offset(6));
    assert_eq!(committed(&p, 1), ["plain", "b1", "later"]);
    assert_eq!(end(&p, a, false), None, "asked again");
    let aborted = AbortedTransaction { producer_id: 7, first: Offset(1), last: Offset(4) };
    assert_eq!(p.aborted_between(Offset(0), Offset(6)).unwrap(), [aborted]);
    assert_eq!(p.aborted_between(Offset(5), Offset(6)).unwrap(), []);
    assert_eq!(p.aborted_between(Offset(0), Offset(1)).unwrap(), []);
    assert_eq!(send(&p, sent(&["a2"], a, 1, TRANSACTIONAL)), Ok(6), "sequences go on");
    assert_eq!(p.producers()[0].transaction_start, Some(Offset(6)));
}

#[test]
fn markers_are_kafkas() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let p = topic(&log, "t");
    send(&p, sent(&["a"], (7, 2), 0, TRANSACTIONAL)).unwrap();
    assert_eq!(end(&p, (7, 2), true), Some(1));
    let marker = p.read(Offset(1), 1).unwrap().remove(0);
    let header = Header::parse(&marker).unwrap();
    assert!(header.is_control() && header.is_transactional());
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 2, -1));
    // Length 16, attributes, time and offset deltas 0; key of 4, value of 6 bytes, no headers.
    let record = [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(&marker[HEADER_LEN..], record);
    assert_eq!(records::iter(&marker).unwrap().count(), 0, "no record for readers");
}

#[test]
fn an_abort_with_a_newer_epoch_fences_the_producer() {
    let (log, _) = open(&SimDisk::new(1), no_threads(1 << 20));
    let p = topic(&log, "t");
    send(&p, sent(&["a"], (7, 0), 0, TRANSACTIONAL)).unwrap();
    assert_eq!(end(&p, (7, 1), false), Some(1));
    let late = send(&p, sent(&["b"], (7, 0), 1, TRANSACTIONAL));
    assert_eq!(late, Err(ErrorCode::InvalidProducerEpoch));
}

/// Transactions of two producers over several segments, one of them open at the end.
fn write_transactions(p: &Arc<PartitionLog>) {
    for n in 0..6 {
        for id in [7, 8] {
            let value = format!("{id}-{n} {}", "x".repeat(150));
            send(p, sent(&[&value], (id, 0), n, TRANSACTIONAL)).unwrap();
            put(p, &["plain"]);
        }
        end(p, (7, 0), n % 2 == 0).unwrap();
        if n == 3 {
            end(p, (8, 0), false).unwrap();
        }
    }
    assert!(p.segment_bases().len() > 3);
}

fn seen(p: &PartitionLog) -> (Vec<String>, Vec<AbortedTransaction>, Offset) {
    let stable = p.last_stable_offset();
    (committed(p, 300), p.aborted_between(Offset(0), stable).unwrap(), stable)
}

#[test]
fn everything_is_known_after_a_restart() {
    for stop in [SimDisk::crash, SimDisk::kill] {
        let disk = SimDisk::new(1);
        let (log, _) = open(&disk, no_threads(900));
        let p = topic(&log, "t");
        write_transactions(&p);
        let before = (seen(&p), p.producers());
        stop(&disk);
        let (_log, p) = reopened(&disk);
        assert_eq!((seen(&p), p.producers()), before);
        assert_eq!(before.0.1.len(), 3, "2 of 7, 1 of 8, and one behind what is open");
        let log_end = p.end_offset();
        let again = sent(&[&format!("8-5 {}", "x".repeat(150))], (8, 0), 5, TRANSACTIONAL);
        assert!(send(&p, again).unwrap() < log_end.0);
        assert_eq!(p.end_offset(), log_end, "still known as sent");
        assert!(end(&p, (8, 0), true).is_some());
        assert!(committed(&p, 300).iter().any(|v| v.starts_with("8-5")));
    }
}

#[test]
fn lost_or_damaged_snapshots_are_made_anew() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(900));
    let p = topic(&log, "t");
    write_transactions(&p);
    let before = (seen(&p), p.producers());
    let dir = Path::new(DIR).join("t-0");
    let names = disk.attach().list(&dir).unwrap();
    let small: Vec<_> = names
        .iter()
        .filter(|(n, _)| n.ends_with(".txn") || n.ends_with(".producers"))
        .map(|(n, _)| dir.join(n))
        .collect();
    assert!(small.len() > 6, "{names:?}");
    for (i, path) in small.iter().enumerate() {
        disk.kill();
        assert!(disk.flip_bit(path, 20, 3));
        let (_log, p) = reopened(&disk);
        assert_eq!((seen(&p), p.producers()), before, "damaged: {}", path.display());
        disk.kill();
        let attached = disk.attach();
        small[..=i].iter().for_each(|path| attached.remove(path).unwrap());
        let (_log, p) = reopened(&disk);
        assert_eq!((seen(&p), p.producers()), before, "missing: {}", path.display());
    }
}

#[test]
fn a_clean_stop_spares_reading_the_segment() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(8 << 20));
    let p = topic(&log, "t");
    let long = "x".repeat(600_000);
    send(&p, sent(&[&long], (7, 0), 0, TRANSACTIONAL)).unwrap();
    end(&p, (7, 0), false);
    send(&p, sent(&[&long], (7, 0), 1, TRANSACTIONAL)).unwrap();
    let before = (seen(&p), p.producers());
    log.close();
    disk.kill();
    let stored = Path::new(DIR).join("t-0").join(format!("{:020}.producers", 3));
    assert!(disk.files().iter().any(|(path, _)| *path == stored));
    let (log, p) = reopened(&disk);
    assert_eq!((seen(&p), p.producers()), before);
    assert!(!disk.files().iter().any(|(path, _)| *path == stored), "used once");
    end(&p, (7, 0), true);
    assert_eq!(committed(&p, 1).len(), 1);
    drop(log);
}

#[test]
fn a_failed_sync_takes_back_what_was_known_of_producers() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(1 << 20));
    let p = topic(&log, "t");
    send(&p, sent(&["a"], (7, 0), 0, TRANSACTIONAL)).unwrap();
    let lost = p.append_produced(sent(&["b"], (7, 0), 1, TRANSACTIONAL)).unwrap();
    let marker = p.end_transaction(7, 0, true).unwrap().unwrap();
    assert_eq!(p.last_stable_offset(), Offset(0), "its marker is not durable");
    disk.fail_syncs(1);
    assert!(p.wait_durable(lost).is_err());
    assert!(p.wait_durable(marker).is_err());
    assert_eq!(p.producers()[0].transaction_start, Some(Offset(0)), "open again");
    assert_eq!(send(&p, sent(&["b"], (7, 0), 1, TRANSACTIONAL)), Ok(1), "not taken for sent");
    assert_eq!(end(&p, (7, 0), true), Some(2));
    assert_eq!(committed(&p, 1), ["a", "b"]);
}

#[test]
fn idle_producers_are_forgotten_but_not_in_a_transaction() {
    let disk = SimDisk::new(1);
    let config = log::LogConfig { producers_max: 10, ..no_threads(1 << 20) };
    let clock = Arc::new(testkit::VirtualClock::new(super::T0));
    let attached = Arc::new(disk.attach());
    let (log, _) = Log::open(attached, clock.clone(), Path::new(DIR), config).unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    let p = log.topic("t").unwrap().partition(Partition(0)).unwrap();
    send(&p, sent(&["a"], (1, 0), 0, TRANSACTIONAL)).unwrap();
    for id in 2..30 {
        clock.advance(1_000_000);
        send(&p, sent(&["a"], (id, 0), 0, 0)).unwrap();
    }
    log.apply_retention().unwrap();
    let left: Vec<_> = p.producers().iter().map(|s| s.producer_id).collect();
    assert_eq!(left[0], 1, "its transaction is open");
    assert_eq!(*left.last().unwrap(), 29, "the latest stay");
    assert!((9..=11).contains(&left.len()), "{left:?}");
    clock.advance(86_400_001_000);
    log.apply_retention().unwrap();
    assert_eq!(p.producers().len(), 1);
}
