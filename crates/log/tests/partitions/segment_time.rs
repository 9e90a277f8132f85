//! Segments closed by time.

use std::path::Path;
use std::sync::Arc;

use common::Partition;
use log::{Log, TopicConfig};
use testkit::{SimDisk, VirtualClock};

use super::{DIR, T0, batch_at, no_threads};

const HOUR: i64 = 3_600_000_000;

#[test]
fn a_segment_is_closed_by_the_time_of_records_and_by_the_clock() {
    let disk = SimDisk::new(1);
    let clock = VirtualClock::new(T0);
    let disk = Arc::new(disk.attach());
    let config = no_threads(1 << 20);
    let log = Log::open(disk, Arc::new(clock.clone()), Path::new(DIR), config).unwrap().0;
    let hourly = TopicConfig { segment_us: Some(HOUR), ..TopicConfig::default() };
    let p = log.create_topic("t", hourly).unwrap().partition(Partition(0)).unwrap();
    for minutes in [0, 30, 59, 60, 20, 119, 120] {
        p.append(batch_at(T0 + minutes * 60_000_000, &["value"])).unwrap();
    }
    assert_eq!(p.segment_bases(), [0, 3, 6]);
    log.flush();
    clock.set(T0 + 3 * HOUR);
    log.apply_retention().unwrap();
    assert_eq!(p.segment_bases(), [0, 3, 6], "the last one is an hour old, not more");
    clock.advance(1_000);
    log.apply_retention().unwrap();
    assert_eq!(p.segment_bases(), [0, 3, 6, 7]);
    log.apply_retention().unwrap();
    assert_eq!(p.segment_bases(), [0, 3, 6, 7], "an empty one is not closed");
}
