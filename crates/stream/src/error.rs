//! What a failed Arrow or DataFusion call means to a user. A value that does not fit is the
//! user's data (`invalid`); anything else is a fault of ours (`internal`).

use arrow::error::ArrowError;
use common::Error;
use datafusion::error::DataFusionError;

pub(crate) fn arrow(e: ArrowError) -> Error {
    let message = text(&e.to_string());
    match e {
        ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
            Ok(e) => datafusion(*e),
            Err(_) => Error::internal(message),
        },
        ArrowError::ArithmeticOverflow(_)
        | ArrowError::CastError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::DivideByZero
        | ArrowError::ParseError(_) => Error::invalid(message),
        _ => Error::internal(message),
    }
}

pub(crate) fn datafusion(e: DataFusionError) -> Error {
    match e {
        DataFusionError::ArrowError(e, _) => arrow(*e),
        DataFusionError::Context(_, e) => datafusion(*e),
        DataFusionError::Execution(message) => Error::invalid(text(&message)),
        DataFusionError::NotImplemented(message) => Error::unsupported(text(&message)),
        DataFusionError::External(e) => match e.downcast::<Error>() {
            Ok(e) => *e,
            Err(e) => Error::internal(text(&e.to_string())),
        },
        other => Error::internal(text(&other.strip_backtrace())),
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
