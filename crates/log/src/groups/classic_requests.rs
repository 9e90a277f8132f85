//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup of a classic group: which request is right in
//! which state, with the errors Kafka gives otherwise. What follows from it (rebalances, deadlines)
//! is in `classic.rs`.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::api::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupMember, MemberIdentity,
    SyncGroupRequest, SyncGroupResponse,
};
use super::classic::{Answer, ClassicGroup, ClassicMember, ClassicState, join_error, sync_error};
use super::config::GroupConfig;
use crate::error_code::ErrorCode;

type JoinSender = oneshot::Sender<JoinGroupResponse>;

impl ClassicGroup {
    pub fn join(
        &mut self,
        request: JoinGroupRequest,
        to: JoinSender,
        now_ms: i64,
        config: &GroupConfig,
    ) {
        if let Err(error) = self.check_join(&request, config) {
            let is_full = error == ErrorCode::GroupMaxSizeReached;
            let id = if is_full { String::new() } else { request.member_id };
            self.answers.push(Answer::Join(to, join_error(error, id)));
        } else if request.member_id.is_empty() {
            self.join_unknown(request, to, now_ms, config);
        } else if self.pending_members.contains_key(&request.member_id) {
            self.take_in(request.member_id.clone(), request, to, now_ms, config);
        } else {
            self.join_known(request, to, now_ms, config);
        }
    }

    fn check_join(
        &self,
        request: &JoinGroupRequest,
        config: &GroupConfig,
    ) -> Result<(), ErrorCode> {
        let id = &request.member_id;
        if !self.has_room_for(id, config) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let instance = request.group_instance_id.as_deref();
        if id.is_empty() || (self.pending_members.contains_key(id) && instance.is_none()) {
            return Ok(());
        }
        self.check_member(id, instance)
    }

    fn has_room_for(&self, member_id: &str, config: &GroupConfig) -> bool {
        let member = self.members.get(member_id);
        if member_id.is_empty() && self.pending_members.len() >= config.max_size {
            return false;
        }
        match self.state {
            ClassicState::Empty => true,
            ClassicState::PreparingRebalance => {
                member.is_some_and(|m| m.join.is_some()) || self.joined() < config.max_size
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                member.is_some() || self.members.len() < config.max_size
            }
        }
    }

    /// A client that has no member id yet.
    fn join_unknown(
        &mut self,
        request: JoinGroupRequest,
        to: JoinSender,
        now_ms: i64,
        config: &GroupConfig,
    ) {
        let named = request.group_instance_id.as_ref().unwrap_or(&request.client_id);
        let id = format!("{named}-{}", config.member_ids.next_id());
        let instance = request.group_instance_id.as_ref();
        match instance.and_then(|i| self.static_members.get(i).cloned()) {
            Some(old_id) => self.replace_static(&old_id, id, request, to, now_ms, config),
            None if instance.is_none() && request.requires_known_member_id => {
                let deadline = now_ms + i64::from(request.session_timeout_ms);
                self.pending_members.insert(id.clone(), deadline);
                self.answers.push(Answer::Join(to, join_error(ErrorCode::MemberIdRequired, id)));
            }
            None => self.take_in(id, request, to, now_ms, config),
        }
    }

    fn take_in(
        &mut self,
        id: String,
        request: JoinGroupRequest,
        to: JoinSender,
        now_ms: i64,
        config: &GroupConfig,
    ) {
        if self.members.is_empty() {
            self.protocol_type = request.protocol_type;
        }
        let member = ClassicMember {
            group_instance_id: request.group_instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            deadline_ms: now_ms,
            is_new: true,
            join: Some(to),
            sync: None,
        };
        self.add_member(id, member, now_ms, config);
    }

    /// A static member came back under its instance id: it takes the old one's place. A stable
    /// group goes on without a rebalance if the chosen protocol stays the same.
    fn replace_static(
        &mut self,
        old_id: &str,
        id: String,
        request: JoinGroupRequest,
        to: JoinSender,
        now_ms: i64,
        config: &GroupConfig,
    ) {
        let Some(mut member) = self.members.remove(old_id) else {
            return self.take_in(id, request, to, now_ms, config);
        };
        self.refuse_waiting(old_id, &mut member, ErrorCode::FencedInstanceId);
        let old_leader = self.leader_id();
        if self.is_leader(old_id) {
            self.leader = Some(id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(id.clone());
        }
        if let Some(instance) = &member.group_instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        let supports_skipping = request.supports_skipping_assignment;
        update(&mut member, request);
        member.touch(now_ms);
        member.is_new = false;
        self.members.insert(id.clone(), member);
        let goes_on = self.state == ClassicState::Stable
            && self.protocol_name.as_deref() == Some(&self.select_protocol());
        if !goes_on {
            if let Some(member) = self.members.get_mut(&id) {
                member.join = Some(to);
            }
            return self.prepare_rebalance(now_ms, config);
        }
        self.must_save = true;
        let mut response = self.join_response(&id);
        if supports_skipping {
            response.skip_assignment = self.is_leader(&id);
        } else {
            // A client that can not skip the assignment is told that somebody else leads.
            response.leader = old_leader;
            response.members.clear();
        }
        self.answers.push(Answer::Join(to, response));
    }

    fn join_known(
        &mut self,
        request: JoinGroupRequest,
        to: JoinSender,
        now_ms: i64,
        config: &GroupConfig,
    ) {
        let id = request.member_id.clone();
        let leads = self.is_leader(&id);
        let Some(member) = self.members.get_mut(&id) else {
            let answer = join_error(ErrorCode::UnknownMemberId, id);
            return self.answers.push(Answer::Join(to, answer));
        };
        let is_same = member.protocols == request.protocols;
        let goes_on = match self.state {
            ClassicState::CompletingRebalance => is_same,
            // The leader joins again when it saw a reason for a new assignment.
            ClassicState::Stable => is_same && !leads,
            ClassicState::PreparingRebalance | ClassicState::Empty => false,
        };
        if goes_on {
            member.touch(now_ms);
            let response = self.join_response(&id);
            return self.answers.push(Answer::Join(to, response));
        }
        update(member, request);
        if let Some(before) = member.join.replace(to) {
            // The client asked again on another connection; this one waits for nothing any more.
            let answer = join_error(ErrorCode::RebalanceInProgress, id);
            self.answers.push(Answer::Join(before, answer));
        }
        self.prepare_rebalance(now_ms, config);
    }

    /// Is this a member, and the one with that instance id?
    fn check_member(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(id) if id != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn check_generation(
        &self,
        generation_id: i32,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance)?;
        if generation_id == self.generation_id { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    pub fn sync(
        &mut self,
        request: SyncGroupRequest,
        to: oneshot::Sender<SyncGroupResponse>,
        now_ms: i64,
    ) {
        if let Err(error) = self.check_sync(&request) {
            self.answers.push(Answer::Sync(to, sync_error(error)));
            return;
        }
        self.pending_sync.remove(&request.member_id);
        let leads = self.is_leader(&request.member_id);
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.touch(now_ms);
            if let Some(before) = member.sync.replace(to) {
                let answer = sync_error(ErrorCode::RebalanceInProgress);
                self.answers.push(Answer::Sync(before, answer));
            }
        }
        if self.state == ClassicState::CompletingRebalance && leads {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
            }
            for given in request.assignments {
                if let Some(member) = self.members.get_mut(&given.member_id) {
                    member.assignment = given.assignment;
                }
            }
            self.enter(ClassicState::Stable, now_ms);
            self.must_save = true;
        }
        if self.state == ClassicState::Stable {
            self.answer_syncs(now_ms);
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        self.check_generation(request.generation_id, &request.member_id, instance)?;
        let differs = |given: &Option<String>, own: &str| given.as_ref().is_some_and(|g| g != own);
        let protocol_name = self.protocol_name.as_deref().unwrap_or_default();
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            ClassicState::Empty => Err(ErrorCode::UnknownMemberId),
            ClassicState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            ClassicState::CompletingRebalance | ClassicState::Stable => Ok(()),
        }
    }

    fn answer_syncs(&mut self, now_ms: i64) {
        for member in self.members.values_mut() {
            if let Some(to) = member.sync.take() {
                member.touch(now_ms);
                let response = SyncGroupResponse {
                    error_code: ErrorCode::None,
                    protocol_type: Some(self.protocol_type.clone()),
                    protocol_name: self.protocol_name.clone(),
                    assignment: member.assignment.clone(),
                };
                self.answers.push(Answer::Sync(to, response));
            }
        }
    }

    pub fn heartbeat(&mut self, request: &HeartbeatRequest, now_ms: i64) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        self.check_generation(request.generation_id, &request.member_id, instance)?;
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.touch(now_ms);
        }
        match self.state {
            ClassicState::Empty => Err(ErrorCode::UnknownMemberId),
            ClassicState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            ClassicState::CompletingRebalance | ClassicState::Stable => Ok(()),
        }
    }

    pub fn leave(
        &mut self,
        identity: MemberIdentity,
        now_ms: i64,
        config: &GroupConfig,
    ) -> LeaveGroupMember {
        let outcome = self.try_leave(&identity, now_ms, config);
        LeaveGroupMember {
            error_code: outcome.into(),
            member_id: identity.member_id,
            group_instance_id: identity.group_instance_id,
        }
    }

    fn try_leave(
        &mut self,
        identity: &MemberIdentity,
        now_ms: i64,
        config: &GroupConfig,
    ) -> Result<(), ErrorCode> {
        if self.pending_members.remove(&identity.member_id).is_some() {
            self.try_complete_join(now_ms);
            return Ok(());
        }
        let instance = identity.group_instance_id.as_deref();
        let id = match instance {
            // The admin client names static members by their instance id alone.
            Some(instance) if identity.member_id.is_empty() => {
                self.static_members.get(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?
            }
            _ => identity.member_id.clone(),
        };
        self.check_member(&id, instance)?;
        let reason = identity.reason.as_deref().unwrap_or("not given");
        tracing::debug!(member = id, reason, "a member leaves its group");
        self.remove_member(&id, now_ms, config);
        Ok(())
    }

    /// May this member, or client without membership, commit offsets now?
    pub fn check_offset_commit(
        &mut self,
        generation_id: i32,
        member_id: &str,
        instance: Option<&str>,
        is_transactional: bool,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        if generation_id < 0 && self.state == ClassicState::Empty {
            return Ok(());
        }
        if generation_id >= 0 || !member_id.is_empty() || instance.is_some() {
            self.check_generation(generation_id, member_id, instance)?;
        } else if !is_transactional {
            return Err(ErrorCode::UnknownMemberId);
        }
        if !is_transactional && self.state == ClassicState::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now_ms);
        }
        Ok(())
    }
}

fn update(member: &mut ClassicMember, request: JoinGroupRequest) {
    member.client_id = request.client_id;
    member.client_host = request.client_host;
    member.session_timeout_ms = request.session_timeout_ms;
    member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    member.protocols = request.protocols;
}
