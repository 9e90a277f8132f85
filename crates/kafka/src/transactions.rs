//! Producers with an identity: InitProducerId, and what a transaction consists of:
//! AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn (KIP-98).

use common::{Partition, Result};
use kafka_protocol::messages::add_partitions_to_txn_response as added;
use kafka_protocol::messages::txn_offset_commit_response as offsets;
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, EndTxnResponse, InitProducerIdResponse,
    ProducerId, TxnOffsetCommitResponse,
};
use log::ErrorCode;
use log::groups as model;
use log::transactions::{InitProducerIdRequest, TransactionalProducer};

use super::connection::{Answer, Request};
use super::offsets::{committed_topic, known};
use super::reader::Reader;
use super::{blocking, topic_name};
use crate::App;

pub fn init_producer_id(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let (transactional_id, transaction_timeout_ms) = (body.nullable_string()?, body.i32()?);
    let (producer_id, producer_epoch) = match version >= 3 {
        true => (body.i64()?, body.i16()?),
        false => (-1, -1),
    };
    let asked = InitProducerIdRequest {
        transactional_id,
        transaction_timeout_ms,
        producer_id,
        producer_epoch,
    };
    let transactions = app.session.transactions().clone();
    Ok(Box::pin(async move {
        let answer = blocking(move || transactions.init_producer_id(&asked)).await?;
        let out = InitProducerIdResponse::default()
            .with_error_code(answer.error_code.for_client(version >= 4).code())
            .with_producer_id(ProducerId(answer.producer_id))
            .with_producer_epoch(answer.producer_epoch);
        request.encode(&out).map(Some)
    }))
}

/// The fields all requests of a transaction begin with.
fn producer(body: &mut Reader) -> Result<TransactionalProducer> {
    Ok(TransactionalProducer {
        transactional_id: body.string()?,
        producer_id: body.i64()?,
        producer_epoch: body.i16()?,
    })
}

pub fn add_partitions(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let producer = producer(body)?;
    let topics = body.array(|r| {
        let topic = (r.string()?, r.array(Reader::i32)?);
        r.tags()?;
        Ok(topic)
    })?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        let add = move || {
            let place = |(topic, partitions): &(String, Vec<i32>)| {
                partitions.iter().map(|p| (topic.clone(), *p)).collect::<Vec<_>>()
            };
            let places: Vec<_> = topics.iter().flat_map(place).collect();
            let exists = |(topic, p): &(String, i32)| {
                let log = session.topic_log(topic);
                log.is_ok_and(|log| log.partition(Partition(*p)).is_ok())
            };
            // All or none: with one unknown the others are not tried.
            let missing: Vec<_> = places.iter().filter(|p| !exists(p)).cloned().collect();
            let code = match missing.is_empty() {
                true => session.transactions().add_partitions(&producer, &places),
                false => ErrorCode::OperationNotAttempted,
            };
            let code = code.for_client(version >= 2);
            let of = |topic: &str, p: i32| match missing.iter().any(|m| (&*m.0, m.1) == (topic, p))
            {
                true => ErrorCode::UnknownTopicOrPartition,
                false => code,
            };
            let result = |(topic, partitions): (String, Vec<i32>)| {
                let one = |p: i32| {
                    added::AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(p)
                        .with_partition_error_code(of(&topic, p).code())
                };
                let results = partitions.into_iter().map(one).collect();
                added::AddPartitionsToTxnTopicResult::default()
                    .with_results_by_partition(results)
                    .with_name(topic_name(topic))
            };
            topics.into_iter().map(result).collect()
        };
        let results = blocking(add).await?;
        let out = AddPartitionsToTxnResponse::default();
        request.encode(&out.with_results_by_topic_v3_and_below(results)).map(Some)
    }))
}

pub fn add_offsets(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let producer = producer(&mut request.body)?;
    let group_id = request.body.string()?;
    let transactions = app.session.transactions().clone();
    Ok(Box::pin(async move {
        let code = blocking(move || transactions.add_offsets(&producer, &group_id)).await?;
        let code = code.for_client(version >= 2).code();
        request.encode(&AddOffsetsToTxnResponse::default().with_error_code(code)).map(Some)
    }))
}

pub fn end(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let producer = producer(&mut request.body)?;
    let commit = request.body.bool()?;
    let transactions = app.session.transactions().clone();
    Ok(Box::pin(async move {
        let code = blocking(move || transactions.end_transaction(&producer, commit)).await?;
        let code = code.for_client(version >= 2).code();
        request.encode(&EndTxnResponse::default().with_error_code(code)).map(Some)
    }))
}

pub fn commit_offsets(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let (transactional_id, group_id) = (body.string()?, body.string()?);
    let (producer_id, producer_epoch) = (body.i64()?, body.i16()?);
    let (generation_id, member_id, group_instance_id) = match version >= 3 {
        true => (body.i32()?, body.string()?, body.nullable_string()?),
        false => (-1, String::new(), None),
    };
    let topics = body.array(|r| committed_topic(r, version >= 2))?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        let commit = move || {
            let (topics, mut refused) = known(&session, topics);
            let asked = model::TxnOffsetCommitRequest {
                transactional_id,
                group_id,
                producer_id,
                producer_epoch,
                generation_id,
                member_id,
                group_instance_id,
                topics,
            };
            let mut answers = session.transactions().txn_offset_commit(&asked);
            answers.append(&mut refused);
            answers
        };
        let partition = |p: model::PartitionError| {
            offsets::TxnOffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(p.error_code.code())
        };
        let topic = |t: model::TopicErrors| {
            offsets::TxnOffsetCommitResponseTopic::default()
                .with_name(topic_name(t.name))
                .with_partitions(t.partitions.into_iter().map(partition).collect())
        };
        let topics = blocking(commit).await?.into_iter().map(topic).collect();
        request.encode(&TxnOffsetCommitResponse::default().with_topics(topics)).map(Some)
    }))
}
