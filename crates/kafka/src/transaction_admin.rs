//! What operators ask of transactions: DescribeProducers, DescribeTransactions, ListTransactions,
//! and WriteTxnMarkers, with which they end one that hangs (KIP-664).

use common::{Partition, Result};
use engine::Session;
use kafka_protocol::messages::describe_producers_response as producers;
use kafka_protocol::messages::describe_transactions_response as described;
use kafka_protocol::messages::list_transactions_response as listed;
use kafka_protocol::messages::write_txn_markers_response as written;
use kafka_protocol::messages::{
    DescribeProducersResponse, DescribeTransactionsResponse, ListTransactionsResponse, ProducerId,
    TransactionalId, WriteTxnMarkersResponse,
};
use log::transactions::ListTransactionsRequest;

use super::connection::{Answer, Request};
use super::errors::Fault;
use super::reader::Reader;
use super::{blocking, text, topic_name};
use crate::App;

pub fn describe_producers(app: &App, mut request: Request) -> Result<Answer> {
    let topics = request.body.array(|r| {
        let topic = (r.string()?, r.array(Reader::i32)?);
        r.tags()?;
        Ok(topic)
    })?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        let topic = |(name, partitions): (String, Vec<i32>)| {
            let one = |p: i32| producers_of(&session, &name, Partition(p));
            producers::TopicResponse::default()
                .with_partitions(partitions.into_iter().map(one).collect())
                .with_name(topic_name(name))
        };
        let topics = topics.into_iter().map(topic).collect();
        request.encode(&DescribeProducersResponse::default().with_topics(topics)).map(Some)
    }))
}

fn producers_of(
    session: &Session,
    topic: &str,
    partition: Partition,
) -> producers::PartitionResponse {
    let out = producers::PartitionResponse::default().with_partition_index(partition.0);
    let log = session.topic_log(topic).and_then(|log| log.partition(partition));
    match log {
        Ok(log) => {
            let state = |s: log::ProducerState| {
                producers::ProducerState::default()
                    .with_producer_id(ProducerId(s.producer_id))
                    .with_producer_epoch(i32::from(s.epoch))
                    .with_last_sequence(s.last_sequence)
                    .with_last_timestamp(s.last_timestamp_ms)
                    .with_coordinator_epoch(0)
                    .with_current_txn_start_offset(s.transaction_start.map_or(-1, |o| o.0))
            };
            out.with_active_producers(log.producers().into_iter().map(state).collect())
        }
        Err(e) => {
            let fault = Fault::from(e);
            out.with_error_code(fault.code).with_error_message(fault.message)
        }
    }
}

pub fn describe(app: &App, mut request: Request) -> Result<Answer> {
    let ids = request.body.array(Reader::string)?;
    let transactions = app.session.transactions().clone();
    Ok(Box::pin(async move {
        let one = |id: String| {
            let t = transactions.describe_transaction(&id);
            let topic = |(name, partitions): (String, Vec<i32>)| {
                described::TopicData::default()
                    .with_topic(topic_name(name))
                    .with_partitions(partitions)
            };
            described::TransactionState::default()
                .with_error_code(t.error_code.code())
                .with_transactional_id(TransactionalId(text(id)))
                .with_transaction_state(text(t.transaction_state))
                .with_transaction_timeout_ms(t.transaction_timeout_ms)
                .with_transaction_start_time_ms(t.transaction_start_time_ms)
                .with_producer_id(ProducerId(t.producer_id))
                .with_producer_epoch(t.producer_epoch)
                .with_topics(t.topics.into_iter().map(topic).collect())
        };
        let states = ids.into_iter().map(one).collect();
        let out = DescribeTransactionsResponse::default().with_transaction_states(states);
        request.encode(&out).map(Some)
    }))
}

pub fn list(app: &App, mut request: Request) -> Result<Answer> {
    let version = request.version;
    let body = &mut request.body;
    let asked = ListTransactionsRequest {
        state_filters: body.array(Reader::string)?,
        producer_id_filters: body.array(Reader::i64)?,
        duration_filter: if version >= 1 { body.i64()? } else { -1 },
    };
    let transactions = app.session.transactions().clone();
    Ok(Box::pin(async move {
        let answer = transactions.list_transactions(&asked);
        let state = |t: log::transactions::ListedTransaction| {
            listed::TransactionState::default()
                .with_transactional_id(TransactionalId(text(t.transactional_id)))
                .with_producer_id(ProducerId(t.producer_id))
                .with_transaction_state(text(t.transaction_state))
        };
        let unknown = answer.unknown_state_filters.into_iter().map(text).collect();
        let out = ListTransactionsResponse::default()
            .with_unknown_state_filters(unknown)
            .with_transaction_states(answer.transaction_states.into_iter().map(state).collect());
        request.encode(&out).map(Some)
    }))
}

struct Marker {
    producer_id: i64,
    epoch: i16,
    commit: bool,
    topics: Vec<(String, Vec<i32>)>,
}

pub fn write_markers(app: &App, mut request: Request) -> Result<Answer> {
    let markers = request.body.array(|r| {
        let (producer_id, epoch, commit) = (r.i64()?, r.i16()?, r.bool()?);
        let topics = r.array(|r| {
            let topic = (r.string()?, r.array(Reader::i32)?);
            r.tags()?;
            Ok(topic)
        })?;
        r.i32()?;
        r.tags()?;
        Ok(Marker { producer_id, epoch, commit, topics })
    })?;
    let session = app.session.clone();
    Ok(Box::pin(async move {
        let write = move || markers.into_iter().map(|m| write_marker(&session, m)).collect();
        let results = blocking(write).await?;
        request.encode(&WriteTxnMarkersResponse::default().with_markers(results)).map(Some)
    }))
}

fn write_marker(session: &Session, marker: Marker) -> written::WritableTxnMarkerResult {
    let Marker { producer_id, epoch, commit, topics } = marker;
    let one = |topic: &str, partition: i32| {
        let end = || {
            let log = session.topic_log(topic)?.partition(Partition(partition))?;
            match log.end_transaction(producer_id, epoch, commit)? {
                Some(appended) => log.wait_durable(appended),
                None => Ok(()),
            }
        };
        written::WritableTxnMarkerPartitionResult::default()
            .with_partition_index(partition)
            .with_error_code(end().map_or_else(|e| Fault::from(e).code, |()| 0))
    };
    let topic = |(name, partitions): (String, Vec<i32>)| {
        written::WritableTxnMarkerTopicResult::default()
            .with_partitions(partitions.into_iter().map(|p| one(&name, p)).collect())
            .with_name(topic_name(name))
    };
    written::WritableTxnMarkerResult::default()
        .with_producer_id(ProducerId(producer_id))
        .with_topics(topics.into_iter().map(topic).collect())
}
