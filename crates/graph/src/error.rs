//! What a failed Arrow or DataFusion call means to a user. A value that does not fit is the
//! user's data (`invalid`); anything else is a fault of ours (`internal`). The cause goes along,
//! so that `sql::stream_error` can say it in the words that a batch query would use.

use arrow::error::ArrowError;
use common::{Error, Kind};
use datafusion_common::DataFusionError;

pub fn arrow(e: ArrowError) -> Error {
    datafusion(DataFusionError::ArrowError(Box::new(e), None))
}

pub fn datafusion(e: DataFusionError) -> Error {
    match e {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(e) => Error::internal(text(&e.to_string())),
        },
        e => Error::new(kind(&e), text(&e.strip_backtrace())).caused_by(e),
    }
}

fn kind(e: &DataFusionError) -> Kind {
    match e {
        DataFusionError::ArrowError(e, _) => match e.as_ref() {
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(e) => kind(e),
                None => Kind::Internal,
            },
            ArrowError::ArithmeticOverflow(_)
            | ArrowError::CastError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::DivideByZero
            | ArrowError::ParseError(_) => Kind::Invalid,
            _ => Kind::Internal,
        },
        DataFusionError::Context(_, e) => kind(e),
        DataFusionError::Execution(_) => Kind::Invalid,
        DataFusionError::NotImplemented(_) => Kind::Unsupported,
        _ => Kind::Internal,
    }
}

/// Their texts begin with a capital and may end with a dot.
fn text(message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    let mut chars = message.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => message.to_string(),
    }
}
