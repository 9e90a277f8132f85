//! A group of the new protocol (KIP-848): the server assigns, each member moves to its part of the
//! target assignment by its own heartbeats, and gives up partitions before others get them.
//!
//! Three numbers drive it. The *group epoch* goes up when members, subscriptions or topics change;
//! the *assignment epoch* says which group epoch the target was made for; a *member epoch* says
//! which target the member has reached. Requests: `consumer_heartbeat.rs`.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};
use uuid::Uuid;

use super::api::{LeaveGroupMember, MemberIdentity, TopicLookup, TopicMetadata};
use super::assignor::{ASSIGNORS, assign};
use crate::error_code::ErrorCode;

/// Topic id → partitions.
pub(crate) type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// The epoch of a static member that is away for a while.
pub(crate) const LEFT_FOR_A_WHILE: i32 = -2;
/// How often the topics of a group are looked at for changes.
const TOPICS_CHECK_INTERVAL_MS: i64 = 1_000;
/// Memory of a member's compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum MemberState {
    #[default]
    Stable = 0,
    /// It has to give up partitions before it goes on.
    UnrevokedPartitions = 1,
    /// It waits for partitions that others have not given up yet.
    UnreleasedPartitions = 2,
}

impl MemberState {
    pub fn from_stored(value: i8) -> Self {
        match value {
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Stable,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerMember {
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub subscribed_topic_names: BTreeSet<String>,
    /// It wants the topics whose names this matches, too.
    pub pattern: Option<Pattern>,
    /// Those that there are.
    pub matched: BTreeSet<String>,
    pub server_assignor: Option<String>,
    pub member_epoch: i32,
    pub previous_member_epoch: i32,
    pub state: MemberState,
    /// What it may own.
    pub assigned: Assignment,
    /// What it owned and must give up.
    pub pending_revocation: Assignment,
    /// What it shall own in the end.
    pub target: Assignment,
    pub session_deadline_ms: i64,
    /// When it is removed if it has not given up what it must.
    pub revocation_deadline_ms: Option<i64>,
}

impl ConsumerMember {
    pub fn wants(&self, topic: &str) -> bool {
        self.subscribed_topic_names.contains(topic) || self.matched.contains(topic)
    }
}

/// What the whole name of a topic must match, in the syntax of RE2: finding out takes time that
/// grows with the name's length only.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    whole: Regex,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, regex::Error> {
        let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
        // By itself first: its brackets must be its own.
        build(text)?;
        Ok(Pattern { text: text.to_owned(), whole: build(&format!("^(?:{text})$"))? })
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

#[derive(Default)]
pub(crate) struct ConsumerGroup {
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    /// The one that made the target.
    pub assignor: String,
    pub members: BTreeMap<String, ConsumerMember>,
    /// Instance id → member id.
    pub static_members: BTreeMap<String, String>,
    /// Subscribed topics that exist, as last seen.
    pub topics: BTreeMap<String, TopicMetadata>,
    pub topics_checked_ms: i64,
    /// Something changed that must survive a restart.
    pub must_save: bool,
}

impl ConsumerGroup {
    /// Starts the timers of a group that was loaded.
    pub fn loaded(&mut self, now_ms: i64, session_ms: i64) {
        for (id, member) in &mut self.members {
            member.session_deadline_ms = now_ms + session_ms;
            if member.state == MemberState::UnrevokedPartitions {
                let timeout_ms = i64::from(member.rebalance_timeout_ms);
                member.revocation_deadline_ms = Some(now_ms + timeout_ms);
            }
            if let Some(instance) = &member.instance_id {
                self.static_members.insert(instance.clone(), id.clone());
            }
        }
    }

    pub fn state_name(&self) -> &'static str {
        let is_there = |m: &ConsumerMember| {
            m.state == MemberState::Stable && m.member_epoch == self.assignment_epoch
        };
        if self.members.is_empty() {
            "Empty"
        } else if self.group_epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.values().all(is_there) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    pub fn subscribed_topics(&self) -> BTreeSet<String> {
        let of_member = |m: &ConsumerMember| {
            m.subscribed_topic_names.iter().chain(&m.matched).cloned().collect::<Vec<_>>()
        };
        self.members.values().flat_map(of_member).collect()
    }

    /// Another target is needed; once is enough until it is made.
    pub fn bump_epoch(&mut self) {
        self.group_epoch = self.assignment_epoch.saturating_add(1);
        self.must_save = true;
    }

    /// Looks at the topics, at most once a second unless subscriptions changed.
    pub fn check_topics(&mut self, lookup: &TopicLookup, subscriptions_changed: bool, now_ms: i64) {
        if !subscriptions_changed && now_ms < self.topics_checked_ms + TOPICS_CHECK_INTERVAL_MS {
            return;
        }
        self.topics_checked_ms = now_ms;
        self.match_patterns(lookup);
        let find = |name: String| (lookup.find)(&name).map(|topic| (name, topic));
        let topics: BTreeMap<_, _> =
            self.subscribed_topics().into_iter().filter_map(find).collect();
        if topics != self.topics {
            self.topics = topics;
            self.bump_epoch();
        }
    }

    /// Looks which topics the members' patterns name now.
    fn match_patterns(&mut self, lookup: &TopicLookup) {
        if self.members.values().all(|m| m.pattern.is_none() && m.matched.is_empty()) {
            return;
        }
        let names = (lookup.names)();
        let mut changed = false;
        for member in self.members.values_mut() {
            let matched: BTreeSet<String> = match &member.pattern {
                Some(pattern) => {
                    names.iter().filter(|n| pattern.whole.is_match(n)).cloned().collect()
                }
                None => BTreeSet::new(),
            };
            changed |= matched != member.matched;
            member.matched = matched;
        }
        if changed {
            self.bump_epoch();
        }
    }

    /// Makes the target anew if the group's epoch went up.
    pub fn update_target(&mut self) {
        if self.group_epoch <= self.assignment_epoch {
            return;
        }
        self.assignor = self.preferred_assignor().to_owned();
        let mut targets = assign(&self.assignor, &self.members, &self.topics);
        for (id, member) in &mut self.members {
            member.target = targets.remove(id).unwrap_or_default();
        }
        self.assignment_epoch = self.group_epoch;
        self.must_save = true;
    }

    /// Most members' choice; those without one do not vote.
    fn preferred_assignor(&self) -> &'static str {
        let votes = |name: &str| {
            self.members.values().filter(|m| m.server_assignor.as_deref() == Some(name)).count()
        };
        // Of equals the last counts for `max_by_key`: the default.
        ASSIGNORS.iter().rev().copied().max_by_key(|name| votes(name)).unwrap_or("uniform")
    }

    /// Takes a member one step nearer to its target. `owned` is what it says it owns; None when it
    /// said nothing.
    pub fn reconcile(&mut self, id: &str, owned: Option<&Assignment>, now_ms: i64) {
        let Some(member) = self.members.get(id) else { return };
        let goes_on = match member.state {
            MemberState::Stable => member.member_epoch != self.assignment_epoch,
            MemberState::UnreleasedPartitions => true,
            MemberState::UnrevokedPartitions => {
                owned.is_some_and(|owned| !overlaps(owned, &member.pending_revocation))
            }
        };
        if !goes_on {
            return;
        }
        let kept = both(&member.assigned, &member.target);
        let to_revoke = without(&member.assigned, &member.target);
        let wanted = without(&member.target, &kept);
        let must_revoke = match owned {
            Some(owned) => overlaps(owned, &to_revoke),
            None => !to_revoke.is_empty(),
        };
        if must_revoke {
            let timeout_ms = i64::from(member.rebalance_timeout_ms);
            let deadline_ms = now_ms + timeout_ms;
            self.move_member(id, MemberState::UnrevokedPartitions, kept, to_revoke, None);
            if let Some(member) = self.members.get_mut(id) {
                member.revocation_deadline_ms = Some(deadline_ms);
            }
            return;
        }
        let free = self.released(wanted.clone(), id);
        let state =
            if free == wanted { MemberState::Stable } else { MemberState::UnreleasedPartitions };
        let assigned = either(&kept, &free);
        self.move_member(id, state, assigned, Assignment::new(), Some(self.assignment_epoch));
    }

    fn move_member(
        &mut self,
        id: &str,
        state: MemberState,
        assigned: Assignment,
        pending_revocation: Assignment,
        epoch: Option<i32>,
    ) {
        let Some(member) = self.members.get_mut(id) else { return };
        let epoch = epoch.unwrap_or(member.member_epoch);
        let is_same = member.state == state
            && member.assigned == assigned
            && member.pending_revocation == pending_revocation
            && member.member_epoch == epoch;
        if is_same {
            return;
        }
        if epoch != member.member_epoch {
            member.previous_member_epoch = member.member_epoch;
        }
        member.member_epoch = epoch;
        member.state = state;
        member.assigned = assigned;
        member.pending_revocation = pending_revocation;
        member.revocation_deadline_ms = None;
        self.must_save = true;
    }

    /// Those of the partitions that no other member owns.
    fn released(&self, mut partitions: Assignment, id: &str) -> Assignment {
        for member in self.members.iter().filter(|(other, _)| *other != id).map(|(_, m)| m) {
            if partitions.is_empty() {
                break;
            }
            partitions = without(&partitions, &member.assigned);
            partitions = without(&partitions, &member.pending_revocation);
        }
        partitions
    }

    /// Takes a member out; the others get its partitions.
    pub fn remove_member(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        self.bump_epoch();
    }

    /// LeaveGroup, which the admin client also sends to groups of this protocol.
    pub fn leave(&mut self, members: Vec<MemberIdentity>) -> Vec<LeaveGroupMember> {
        let mut left = vec![];
        for identity in members {
            let by_instance =
                identity.group_instance_id.as_ref().and_then(|i| self.static_members.get(i));
            let is_named = !identity.member_id.is_empty();
            let error_code = match (by_instance.cloned(), &identity.group_instance_id) {
                (None, Some(_)) => ErrorCode::UnknownMemberId,
                (Some(id), _) if is_named && id != identity.member_id => {
                    ErrorCode::FencedInstanceId
                }
                (Some(id), _) => {
                    self.remove_member(&id);
                    ErrorCode::None
                }
                (None, None) if self.members.contains_key(&identity.member_id) => {
                    self.remove_member(&identity.member_id);
                    ErrorCode::None
                }
                (None, None) => ErrorCode::UnknownMemberId,
            };
            left.push(LeaveGroupMember {
                member_id: identity.member_id,
                group_instance_id: identity.group_instance_id,
                error_code,
            });
        }
        left
    }

    /// Removes members that were not heard of, or did not give up their partitions, in time.
    pub fn tick(&mut self, now_ms: i64) {
        let is_late = |m: &ConsumerMember| deadline(m) <= now_ms;
        let late = self.members.iter().filter(|(_, m)| is_late(m)).map(|(id, _)| id.clone());
        for id in late.collect::<Vec<_>>() {
            self.remove_member(&id);
        }
    }

    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.members.values().map(deadline).min()
    }

    /// May this member commit offsets, or fetch them?
    pub fn check_member_epoch(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if member.member_epoch == epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }
}

fn deadline(member: &ConsumerMember) -> i64 {
    let revocation = member.revocation_deadline_ms.unwrap_or(i64::MAX);
    member.session_deadline_ms.min(revocation)
}

/// What is in both.
pub(crate) fn both(a: &Assignment, b: &Assignment) -> Assignment {
    combine(a, |id, partition| contains(b, id, partition))
}

/// What is in `a` but not in `b`.
pub(crate) fn without(a: &Assignment, b: &Assignment) -> Assignment {
    combine(a, |id, partition| !contains(b, id, partition))
}

fn combine(a: &Assignment, keep: impl Fn(&Uuid, i32) -> bool) -> Assignment {
    let kept = a.iter().map(|(id, partitions)| {
        (*id, partitions.iter().copied().filter(|p| keep(id, *p)).collect::<BTreeSet<i32>>())
    });
    kept.filter(|(_, partitions)| !partitions.is_empty()).collect()
}

fn either(a: &Assignment, b: &Assignment) -> Assignment {
    let mut sum = a.clone();
    for (id, partitions) in b {
        sum.entry(*id).or_default().extend(partitions);
    }
    sum
}

fn contains(a: &Assignment, id: &Uuid, partition: i32) -> bool {
    a.get(id).is_some_and(|partitions| partitions.contains(&partition))
}

fn overlaps(a: &Assignment, b: &Assignment) -> bool {
    !both(a, b).is_empty()
}
