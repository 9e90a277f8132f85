//! COPY … TO STDOUT: the rows of a table or a query as Postgres' text format or CSV. The query is
//! the engine's, like every other; COPY to anything else is refused there.

use datafusion::sql::sqlparser::ast::{
    CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Statement,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{CopyResponse, Response};
use datafusion_postgres::pgwire::error::PgWireResult;
use datafusion_postgres::pgwire::messages::copy::CopyData;
use datafusion_postgres::pgwire::messages::data::DataRow;
use engine::Rows;
use futures::{StreamExt, TryStreamExt, future, stream};

use crate::errors::fault;
use crate::rows;

#[derive(Clone, Debug)]
pub struct CopyOut {
    /// What the client wrote, or all columns of the table.
    pub query: String,
    csv: bool,
    header: bool,
    delimiter: u8,
    null: String,
}

impl CopyOut {
    /// Reads a statement if it is such a COPY.
    pub fn parse(sent: &str) -> Option<PgWireResult<CopyOut>> {
        let first = sent.split_ascii_whitespace().next()?;
        if !first.eq_ignore_ascii_case("copy") {
            return None;
        }
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sent).ok()?;
        let Some(Statement::Copy { source, to, target, options, legacy_options, .. }) =
            statements.pop().filter(|_| statements.is_empty())
        else {
            return None;
        };
        if !to || !matches!(target, CopyTarget::Stdout) {
            return None;
        }
        let query = match source {
            CopySource::Query(query) => query.to_string(),
            CopySource::Table { table_name, columns } if columns.is_empty() => {
                format!("SELECT * FROM {table_name}")
            }
            CopySource::Table { table_name, columns } => {
                let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                format!("SELECT {} FROM {table_name}", columns.join(", "))
            }
        };
        Some(CopyOut::with(query, &options, &legacy_options))
    }

    fn with(
        query: String,
        options: &[CopyOption],
        legacy: &[CopyLegacyOption],
    ) -> PgWireResult<CopyOut> {
        let refuse = |what: String| fault("0A000", format!("COPY with {what} is not supported"));
        let (mut csv, mut header, mut delimiter, mut null) = (false, false, None, None);
        for option in options {
            match option {
                CopyOption::Format(name) => match name.value.to_lowercase().as_str() {
                    "csv" => csv = true,
                    "text" => csv = false,
                    other => return Err(refuse(format!("format {other}"))),
                },
                CopyOption::Header(on) => header = *on,
                CopyOption::Delimiter(c) => delimiter = Some(*c),
                CopyOption::Null(text) => null = Some(text.clone()),
                CopyOption::Encoding(name) if name.to_lowercase().starts_with("utf") => {}
                other => return Err(refuse(other.to_string())),
            }
        }
        for option in legacy {
            match option {
                CopyLegacyOption::Csv(options) => {
                    csv = true;
                    header |= options.iter().any(|o| matches!(o, CopyLegacyCsvOption::Header));
                }
                CopyLegacyOption::Header => header = true,
                CopyLegacyOption::Delimiter(c) => delimiter = Some(*c),
                CopyLegacyOption::Null(text) => null = Some(text.clone()),
                other => return Err(refuse(other.to_string())),
            }
        }
        let delimiter = delimiter.unwrap_or(if csv { ',' } else { '\t' });
        let delimiter = u8::try_from(delimiter).ok().filter(u8::is_ascii);
        let delimiter =
            delimiter.ok_or_else(|| fault("22023", "a COPY delimiter is one byte of ASCII"))?;
        let null = null.unwrap_or_else(|| if csv { String::new() } else { "\\N".into() });
        Ok(CopyOut { query, csv, header, delimiter, null })
    }

    /// The rows as they are sent.
    pub fn response(self, rows: Rows, cancelled: rows::Cancelled) -> PgWireResult<Response> {
        let fields = rows::fields(&rows.schema, &Format::UnifiedText)?;
        let columns = fields.len();
        let names: Vec<Option<&[u8]>> = fields.iter().map(|f| Some(f.name().as_bytes())).collect();
        let mut head = vec![];
        if self.header {
            self.line(&names, &mut head);
        }
        let rows = rows::response(fields, rows.batches, cancelled, None);
        let line = move |row: DataRow| {
            let mut line = vec![];
            self.line(&cells(&row.data, columns), &mut line);
            future::ready(Ok(CopyData::new(line.into())))
        };
        let head = stream::iter((!head.is_empty()).then(|| Ok(CopyData::new(head.into()))));
        let lines = head.chain(rows.data_rows.and_then(line));
        Ok(Response::CopyOut(CopyResponse::new(0, columns, lines)))
    }

    fn line(&self, cells: &[Option<&[u8]>], out: &mut Vec<u8>) {
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                out.push(self.delimiter);
            }
            match cell {
                None => out.extend_from_slice(self.null.as_bytes()),
                Some(cell) if self.csv => self.quoted(cell, out),
                Some(cell) => self.escaped(cell, out),
            }
        }
        out.push(b'\n');
    }

    fn quoted(&self, cell: &[u8], out: &mut Vec<u8>) {
        let special = |b: &u8| matches!(b, b'"' | b'\n' | b'\r') || *b == self.delimiter;
        if !cell.iter().any(special) && cell != self.null.as_bytes() {
            return out.extend_from_slice(cell);
        }
        out.push(b'"');
        for byte in cell {
            if *byte == b'"' {
                out.push(b'"');
            }
            out.push(*byte);
        }
        out.push(b'"');
    }

    fn escaped(&self, cell: &[u8], out: &mut Vec<u8>) {
        for byte in cell {
            let letter = match byte {
                8 => b'b',
                9 => b't',
                10 => b'n',
                11 => b'v',
                12 => b'f',
                13 => b'r',
                b'\\' => b'\\',
                other if *other == self.delimiter => *other,
                other => {
                    out.push(*other);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', letter]);
        }
    }
}

/// The values of a row: a length before each, -1 for NULL.
fn cells(row: &[u8], columns: usize) -> Vec<Option<&[u8]>> {
    let (mut at, mut cells) = (0, vec![]);
    while let Some(length) = row.get(at..at + 4).and_then(|b| b.try_into().ok()) {
        at += 4;
        cells.push(match usize::try_from(i32::from_be_bytes(length)) {
            Ok(length) => {
                at += length;
                row.get(at - length..at)
            }
            Err(_) => None,
        });
        if cells.len() == columns {
            break;
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_and_lines() {
        let copy = |text: &str| CopyOut::parse(text).map(Result::unwrap);
        let cells = [Some(&b"a\tb\\"[..]), None, Some(b"x,\"y\""), Some(b"")];
        for (text, query, line) in [
            ("COPY t TO STDOUT", "SELECT * FROM t", "a\\tb\\\\\t\\N\tx,\"y\"\t\n"),
            (
                "copy t (b, a) to stdout csv header",
                "SELECT b, a FROM t",
                "a\tb\\,,\"x,\"\"y\"\"\",\"\"\n",
            ),
            (
                "COPY (SELECT 1) TO STDOUT WITH (FORMAT csv, DELIMITER ';', NULL '-')",
                "SELECT 1",
                "a\tb\\;-;\"x,\"\"y\"\"\";\n",
            ),
        ] {
            let copy = copy(text).unwrap();
            let mut out = vec![];
            copy.line(&cells, &mut out);
            assert_eq!(
                (copy.query.as_str(), String::from_utf8(out).unwrap().as_str()),
                (query, line)
            );
        }
        for other in
            ["COPY t TO '/tmp/x'", "COPY t FROM STDIN", "SELECT 1", "COPY t TO PROGRAM 'x'"]
        {
            assert!(CopyOut::parse(other).is_none(), "{other}");
        }
        assert!(CopyOut::parse("COPY t TO STDOUT (FORMAT binary)").unwrap().is_err());
    }
}
