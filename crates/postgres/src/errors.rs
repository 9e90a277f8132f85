//! Errors as the Postgres protocol says them: SQLSTATE, hint, and the position psql draws its
//! caret at.

use common::{Error, Kind};
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion_postgres::pgwire::api::{ClientInfo, ErrorHandler};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};

use crate::sent::Sent;

/// An error of the engine, with its place in what the client sent.
pub fn refused(e: &Error, sent: Option<&Sent>) -> PgWireError {
    let code = e.kind().sqlstate().to_string();
    let mut info = ErrorInfo::new("ERROR".into(), code, e.message().to_string());
    info.hint = e.hint_text().map(str::to_string);
    info.position = e.place().filter(|p| p.file.is_none()).and_then(|place| {
        let position = match sent {
            Some(sent) => sent.position(place.span.start),
            None => place.text.get(..place.span.start)?.chars().count() + 1,
        };
        Some(position.to_string())
    });
    PgWireError::UserError(Box::new(info))
}

/// An error of the door's own, with the code that drivers know.
pub fn fault(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), message.into())))
}

/// Gives the library's own errors a code: it sends XX000 for all.
pub struct Codes;

impl ErrorHandler for Codes {
    fn on_error<C: ClientInfo>(&self, _: &C, error: &mut PgWireError) {
        let PgWireError::ApiError(inner) = &*error else {
            return;
        };
        let Some(e) = inner.downcast_ref::<DataFusionError>() else {
            return;
        };
        *error = fault(sqlstate(e), e.strip_backtrace());
    }
}

fn sqlstate(e: &DataFusionError) -> &'static str {
    match e.find_root() {
        DataFusionError::SchemaError(e, _) => match e.as_ref() {
            SchemaError::FieldNotFound { .. } => Kind::UndefinedColumn.sqlstate(),
            _ => "42702",
        },
        DataFusionError::SQL(..) => Kind::Syntax.sqlstate(),
        DataFusionError::Plan(m) if m.contains("not found") => Kind::NotFound.sqlstate(),
        DataFusionError::Plan(_) => "42000",
        DataFusionError::NotImplemented(_) => Kind::Unsupported.sqlstate(),
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => "22000",
        _ => Kind::Internal.sqlstate(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_codes_and_places() -> Result<(), PgWireError> {
        let place =
            common::Place {
                file: None, text: "SELECT é, x".into(), span: "SELECT é, ".len()..12
            };
        let e = Error::not_found("no x").at(place);
        let sent = Sent::all("SET ü; SELECT é, x")?.pop();
        for (sent, position) in [(None, "11"), (sent.as_ref(), "18")] {
            let PgWireError::UserError(info) = refused(&e, sent) else {
                unreachable!("a refusal is a user error")
            };
            assert_eq!((info.code.as_str(), info.position.as_deref()), ("42P01", Some(position)));
        }
        assert_eq!(sqlstate(&DataFusionError::NotImplemented("x".into())), "0A000");
        Ok(())
    }
}
