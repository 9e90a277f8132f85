//! Produce: a batch goes into the log as it came, compressed or not. `acks=all` is answered when it
//! is synced to disk, `acks=1` when it is written.

use bytes::Bytes;
use common::{Error, Partition, Result};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use log::transactions::TransactionalProducer;
use log::{Appended, Header};

use super::connection::{Answer, Request};
use super::errors::Fault;
use super::text;
use crate::App;

/// The first version that says which records are at fault.
const NAMED_SINCE: i16 = 8;
/// `acks=all`.
const ALL: i16 = -1;

type Outcome = std::result::Result<(std::sync::Arc<log::PartitionLog>, Appended), Refused>;

/// Why a batch is not taken, and which of its records are at fault (KIP-467).
struct Refused {
    fault: Fault,
    records: Vec<(usize, &'static str)>,
}

impl<E: Into<Fault>> From<E> for Refused {
    fn from(e: E) -> Refused {
        Refused { fault: e.into(), records: vec![] }
    }
}

fn refused(mut refusal: log::Refusal) -> Refused {
    let records = std::mem::take(&mut refusal.records);
    Refused { fault: refusal.into(), records }
}

/// Appends at once, in the order of the requests; waits for the disk in the answer.
pub fn answer(app: &App, mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    let transactional_id = body.nullable_string()?;
    let acks = body.i16()?;
    body.i32()?;
    let topics = body.topics(|r| Ok((r.i32()?, r.nullable_bytes()?)))?;
    if !matches!(acks, ALL..=1) {
        return Err(Error::invalid(format!("acks = {acks} is none of -1, 0, 1")));
    }
    let mut outcomes: Vec<(String, Vec<(i32, Outcome)>)> = vec![];
    for (name, partitions) in topics {
        let log = app.session.topic_log_to_write(&name).map_err(|_| {
            Fault::new(ResponseError::UnknownTopicOrPartition, format!("no topic '{name}'"))
        });
        let one = |(index, records): (i32, Option<Bytes>)| {
            let outcome = match &log {
                Err(Fault { code, message }) => {
                    Err(Fault { code: *code, message: message.clone() }.into())
                }
                Ok(log) => append(app, log, Partition(index), records, transactional_id.as_deref()),
            };
            (index, outcome)
        };
        outcomes.push((name, partitions.into_iter().map(one).collect()));
    }
    drop(request.memory.take());
    Ok(Box::pin(async move {
        if acks == 0 {
            return Ok(None);
        }
        let mut responses = vec![];
        for (name, partitions) in outcomes {
            let mut answers = vec![];
            for (index, outcome) in partitions {
                answers.push(settle(index, outcome, acks, request.version).await);
            }
            let name = TopicName(StrBytes::from_string(name));
            responses.push(
                TopicProduceResponse::default().with_name(name).with_partition_responses(answers),
            );
        }
        request.encode(&ProduceResponse::default().with_responses(responses)).map(Some)
    }))
}

fn append(
    app: &App,
    topic: &log::Topic,
    at: Partition,
    records: Option<Bytes>,
    transactional_id: Option<&str>,
) -> Outcome {
    let partition = topic.partition(at)?;
    let records = records
        .filter(|r| !r.is_empty())
        .ok_or_else(|| Fault::new(ResponseError::InvalidRecord, "there is no record batch"))?;
    let header = Header::parse(&records).ok_or_else(|| {
        Fault::new(ResponseError::CorruptMessage, "the batch is shorter than its header")
    })?;
    if !header.is_transactional() {
        let appended = partition.append_produced(records).map_err(refused)?;
        return Ok((partition, appended));
    }
    let transactional_id = transactional_id.map(String::from).ok_or_else(|| {
        let why = "a transactional batch needs the request's transactional id";
        Fault::new(ResponseError::TransactionalIdAuthorizationFailed, why)
    })?;
    let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
    let producer = TransactionalProducer { transactional_id, producer_id, producer_epoch };
    let appended = app
        .session
        .transactions()
        .while_open(&producer, topic.name(), at.0, || partition.append_produced(records));
    let appended = appended.map_err(|code| Fault::from(code.for_client(false)))?;
    let appended = appended.map_err(refused)?;
    Ok((partition, appended))
}

async fn settle(index: i32, outcome: Outcome, acks: i16, version: i16) -> PartitionProduceResponse {
    let settled = match outcome {
        Ok((log, appended)) if acks == ALL => match log.durable(appended).await {
            Ok(()) => Ok((log, appended)),
            Err(e) => Err(Fault::from(e).into()),
        },
        other => other,
    };
    let answer = PartitionProduceResponse::default().with_index(index);
    match settled {
        Ok((log, appended)) => answer
            .with_base_offset(appended.first.0)
            .with_log_append_time_ms(appended.log_append_time_ms.unwrap_or(-1))
            .with_log_start_offset(log.start_offset().0),
        Err(Refused { fault: Fault { code, message }, records }) => {
            let answer = answer
                .with_error_code(code)
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1);
            let record = |(number, why): (usize, &str)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(i32::try_from(number).unwrap_or(i32::MAX))
                    .with_batch_index_error_message(Some(text(why)))
            };
            match version >= NAMED_SINCE {
                true => answer
                    .with_error_message(message)
                    .with_record_errors(records.into_iter().map(record).collect()),
                false => answer,
            }
        }
    }
}
