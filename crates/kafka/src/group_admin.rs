//! What operators ask of groups: ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups.

use common::Result;
use kafka_protocol::messages::consumer_group_describe_response as consumer;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response as classic;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeResponse, DeleteGroupsResponse, DescribeGroupsResponse, GroupId,
    ListGroupsResponse,
};
use log::ErrorCode;
use log::groups as model;

use super::connection::{Answer, Request};
use super::reader::Reader;
use super::{authorized, blocking, text, topic_name};
use crate::App;

pub fn list(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let states = if version >= 4 { body.array(Reader::string)? } else { vec![] };
    let types = if version >= 5 { body.array(Reader::string)? } else { vec![] };
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let listed = |g: model::ListedGroup| {
            let out = ListedGroup::default()
                .with_group_id(GroupId(text(g.group_id)))
                .with_protocol_type(text(g.protocol_type));
            let out = if version >= 4 { out.with_group_state(text(g.group_state)) } else { out };
            if version >= 5 { out.with_group_type(text(g.group_type)) } else { out }
        };
        let groups = groups.list_groups(&states, &types).into_iter().map(listed).collect();
        request.encode(&ListGroupsResponse::default().with_groups(groups)).map(Some)
    }))
}

pub fn describe(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let ids = request.body.array(Reader::string)?;
    let operations = authorized::group(version >= 3 && request.body.bool()?);
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let described = |id: &String| described(version, operations, groups.describe_group(id));
        let groups = ids.iter().map(described).collect();
        request.encode(&DescribeGroupsResponse::default().with_groups(groups)).map(Some)
    }))
}

fn described(
    version: i16,
    operations: i32,
    group: model::DescribedGroup,
) -> classic::DescribedGroup {
    let member = |m: model::DescribedGroupMember| {
        let out = classic::DescribedGroupMember::default()
            .with_member_id(text(m.member_id))
            .with_client_id(text(m.client_id))
            .with_client_host(text(m.client_host))
            .with_member_metadata(m.member_metadata)
            .with_member_assignment(m.member_assignment);
        match m.group_instance_id {
            Some(id) if version >= 4 => out.with_group_instance_id(Some(text(id))),
            _ => out,
        }
    };
    // Before version 6 a group that is not there is "Dead", and that is no error.
    let code = match group.error_code {
        ErrorCode::GroupIdNotFound if version < 6 => ErrorCode::None,
        code => code,
    };
    let out = classic::DescribedGroup::default()
        .with_error_code(code.code())
        .with_group_id(GroupId(text(group.group_id)))
        .with_group_state(text(group.group_state))
        .with_protocol_type(text(group.protocol_type))
        .with_protocol_data(text(group.protocol_data))
        .with_members(group.members.into_iter().map(member).collect());
    if version >= 3 { out.with_authorized_operations(operations) } else { out }
}

pub fn describe_consumer(app: &App, mut request: Request) -> Result<Answer> {
    let ids = request.body.array(Reader::string)?;
    let operations = authorized::group(request.body.bool()?);
    let version = request.version;
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let described = |id: &String| {
            let group = groups.describe_consumer_group(id);
            described_consumer(version, group).with_authorized_operations(operations)
        };
        let groups = ids.iter().map(described).collect();
        request.encode(&ConsumerGroupDescribeResponse::default().with_groups(groups)).map(Some)
    }))
}

/// The member protocol of KIP-848, as version 1 names it.
const CONSUMER: i8 = 1;

fn described_consumer(
    version: i16,
    group: model::DescribedConsumerGroup,
) -> consumer::DescribedGroup {
    let assignment = |topics: Vec<model::NamedTopicPartitions>| {
        let topic = |t: model::NamedTopicPartitions| {
            consumer::TopicPartitions::default()
                .with_topic_id(t.topic_id)
                .with_topic_name(topic_name(t.topic_name))
                .with_partitions(t.partitions)
        };
        let topics = topics.into_iter().map(topic).collect();
        consumer::Assignment::default().with_topic_partitions(topics)
    };
    let member = |m: model::DescribedConsumerGroupMember| {
        let out = consumer::Member::default()
            .with_member_id(text(m.member_id))
            .with_instance_id(m.instance_id.map(text))
            .with_rack_id(m.rack_id.map(text))
            .with_member_epoch(m.member_epoch)
            .with_client_id(text(m.client_id))
            .with_client_host(text(m.client_host))
            .with_subscribed_topic_names(
                m.subscribed_topic_names.into_iter().map(topic_name).collect(),
            )
            .with_subscribed_topic_regex(m.subscribed_topic_regex.map(text))
            .with_assignment(assignment(m.assignment))
            .with_target_assignment(assignment(m.target_assignment));
        if version >= 1 { out.with_member_type(CONSUMER) } else { out }
    };
    consumer::DescribedGroup::default()
        .with_error_code(group.error_code.code())
        .with_group_id(GroupId(text(group.group_id)))
        .with_group_state(text(group.group_state))
        .with_group_epoch(group.group_epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(group.assignor_name))
        .with_members(group.members.into_iter().map(member).collect())
}

pub fn delete(app: &App, mut request: Request) -> Result<Answer> {
    let ids = request.body.array(Reader::string)?;
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let deleted = move || {
            let one = |id: String| {
                let code = groups.delete_group(&id).code();
                DeletableGroupResult::default()
                    .with_group_id(GroupId(text(id)))
                    .with_error_code(code)
            };
            ids.into_iter().map(one).collect()
        };
        let results = blocking(deleted).await?;
        request.encode(&DeleteGroupsResponse::default().with_results(results)).map(Some)
    }))
}
