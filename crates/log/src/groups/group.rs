//! A group: its members under one of the two protocols, and its offsets, with what of it is stored
//! and how (`docs/formats/groups.md`). A group is written as a whole when its membership changes;
//! offsets have a key each.

use std::collections::{BTreeMap, BTreeSet};

use common::Result;

use super::api::{JoinGroupProtocol, TopicMetadata};
use super::classic::{ClassicGroup, ClassicMember, ClassicState};
use super::consumer::{Assignment, ConsumerGroup, ConsumerMember, MemberState, Pattern};
use crate::coordinator_store::encoding::{Reader, Writer, kind};
use crate::coordinator_store::{Change, Ticket};
use uuid::Uuid;

/// A topic's name and a partition of it.
pub(crate) type TopicPartition = (String, i32);

/// An offset a group committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub commit_timestamp_ms: i64,
    /// Its place among all commits: of two for one partition the later one counts, also when the
    /// first was pending in a transaction until then.
    pub sequence: i64,
}

pub(crate) enum Membership {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

pub(crate) struct Group {
    pub id: String,
    pub membership: Membership,
    pub offsets: BTreeMap<TopicPartition, CommittedOffset>,
    /// Producer id → what its open transaction will commit.
    pub pending: BTreeMap<i64, BTreeMap<TopicPartition, CommittedOffset>>,
    /// The last write; answers wait for it.
    pub saved: Ticket,
    /// Its place in the map of groups is given up; look it up again.
    pub is_removed: bool,
}

impl Group {
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            membership: Membership::Classic(ClassicGroup::default()),
            offsets: BTreeMap::new(),
            pending: BTreeMap::new(),
            saved: Ticket::settled(),
            is_removed: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.membership {
            Membership::Classic(group) => group.state == ClassicState::Empty,
            Membership::Consumer(group) => group.members.is_empty(),
        }
    }

    /// Nothing of it is worth keeping.
    pub fn is_forgotten(&self) -> bool {
        let waits_for_nobody = match &self.membership {
            Membership::Classic(group) => group.pending_members.is_empty(),
            Membership::Consumer(_) => true,
        };
        self.is_empty() && waits_for_nobody && self.offsets.is_empty() && self.pending.is_empty()
    }

    pub fn state_name(&self) -> &'static str {
        match &self.membership {
            Membership::Classic(group) => group.state.name(),
            Membership::Consumer(group) => group.state_name(),
        }
    }

    pub fn type_name(&self) -> &'static str {
        match &self.membership {
            Membership::Classic(_) => "Classic",
            Membership::Consumer(_) => "Consumer",
        }
    }

    pub fn protocol_type(&self) -> &str {
        match &self.membership {
            Membership::Classic(group) => &group.protocol_type,
            Membership::Consumer(_) => "consumer",
        }
    }

    /// Topics its members want; None when that can not be known.
    pub fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        match &self.membership {
            Membership::Classic(group) => group.subscribed_topics(),
            Membership::Consumer(group) => Some(group.subscribed_topics()),
        }
    }

    pub fn key(&self) -> Vec<u8> {
        Writer::key(kind::GROUP).text(&self.id).finish()
    }

    pub fn offset_key(&self, (topic, partition): &TopicPartition) -> Vec<u8> {
        Writer::key(kind::OFFSET).text(&self.id).text(topic).i32(*partition).finish()
    }

    pub fn pending_key(&self, producer_id: i64, (topic, partition): &TopicPartition) -> Vec<u8> {
        Writer::key(kind::PENDING_OFFSET)
            .text(&self.id)
            .i64(producer_id)
            .text(topic)
            .i32(*partition)
            .finish()
    }

    /// The change that stores the membership.
    pub fn to_save(&self) -> Change {
        let value = match &self.membership {
            Membership::Classic(group) => write_classic(group),
            Membership::Consumer(group) => write_consumer(group),
        };
        (self.key(), Some(value.finish()))
    }

    /// The changes that remove everything of the group.
    pub fn to_remove(&self) -> Vec<Change> {
        let mut changes = vec![(self.key(), None)];
        changes.extend(self.offsets.keys().map(|tp| (self.offset_key(tp), None)));
        for (producer_id, offsets) in &self.pending {
            changes.extend(offsets.keys().map(|tp| (self.pending_key(*producer_id, tp), None)));
        }
        changes
    }

    /// Takes over a stored membership.
    pub fn load(&mut self, value: Vec<u8>, now_ms: i64, session_ms: i64) -> Result<()> {
        let mut reader = Reader::value(value, "group")?;
        self.membership = match reader.i8()? {
            0 => {
                let mut group = read_classic(&mut reader)?;
                group.loaded(now_ms);
                Membership::Classic(group)
            }
            kind => {
                let mut group = read_consumer(&mut reader, kind >= 2)?;
                group.loaded(now_ms, session_ms);
                Membership::Consumer(group)
            }
        };
        Ok(())
    }
}

impl CommittedOffset {
    pub fn to_value(&self) -> Vec<u8> {
        Writer::value()
            .i64(self.offset)
            .i32(self.leader_epoch)
            .text(&self.metadata)
            .i64(self.commit_timestamp_ms)
            .i64(self.sequence)
            .finish()
    }

    pub fn from_value(value: Vec<u8>) -> Result<Self> {
        let mut reader = Reader::value(value, "offset")?;
        Ok(Self {
            offset: reader.i64()?,
            leader_epoch: reader.i32()?,
            metadata: reader.text()?,
            commit_timestamp_ms: reader.i64()?,
            sequence: reader.i64()?,
        })
    }
}

fn write_classic(group: &ClassicGroup) -> Writer {
    let protocol = group.protocol_name.as_deref();
    Writer::value()
        .i8(0)
        .text(&group.protocol_type)
        .i32(group.generation_id)
        .optional_text(protocol)
        .optional_text(group.leader.as_deref())
        .i64(group.state_since_ms)
        .list(&group.members, |w, (id, m)| {
            w.text(id)
                .optional_text(m.group_instance_id.as_deref())
                .text(&m.client_id)
                .text(&m.client_host)
                .i32(m.session_timeout_ms)
                .i32(m.rebalance_timeout_ms)
                .bytes(&m.metadata(protocol.unwrap_or_default()))
                .bytes(&m.assignment)
        })
}

fn read_classic(r: &mut Reader) -> Result<ClassicGroup> {
    let mut group = ClassicGroup {
        protocol_type: r.text()?,
        generation_id: r.i32()?,
        protocol_name: r.optional_text()?,
        leader: r.optional_text()?,
        state_since_ms: r.i64()?,
        ..ClassicGroup::default()
    };
    // Only the chosen protocol is kept, as in Kafka; a member that joins again brings all.
    let name = group.protocol_name.clone().unwrap_or_default();
    group.members = r.list(|r| {
        let id = r.text()?;
        let member = ClassicMember {
            group_instance_id: r.optional_text()?,
            client_id: r.text()?,
            client_host: r.text()?,
            session_timeout_ms: r.i32()?,
            rebalance_timeout_ms: r.i32()?,
            protocols: vec![JoinGroupProtocol { name: name.clone(), metadata: r.bytes()? }],
            assignment: r.bytes()?,
            deadline_ms: 0,
            is_new: false,
            join: None,
            sync: None,
        };
        Ok((id, member))
    })?;
    Ok(group)
}

fn write_consumer(group: &ConsumerGroup) -> Writer {
    Writer::value()
        .i8(2)
        .i32(group.group_epoch)
        .i32(group.assignment_epoch)
        .text(&group.assignor)
        .list(&group.topics, |w, (name, topic)| {
            w.text(name).bytes(topic.topic_id.as_bytes()).i32(topic.partitions)
        })
        .list(&group.members, |w, (id, m)| {
            let w = w
                .text(id)
                .optional_text(m.instance_id.as_deref())
                .optional_text(m.rack_id.as_deref())
                .text(&m.client_id)
                .text(&m.client_host)
                .i32(m.rebalance_timeout_ms)
                .list(&m.subscribed_topic_names, |w, name| w.text(name))
                .optional_text(m.pattern.as_ref().map(Pattern::text))
                .list(&m.matched, |w, name| w.text(name))
                .optional_text(m.server_assignor.as_deref())
                .i32(m.member_epoch)
                .i32(m.previous_member_epoch)
                .i8(m.state as i8);
            let w = write_assignment(w, &m.assigned);
            let w = write_assignment(w, &m.pending_revocation);
            write_assignment(w, &m.target)
        })
}

/// `patterns`: members may have one.
fn read_consumer(r: &mut Reader, patterns: bool) -> Result<ConsumerGroup> {
    Ok(ConsumerGroup {
        group_epoch: r.i32()?,
        assignment_epoch: r.i32()?,
        assignor: r.text()?,
        topics: r.list(|r| {
            let name = r.text()?;
            Ok((name, TopicMetadata { topic_id: read_uuid(r)?, partitions: r.i32()? }))
        })?,
        members: r.list(|r| {
            let id = r.text()?;
            let member = ConsumerMember {
                instance_id: r.optional_text()?,
                rack_id: r.optional_text()?,
                client_id: r.text()?,
                client_host: r.text()?,
                rebalance_timeout_ms: r.i32()?,
                subscribed_topic_names: r.list(Reader::text)?,
                pattern: match patterns {
                    true => r.optional_text()?.and_then(|text| Pattern::new(&text).ok()),
                    false => None,
                },
                matched: if patterns { r.list(Reader::text)? } else { BTreeSet::new() },
                server_assignor: r.optional_text()?,
                member_epoch: r.i32()?,
                previous_member_epoch: r.i32()?,
                state: MemberState::from_stored(r.i8()?),
                assigned: read_assignment(r)?,
                pending_revocation: read_assignment(r)?,
                target: read_assignment(r)?,
                session_deadline_ms: 0,
                revocation_deadline_ms: None,
            };
            Ok((id, member))
        })?,
        ..ConsumerGroup::default()
    })
}

fn write_assignment(w: Writer, assignment: &Assignment) -> Writer {
    w.list(assignment, |w, (topic_id, partitions)| {
        w.bytes(topic_id.as_bytes()).list(partitions, |w, p| w.i32(*p))
    })
}

fn read_assignment(r: &mut Reader) -> Result<Assignment> {
    r.list(|r| Ok((read_uuid(r)?, r.list(Reader::i32)?)))
}

fn read_uuid(r: &mut Reader) -> Result<Uuid> {
    // Written from a uuid; other lengths do not occur and would be no topic's id.
    Ok(Uuid::from_slice(&r.bytes()?).unwrap_or_default())
}
