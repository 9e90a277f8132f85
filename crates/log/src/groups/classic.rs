//! A group of the classic protocol as a state machine: who is in it, when a rebalance begins, when
//! it is complete, and what happens at each deadline. Requests come in through
//! `classic_requests.rs`. Nothing here waits: answers that are ready are gathered in `answers` and
//! go out once the group's state is durable.
//!
//! ```text
//! Empty ──join──▶ PreparingRebalance ──all joined──▶ CompletingRebalance ──leader syncs──▶ Stable
//!   ▲                │    ▲                                 │                                │
//!   └──all left──────┘    └───────── join, leave, session timeout ──────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::api::{
    JoinGroupProtocol, JoinGroupResponse, JoinGroupResponseMember, SyncGroupResponse,
};
use super::config::GroupConfig;
use super::member_protocol::subscribed_topics;
use crate::error_code::ErrorCode;

/// A member that waits for a rebalance to complete can not send heartbeats; should its client be
/// gone, it is removed after this time (as in Kafka).
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 300_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClassicState {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl ClassicState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// An answer that is ready.
pub(crate) enum Answer {
    Join(oneshot::Sender<JoinGroupResponse>, JoinGroupResponse),
    Sync(oneshot::Sender<SyncGroupResponse>, SyncGroupResponse),
}

impl Answer {
    /// Hands the answer over, or says that the group's state could not be stored. A client that
    /// went away does not matter.
    pub fn send(self, is_durable: bool) {
        let refused = ErrorCode::CoordinatorNotAvailable;
        match self {
            Self::Join(to, response) if is_durable => drop(to.send(response)),
            Self::Join(to, response) => drop(to.send(join_error(refused, response.member_id))),
            Self::Sync(to, response) if is_durable => drop(to.send(response)),
            Self::Sync(to, _) => drop(to.send(sync_error(refused))),
        }
    }
}

pub(crate) fn join_error(error_code: ErrorCode, member_id: String) -> JoinGroupResponse {
    JoinGroupResponse { error_code, member_id, generation_id: -1, ..Default::default() }
}

pub(crate) fn sync_error(error_code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code, ..Default::default() }
}

pub(crate) struct ClassicMember {
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// In the member's order of preference.
    pub protocols: Vec<JoinGroupProtocol>,
    pub assignment: Bytes,
    /// When it is removed if nothing is heard of it.
    pub deadline_ms: i64,
    /// It joined and has not seen a generation yet.
    pub is_new: bool,
    pub join: Option<oneshot::Sender<JoinGroupResponse>>,
    pub sync: Option<oneshot::Sender<SyncGroupResponse>>,
}

impl ClassicMember {
    pub fn touch(&mut self, now_ms: i64) {
        self.deadline_ms = now_ms + i64::from(self.session_timeout_ms);
    }

    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|p| p.name == protocol);
        found.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|p| p.name == protocol)
    }

    /// None while it waits for others, which is no fault of its own.
    fn expires_ms(&self) -> Option<i64> {
        let waits = self.sync.is_some() || (self.join.is_some() && !self.is_new);
        (!waits).then_some(self.deadline_ms)
    }
}

/// A rebalance that waits for its members.
pub(crate) struct Rebalance {
    deadline_ms: i64,
    /// Of an empty group: it waits for members nobody knows of yet, up to this time.
    initial_until_ms: Option<i64>,
}

#[derive(Default)]
pub(crate) struct ClassicGroup {
    pub state: ClassicState,
    /// When the group came into this state, ms.
    pub state_since_ms: i64,
    /// "" as long as nobody joined.
    pub protocol_type: String,
    pub protocol_name: Option<String>,
    pub generation_id: i32,
    pub leader: Option<String>,
    pub members: BTreeMap<String, ClassicMember>,
    /// Instance id → member id.
    pub static_members: BTreeMap<String, String>,
    /// Ids that were given out and did not join yet, and when they are forgotten (ms).
    pub pending_members: BTreeMap<String, i64>,
    pub rebalance: Option<Rebalance>,
    pub pending_sync: BTreeSet<String>,
    pub sync_deadline_ms: Option<i64>,
    pub answers: Vec<Answer>,
    /// Something changed that must survive a restart; only in the states Empty and Stable.
    pub must_save: bool,
}

impl ClassicGroup {
    pub fn enter(&mut self, state: ClassicState, now_ms: i64) {
        self.state = state;
        self.state_since_ms = now_ms;
    }

    /// Starts the timers of a group that was loaded: its members get a whole session to report.
    pub fn loaded(&mut self, now_ms: i64) {
        for (id, member) in &mut self.members {
            member.touch(now_ms);
            if let Some(instance) = &member.group_instance_id {
                self.static_members.insert(instance.clone(), id.clone());
            }
        }
        self.state =
            if self.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
    }

    /// May a member with these protocols be in this group?
    pub fn supports(&self, protocol_type: &str, protocols: &[JoinGroupProtocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type == protocol_type
            && protocols.iter().any(|p| self.members.values().all(|m| m.supports(&p.name)))
    }

    /// Topics the members want, if they are consumers and the group has a generation.
    pub fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type != "consumer" {
            return None;
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(member.metadata(protocol))?);
        }
        Some(topics)
    }

    pub fn leader_id(&self) -> String {
        self.leader.clone().unwrap_or_default()
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Members that wait for the rebalance.
    pub fn joined(&self) -> usize {
        self.members.values().filter(|m| m.join.is_some()).count()
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|m| i64::from(m.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// Takes a member in; the first leads.
    pub fn add_member(
        &mut self,
        id: String,
        mut member: ClassicMember,
        now_ms: i64,
        config: &GroupConfig,
    ) {
        member.is_new = true;
        member.deadline_ms = now_ms + NEW_MEMBER_JOIN_TIMEOUT_MS;
        if let Some(instance) = &member.group_instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.pending_members.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
        if let Some(Rebalance { deadline_ms, initial_until_ms: Some(until) }) = &mut self.rebalance
        {
            *deadline_ms = (now_ms + i64::from(config.initial_rebalance_delay_ms)).min(*until);
        }
        self.prepare_rebalance(now_ms, config);
    }

    /// Takes a member out, with whatever it waits for.
    pub fn remove_member(&mut self, id: &str, now_ms: i64, config: &GroupConfig) {
        self.forget_member(id);
        match self.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => {
                self.prepare_rebalance(now_ms, config);
            }
            ClassicState::PreparingRebalance => self.try_complete_join(now_ms),
            ClassicState::Empty => {}
        }
    }

    fn forget_member(&mut self, id: &str) {
        self.pending_sync.remove(id);
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.group_instance_id {
            self.static_members.remove(instance);
        }
        self.refuse_waiting(id, &mut member, ErrorCode::UnknownMemberId);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Answers what a member waits for with an error.
    pub fn refuse_waiting(&mut self, id: &str, member: &mut ClassicMember, error: ErrorCode) {
        if let Some(to) = member.join.take() {
            self.answers.push(Answer::Join(to, join_error(error, id.to_owned())));
        }
        if let Some(to) = member.sync.take() {
            self.answers.push(Answer::Sync(to, sync_error(error)));
        }
    }

    /// Asks all members to join again.
    pub fn prepare_rebalance(&mut self, now_ms: i64, config: &GroupConfig) {
        if self.state != ClassicState::PreparingRebalance {
            let delay_ms = i64::from(config.initial_rebalance_delay_ms);
            let until_ms = now_ms + self.rebalance_timeout_ms();
            let is_initial = self.state == ClassicState::Empty && delay_ms > 0;
            self.drop_assignments(now_ms);
            self.pending_sync.clear();
            self.sync_deadline_ms = None;
            self.rebalance = Some(if is_initial {
                let deadline_ms = (now_ms + delay_ms).min(until_ms);
                Rebalance { deadline_ms, initial_until_ms: Some(until_ms) }
            } else {
                Rebalance { deadline_ms: until_ms, initial_until_ms: None }
            });
            self.enter(ClassicState::PreparingRebalance, now_ms);
        }
        self.try_complete_join(now_ms);
    }

    fn drop_assignments(&mut self, now_ms: i64) {
        for member in self.members.values_mut() {
            if self.state == ClassicState::CompletingRebalance {
                member.assignment = Bytes::new();
            }
            if let Some(to) = member.sync.take() {
                member.touch(now_ms);
                let answer = sync_error(ErrorCode::RebalanceInProgress);
                self.answers.push(Answer::Sync(to, answer));
            }
        }
    }

    pub fn try_complete_join(&mut self, now_ms: i64) {
        let is_open = self.rebalance.as_ref().is_some_and(|r| r.initial_until_ms.is_none());
        let all_joined = self.joined() == self.members.len() && self.pending_members.is_empty();
        if is_open && all_joined {
            self.complete_join(now_ms);
        }
    }

    /// Begins a generation with those who joined. Static members that did not come keep their
    /// place until their session ends (KIP-345).
    fn complete_join(&mut self, now_ms: i64) {
        let is_absent = |m: &ClassicMember| m.join.is_none() && m.group_instance_id.is_none();
        let absent = self.members.iter().filter(|(_, m)| is_absent(m)).map(|(id, _)| id.clone());
        for id in absent.collect::<Vec<_>>() {
            self.forget_member(&id);
        }
        if !self.elect_leader() {
            let deadline_ms = now_ms + self.rebalance_timeout_ms().max(1);
            self.rebalance = Some(Rebalance { deadline_ms, initial_until_ms: None });
            return;
        }
        self.rebalance = None;
        self.generation_id = self.generation_id.checked_add(1).unwrap_or(0);
        if self.members.is_empty() {
            self.protocol_name = None;
            self.leader = None;
            self.enter(ClassicState::Empty, now_ms);
            self.must_save = true;
            return;
        }
        self.protocol_name = Some(self.select_protocol());
        self.enter(ClassicState::CompletingRebalance, now_ms);
        self.pending_sync = self.members.keys().cloned().collect();
        self.sync_deadline_ms = Some(now_ms + self.rebalance_timeout_ms());
        self.answer_joins(now_ms);
    }

    /// Sees to it that the leader is one of those who joined. False when there are members (static
    /// ones) and none of them is here: the rebalance has to wait on.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(|m| m.join.is_some()) {
            return true;
        }
        let joined = self.members.iter().find(|(_, m)| m.join.is_some());
        match joined.map(|(id, _)| id.clone()) {
            Some(id) => self.leader = Some(id),
            None => return self.members.is_empty(),
        }
        true
    }

    fn answer_joins(&mut self, now_ms: i64) {
        let mut joins = vec![];
        for (id, member) in &mut self.members {
            if let Some(to) = member.join.take() {
                member.is_new = false;
                member.touch(now_ms);
                joins.push((id.clone(), to));
            }
        }
        for (id, to) in joins {
            let response = self.join_response(&id);
            self.answers.push(Answer::Join(to, response));
        }
    }

    /// The current generation as a member sees it.
    pub fn join_response(&self, member_id: &str) -> JoinGroupResponse {
        JoinGroupResponse {
            error_code: ErrorCode::None,
            generation_id: self.generation_id,
            protocol_type: Some(self.protocol_type.clone()),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader_id(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: if self.is_leader(member_id) { self.response_members() } else { vec![] },
        }
    }

    fn response_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let member = |(id, m): (&String, &ClassicMember)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: m.group_instance_id.clone(),
            metadata: m.metadata(protocol),
        };
        self.members.iter().map(member).collect()
    }

    /// Each member votes for the first of its protocols that all support; most votes win, then
    /// the name.
    pub fn select_protocol(&self) -> String {
        let is_shared = |name: &str| self.members.values().all(|m| m.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(protocol) = member.protocols.iter().find(|p| is_shared(&p.name)) {
                *votes.entry(&protocol.name).or_default() += 1;
            }
        }
        let best = votes.iter().rev().max_by_key(|(_, votes)| **votes);
        best.map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    /// Does what is due.
    pub fn tick(&mut self, now_ms: i64, config: &GroupConfig) {
        let pending = self.pending_members.len();
        self.pending_members.retain(|_, deadline| *deadline > now_ms);
        if self.pending_members.len() < pending {
            self.try_complete_join(now_ms);
        }
        let is_expired = |m: &ClassicMember| m.expires_ms().is_some_and(|at| at <= now_ms);
        let expired = self.members.iter().filter(|(_, m)| is_expired(m)).map(|(id, _)| id.clone());
        for id in expired.collect::<Vec<_>>() {
            self.remove_member(&id, now_ms, config);
        }
        if self.rebalance.as_ref().is_some_and(|r| r.deadline_ms <= now_ms) {
            self.complete_join(now_ms);
        }
        if self.sync_deadline_ms.is_some_and(|at| at <= now_ms) {
            self.sync_deadline_ms = None;
            let late = std::mem::take(&mut self.pending_sync);
            for id in &late {
                self.forget_member(id);
            }
            if !late.is_empty() {
                self.prepare_rebalance(now_ms, config);
            }
        }
    }

    /// The earliest time at which `tick` has something to do, ms.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let members = self.members.values().filter_map(ClassicMember::expires_ms);
        let rebalance = self.rebalance.as_ref().map(|r| r.deadline_ms);
        members
            .chain(self.pending_members.values().copied())
            .chain(rebalance)
            .chain(self.sync_deadline_ms.filter(|_| !self.pending_sync.is_empty()))
            .min()
    }
}
