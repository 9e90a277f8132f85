//! Offsets of groups: commit, fetch, delete, expiry, and those that wait in a transaction for its
//! end (KIP-98). Memory takes an offset at once, under the group's lock; the answer waits until it
//! is durable, and so does every fetch that might show it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::api::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic, OffsetFetchPartition,
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopic, PartitionError, TopicErrors,
    TopicPartitions, TxnOffsetCommitRequest,
};
use super::coordinator::GroupCoordinator;
use super::group::{CommittedOffset, Group, Membership, TopicPartition};
use crate::coordinator_store::{Change, Ticket};
use crate::error_code::ErrorCode;
use crate::lock::lock;

/// The answer for a partition without a committed offset.
const NO_OFFSET: i64 = -1;
const NO_LEADER_EPOCH: i32 = -1;

impl GroupCoordinator {
    /// OffsetCommit. Blocks for a write.
    pub fn commit_offsets(&self, request: &OffsetCommitRequest) -> Vec<TopicErrors> {
        if request.group_id.is_empty() {
            return all_failed(&request.topics, ErrorCode::InvalidGroupId);
        }
        let epoch = request.generation_id_or_member_epoch;
        let work = |group: &mut Group| {
            let instance = request.group_instance_id.as_deref();
            self.check_commit(group, epoch, &request.member_id, instance, false)?;
            let (errors, ticket) = self.take_offsets(group, &request.topics, None);
            Ok((errors, ticket))
        };
        let taken = match self.with(&request.group_id, work) {
            Some(taken) => taken,
            None if epoch < 0 => self.with_new(&request.group_id, work),
            // The group it was a member of is gone.
            None => Err(ErrorCode::IllegalGeneration),
        };
        self.answer_commit(&request.topics, taken)
    }

    fn answer_commit(
        &self,
        topics: &[OffsetCommitTopic],
        taken: Result<(Vec<TopicErrors>, Ticket), ErrorCode>,
    ) -> Vec<TopicErrors> {
        match taken {
            Ok((errors, ticket)) => match self.queue.wait(&ticket) {
                Ok(()) => errors,
                Err(_) => all_failed(topics, ErrorCode::CoordinatorNotAvailable),
            },
            Err(error) => all_failed(topics, error),
        }
    }

    fn check_commit(
        &self,
        group: &mut Group,
        epoch: i32,
        member_id: &str,
        instance: Option<&str>,
        is_transactional: bool,
    ) -> Result<(), ErrorCode> {
        let now_ms = self.now_ms();
        match &mut group.membership {
            Membership::Classic(classic) => {
                classic.check_offset_commit(epoch, member_id, instance, is_transactional, now_ms)
            }
            Membership::Consumer(consumer) => {
                let is_outsider = epoch < 0 && member_id.is_empty();
                if is_outsider && (is_transactional || consumer.members.is_empty()) {
                    return Ok(());
                }
                consumer.check_member_epoch(member_id, epoch)
            }
        }
    }

    /// Puts offsets into memory and queues them; with a producer, they wait for its transaction.
    fn take_offsets(
        &self,
        group: &mut Group,
        topics: &[OffsetCommitTopic],
        producer_id: Option<i64>,
    ) -> (Vec<TopicErrors>, Ticket) {
        let now_ms = self.now_ms();
        let mut changes: Vec<Change> = vec![];
        let errors = each_partition(topics, |topic, partition| {
            let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
            if metadata.len() > self.config.offset_metadata_max_bytes {
                return ErrorCode::OffsetMetadataTooLarge;
            }
            let committed = CommittedOffset {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: metadata.to_owned(),
                commit_timestamp_ms: now_ms,
                sequence: self.next_sequence(),
            };
            let place = (topic.to_owned(), partition.partition_index);
            let key = match producer_id {
                Some(producer_id) => group.pending_key(producer_id, &place),
                None => group.offset_key(&place),
            };
            changes.push((key, Some(committed.to_value())));
            match producer_id {
                Some(producer_id) => {
                    group.pending.entry(producer_id).or_default().insert(place, committed);
                }
                None => {
                    group.offsets.insert(place, committed);
                }
            }
            ErrorCode::None
        });
        if !changes.is_empty() {
            group.saved = self.queue.enqueue(changes);
        }
        (errors, group.saved.clone())
    }

    /// Queues the offsets of an open transaction; the caller made sure that it is open, and keeps
    /// it so until this returns.
    pub(crate) fn take_txn_offsets(
        &self,
        request: &TxnOffsetCommitRequest,
    ) -> Result<(Vec<TopicErrors>, Ticket), ErrorCode> {
        let work = |group: &mut Group| {
            let instance = request.group_instance_id.as_deref();
            self.check_commit(group, request.generation_id, &request.member_id, instance, true)
                .map_err(|error| match error {
                    // Producers do not know the codes of the new protocol.
                    ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
                    error => error,
                })?;
            Ok(self.take_offsets(group, &request.topics, Some(request.producer_id)))
        };
        match self.with(&request.group_id, work) {
            Some(taken) => taken,
            None if request.generation_id < 0 => self.with_new(&request.group_id, work),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Waits for what `take_txn_offsets` queued.
    pub(crate) fn answer_txn_offsets(
        &self,
        request: &TxnOffsetCommitRequest,
        taken: Result<(Vec<TopicErrors>, Ticket), ErrorCode>,
    ) -> Vec<TopicErrors> {
        self.answer_commit(&request.topics, taken)
    }

    /// Queues the end of a transaction in a group: what waited counts from now on, or never. An
    /// offset that was committed after it was left pending stays. Doing it again does nothing.
    pub(crate) fn end_transaction(&self, group_id: &str, producer_id: i64, commit: bool) -> Ticket {
        let ended = self.with(group_id, |group| {
            let mut changes: Vec<Change> = vec![];
            for (place, committed) in group.pending.remove(&producer_id).unwrap_or_default() {
                changes.push((group.pending_key(producer_id, &place), None));
                let is_newer =
                    group.offsets.get(&place).is_none_or(|o| o.sequence < committed.sequence);
                if commit && is_newer {
                    changes.push((group.offset_key(&place), Some(committed.to_value())));
                    group.offsets.insert(place, committed);
                }
            }
            if !changes.is_empty() {
                group.saved = self.queue.enqueue(changes);
            }
            group.saved.clone()
        });
        ended.unwrap_or_else(Ticket::settled)
    }

    /// OffsetFetch of one group.
    pub fn fetch_offsets(&self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let failed = |error_code| OffsetFetchResponse { error_code, topics: vec![] };
        let found = self.with(&request.group_id, |group| {
            if let (Membership::Consumer(consumer), Some(id)) =
                (&group.membership, request.member_id.as_deref())
                && !(id.is_empty() && request.member_epoch < 0)
            {
                consumer.check_member_epoch(id, request.member_epoch)?;
            }
            Ok((read_offsets(group, request), group.saved.clone()))
        });
        match found {
            Some(Err(error)) => failed(error),
            Some(Ok((topics, saved))) => match self.queue.settle(&saved) {
                Ok(()) => OffsetFetchResponse { error_code: ErrorCode::None, topics },
                Err(_) => failed(ErrorCode::CoordinatorNotAvailable),
            },
            None => OffsetFetchResponse {
                error_code: ErrorCode::None,
                topics: read_offsets(&Group::new(""), request),
            },
        }
    }

    /// OffsetDelete: of partitions whose topic no member of the group reads. Blocks for a write.
    pub fn delete_offsets(
        &self,
        group_id: &str,
        topics: &[TopicPartitions],
    ) -> Result<Vec<TopicErrors>, ErrorCode> {
        let deleted = self.with(group_id, |group| {
            let subscribed = group.subscribed_topics();
            // Members that do not say what they read may read anything.
            if !group.is_empty() && subscribed.is_none() {
                return Err(ErrorCode::NonEmptyGroup);
            }
            let mut changes = vec![];
            let mut errors = vec![];
            for topic in topics {
                let is_read = subscribed.as_ref().is_some_and(|s| s.contains(&topic.name));
                let error_code =
                    if is_read { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
                let partition = |partition_index: &i32| PartitionError {
                    partition_index: *partition_index,
                    error_code,
                };
                errors.push(TopicErrors {
                    name: topic.name.clone(),
                    partitions: topic.partition_indexes.iter().map(partition).collect(),
                });
                for index in topic.partition_indexes.iter().filter(|_| !is_read) {
                    let place = (topic.name.clone(), *index);
                    if group.offsets.remove(&place).is_some() {
                        changes.push((group.offset_key(&place), None));
                    }
                }
            }
            group.saved = self.queue.enqueue(changes);
            Ok((errors, group.saved.clone()))
        });
        let (errors, saved) = deleted.unwrap_or(Err(ErrorCode::GroupIdNotFound))?;
        self.queue.wait(&saved).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        Ok(errors)
    }

    /// Forgets all offsets of a topic that was dropped. Blocks for a write.
    pub fn topic_dropped(&self, topic: &str) -> common::Result<()> {
        for group in self.all() {
            let mut group = lock(&group);
            let group = &mut *group;
            let is_of_it = |place: &TopicPartition| place.0 == topic;
            let mut changes = vec![];
            for place in group.offsets.keys().filter(|place| is_of_it(place)) {
                changes.push((group.offset_key(place), None));
            }
            for (producer_id, pending) in &group.pending {
                for place in pending.keys().filter(|place| is_of_it(place)) {
                    changes.push((group.pending_key(*producer_id, place), None));
                }
            }
            if changes.is_empty() {
                continue;
            }
            group.offsets.retain(|place, _| !is_of_it(place));
            group.pending.values_mut().for_each(|p| p.retain(|place, _| !is_of_it(place)));
            group.pending.retain(|_, pending| !pending.is_empty());
            group.saved = self.queue.enqueue(changes);
        }
        self.queue.flush()
    }

    /// Queues the removal of offsets nobody used for `offsets.retention`, and of groups that have
    /// nothing left; at most once per check interval.
    pub(super) fn expire_offsets(&self, now_ms: i64) {
        let checked_ms = self.expiry_checked_ms.load(Ordering::SeqCst);
        if now_ms < checked_ms.saturating_add(self.config.offsets_retention_check_interval_ms) {
            return;
        }
        self.expiry_checked_ms.store(now_ms, Ordering::SeqCst);
        for group in self.all() {
            let mut group = lock(&group);
            if group.is_removed {
                continue;
            }
            let before_ms = now_ms.saturating_sub(self.config.offsets_retention_ms);
            let expired = expired(&group, before_ms);
            if !expired.is_empty() {
                let changes: Vec<Change> =
                    expired.iter().map(|place| (group.offset_key(place), None)).collect();
                group.offsets.retain(|place, _| !expired.contains(place));
                group.saved = self.queue.enqueue(changes);
            }
            if group.is_forgotten() {
                self.remove(&mut group);
            }
        }
    }
}

/// Offsets of a group that expired before that time: of a group without members, counted from when
/// it became empty; of one with members, only topics they do not read.
fn expired(group: &Group, before_ms: i64) -> Vec<TopicPartition> {
    let subscribed = group.subscribed_topics();
    let empty_since_ms = match &group.membership {
        Membership::Classic(classic) if group.is_empty() => classic.state_since_ms,
        _ => i64::MIN,
    };
    if !group.is_empty() && subscribed.is_none() {
        return vec![];
    }
    let is_expired = |place: &TopicPartition, committed: &CommittedOffset| {
        committed.commit_timestamp_ms.max(empty_since_ms) <= before_ms
            && !subscribed.as_ref().is_some_and(|s| s.contains(&place.0))
            && !is_pending(group, place)
    };
    let expired = group.offsets.iter().filter(|(place, committed)| is_expired(place, committed));
    expired.map(|(place, _)| place.clone()).collect()
}

fn is_pending(group: &Group, place: &TopicPartition) -> bool {
    group.pending.values().any(|pending| pending.contains_key(place))
}

fn read_offsets(group: &Group, request: &OffsetFetchRequest) -> Vec<OffsetFetchTopic> {
    let mut wanted: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    match &request.topics {
        Some(topics) => {
            for topic in topics {
                wanted.entry(&topic.name).or_default().extend(&topic.partition_indexes);
            }
        }
        None => {
            for (topic, partition) in group.offsets.keys() {
                wanted.entry(topic).or_default().push(*partition);
            }
        }
    }
    let topic = |(name, partitions): (&str, Vec<i32>)| OffsetFetchTopic {
        name: name.to_owned(),
        partitions: partitions
            .into_iter()
            .map(|index| read_offset(group, &(name.to_owned(), index), request.require_stable))
            .collect(),
    };
    wanted.into_iter().map(topic).collect()
}

fn read_offset(group: &Group, place: &TopicPartition, stable: bool) -> OffsetFetchPartition {
    let is_unstable = stable && is_pending(group, place);
    let found = group.offsets.get(place).filter(|_| !is_unstable);
    OffsetFetchPartition {
        partition_index: place.1,
        committed_offset: found.map_or(NO_OFFSET, |o| o.offset),
        committed_leader_epoch: found.map_or(NO_LEADER_EPOCH, |o| o.leader_epoch),
        metadata: found.map(|o| o.metadata.clone()).unwrap_or_default(),
        error_code: if is_unstable { ErrorCode::UnstableOffsetCommit } else { ErrorCode::None },
    }
}

fn each_partition(
    topics: &[OffsetCommitTopic],
    mut each: impl FnMut(&str, &OffsetCommitPartition) -> ErrorCode,
) -> Vec<TopicErrors> {
    let mut all = vec![];
    for topic in topics {
        let partition = |partition: &OffsetCommitPartition| PartitionError {
            partition_index: partition.partition_index,
            error_code: each(&topic.name, partition),
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        all.push(TopicErrors { name: topic.name.clone(), partitions });
    }
    all
}

pub(crate) fn all_failed(topics: &[OffsetCommitTopic], error: ErrorCode) -> Vec<TopicErrors> {
    each_partition(topics, |_, _| error)
}
