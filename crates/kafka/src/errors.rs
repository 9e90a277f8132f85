//! Kafka's error codes, and which of them an error of the log is.

use common::{Error, Kind};
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// A code with what is to be said about it.
#[derive(Debug)]
pub struct Fault {
    pub code: i16,
    pub message: Option<StrBytes>,
}

impl Fault {
    pub fn new(code: ResponseError, message: impl Into<String>) -> Fault {
        Fault { code: code.code(), message: Some(StrBytes::from_string(message.into())) }
    }

    /// What the platform says, without a place: it would be one in SQL that no client wrote.
    pub fn of(code: ResponseError, e: &Error) -> Fault {
        match e.hint_text() {
            Some(hint) => Fault::new(code, format!("{} ({hint})", e.message())),
            None => Fault::new(code, e.message()),
        }
    }
}

impl From<log::Refusal> for Fault {
    fn from(refusal: log::Refusal) -> Fault {
        let message = Some(StrBytes::from_string(refusal.message));
        Fault { code: refusal.code.code(), message }
    }
}

impl From<log::ErrorCode> for Fault {
    fn from(code: log::ErrorCode) -> Fault {
        Fault { code: code.code(), message: None }
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Fault {
        let code = match e.kind() {
            Kind::NotFound => ResponseError::UnknownTopicOrPartition,
            Kind::TooLarge => ResponseError::MessageTooLarge,
            Kind::Invalid => ResponseError::CorruptMessage,
            Kind::Unavailable => ResponseError::NotLeaderOrFollower,
            _ => ResponseError::KafkaStorageError,
        };
        Fault::of(code, &e)
    }
}
