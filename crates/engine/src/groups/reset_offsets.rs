//! Sets the offsets of a consumer group, as `kafka-consumer-groups --reset-offsets` does: what
//! would change is worked out first, and that is all for a dry run. Only a group without members
//! is changed; the coordinator itself refuses the commit if one joins meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Error, Offset, Partition, Result};
use log::ErrorCode;
use log::groups::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};
use schemars::JsonSchema;
use serde::Serialize;

use crate::groups::consumer_groups::refused;
use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::ingest::TopicWriter;
use crate::topics::position::Position;

/// Which offsets are to be set, and where to.
#[derive(Clone, Debug)]
pub struct ResetOffsets {
    pub to: Position,
    /// Topics, or some partitions of one as `topic:0,1`. Empty: all that the group committed.
    pub topics: Vec<String>,
    pub dry_run: bool,
}

/// What a reset does, or would do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ResetPlan {
    pub group: String,
    pub state: &'static str,
    /// The offsets are set.
    pub executed: bool,
    pub partitions: Vec<ResetPartition>,
}

/// A partition of a plan.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ResetPartition {
    pub topic: String,
    pub partition: i32,
    pub current_offset: Option<i64>,
    pub new_offset: i64,
    /// What would be left to read then.
    pub lag: u64,
    /// The wanted offset is not in the log: the nearest one that is was taken.
    pub clamped: bool,
}

/// A plan that could not be carried out.
#[derive(Debug)]
pub struct ResetRefused {
    pub error: Error,
    /// None when not even that could be worked out.
    pub plan: Option<ResetPlan>,
}

impl From<Error> for ResetRefused {
    fn from(error: Error) -> ResetRefused {
        ResetRefused { error, plan: None }
    }
}

/// Resets offsets of a group. A group that is not there is made, if topics are named. Errors:
/// `NotFound` for an unknown group, topic or partition, `Invalid` for a shift of a partition
/// without an offset, `Conflict` (with the plan) while the group has members.
pub async fn reset_offsets(
    inner: &Arc<Inner>,
    group_id: &str,
    reset: ResetOffsets,
) -> Result<ResetPlan, ResetRefused> {
    inner.check_open()?;
    let (inner, group_id) = (inner.clone(), group_id.to_string());
    let work = move || Ok(reset_now(&inner, &group_id, &reset));
    blocking(work).await?
}

fn reset_now(
    inner: &Inner,
    group_id: &str,
    reset: &ResetOffsets,
) -> Result<ResetPlan, ResetRefused> {
    if group_id.is_empty() {
        return Err(refused(group_id, ErrorCode::InvalidGroupId).into());
    }
    let group = match crate::groups::consumer_groups::find_group(inner, group_id) {
        Ok(group) => Some(group),
        Err(_) if !reset.topics.is_empty() => None,
        Err(e) => return Err(e.into()),
    };
    let mut plan = ResetPlan {
        group: group_id.to_string(),
        // Kafka's word for a group that does not exist.
        state: group.map_or("Dead", |g| g.group_state),
        executed: false,
        partitions: plan(inner, group_id, reset)?,
    };
    if reset.dry_run || plan.partitions.is_empty() {
        return Ok(plan);
    }
    match commit(inner, &plan) {
        Ok(()) => {
            plan.executed = true;
            Ok(plan)
        }
        Err(error) => Err(ResetRefused { error, plan: Some(plan) }),
    }
}

fn plan(inner: &Inner, group_id: &str, reset: &ResetOffsets) -> Result<Vec<ResetPartition>> {
    let mut current: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for (topic, partition, offset, _) in crate::groups::consumer_groups::committed(inner, group_id)?
    {
        current.insert((topic, partition), offset);
    }
    let mut wanted: Vec<(String, i32)> = vec![];
    if reset.topics.is_empty() {
        // A topic that was dropped has no offsets to go to.
        let is_there = |place: &&(String, i32)| {
            let topic = inner.log.topic(&place.0);
            topic.and_then(|t| t.partition(Partition(place.1))).is_ok()
        };
        wanted.extend(current.keys().filter(is_there).cloned());
    }
    for text in &reset.topics {
        let (topic, partitions) = scope(inner, text)?;
        wanted.extend(partitions.into_iter().map(|p| (topic.clone(), p)));
    }
    wanted.sort();
    wanted.dedup();
    let one = |(topic, partition): (String, i32)| {
        let committed = current.get(&(topic.clone(), partition)).copied();
        reset_partition(inner, topic, partition, committed, reset.to)
    };
    wanted.into_iter().map(one).collect()
}

/// `topic` or `topic:0,1` (a topic's name has no colon).
fn scope(inner: &Inner, text: &str) -> Result<(String, Vec<i32>)> {
    let (name, partitions) = match text.split_once(':') {
        Some((name, list)) => (name, Some(list)),
        None => (text, None),
    };
    let known = inner.registry().get::<Arc<TopicWriter>>(name).is_some();
    if !known {
        let registry = inner.registry();
        return Err(Error::unknown("topic", name, registry.names::<Arc<TopicWriter>>()));
    }
    let log = inner.log.topic(name)?;
    let Some(list) = partitions else {
        return Ok((name.to_string(), log.partitions().iter().map(|p| p.id().0).collect()));
    };
    let bad = || {
        Error::invalid(format!("'{text}' does not name partitions"))
            .hint("write a topic, or some of its partitions as in topic:0,1")
    };
    let mut found = vec![];
    for number in list.split(',') {
        let number: i32 = number.trim().parse().map_err(|_| bad())?;
        found.push(log.partition(Partition(number))?.id().0);
    }
    Ok((name.to_string(), found))
}

fn reset_partition(
    inner: &Inner,
    topic: String,
    partition: i32,
    current_offset: Option<i64>,
    to: Position,
) -> Result<ResetPartition> {
    let log = inner.log.topic(&topic)?.partition(Partition(partition))?;
    let (start, end) = (log.start_offset().0, log.high_watermark().0);
    let committed = || {
        current_offset.ok_or_else(|| {
            let what = format!("the group has no offset of '{topic}' partition {partition}");
            Error::invalid(what).hint("reset it to earliest, latest, an offset or a time")
        })
    };
    let wanted = match to {
        Position::Earliest => start,
        Position::Latest => end,
        Position::Current => committed()?,
        Position::Offset(Offset(offset)) => offset,
        Position::Shift(by) => committed()?.saturating_add(by),
        Position::Time(us) => log.offset_for_time(us)?.map_or(end, |offset| offset.0),
    };
    let new_offset = wanted.clamp(start, end.max(start));
    Ok(ResetPartition {
        topic,
        partition,
        current_offset,
        new_offset,
        lag: end.saturating_sub(new_offset).max(0).unsigned_abs(),
        clamped: new_offset != wanted,
    })
}

fn commit(inner: &Inner, plan: &ResetPlan) -> Result<()> {
    let mut topics: Vec<OffsetCommitTopic> = vec![];
    for p in &plan.partitions {
        let one = OffsetCommitPartition {
            partition_index: p.partition,
            committed_offset: p.new_offset,
            committed_leader_epoch: -1,
            committed_metadata: None,
        };
        match topics.last_mut() {
            Some(last) if last.name == p.topic => last.partitions.push(one),
            _ => topics.push(OffsetCommitTopic { name: p.topic.clone(), partitions: vec![one] }),
        }
    }
    // As one who is no member: taken while there are none.
    let request = OffsetCommitRequest {
        group_id: plan.group.clone(),
        generation_id_or_member_epoch: -1,
        topics,
        ..OffsetCommitRequest::default()
    };
    let answers = inner.coordination.groups.commit_offsets(&request);
    let codes = answers.iter().flat_map(|t| t.partitions.iter().map(|p| p.error_code));
    match codes.into_iter().find(|code| !code.is_ok()) {
        None => Ok(()),
        Some(ErrorCode::UnknownMemberId | ErrorCode::RebalanceInProgress) => {
            let state = crate::groups::consumer_groups::find_group(inner, &plan.group)
                .map_or(plan.state, |g| g.group_state);
            let what = "offsets can only be reset while a group has no members";
            Err(Error::conflict(format!("{what}: '{}' is {state}", plan.group))
                .hint("stop its consumers first; a dry run shows what would change"))
        }
        Some(code) => Err(refused(&plan.group, code)),
    }
}
