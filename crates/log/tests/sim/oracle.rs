//! What must be true, from nothing but what was sent and answered: a list of all values with their
//! producers and transactions, and what readers have seen at each offset.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use common::Offset;
use log::transactions::TransactionalProducer;
use log::{ErrorCode, Header, PartitionLog};

use super::Outcomes;
use super::broker::{Broker, COPIERS, GROUP, Request, Response, TOMBSTONE, values_of};

const TRACE: usize = 500;

/// One value, as its producer knows it.
pub struct Sent {
    /// A producer's life and the number of the value in it.
    pub by: (usize, u64),
    pub transaction: Option<usize>,
}

/// How a transaction ended, as far as its producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    /// Its producer has asked for the commit, and was not told yet: it is committed or aborted.
    Unknown,
    Committed,
    Aborted,
}

#[derive(Default)]
struct Place {
    acknowledged: BTreeMap<i64, String>,
    /// What was read, by offset.
    seen: BTreeMap<i64, String>,
    start: i64,
    high_watermark: i64,
}

#[derive(Default)]
pub struct Oracle {
    pub outcomes: Outcomes,
    pub values: BTreeMap<String, Sent>,
    transactions: Vec<End>,
    places: BTreeMap<(&'static str, i32), Place>,
    /// What the committed offset of a partition may be, by group.
    offsets: BTreeMap<(&'static str, i32), Vec<i64>>,
    /// The newest epoch of each transactional id that a producer was told.
    epochs: BTreeMap<String, (i64, i16)>,
    /// The newest record of each key of the compacted topic, and those that may have replaced it.
    keys: BTreeMap<String, Vec<String>>,
    trace: VecDeque<String>,
    hasher: DefaultHasher,
    is_loud: bool,
}

impl Drop for Oracle {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = if self.is_loud { 0 } else { self.trace.len().saturating_sub(20) };
            self.trace.iter().skip(from).for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Oracle {
    pub fn new(topics: &[(&'static str, i32)], is_loud: bool) -> Self {
        let mut oracle = Self::default();
        oracle.is_loud = is_loud;
        for (topic, partitions) in topics {
            (0..*partitions).for_each(|p| oracle.add_place(topic, p));
        }
        oracle
    }

    pub fn add_place(&mut self, topic: &'static str, partition: i32) {
        self.places.insert((topic, partition), Place::default());
    }

    pub fn note(&mut self, event: impl FnOnce() -> String) {
        let event = event();
        event.hash(&mut self.hasher);
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(event);
    }

    pub fn trace(&self) -> u64 {
        self.hasher.finish()
    }

    /// The end offset before an append.
    pub fn before(&self, request: &Request, broker: &Broker) -> i64 {
        match request {
            Request::Produce { topic, partition, .. } => {
                broker.partition(topic, *partition).end_offset().0
            }
            _ => 0,
        }
    }

    pub fn appended(&mut self, request: &Request, before: i64, first: i64) {
        let Request::Produce { topic, partition, batch, by } = request else { return };
        self.check_epoch(by.as_ref());
        if first < before {
            self.outcomes.add("answered from memory: it was sent before");
        } else {
            self.written(topic, batch, true);
        }
        self.note(|| format!("   at {topic}-{partition} {first}"));
    }

    /// A batch is in the log now, or (it failed) may be if it was not before.
    fn written(&mut self, topic: &str, batch: &Bytes, is_new: bool) {
        if topic != "c" {
            return;
        }
        for (_, key, value) in values_of(batch) {
            let written = self.keys.entry(key.unwrap()).or_default();
            let before = written.iter().position(|v| *v == value);
            if let Some(before) = before.filter(|_| is_new) {
                written.remove(before);
            }
            if is_new || before.is_none() {
                written.push(value);
            }
        }
    }

    /// Whoever was fenced writes nothing any more.
    fn check_epoch(&self, by: Option<&TransactionalProducer>) {
        let Some(by) = by else { return };
        let newest = self.epochs.get(&by.transactional_id).copied().unwrap_or_default();
        let own = (by.producer_id, by.producer_epoch);
        assert!(own >= newest, "{own:?} writes, though {newest:?} has taken over");
    }

    /// What the broker has just done, whether its answer arrives or not.
    pub fn handled(&mut self, request: &Request, response: &Response, broker: &Broker) {
        match (request, response) {
            (Request::InitProducerId(Some(id)), Response::Producer(producer_id, epoch)) => {
                let newest = (*producer_id, *epoch);
                let before = self.epochs.insert(id.clone(), newest).unwrap_or((-1, -1));
                assert!(newest > before, "{newest:?} after {before:?}");
            }
            (Request::AddPartitions(by, ..) | Request::EndTxn(by, _), Response::Done) => {
                self.check_epoch(Some(by));
            }
            (
                Request::Produce { topic, batch, .. },
                Response::Error(ErrorCode::KafkaStorageError),
            ) => self.written(topic, batch, false),
            (_, Response::Error(ErrorCode::ConcurrentTransactions)) => {
                self.outcomes.add("concurrent transactions");
            }
            (Request::OffsetCommit { partition, offset, .. }, response) => {
                self.offset_commit(*partition, *offset, response);
            }
            (Request::Heartbeat(_), _) => self.check_group(broker),
            _ => {}
        }
        if matches!(response, Response::Error(ErrorCode::CoordinatorNotAvailable)) {
            self.outcomes.add("store refused a commit");
        }
    }

    fn offset_commit(&mut self, partition: i32, offset: i64, response: &Response) {
        let known = self.offsets.entry((GROUP, partition)).or_insert_with(|| vec![-1]);
        match response {
            Response::Done => {
                self.outcomes.add("offset committed");
                *known = vec![offset];
            }
            Response::Error(ErrorCode::CoordinatorNotAvailable) => known.push(offset),
            Response::Error(_) => self.outcomes.add("offset refused to a stale member"),
            other => panic!("{other:?}"),
        }
    }

    /// No partition has two owners.
    fn check_group(&mut self, broker: &Broker) {
        let group = broker.coordinators.groups.describe_consumer_group(GROUP);
        let mut owned = BTreeSet::new();
        for member in &group.members {
            for topic in &member.assignment {
                for partition in &topic.partitions {
                    assert!(owned.insert(*partition), "{partition} has two owners: {group:?}");
                }
            }
        }
    }

    pub fn begin(&mut self) -> usize {
        self.transactions.push(End::Open);
        self.transactions.len() - 1
    }

    /// Its producer asks for the commit, perhaps of what is aborted long since.
    pub fn ask_commit(&mut self, transaction: usize) {
        if self.transactions[transaction] == End::Open {
            self.transactions[transaction] = End::Unknown;
        }
    }

    /// A transaction ended so. It ends once.
    pub fn end(&mut self, transaction: usize, end: End) {
        let before = std::mem::replace(&mut self.transactions[transaction], end);
        let is_possible = matches!(before, End::Open | End::Unknown) || before == end;
        assert!(is_possible, "transaction {transaction} was {before:?}, and is {end:?}");
    }

    /// The producer of a transaction is gone.
    pub fn abandon(&mut self, transaction: usize) {
        match self.transactions[transaction] {
            End::Open => self.end(transaction, End::Aborted),
            End::Unknown => self.outcomes.add("ended unknown to its producer"),
            End::Committed | End::Aborted => {}
        }
    }

    /// A producer is told where its values are.
    pub fn acknowledged(
        &mut self,
        topic: &'static str,
        partition: i32,
        first: i64,
        values: &[String],
    ) {
        self.outcomes.add("acknowledged");
        let place = self.places.get_mut(&(topic, partition)).unwrap();
        for (offset, value) in (first..).zip(values) {
            let before = place.acknowledged.insert(offset, value.clone());
            assert!(before.is_none_or(|b| b == *value), "{topic}-{partition} {offset}: two values");
        }
    }

    /// The power was cut: a `page_cache` topic may have lost its end.
    pub fn page_cache_lost(&mut self, topic: &'static str, partition: i32, end: i64) {
        let place = self.places.get_mut(&(topic, partition)).unwrap();
        let lost = place.acknowledged.split_off(&end);
        place.seen.split_off(&end);
        place.high_watermark = place.high_watermark.min(end);
        if !lost.is_empty() {
            self.outcomes.add("page cache lost by a power cut");
        }
    }

    pub fn places(&self) -> Vec<(&'static str, i32)> {
        self.places.keys().copied().collect()
    }

    pub fn seen(&self, place: (&'static str, i32)) -> &BTreeMap<i64, String> {
        &self.places[&place].seen
    }

    pub fn check(&mut self, broker: &Broker, bytes_max: usize) {
        for (topic, partition) in self.places() {
            let log = broker.partition(topic, partition);
            let all = read_all(&log, bytes_max);
            self.check_place((topic, partition), &log, &all);
            self.check_committed(&log, &all, bytes_max);
            if topic == "c" {
                self.check_keys(&all);
            }
        }
        self.check_copy(broker);
        for (group, partition) in self.offsets.keys().copied().collect::<Vec<_>>() {
            self.check_offset(broker, group, partition);
        }
    }

    fn check_place(&mut self, at: (&'static str, i32), log: &PartitionLog, all: &Records) {
        let (start, end) = (log.start_offset().0, log.high_watermark().0);
        let place = self.places.get_mut(&at).unwrap();
        assert!(start >= place.start, "{at:?}: the start went back");
        assert!(end >= place.high_watermark, "{at:?}: the high watermark went back");
        (place.start, place.high_watermark) = (start, end);
        let mut last: BTreeMap<usize, u64> = BTreeMap::new();
        for (offset, (_, value)) in all {
            let plain = value.trim_end_matches(TOMBSTONE);
            let sent = self.values.get(plain).unwrap_or_else(|| panic!("nobody sent '{value}'"));
            let (life, number) = sent.by;
            let before = last.insert(life, number);
            assert!(before.is_none_or(|b| b < number), "{at:?} {offset}: '{value}' twice, or late");
        }
        let is_compacted = at.0 == "c";
        for (offset, value) in place.acknowledged.range(start..).chain(place.seen.range(start..)) {
            match all.get(offset) {
                Some((_, found)) => assert_eq!(found.trim_end_matches(TOMBSTONE), value, "{at:?}"),
                None => assert!(is_compacted, "{at:?} {offset}: '{value}' is gone"),
            }
        }
        let plain = |v: &String| v.trim_end_matches(TOMBSTONE).to_owned();
        place.seen = all.iter().map(|(offset, (_, value))| (*offset, plain(value))).collect();
    }

    fn check_committed(&mut self, log: &PartitionLog, all: &Records, bytes_max: usize) {
        let stable = log.last_stable_offset().0;
        let seen = read_committed(log, bytes_max);
        for (offset, (_, value)) in all.range(..stable) {
            let Some(transaction) = self.values[value.trim_end_matches(TOMBSTONE)].transaction
            else {
                assert!(seen.contains_key(offset), "'{value}' is not seen");
                continue;
            };
            let is_seen = seen.contains_key(offset);
            assert!(!is_seen || self.transactions[transaction] != End::Open, "'{value}' is seen");
            self.end(transaction, if is_seen { End::Committed } else { End::Aborted });
        }
        assert!(seen.keys().all(|o| *o < stable && all.contains_key(o)));
    }

    /// The compacted topic has the newest record of each key, or one that came after it.
    fn check_keys(&mut self, all: &Records) {
        let mut table: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, value) in all.values() {
            if table.insert(key.as_deref().unwrap(), value).is_some() {
                self.outcomes.add("record overwritten by a newer one of its key");
            }
        }
        let acknowledged: BTreeSet<&String> =
            self.places[&("c", 0)].acknowledged.values().collect();
        for (key, written) in &self.keys {
            let newest = written
                .iter()
                .rposition(|v| acknowledged.contains(&v.trim_end_matches(TOMBSTONE).to_owned()));
            let Some(newest) = newest else { continue };
            let may_be = &written[newest..];
            match table.get(key.as_str()) {
                Some(found) => {
                    assert!(may_be.iter().any(|v| v == found), "{key}: {found} of {may_be:?}")
                }
                None => assert!(may_be.iter().any(|v| v.ends_with(TOMBSTONE)), "{key} is gone"),
            }
        }
    }

    /// The copy is the beginning of the original: each value once, in order.
    fn check_copy(&mut self, broker: &Broker) {
        let original = read_committed(&broker.partition("a", 0), 1 << 20);
        let copy = read_committed(&broker.partition("o", 0), 1 << 20);
        let copied: Vec<&str> =
            copy.values().map(|v| v.split_once(" copies ").unwrap().1).collect();
        let expected: Vec<&str> = original.values().map(String::as_str).collect();
        assert!(expected.starts_with(&copied), "{copied:?} of {expected:?}");
        self.outcomes.add_many("copied exactly once", copied.len() as u64);
    }

    fn check_offset(&mut self, broker: &Broker, group: &'static str, partition: i32) {
        let Response::Offset(found) = broker.offset(group, partition, false) else { return };
        let known = self.offsets.get_mut(&(group, partition)).unwrap();
        assert!(known.contains(&found), "offset {found} of {partition}, not one of {known:?}");
        *known = vec![found];
    }

    pub fn is_copied(&self, broker: &Broker) -> bool {
        let len = |topic| read_committed(&broker.partition(topic, 0), 1 << 20).len();
        len("a") == len("o")
    }

    /// Nothing is under way any more: all that was committed can be seen, all is copied.
    pub fn check_end(&mut self, broker: &Broker) {
        for (topic, partition) in self.places() {
            let log = broker.partition(topic, partition);
            assert_eq!(log.last_stable_offset(), log.high_watermark(), "{topic}-{partition}");
        }
        let original = read_committed(&broker.partition("a", 0), 1 << 20);
        let copy = read_committed(&broker.partition("o", 0), 1 << 20);
        assert_eq!(copy.len(), original.len(), "all is copied");
        let Response::Offset(offset) = broker.offset(COPIERS, 0, true) else {
            panic!("the copiers' offset is not stable");
        };
        let last = original.keys().next_back();
        assert!(last.is_none_or(|last| offset > *last), "the copiers' offset is {offset}");
    }
}

/// Key and value by offset.
type Records = BTreeMap<i64, (Option<String>, String)>;

pub fn read_all(log: &PartitionLog, bytes_max: usize) -> Records {
    try_read_all(log, log.start_offset().0, bytes_max).unwrap()
}

pub fn try_read_all(log: &PartitionLog, from: i64, bytes_max: usize) -> common::Result<Records> {
    let mut next = Offset(from);
    let mut out = BTreeMap::new();
    while next < log.high_watermark() {
        let batches = log.read(next, bytes_max)?;
        if batches.is_empty() {
            break;
        }
        for batch in batches {
            let records = values_of(&batch).into_iter().filter(|(o, ..)| *o >= from);
            out.extend(records.map(|(offset, key, value)| (offset, (key, value))));
            next = Offset(Header::parse(&batch).unwrap().last_offset().0 + 1);
        }
    }
    Ok(out)
}

fn read_committed(log: &PartitionLog, bytes_max: usize) -> BTreeMap<i64, String> {
    let start = log.start_offset();
    let mut next = start;
    let mut out = BTreeMap::new();
    loop {
        let read = log.read_committed(next, bytes_max).unwrap();
        for (offset, _, value) in read.batches.iter().flat_map(values_of) {
            if offset >= start.0 {
                out.insert(offset, value);
            }
        }
        if read.next == next {
            return out;
        }
        next = read.next;
    }
}
