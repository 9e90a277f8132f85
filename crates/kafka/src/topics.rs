//! CreateTopics and DeleteTopics, which are CREATE TOPIC and DROP TOPIC. A topic made here takes
//! any bytes (`format = 'raw'`); one with columns is made with SQL.

use common::{Error, Kind, Result};
use engine::RawTopic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{CreateTopicsResponse, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::configs;
use super::connection::{Answer, Request};
use super::errors::Fault;
use crate::App;

/// How often a part of the topics of one request is tried again without others.
const TRIES_MAX: usize = 24;
/// Longest name of a topic in Kafka.
const NAME_MAX: usize = 249;

struct Wanted {
    name: String,
    partitions: i32,
    replicas: i16,
    configs: Vec<(String, Option<String>)>,
}

pub fn create(app: &App, mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    let topics = body.array(|r| {
        let (name, partitions, replicas) = (r.string()?, r.i32()?, r.i16()?);
        let assigned = r.array(|r| {
            r.i32()?;
            r.array(super::reader::Reader::i32)?;
            r.tags()
        })?;
        let configs = r.array(|r| {
            let config = (r.string()?, r.nullable_string()?);
            r.tags()?;
            Ok(config)
        })?;
        r.tags()?;
        let partitions = if assigned.is_empty() { partitions } else { assigned.len() as i32 };
        Ok(Wanted { name, partitions, replicas, configs })
    })?;
    body.i32()?;
    let validate_only = body.bool()?;
    let app = app.clone();
    Ok(Box::pin(async move {
        let checked: Vec<_> = topics.iter().map(|wanted| check(&app, wanted)).collect();
        let made = match validate_only {
            true => checked.into_iter().map(|c| c.map(|t| (Uuid::nil(), t.partitions))).collect(),
            false => create_all(&app, checked).await,
        };
        let made = topics.into_iter().zip(made);
        let results = made.map(|(wanted, made)| created(request.version, wanted, made)).collect();
        request.encode(&CreateTopicsResponse::default().with_topics(results)).map(Some)
    }))
}

/// Whether this topic can be made.
fn check(app: &App, wanted: &Wanted) -> std::result::Result<RawTopic, Fault> {
    let name = &wanted.name;
    if !is_name(name) {
        let why = "a name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_', '-'";
        return Err(Fault::new(ResponseError::InvalidTopicException, why));
    }
    if app.session.topic_log(name).is_ok() {
        return Err(exists(name));
    }
    if !matches!(wanted.replicas, -1 | 1) {
        let why = "there is one node: the replication factor is 1";
        return Err(Fault::new(ResponseError::InvalidReplicationFactor, why));
    }
    let partitions = match wanted.partitions {
        -1 => app.limits.partitions,
        n => u32::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| {
            Fault::new(ResponseError::InvalidPartitions, format!("{n} partitions"))
        })?,
    };
    let topic = RawTopic { name: name.clone(), partitions, options: options(&wanted.configs)? };
    topic.check().map_err(configs::refused)?;
    Ok(topic)
}

/// A new topic's id and partitions.
type Made = std::result::Result<(Uuid, u32), Fault>;

async fn create_all(app: &App, checked: Vec<std::result::Result<RawTopic, Fault>>) -> Vec<Made> {
    let good: Vec<&RawTopic> = checked.iter().flatten().collect();
    let mut made = create_together(app, &good).await.into_iter();
    let one = |checked: std::result::Result<RawTopic, Fault>| {
        let topic = checked?;
        made.next().unwrap_or(Ok(()))?;
        Ok((app.session.topic_log(&topic.name)?.id(), topic.partitions))
    };
    checked.into_iter().map(one).collect()
}

/// Makes topics in one step, which for many takes about as long as for one. If that fails, halves
/// are tried, to find those that are at fault; after some tries all that are left are refused.
pub async fn create_together(
    app: &App,
    topics: &[&RawTopic],
) -> Vec<std::result::Result<(), Fault>> {
    let mut made: Vec<_> = topics.iter().map(|_| Ok(())).collect();
    let room = app.session.topics_room().min(topics.len());
    for one in made.iter_mut().skip(room) {
        let why = "there are as many topics as topics_max allows: drop some, or raise it";
        *one = Err(Fault::new(ResponseError::PolicyViolation, why));
    }
    let mut left: Vec<Vec<usize>> = vec![(0..room).collect()];
    let mut tries = TRIES_MAX;
    while let Some(some) = left.pop() {
        if some.is_empty() {
            continue;
        }
        let wanted: Vec<&RawTopic> = some.iter().map(|i| topics[*i]).collect();
        let Err(e) = app.session.create_raw_topics(&wanted).await else { continue };
        // Another client may have made some of them since they were looked for.
        let is_there = |i: &usize| app.session.topic_log(&topics[*i].name).is_ok();
        let (there, rest): (Vec<usize>, Vec<usize>) = some.into_iter().partition(is_there);
        if !there.is_empty() {
            there.into_iter().for_each(|i| made[i] = Err(exists(&topics[i].name)));
            left.push(rest);
            continue;
        }
        tries = tries.saturating_sub(1);
        if rest.len() > 1 && tries > 0 {
            let (first, second) = rest.split_at(rest.len() / 2);
            left.extend([second.to_vec(), first.to_vec()]);
            continue;
        }
        let Fault { code, message } = configs::refused(e);
        for i in rest {
            made[i] = Err(Fault { code, message: message.clone() });
        }
    }
    made
}

fn exists(name: &str) -> Fault {
    Fault::new(ResponseError::TopicAlreadyExists, format!("topic '{name}' already exists"))
}

/// Kafka's configurations as options of CREATE TOPIC.
fn options(
    configs: &[(String, Option<String>)],
) -> std::result::Result<Vec<(String, String)>, Fault> {
    let options = configs::Changes::of(configs)?.options().into_iter();
    Ok(options.filter_map(|(option, value)| Some((option, value?))).collect())
}

fn created(version: i16, wanted: Wanted, made: Made) -> CreatableTopicResult {
    let result = CreatableTopicResult::default()
        .with_error_message(None)
        .with_name(TopicName(StrBytes::from_string(wanted.name)));
    match made {
        Ok((id, partitions)) if version >= 5 => {
            let result = result.with_num_partitions(partitions as i32).with_replication_factor(1);
            if version >= 7 { result.with_topic_id(id) } else { result }
        }
        Ok(_) => result,
        Err(Fault { code, message }) => result.with_error_code(code).with_error_message(message),
    }
}

pub fn delete(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let topics = body.array(|r| {
        if version < 6 {
            return Ok((Some(r.string()?), Uuid::nil()));
        }
        let topic = (r.nullable_string()?, r.uuid()?);
        r.tags()?;
        Ok(topic)
    })?;
    let app = app.clone();
    Ok(Box::pin(async move {
        let mut results = vec![];
        for (name, id) in topics {
            let name = name.or_else(|| {
                let logs = app.session.topic_logs();
                logs.iter().find(|l| l.id() == id).map(|l| l.name().to_string())
            });
            results.push(delete_one(&app, version, name, id).await);
        }
        request.encode(&DeleteTopicsResponse::default().with_responses(results)).map(Some)
    }))
}

async fn delete_one(
    app: &App,
    version: i16,
    name: Option<String>,
    id: Uuid,
) -> DeletableTopicResult {
    let fault = match &name {
        None => Some(Fault::new(ResponseError::UnknownTopicId, "no topic has this id")),
        Some(name) => app.session.drop_topic(name).await.err().map(refused),
    };
    let mut result = DeletableTopicResult::default()
        .with_name(name.map(|n| TopicName(StrBytes::from_string(n))));
    if version >= 6 {
        result = result.with_topic_id(id);
    }
    match fault {
        None => result,
        Some(Fault { code, message }) => {
            let result = result.with_error_code(code);
            if version >= 5 { result.with_error_message(message) } else { result }
        }
    }
}

fn refused(e: Error) -> Fault {
    let code = match e.kind() {
        Kind::NotFound => ResponseError::UnknownTopicOrPartition,
        // A view reads it, or a file of the project defines it.
        Kind::Conflict => ResponseError::PolicyViolation,
        _ => ResponseError::InvalidRequest,
    };
    Fault::of(code, &e)
}

/// What Kafka takes as a topic's name.
pub fn is_name(name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=NAME_MAX).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(letters)
}
