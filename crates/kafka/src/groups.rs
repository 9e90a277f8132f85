//! Membership of classic consumer groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup; and of the
//! new ones (KIP-848): ConsumerGroupHeartbeat. What a request means is decided in `log::groups`.

use common::Result;
use kafka_protocol::messages::consumer_group_heartbeat_response as heartbeat;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    SyncGroupResponse,
};
use log::ErrorCode;
use log::groups as model;

use super::connection::{Answer, Request};
use super::reader::Reader;
use super::{blocking, text};
use crate::App;

pub fn join(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let (client_id, client_host) = request.client();
    let body = &mut request.body;
    let (group_id, session_timeout_ms) = (body.string()?, body.i32()?);
    let rebalance_timeout_ms = if version >= 1 { body.i32()? } else { session_timeout_ms };
    let member_id = body.string()?;
    let group_instance_id = if version >= 5 { body.nullable_string()? } else { None };
    let protocol_type = body.string()?;
    let protocols = body.array(|r| {
        let (name, metadata) = (r.string()?, r.bytes()?);
        r.tags()?;
        Ok(model::JoinGroupProtocol { name, metadata })
    })?;
    let asked = model::JoinGroupRequest {
        group_id,
        session_timeout_ms,
        rebalance_timeout_ms,
        member_id,
        group_instance_id,
        protocol_type,
        protocols,
        client_id,
        client_host,
        requires_known_member_id: version >= 4,
        supports_skipping_assignment: version >= 9,
    };
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let reply = blocking(move || groups.join_group(asked)).await?;
        let answer = reply.await.unwrap_or_else(|_| model::JoinGroupResponse {
            error_code: ErrorCode::CoordinatorNotAvailable,
            generation_id: -1,
            ..Default::default()
        });
        request.encode(&joined(version, answer)).map(Some)
    }))
}

fn joined(version: i16, answer: model::JoinGroupResponse) -> JoinGroupResponse {
    let member = |m: model::JoinGroupResponseMember| {
        let out = JoinGroupResponseMember::default()
            .with_member_id(text(m.member_id))
            .with_metadata(m.metadata);
        match m.group_instance_id {
            Some(id) if version >= 5 => out.with_group_instance_id(Some(text(id))),
            _ => out,
        }
    };
    let protocol = match answer.protocol_name {
        None if version < 7 => Some(text("")),
        name => name.map(text),
    };
    let out = JoinGroupResponse::default()
        .with_error_code(answer.error_code.code())
        .with_generation_id(answer.generation_id)
        .with_protocol_name(protocol)
        .with_leader(text(answer.leader))
        .with_member_id(text(answer.member_id))
        .with_members(answer.members.into_iter().map(member).collect());
    let out = if version >= 9 { out.with_skip_assignment(answer.skip_assignment) } else { out };
    if version >= 7 { out.with_protocol_type(answer.protocol_type.map(text)) } else { out }
}

pub fn sync(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let (group_id, generation_id, member_id) = (body.string()?, body.i32()?, body.string()?);
    let group_instance_id = if version >= 3 { body.nullable_string()? } else { None };
    let (protocol_type, protocol_name) = match version >= 5 {
        true => (body.nullable_string()?, body.nullable_string()?),
        false => (None, None),
    };
    let assignments = body.array(|r| {
        let (member_id, assignment) = (r.string()?, r.bytes()?);
        r.tags()?;
        Ok(model::SyncGroupAssignment { member_id, assignment })
    })?;
    let asked = model::SyncGroupRequest {
        group_id,
        generation_id,
        member_id,
        group_instance_id,
        protocol_type,
        protocol_name,
        assignments,
    };
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let reply = blocking(move || groups.sync_group(asked)).await?;
        let answer = reply.await.unwrap_or_else(|_| model::SyncGroupResponse {
            error_code: ErrorCode::CoordinatorNotAvailable,
            ..Default::default()
        });
        let out = SyncGroupResponse::default()
            .with_error_code(answer.error_code.code())
            .with_assignment(answer.assignment);
        let out = match version >= 5 {
            true => out
                .with_protocol_type(answer.protocol_type.map(text))
                .with_protocol_name(answer.protocol_name.map(text)),
            false => out,
        };
        request.encode(&out).map(Some)
    }))
}

pub fn heartbeat(app: &App, mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    let (group_id, generation_id, member_id) = (body.string()?, body.i32()?, body.string()?);
    let group_instance_id = if request.version >= 3 { body.nullable_string()? } else { None };
    let asked = model::HeartbeatRequest { group_id, generation_id, member_id, group_instance_id };
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let code = groups.heartbeat(&asked).code();
        request.encode(&HeartbeatResponse::default().with_error_code(code)).map(Some)
    }))
}

pub fn leave(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let group_id = body.string()?;
    let members = match version >= 3 {
        true => body.array(|r| {
            let (member_id, group_instance_id) = (r.string()?, r.nullable_string()?);
            let reason = if version >= 5 { r.nullable_string()? } else { None };
            r.tags()?;
            Ok(model::MemberIdentity { member_id, group_instance_id, reason })
        })?,
        false => vec![model::MemberIdentity { member_id: body.string()?, ..Default::default() }],
    };
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let asked = model::LeaveGroupRequest { group_id, members };
        let answer = blocking(move || groups.leave_group(asked)).await?;
        let out = LeaveGroupResponse::default();
        if version < 3 {
            // The one member's error is the answer's.
            let of_member = answer.members.first().map_or(ErrorCode::None, |m| m.error_code);
            let code = if answer.error_code.is_ok() { of_member } else { answer.error_code };
            return request.encode(&out.with_error_code(code.code())).map(Some);
        }
        let member = |m: model::LeaveGroupMember| {
            MemberResponse::default()
                .with_member_id(text(m.member_id))
                .with_group_instance_id(m.group_instance_id.map(text))
                .with_error_code(m.error_code.code())
        };
        let members = answer.members.into_iter().map(member).collect();
        let out = out.with_error_code(answer.error_code.code()).with_members(members);
        request.encode(&out).map(Some)
    }))
}

pub fn consumer_heartbeat(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let (client_id, client_host) = request.client();
    let body = &mut request.body;
    let asked = model::ConsumerGroupHeartbeatRequest {
        group_id: body.string()?,
        member_id: body.string()?,
        member_epoch: body.i32()?,
        instance_id: body.nullable_string()?,
        rack_id: body.nullable_string()?,
        rebalance_timeout_ms: body.i32()?,
        subscribed_topic_names: body.nullable_array(Reader::string)?,
        subscribed_topic_regex: if version >= 1 { body.nullable_string()? } else { None },
        server_assignor: body.nullable_string()?,
        topic_partitions: body.nullable_array(|r| {
            let (topic_id, partitions) = (r.uuid()?, r.array(Reader::i32)?);
            r.tags()?;
            Ok(model::TopicIdPartitions { topic_id, partitions })
        })?,
        client_id,
        client_host,
    };
    let groups = app.session.groups().clone();
    Ok(Box::pin(async move {
        let answer = blocking(move || groups.consumer_group_heartbeat(asked)).await?;
        let topic = |t: model::TopicIdPartitions| {
            heartbeat::TopicPartitions::default()
                .with_topic_id(t.topic_id)
                .with_partitions(t.partitions)
        };
        let assignment = |topics: Vec<_>| {
            let topics = topics.into_iter().map(topic).collect();
            heartbeat::Assignment::default().with_topic_partitions(topics)
        };
        let out = ConsumerGroupHeartbeatResponse::default()
            .with_error_code(answer.error_code.code())
            .with_error_message(answer.error_message.map(text))
            .with_member_id(answer.member_id.map(text))
            .with_member_epoch(answer.member_epoch)
            .with_heartbeat_interval_ms(answer.heartbeat_interval_ms)
            .with_assignment(answer.assignment.map(assignment));
        request.encode(&out).map(Some)
    }))
}
