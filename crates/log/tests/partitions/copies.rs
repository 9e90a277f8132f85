//! A log that is the copy of another one: its batches stand at the offsets they have there.

use common::{Kind, Offset};
use log::BatchBuilder;
use testkit::SimDisk;

use super::{T0, no_threads, open, put, topic, try_read};

/// Records at these offsets, in one batch that begins at the first `from`.
fn copied(from: i64, offsets: &[i64]) -> bytes::Bytes {
    let mut batch = BatchBuilder::new(T0);
    for offset in offsets {
        let gap = *offset - from - i64::from(batch.offsets());
        batch.skip(i32::try_from(gap).unwrap());
        batch.push(T0, None, Some(format!("v{offset}").as_bytes()), &[]);
    }
    batch.build()
}

#[test]
fn offsets_are_kept_and_may_have_gaps() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, no_threads(300));
    let p = topic(&log, "t");
    // What is not there any more: no record, 1,000 offsets.
    let mut nothing = BatchBuilder::new(T0);
    nothing.skip(1_000);
    p.append_copy(Offset(0), nothing.build()).unwrap();
    let appended = p.append_copy(Offset(1_000), copied(1_000, &[1_000, 1_003, 1_004])).unwrap();
    assert_eq!((appended.first, appended.last), (Offset(1_000), Offset(1_004)));
    for base in (1_005..1_100).step_by(5) {
        let done = p.append_copy(Offset(base), copied(base, &[base + 1, base + 4])).unwrap();
        p.wait_durable(done).unwrap();
    }
    let e = p.append_copy(Offset(7), copied(7, &[8])).unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict);
    assert!(e.message().contains("ends at 1100, not at 7"), "{e}");
    assert!(p.segment_bases().len() > 3);

    let expected: Vec<i64> = [1_000, 1_003, 1_004]
        .into_iter()
        .chain((1_005..1_100).step_by(5).flat_map(|base| [base + 1, base + 4]))
        .collect();
    let offsets = |from: i64, end: i64| -> Vec<i64> {
        let (mut at, mut found) = (from, vec![]);
        while at < end {
            for batch in p.read(Offset(at), 100).unwrap() {
                for record in log::records::iter(&batch).unwrap() {
                    found.push(record.unwrap().offset.0);
                }
                at = log::Header::parse(&batch).unwrap().last_offset().0 + 1;
            }
        }
        found
    };
    assert_eq!(offsets(0, 1_100), expected);
    assert_eq!(offsets(1_050, 1_100), expected[21..]);
    log.close();

    let (log, recovery) = open(&disk, no_threads(300));
    assert_eq!(recovery.partitions, []);
    let p = log.topic("t").unwrap().partition(common::Partition(0)).unwrap();
    assert_eq!(p.end_offset(), Offset(1_100));
    assert_eq!(put(&p, &["goes on"]), Offset(1_100));
    let last = try_read(&p, 1_100, 100).unwrap();
    assert_eq!(last[0].0, 1_100);
}
