//! ConsumerGroupHeartbeat (KIP-848), the one request of the new protocol: joins, stays, leaves,
//! says what it wants and owns, and learns what it may own.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::api::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicIdPartitions,
};
use super::assignor::ASSIGNORS;
use super::consumer::{
    Assignment, ConsumerGroup, ConsumerMember, LEFT_FOR_A_WHILE, MemberState, Pattern, without,
};
use super::coordinator::GroupCoordinator;
use super::group::{Group, Membership};
use crate::error_code::ErrorCode;

/// An error and what a person needs to know of it.
type Refusal = (ErrorCode, String);

fn refuse<T>(error_code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err((error_code, message.into()))
}

impl GroupCoordinator {
    /// ConsumerGroupHeartbeat. Blocks for a write when something changed.
    pub fn consumer_group_heartbeat(
        &self,
        mut request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        if request.member_id.is_empty() && request.member_epoch == 0 {
            // Only a client of version 0 leaves it open.
            request.member_id = self.config.member_ids.next_id().to_string();
        }
        match check(&request).and_then(|()| self.try_heartbeat(&request)) {
            Ok(response) => response,
            Err((error_code, message)) => ConsumerGroupHeartbeatResponse {
                error_code,
                error_message: Some(message),
                ..Default::default()
            },
        }
    }

    fn try_heartbeat(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let work = |group: &mut Group| {
            let response = self.heartbeat_in(group, request)?;
            self.save_consumer(group);
            Ok((response, group.saved.clone()))
        };
        let (response, saved) = if request.member_epoch == 0 {
            self.with_new(&request.group_id, work)?
        } else {
            self.with(&request.group_id, work).unwrap_or_else(|| {
                let message = format!("group '{}' does not exist", request.group_id);
                refuse(ErrorCode::GroupIdNotFound, message)
            })?
        };
        match self.queue.settle(&saved) {
            Ok(()) => Ok(response),
            Err(e) => refuse(ErrorCode::CoordinatorNotAvailable, e.to_string()),
        }
    }

    fn heartbeat_in(
        &self,
        group: &mut Group,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let is_empty_classic = match &group.membership {
            Membership::Classic(classic) => group.is_empty() && classic.pending_members.is_empty(),
            Membership::Consumer(_) => false,
        };
        if is_empty_classic && request.member_epoch == 0 {
            group.membership = Membership::Consumer(ConsumerGroup::default());
        }
        let Membership::Consumer(consumer) = &mut group.membership else {
            let message = format!("group '{}' is not a consumer group", group.id);
            return refuse(ErrorCode::GroupIdNotFound, message);
        };
        if request.member_epoch < 0 {
            return consumer.leave_by_heartbeat(request);
        }
        let now_ms = self.now_ms();
        let is_known = consumer.members.contains_key(&request.member_id);
        if !is_known && consumer.members.len() >= self.config.max_size {
            let message =
                format!("group '{}' has {} members already", group.id, self.config.max_size);
            return refuse(ErrorCode::GroupMaxSizeReached, message);
        }
        consumer.find_or_join(request)?;
        let subscriptions_changed = consumer.update_member(request);
        if let Some(member) = consumer.members.get_mut(&request.member_id) {
            let session_ms = i64::from(self.config.consumer_session_timeout_ms);
            member.session_deadline_ms = now_ms + session_ms;
        }
        consumer.check_topics(&self.topics, subscriptions_changed, now_ms);
        consumer.update_target();
        let owned = request.topic_partitions.as_deref().map(to_assignment);
        let before = consumer.assigned(&request.member_id);
        consumer.reconcile(&request.member_id, owned.as_ref(), now_ms);
        let after = consumer.assigned(&request.member_id);
        let is_full = request.member_epoch == 0
            || (request.rebalance_timeout_ms != -1
                && request.subscribed_topic_names.is_some()
                && request.topic_partitions.is_some());
        let is_news = is_full || before != after;
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: consumer.members.get(&request.member_id).map_or(0, |m| m.member_epoch),
            heartbeat_interval_ms: self.config.consumer_heartbeat_interval_ms,
            assignment: is_news.then(|| from_assignment(&after)),
            ..Default::default()
        })
    }

    /// Queues a group of the new protocol if it changed.
    pub(super) fn save_consumer(&self, group: &mut Group) {
        let Membership::Consumer(consumer) = &mut group.membership else { return };
        if std::mem::take(&mut consumer.must_save) {
            group.saved = self.queue.enqueue([group.to_save()]);
        }
    }
}

fn check(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |message: &str| refuse(ErrorCode::InvalidRequest, message);
    if request.group_id.is_empty() {
        return invalid("the group id is empty");
    }
    if request.member_epoch < LEFT_FOR_A_WHILE {
        return invalid("the member epoch is below -2");
    }
    if request.member_id.is_empty() {
        return invalid("the member id is empty");
    }
    if request.instance_id.as_deref() == Some("") {
        return invalid("the instance id is empty");
    }
    if request.member_epoch == LEFT_FOR_A_WHILE && request.instance_id.is_none() {
        return invalid(
            "only a static member can leave for a while, and the instance id is missing",
        );
    }
    if request.member_epoch < 0 {
        return Ok(());
    }
    if let Some(text) = request.subscribed_topic_regex.as_ref().filter(|text| !text.is_empty())
        && let Err(e) = Pattern::new(text)
    {
        let message = format!("'{text}' is no regular expression: {e}");
        return refuse(ErrorCode::InvalidRegularExpression, message);
    }
    if let Some(assignor) = &request.server_assignor
        && !ASSIGNORS.contains(&assignor.as_str())
    {
        let message =
            format!("there is no assignor '{assignor}'; there are {}", ASSIGNORS.join(", "));
        return refuse(ErrorCode::UnsupportedAssignor, message);
    }
    if request.member_epoch == 0 {
        if request.rebalance_timeout_ms < 1 {
            return invalid("the rebalance timeout must be given at joining");
        }
        if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("a member that joins owns no partitions");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid("the subscribed topics, or a pattern, must be given at joining");
        }
    }
    Ok(())
}

impl ConsumerGroup {
    fn assigned(&self, member_id: &str) -> Assignment {
        self.members.get(member_id).map(|m| m.assigned.clone()).unwrap_or_default()
    }

    fn leave_by_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let id = &request.member_id;
        if let Some(instance) = &request.instance_id {
            self.check_instance(instance, id)?;
        } else if !self.members.contains_key(id) {
            return refuse(ErrorCode::UnknownMemberId, format!("there is no member '{id}'"));
        }
        if request.member_epoch == LEFT_FOR_A_WHILE {
            if let Some(member) = self.members.get_mut(id) {
                // Its partitions stay with it until its session ends.
                member.member_epoch = LEFT_FOR_A_WHILE;
                member.pending_revocation.clear();
                member.revocation_deadline_ms = None;
                member.state = MemberState::Stable;
                self.must_save = true;
            }
        } else {
            self.remove_member(id);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }

    fn check_instance(&self, instance: &str, member_id: &str) -> Result<(), Refusal> {
        match self.static_members.get(instance) {
            None => refuse(
                ErrorCode::UnknownMemberId,
                format!("there is no static member '{instance}'"),
            ),
            Some(id) if id != member_id => refuse(
                ErrorCode::FencedInstanceId,
                format!("the static member '{instance}' is another one now"),
            ),
            Some(_) => Ok(()),
        }
    }

    /// Makes sure that the member is there and that the epoch it states is one it can have.
    fn find_or_join(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
        let id = &request.member_id;
        if request.member_epoch == 0 {
            return match &request.instance_id {
                Some(instance) => self.join_static(instance, id),
                None => {
                    if !self.members.contains_key(id) {
                        self.members.insert(id.clone(), ConsumerMember::default());
                        self.bump_epoch();
                    }
                    Ok(())
                }
            };
        }
        if let Some(instance) = &request.instance_id {
            self.check_instance(instance, id)?;
        }
        let Some(member) = self.members.get(id) else {
            return refuse(ErrorCode::UnknownMemberId, format!("there is no member '{id}'"));
        };
        let is_current = request.member_epoch == member.member_epoch;
        // The answer that told it its new epoch may have been lost.
        let owned = request.topic_partitions.as_deref().map(to_assignment);
        let missed_answer = request.member_epoch == member.previous_member_epoch
            && request.member_epoch < member.member_epoch
            && owned.is_some_and(|owned| without(&owned, &member.assigned).is_empty());
        if is_current || missed_answer {
            return Ok(());
        }
        let message = format!(
            "the member's epoch is {}, not {}; join again",
            member.member_epoch, request.member_epoch
        );
        refuse(ErrorCode::FencedMemberEpoch, message)
    }

    fn join_static(&mut self, instance: &str, id: &str) -> Result<(), Refusal> {
        let Some(old_id) = self.static_members.get(instance).cloned() else {
            let member =
                ConsumerMember { instance_id: Some(instance.to_owned()), ..Default::default() };
            self.members.insert(id.to_owned(), member);
            self.static_members.insert(instance.to_owned(), id.to_owned());
            self.bump_epoch();
            return Ok(());
        };
        let has_left =
            self.members.get(&old_id).is_some_and(|m| m.member_epoch == LEFT_FOR_A_WHILE);
        if !has_left && old_id == id {
            return Ok(());
        }
        if !has_left {
            let message = format!("the static member '{instance}' is still in use");
            return refuse(ErrorCode::UnreleasedInstanceId, message);
        }
        if let Some(mut member) = self.members.remove(&old_id) {
            // It gets back what was kept for it.
            member.member_epoch = 0;
            member.previous_member_epoch = 0;
            self.members.insert(id.to_owned(), member);
            self.static_members.insert(instance.to_owned(), id.to_owned());
            self.must_save = true;
        }
        Ok(())
    }

    /// Takes over what the member says of itself; true if its subscription changed.
    fn update_member(&mut self, request: &ConsumerGroupHeartbeatRequest) -> bool {
        let Some(member) = self.members.get_mut(&request.member_id) else { return false };
        member.client_id.clone_from(&request.client_id);
        member.client_host.clone_from(&request.client_host);
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if request.rack_id.is_some() {
            member.rack_id.clone_from(&request.rack_id);
        }
        let mut changed = false;
        if let Some(names) = &request.subscribed_topic_names {
            let names: BTreeSet<String> = names.iter().cloned().collect();
            changed = names != member.subscribed_topic_names;
            member.subscribed_topic_names = names;
        }
        if let Some(text) = &request.subscribed_topic_regex
            && *text != member.pattern.as_ref().map_or("", Pattern::text)
        {
            member.pattern = Pattern::new(text).ok().filter(|_| !text.is_empty());
            changed = true;
        }
        let assignor = &request.server_assignor;
        let assignor_changed = assignor.is_some() && *assignor != member.server_assignor;
        if assignor_changed {
            member.server_assignor.clone_from(assignor);
        }
        if changed || assignor_changed {
            self.bump_epoch();
        }
        changed
    }
}

fn to_assignment(owned: &[TopicIdPartitions]) -> Assignment {
    let mut assignment = Assignment::new();
    for topic in owned {
        assignment.entry(topic.topic_id).or_default().extend(&topic.partitions);
    }
    assignment
}

fn from_assignment(assignment: &Assignment) -> Vec<TopicIdPartitions> {
    let topic = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| TopicIdPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    };
    assignment.iter().map(topic).collect()
}
