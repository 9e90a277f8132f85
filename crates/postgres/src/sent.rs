//! A statement as the client sent it and as the engine reads it (`sql::from_postgres`), so that an
//! error says where it is in the client's own text.

use std::sync::Arc;

use datafusion_postgres::pgwire::error::PgWireResult;
use engine::PostgresStatement;

use crate::errors::refused;

#[derive(Clone, Debug)]
pub struct Sent {
    whole: Arc<str>,
    statement: Arc<PostgresStatement>,
    /// Only what is behind this byte of the engine's text is meant.
    from: usize,
}

impl Sent {
    /// All statements of a message.
    pub fn all(message: &str) -> PgWireResult<Vec<Sent>> {
        let whole: Arc<str> = message.into();
        let statements = engine::from_postgres(message).map_err(|e| refused(&e, None))?;
        let sent = |s| Sent { whole: whole.clone(), statement: Arc::new(s), from: 0 };
        Ok(statements.into_iter().map(sent).collect())
    }

    pub fn statement(&self) -> &PostgresStatement {
        &self.statement
    }

    /// For the engine.
    pub fn text(&self) -> &str {
        self.statement.text.get(self.from..).unwrap_or("")
    }

    /// As the client wrote it.
    pub fn as_sent(&self) -> &str {
        self.whole.get(self.statement.sent.clone()).unwrap_or("")
    }

    /// Without the first bytes of `text`.
    pub fn behind(&self, at: usize) -> Sent {
        Sent { from: self.from + at, ..self.clone() }
    }

    /// Where a byte of `text` is in the message, in characters from 1.
    pub fn position(&self, at: usize) -> usize {
        let before = self.whole.get(..self.statement.sent_at(self.from + at));
        before.map_or(0, |b| b.chars().count()) + 1
    }
}
