//! Why what a producer sent is not taken.

use std::fmt;

use common::{Error, Kind};

use crate::error_code::ErrorCode;

/// Why a produced batch is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    /// The records at fault, by their number within the batch, and why (KIP-467).
    pub records: Vec<(usize, &'static str)>,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), records: vec![] }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        let code = match e.kind() {
            Kind::TooLarge => ErrorCode::MessageTooLarge,
            Kind::Invalid => ErrorCode::CorruptMessage,
            _ => ErrorCode::KafkaStorageError,
        };
        Self::new(code, e.to_string())
    }
}
