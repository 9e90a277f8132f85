//! All groups of the platform, and the way to one of them. Each group has a lock of its own; the
//! map's lock is held for a look-up only, and no lock while something is made durable. A call that
//! changes a group may block for one write of the store: async callers use a blocking thread.
//!
//! Requests: `classic_requests.rs`, `consumer.rs`, `offsets.rs`, `admin.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use common::{Clock, Result};
use tokio::sync::oneshot;

use super::api::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    Reply, SyncGroupRequest, SyncGroupResponse, TopicLookup,
};
use super::classic::{Answer, ClassicGroup, join_error, sync_error};
use super::config::GroupConfig;
use super::group::{CommittedOffset, Group, Membership};
use crate::coordinator_store::encoding::{Reader, kind};
use crate::coordinator_store::{CommitQueue, Ticket};
use crate::error_code::ErrorCode;
use crate::lock::lock;

/// Coordinates consumer groups and keeps their offsets.
pub struct GroupCoordinator {
    pub(super) config: GroupConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) topics: Arc<TopicLookup>,
    pub(super) queue: Arc<CommitQueue>,
    pub(super) groups: Mutex<BTreeMap<String, Arc<Mutex<Group>>>>,
    /// Number of the last offset commit.
    pub(super) sequence: AtomicI64,
    /// When expired offsets were last looked for, ms.
    pub(super) expiry_checked_ms: AtomicI64,
}

impl GroupCoordinator {
    /// Takes over the groups among the stored pairs.
    pub(crate) fn load(
        pairs: &[(Vec<u8>, Vec<u8>)],
        queue: Arc<CommitQueue>,
        clock: Arc<dyn Clock>,
        topics: Arc<TopicLookup>,
        config: GroupConfig,
    ) -> Result<Self> {
        let now_ms = clock.now_us() / 1000;
        let session_ms = i64::from(config.consumer_session_timeout_ms);
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let mut sequence = 0;
        for (key, value) in pairs {
            let mut reader = Reader::key(key);
            let kind = key.first().copied().unwrap_or_default();
            if ![kind::GROUP, kind::OFFSET, kind::PENDING_OFFSET].contains(&kind) {
                continue;
            }
            let id = reader.text()?;
            let group = groups.entry(id.clone()).or_insert_with(|| Group::new(&id));
            if kind == kind::GROUP {
                group.load(value.clone(), now_ms, session_ms)?;
                continue;
            }
            let committed = CommittedOffset::from_value(value.clone())?;
            sequence = sequence.max(committed.sequence);
            let offsets = if kind == kind::OFFSET {
                &mut group.offsets
            } else {
                group.pending.entry(reader.i64()?).or_default()
            };
            offsets.insert((reader.text()?, reader.i32()?), committed);
        }
        let groups = groups.into_iter().map(|(id, g)| (id, Arc::new(Mutex::new(g)))).collect();
        Ok(Self {
            config,
            topics,
            queue,
            groups: Mutex::new(groups),
            sequence: AtomicI64::new(sequence),
            expiry_checked_ms: AtomicI64::new(now_ms),
            clock,
        })
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_us() / 1000
    }

    pub(super) fn next_sequence(&self) -> i64 {
        self.sequence.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Works on a group that exists.
    pub(super) fn with<T>(&self, id: &str, work: impl FnOnce(&mut Group) -> T) -> Option<T> {
        loop {
            let group = lock(&self.groups).get(id).cloned()?;
            let mut group = lock(&group);
            if !group.is_removed {
                return Some(work(&mut group));
            }
        }
    }

    /// Works on a group, which is made if there is none.
    pub(super) fn with_new<T>(&self, id: &str, work: impl FnOnce(&mut Group) -> T) -> T {
        loop {
            let group = {
                let mut groups = lock(&self.groups);
                let made = groups.entry(id.to_owned());
                made.or_insert_with(|| Arc::new(Mutex::new(Group::new(id)))).clone()
            };
            let mut group = lock(&group);
            if !group.is_removed {
                return work(&mut group);
            }
        }
    }

    /// All groups as they are now, for those who look at each.
    pub(super) fn all(&self) -> Vec<Arc<Mutex<Group>>> {
        lock(&self.groups).values().cloned().collect()
    }

    /// Queues the removal of a group that the caller holds.
    pub(super) fn remove(&self, group: &mut Group) {
        group.saved = self.queue.enqueue(group.to_remove());
        group.is_removed = true;
        lock(&self.groups).remove(&group.id);
    }

    /// Queues the group's state if it changed and takes the answers out.
    fn harvest(&self, group: &mut Group) -> (Ticket, Vec<Answer>) {
        let mut answers = vec![];
        if let Membership::Classic(classic) = &mut group.membership {
            answers = std::mem::take(&mut classic.answers);
            if std::mem::take(&mut classic.must_save) {
                group.saved = self.queue.enqueue([group.to_save()]);
            }
        }
        (group.saved.clone(), answers)
    }

    /// Gives answers once what they say is durable.
    fn answer(&self, (saved, answers): (Ticket, Vec<Answer>)) {
        if answers.is_empty() {
            return;
        }
        let is_durable = self.queue.settle(&saved).is_ok();
        for answer in answers {
            answer.send(is_durable);
        }
    }

    /// JoinGroup. The answer comes when the rebalance is complete.
    pub fn join_group(&self, request: JoinGroupRequest) -> Reply<JoinGroupResponse> {
        let (to, reply) = oneshot::channel();
        let limits = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        let error = if request.group_id.is_empty() {
            Some(ErrorCode::InvalidGroupId)
        } else if !limits.contains(&request.session_timeout_ms) {
            Some(ErrorCode::InvalidSessionTimeout)
        } else {
            None
        };
        if let Some(error) = error {
            Answer::Join(to, join_error(error, request.member_id)).send(true);
            return reply;
        }
        let (id, member_id) = (request.group_id.clone(), request.member_id.clone());
        let now_ms = self.now_ms();
        let work = |group: &mut Group| {
            if group.is_empty() && matches!(group.membership, Membership::Consumer(_)) {
                group.membership = Membership::Classic(ClassicGroup::default());
            }
            match &mut group.membership {
                Membership::Classic(classic) => classic.join(request, to, now_ms, &self.config),
                Membership::Consumer(_) => {
                    let error = ErrorCode::InconsistentGroupProtocol;
                    Answer::Join(to, join_error(error, request.member_id)).send(true);
                }
            }
            self.harvest(group)
        };
        // Only who has no member id yet makes a group.
        let harvest = if member_id.is_empty() {
            Some(self.with_new(&id, work))
        } else {
            self.with(&id, work)
        };
        match harvest {
            Some(harvest) => {
                self.answer(harvest);
                reply
            }
            None => answered(join_error(ErrorCode::UnknownMemberId, member_id)),
        }
    }

    /// SyncGroup. The answer comes when the leader's assignment is there and durable.
    pub fn sync_group(&self, request: SyncGroupRequest) -> Reply<SyncGroupResponse> {
        if request.group_id.is_empty() {
            return answered(sync_error(ErrorCode::InvalidGroupId));
        }
        let (to, reply) = oneshot::channel();
        let id = request.group_id.clone();
        let harvest = self.with(&id, |group| {
            match &mut group.membership {
                Membership::Classic(classic) => classic.sync(request, to, self.now_ms()),
                Membership::Consumer(_) => {
                    Answer::Sync(to, sync_error(ErrorCode::UnknownMemberId)).send(true);
                }
            }
            self.harvest(group)
        });
        match harvest {
            Some(harvest) => {
                self.answer(harvest);
                reply
            }
            None => answered(sync_error(ErrorCode::UnknownMemberId)),
        }
    }

    /// Heartbeat.
    pub fn heartbeat(&self, request: &HeartbeatRequest) -> ErrorCode {
        if request.group_id.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        let now_ms = self.now_ms();
        let outcome = self.with(&request.group_id, |group| match &mut group.membership {
            Membership::Classic(classic) => classic.heartbeat(request, now_ms),
            Membership::Consumer(_) => Err(ErrorCode::UnknownMemberId),
        });
        outcome.unwrap_or(Err(ErrorCode::UnknownMemberId)).into()
    }

    /// LeaveGroup, of one member or several.
    pub fn leave_group(&self, request: LeaveGroupRequest) -> LeaveGroupResponse {
        if request.group_id.is_empty() {
            let error_code = ErrorCode::InvalidGroupId;
            return LeaveGroupResponse { error_code, members: vec![] };
        }
        let now_ms = self.now_ms();
        let left = self.with(&request.group_id, |group| {
            let members = match &mut group.membership {
                Membership::Classic(classic) => {
                    let leave = |m| classic.leave(m, now_ms, &self.config);
                    request.members.into_iter().map(leave).collect()
                }
                Membership::Consumer(consumer) => consumer.leave(request.members),
            };
            self.save_consumer(group);
            (members, self.harvest(group))
        });
        let Some((members, harvest)) = left else {
            let error_code = ErrorCode::UnknownMemberId;
            return LeaveGroupResponse { error_code, members: vec![] };
        };
        self.answer(harvest);
        LeaveGroupResponse { error_code: ErrorCode::None, members }
    }

    /// Does what is due at this time (µs since 1970): sessions that end, rebalances that wait no
    /// longer, offsets that expire. To be called every 50 ms or so, or at `next_deadline_us`.
    pub fn tick(&self, now_us: i64) {
        let now_ms = now_us / 1000;
        let mut harvests = vec![];
        for group in self.all() {
            let mut group = lock(&group);
            if group.is_removed {
                continue;
            }
            match &mut group.membership {
                Membership::Classic(classic) => classic.tick(now_ms, &self.config),
                Membership::Consumer(consumer) => consumer.tick(now_ms),
            }
            self.save_consumer(&mut group);
            harvests.push(self.harvest(&mut group));
        }
        for harvest in harvests {
            self.answer(harvest);
        }
        self.expire_offsets(now_ms);
        // What failed is tried again at the next tick; the queue has logged it.
        let _ = self.queue.flush();
    }

    /// The earliest time at which `tick` has something to do, in µs since 1970.
    pub fn next_deadline_us(&self) -> Option<i64> {
        let deadline = |group: &Arc<Mutex<Group>>| match &lock(group).membership {
            Membership::Classic(classic) => classic.next_deadline_ms(),
            Membership::Consumer(consumer) => consumer.next_deadline_ms(),
        };
        self.all().iter().filter_map(deadline).min().map(|ms| ms.saturating_mul(1000))
    }
}

fn answered<T>(response: T) -> Reply<T> {
    let (to, reply) = oneshot::channel();
    // The receiver is right here.
    let _ = to.send(response);
    reply
}
