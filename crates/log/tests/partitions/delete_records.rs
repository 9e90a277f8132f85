//! Deleting records up to an offset (KIP-107).

use common::{Kind, Offset, Partition};
use log::TopicConfig;
use testkit::SimDisk;

use super::{no_threads, open, put, topic, try_open, try_read, values};

const P: Partition = Partition(0);

#[test]
fn records_below_the_offset_are_gone_and_stay_gone() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(300));
    let p = topic(&log, "t");
    let t = log.topic("t").unwrap();
    for i in 0..20 {
        put(&p, &[&format!("a{i}"), &format!("b{i}")]);
    }
    let bases = p.segment_bases();
    assert!(bases.len() > 4);
    assert_eq!(t.delete_records(P, Offset(0)).unwrap(), Offset(0));
    let within = bases[2] + 1;
    assert_eq!(t.delete_records(P, Offset(within)).unwrap(), Offset(within));
    assert_eq!(p.segment_bases(), bases[2..], "whole segments are removed");
    assert_eq!(t.delete_records(P, Offset(3)).unwrap(), Offset(within), "it never goes back");
    let e = p.read(Offset(within - 1), 1000).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    let kept = try_read(&p, within, 1000).unwrap();
    assert_eq!((kept.len() as i64, kept[0].0), (40 - within, within));
    assert_eq!(p.offset_for_time(0).unwrap(), Some(Offset(within)));
    for before in [-1, 41] {
        let e = t.delete_records(P, Offset(before)).unwrap_err();
        assert_eq!(e.kind(), Kind::NotFound);
        assert!(e.to_string().contains("the high watermark is 40"), "{e}");
    }
    p.hold_from(Offset(30));
    assert_eq!(t.delete_records(P, Offset(31)).unwrap_err().kind(), Kind::Conflict);
    log.close();

    let (log, recovery) = open(&disk, no_threads(300));
    assert_eq!(recovery.partitions, []);
    let t = log.topic("t").unwrap();
    let p = t.partition(P).unwrap();
    assert_eq!(p.start_offset(), Offset(within));
    assert_eq!(t.delete_records(P, Offset(40)).unwrap(), Offset(40));
    assert!(values(&p).is_empty());
    assert_eq!(put(&p, &["next"]), Offset(40));
    log.close();
    let (log, _) = open(&disk, no_threads(300));
    let t = log.topic("t").unwrap();
    assert_eq!(values(&t.partition(P).unwrap()), ["next"]);
    log.drop_topic("t").unwrap();
    assert_eq!(t.delete_records(P, Offset(41)).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_power_cut_at_any_call_leaves_the_old_or_the_new_start() {
    let mut seen = [0, 0];
    for durability in [log::TopicDurability::Synced, log::TopicDurability::PageCache] {
        for seed in 0..8 {
            for calls in 0..25 {
                let disk = SimDisk::new(seed * 100 + calls);
                let (log, _) = open(&disk, no_threads(300));
                let config = TopicConfig { durability, ..TopicConfig::default() };
                let t = log.create_topic("t", config).unwrap();
                for i in 0..10 {
                    put(&t.partition(P).unwrap(), &[&format!("value {i}"), &"x".repeat(60)]);
                }
                disk.cut_power_in(calls);
                let answered = t.delete_records(P, Offset(19)).is_ok();
                disk.crash();
                let (log, _) = try_open(&disk, no_threads(300)).unwrap();
                let p = log.topic("t").unwrap().partition(P).unwrap();
                let is_new = p.start_offset() == Offset(19);
                assert!(is_new || p.start_offset() == Offset(0), "{}", p.start_offset());
                assert!(is_new || !answered);
                assert!(!is_new || p.high_watermark() == Offset(20));
                values(&p);
                put(&p, &["next"]);
                assert_eq!(values(&p).last().unwrap(), "next");
                seen[usize::from(is_new)] += 1;
            }
        }
    }
    assert!(seen[0] > 30 && seen[1] > 30, "{seen:?}");
}
