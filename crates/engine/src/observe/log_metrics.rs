//! Figures of partitions and consumer groups for Prometheus. A series is kept per partition, and
//! per partition of each group; both are bounded, and what is left out is counted
//! (`watershed_metrics_omitted`). What each figure means: `docs/reference/metrics.md`.

use std::collections::BTreeMap;

use log::{PartitionStats, SYNC_BUCKETS_US};

use crate::groups::consumer_groups::{GroupDetail, GroupPartition};
use crate::inner::Inner;
use crate::observe::prometheus::Page;

/// Partitions with series of their own, over all topics.
const PARTITIONS_MAX: usize = 1_000;
/// Consumer groups with series of their own.
const GROUPS_MAX: usize = 200;
/// Partitions of groups with series of their own, over all groups.
const GROUP_PARTITIONS_MAX: usize = 2_000;

type Family = (&'static str, &'static str, &'static str);
type Figure<T> = (Family, fn(&T) -> Option<f64>);

const PARTITION_FIGURES: [Figure<PartitionStats>; 8] = [
    (
        ("watershed_partition_records_in_total", "counter", "Records appended since the start."),
        |p| Some(p.records_appended as f64),
    ),
    (("watershed_partition_bytes_in_total", "counter", "Bytes appended since the start."), |p| {
        Some(p.bytes_appended as f64)
    }),
    (("watershed_partition_bytes_out_total", "counter", "Bytes read since the start."), |p| {
        Some(p.bytes_read as f64)
    }),
    (("watershed_partition_log_start_offset", "gauge", "The oldest offset that is kept."), |p| {
        Some(p.start_offset.0 as f64)
    }),
    (("watershed_partition_log_end_offset", "gauge", "The high watermark."), |p| {
        Some(p.high_watermark.0 as f64)
    }),
    (("watershed_partition_log_size_bytes", "gauge", "Bytes on disk."), |p| Some(p.bytes as f64)),
    (("watershed_partition_log_segments", "gauge", "Segments on disk."), |p| {
        Some(p.segments as f64)
    }),
    (("watershed_partition_sync_failures_total", "counter", "Syncs that failed."), |p| {
        Some(p.sync_failures as f64)
    }),
];

const GROUP_FIGURES: [Figure<GroupPartition>; 2] = [
    (("watershed_group_committed_offset", "gauge", "The offset that the group committed."), |p| {
        p.current_offset.map(|n| n as f64)
    }),
    (("watershed_group_lag_records", "gauge", "Records after the committed offset."), |p| {
        p.lag.map(|n| n as f64)
    }),
];

pub(crate) fn log_metrics(inner: &Inner, page: &mut Page) {
    // A partition whose files cannot be read has no figures; whoever reads it hears why.
    let logs: Vec<_> = inner.log.topics().iter().flat_map(|t| t.partitions()).collect();
    let stats: Vec<PartitionStats> = logs.iter().filter_map(|log| log.stats().ok()).collect();
    sync_metrics(page, &stats);
    let shown = &stats[..stats.len().min(PARTITIONS_MAX)];
    for (family, value) in PARTITION_FIGURES {
        page.family(family);
        for p in shown {
            let partition = p.partition.to_string();
            let labels = [("topic", &*p.topic), ("partition", partition.as_str())];
            page.labelled(family.0, &labels, value(p));
        }
    }
    let (groups, group_partitions) = group_metrics(inner, page);
    let omitted = "Series left out: partitions, groups and their partitions beyond a bound.";
    let name = "watershed_metrics_omitted";
    page.family((name, "gauge", omitted));
    for (of, count) in [
        ("partitions", stats.len() - shown.len()),
        ("groups", groups),
        ("group_partitions", group_partitions),
    ] {
        page.labelled(name, &[("of", of)], Some(count as f64));
    }
}

/// Groups and partitions of groups that were left out.
fn group_metrics(inner: &Inner, page: &mut Page) -> (usize, usize) {
    let listed = inner.coordination.groups.list_groups(&[], &[]);
    let shown = listed
        .iter()
        .take(GROUPS_MAX)
        .filter_map(|g| crate::groups::consumer_groups::group_detail(inner, g).ok());
    let groups: Vec<GroupDetail> = shown.collect();
    let name = "watershed_group_members";
    page.family((name, "gauge", "Members of the group."));
    for group in &groups {
        page.labelled(name, &[("group", &group.group)], Some(group.members.len() as f64));
    }
    let name = "watershed_group_state";
    page.family((name, "gauge", "1 for the state that the group is in."));
    for group in &groups {
        page.labelled(name, &[("group", &group.group), ("state", group.state)], Some(1.0));
    }
    let all = || groups.iter().flat_map(|g| g.partitions.iter().map(|p| (g.group.as_str(), p)));
    for (family, value) in GROUP_FIGURES {
        page.family(family);
        for (group, p) in all().take(GROUP_PARTITIONS_MAX) {
            let partition = p.partition.to_string();
            let labels = [("group", group), ("topic", p.topic.as_str()), ("partition", &partition)];
            page.labelled(family.0, &labels, value(p));
        }
    }
    (listed.len().saturating_sub(GROUPS_MAX), all().count().saturating_sub(GROUP_PARTITIONS_MAX))
}

/// How long the disk takes: one histogram, and sums by topic.
fn sync_metrics(page: &mut Page, stats: &[PartitionStats]) {
    let name = "watershed_log_sync_seconds";
    page.family((name, "histogram", "Time of one sync of a segment to disk."));
    let (mut below, mut counts) = (0, [0; SYNC_BUCKETS_US.len() + 1]);
    for p in stats {
        for (sum, count) in counts.iter_mut().zip(p.sync_buckets) {
            *sum += count;
        }
    }
    let bounds = SYNC_BUCKETS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
    let bucket = format!("{name}_bucket");
    for (bound, count) in bounds.chain(["+Inf".to_string()]).zip(counts) {
        below += count;
        page.labelled(&bucket, &[("le", &bound)], Some(below as f64));
    }
    let total_us: u64 = stats.iter().map(|p| p.sync_us).sum();
    page.labelled(&format!("{name}_sum"), &[], Some(total_us as f64 / 1e6));
    page.labelled(&format!("{name}_count"), &[], Some(below as f64));
    let mut topics: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for p in stats {
        let topic = topics.entry(&p.topic).or_default();
        *topic = (topic.0 + p.sync_us, topic.1 + p.syncs);
    }
    let name = "watershed_topic_sync_seconds";
    page.family((name, "summary", "Time of the syncs of a topic's partitions."));
    for (topic, (us, syncs)) in topics.into_iter().take(PARTITIONS_MAX) {
        let labels = [("topic", topic)];
        page.labelled(&format!("{name}_sum"), &labels, Some(us as f64 / 1e6));
        page.labelled(&format!("{name}_count"), &labels, Some(syncs as f64));
    }
}
