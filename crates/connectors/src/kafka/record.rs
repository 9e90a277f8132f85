//! What goes to a Kafka and comes from it, with or without a driver.

use std::collections::BTreeMap;

use common::{Error, Offset, Partition};

/// First and last offset of what was sent, by partition.
pub type Ranges = BTreeMap<Partition, (Offset, Offset)>;

/// A record to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// A record that came.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub topic: &'a str,
    pub partition: Partition,
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// What the follower has to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// Reading (again) begins: at which offset?
    From {
        topic: &'a str,
        partition: Partition,
        next: &'a mut Offset,
    },
    Record(Incoming<'a>),
    /// Nothing more is at hand: a good moment to let go of what was gathered.
    Idle,
    /// Kafka keeps only offsets `kept` of a partition, from the first to before the second: what is
    /// wanted is not among them. It is asked again where to begin, unless it is to be forgotten.
    Gone {
        topic: &'a str,
        partition: Partition,
        kept: (Offset, Offset),
        forget: &'a mut bool,
    },
    /// Reading goes on when Kafka answers again.
    Trouble(Error),
}

/// The last request that is in the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub number: u64,
    /// What was put down with it.
    pub note: String,
}

/// What a cluster does with the records of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub partitions: i32,
    /// Copies of each record; the smallest number over all partitions.
    pub replicas: usize,
    /// `min.insync.replicas`, if the cluster tells.
    pub in_sync_min: Option<usize>,
    /// `flush.messages` is 1: each record is synced before it is acknowledged.
    pub is_synced: bool,
}
