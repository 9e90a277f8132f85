//! DataFusion's errors in our words: without its prefixes, with SQL's names of types, with the
//! place in the user's text and the nearest known name. Where DataFusion gives no place, the
//! name it complains about is looked up in the text.

use std::error::Error as StdError;
use std::ops::Range;

use common::{Error, Kind};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};

use crate::error_text::{Spot, Told, between, last_part, tell, tidy};
use crate::functions;
use crate::source::{PlaceOf, Source};
use crate::tokens::Tok;

/// Arrow puts these before its messages.
const PREFIXED: [&str; 4] =
    ["Parser error: ", "Cast error: ", "Compute error: ", "Invalid argument error: "];

/// An error of planning or running a query whose text is known. `place(0..0)` tells where the
/// query begins.
pub fn error(e: DataFusionError, place: &PlaceOf<'_>) -> Error {
    let start = place(0..0);
    let rest = start.text.get(start.span.start..).unwrap_or("");
    let source = Source::new(rest, place);
    explain(&e, Some(&source), &[])
}

/// An error of running something whose text is not at hand.
pub fn runtime_error(e: DataFusionError) -> Error {
    explain(&e, None, &[])
}

/// What stopped a stream, in the words that the same fault has in batch.
pub fn stream_error(e: Error) -> Error {
    let cause = StdError::source(&e).and_then(|s| s.downcast_ref::<DataFusionError>());
    match cause.map(|cause| explain(cause, None, &[])) {
        Some(told) if told.kind() != Kind::Internal => told,
        // A fault of ours says in which operator it is, which DataFusion's words do not.
        _ => e,
    }
}

/// The place of an error in a query's text becomes one in the user's.
pub(crate) fn relocate(e: Error, source: &Source) -> Error {
    match e.place().map(|p| p.span.clone()) {
        Some(span) => e.at(source.place(span)),
        None => e,
    }
}

/// `tables` are the names that can stand behind FROM.
pub(crate) fn explain(e: &DataFusionError, source: Option<&Source>, tables: &[String]) -> Error {
    Explain { source, tables, diagnostic: None }.any(e)
}

struct Explain<'a> {
    source: Option<&'a Source<'a>>,
    tables: &'a [String],
    diagnostic: Option<&'a Diagnostic>,
}

impl<'a> Explain<'a> {
    fn any(mut self, e: &'a DataFusionError) -> Error {
        use DataFusionError as D;
        match e {
            D::Diagnostic(d, inner) => {
                self.diagnostic.get_or_insert(d);
                self.any(inner)
            }
            D::Context(_, inner) => self.any(inner),
            D::Shared(inner) => self.any(inner),
            D::Collection(all) if !all.is_empty() => self.any(&all[0]),
            D::SchemaError(inner, _) => self.schema(inner),
            D::SQL(inner, _) => Error::new(Kind::Syntax, tidy(&inner.to_string())),
            D::Plan(message) => self.plan(message, Kind::Invalid),
            D::NotImplemented(message) => self.plan(message, Kind::Unsupported),
            D::Execution(message) | D::Configuration(message) => self.plan(message, Kind::Invalid),
            D::ResourcesExhausted(m) => Error::out_of_memory(format!("out of memory: {}", tidy(m)))
                .hint("read less, filter earlier, or raise query.memory_max"),
            D::ArrowError(inner, _) => self.arrow(inner),
            D::IoError(inner) => {
                Error::io("reading", std::io::Error::new(inner.kind(), inner.to_string()))
            }
            D::External(inner) => self.external(inner.as_ref(), e),
            // An assertion of the library says nothing to those who wrote the query.
            D::Internal(_) => Error::internal("the query engine met a fault of its own")
                .hint("write the query another way, and please report this one"),
            other => Error::internal(tidy(&other.to_string())),
        }
    }

    fn external(
        self,
        inner: &'a (dyn StdError + Send + Sync + 'static),
        e: &DataFusionError,
    ) -> Error {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return self.ours(ours);
        }
        if let Some(inner) = inner.downcast_ref::<DataFusionError>() {
            return self.any(inner);
        }
        Error::internal(tidy(&e.to_string()))
    }

    /// One of our own that went through DataFusion, for example an unknown type.
    fn ours(&self, e: &Error) -> Error {
        let mut copy = Error::new(e.kind(), e.message());
        if let Some(hint) = e.hint_text() {
            copy = copy.hint(hint);
        }
        match e.place() {
            Some(place) => copy.at(place.clone()),
            None => self.at_quoted(copy, e.message()),
        }
    }

    fn at(&self, e: Error, span: Option<Range<usize>>) -> Error {
        match (self.source, span) {
            (Some(source), Some(span)) => e.at(source.place(span)),
            _ => e,
        }
    }

    /// At what the message quotes first, or at the whole query.
    fn at_quoted(&self, e: Error, message: &str) -> Error {
        let Some(source) = self.source else { return e };
        let span = quoted(message)
            .into_iter()
            .find_map(|name| source.find(name).or_else(|| source.find_literal(name)));
        // `window() takes …`
        let called = || message.split(&[' ', ':']).find_map(|w| w.strip_suffix("()"));
        let span = span.or_else(|| called().and_then(|f| source.find(f)));
        let span = span.or_else(|| self.diagnostic_span());
        let whole = || {
            let first = source.tokens.first().map_or(0, |t| t.span.start);
            let last = source.tokens.iter().take_while(|t| !is_end(t)).last();
            first..last.map_or(first, |t| t.span.end)
        };
        e.at(source.place(span.unwrap_or_else(whole)))
    }

    fn diagnostic_span(&self) -> Option<Range<usize>> {
        let span = self.diagnostic?.span.as_ref()?;
        Some(self.source?.lines_span(span))
    }

    fn column_span(&self, column: &Column) -> Option<Range<usize>> {
        let source = self.source?;
        let span = column.spans().first().map(|s| source.lines_span(&s));
        // A span covers `t.x`; the name is its last part.
        let last = |span: Range<usize>| {
            let mut inside = source
                .tokens
                .iter()
                .filter(|t| t.span.start >= span.start && t.span.end <= span.end);
            inside.next_back().map(|t| t.span.clone())
        };
        span.and_then(last).or_else(|| source.find(&column.name)).or_else(|| self.diagnostic_span())
    }

    fn schema(&self, e: &SchemaError) -> Error {
        match e {
            SchemaError::FieldNotFound { field, valid_fields } => self.unknown(field, valid_fields),
            SchemaError::AmbiguousReference { field } => {
                let name = &field.name;
                let e = Error::invalid(format!("column '{name}' is in several tables"))
                    .hint(format!("say which one, as in t.{name}"));
                self.at(e, self.column_span(field))
            }
            SchemaError::DuplicateQualifiedField { qualifier, .. } => {
                let table = qualifier.table();
                let e = Error::invalid(format!("two tables are called '{table}'"))
                    .hint("give one of them another name with AS");
                self.at(e, self.second(table))
            }
            SchemaError::DuplicateUnqualifiedField { name } => {
                let e = Error::invalid(format!("two columns are called '{name}'"))
                    .hint("give one of them another name with AS");
                self.at(e, self.second(name))
            }
        }
    }

    /// The second place of a name that is there twice.
    fn second(&self, name: &str) -> Option<Range<usize>> {
        let source = self.source?;
        let mut all = source.tokens.iter().filter(|t| t.is_word(name));
        all.nth(1).map(|t| t.span.clone()).or_else(|| source.find(name))
    }

    fn unknown(&self, field: &Column, valid: &[Column]) -> Error {
        let visible = |c: &&Column| !c.name.starts_with("__");
        let valid: Vec<&Column> = valid.iter().filter(visible).collect();
        if let Some(table) = &field.relation {
            let of_table =
                |c: &&&Column| c.relation.as_ref().is_some_and(|r| r.table() == table.table());
            let columns: Vec<&str> =
                valid.iter().filter(of_table).map(|c| c.name.as_str()).collect();
            if columns.is_empty() {
                let tables = valid.iter().filter_map(|c| c.relation.as_ref()).map(|r| r.table());
                let mut tables: Vec<&str> = tables.collect();
                tables.sort_unstable();
                tables.dedup();
                let e = Error::unknown("table", &table.to_string(), tables);
                let first = table.catalog().or(table.schema()).unwrap_or(table.table());
                return self.at(e, self.source.and_then(|s| s.find(first)));
            }
            return self.unknown_column(field, columns);
        }
        self.unknown_column(field, valid.iter().map(|c| c.name.as_str()).collect())
    }

    fn unknown_column(&self, field: &Column, known: Vec<&str>) -> Error {
        let hidden = field.name.starts_with('_');
        let mut shown: Vec<&str> = vec![];
        for name in known.into_iter().filter(|n| hidden || !n.starts_with('_')) {
            if !shown.contains(&name) {
                shown.push(name);
            }
        }
        let e = Error::unknown("column", &field.name, shown);
        self.at(e, self.column_span(field))
    }

    fn plan(self, message: &str, kind: Kind) -> Error {
        if let Some(name) = between(message, "Invalid function '", "'") {
            return self.unknown_function(name);
        }
        if let Some(name) = between(message, "table '", "' not found") {
            let name = name.rsplit('.').next().unwrap_or(name);
            let e = Error::unknown("topic or view", name, self.tables.iter().map(String::as_str));
            return self.at(e, self.source.and_then(|s| s.find(name)));
        }
        self.told(tell(message), kind)
    }

    fn unknown_function(&self, name: &str) -> Error {
        let span = self.source.and_then(|s| s.find(name));
        let windows = functions::windows();
        if windows.iter().any(|w| w.name() == name || w.aliases().iter().any(|a| a == name)) {
            let e = Error::invalid(format!("{name}() needs a window"))
                .hint(format!("write {name}() OVER (PARTITION BY … ORDER BY …)"));
            return self.at(e, span);
        }
        let names = functions::names();
        let e = Error::unknown("function", name, names.iter().map(String::as_str));
        self.at(e, span)
    }

    fn told(&self, told: Told, kind: Kind) -> Error {
        let mut e = Error::new(kind, told.message.clone());
        if let Some(hint) = told.hint {
            e = e.hint(hint);
        }
        let Some(source) = self.source else { return e };
        let span = match &told.spot {
            Spot::Name(name) => source.find(name),
            Spot::Literal(text) => source.find_literal(text),
            Spot::Text(text) => source.find_text(text).or_else(|| source.find(&last_part(text))),
            Spot::Operator(op) => operator_span(source, op),
            Spot::Given => self.diagnostic_span(),
        };
        match span {
            Some(span) => e.at(source.place(span)),
            None => self.at_quoted(e, &told.message),
        }
    }

    fn arrow(self, e: &'a ArrowError) -> Error {
        match e {
            ArrowError::ExternalError(inner) => {
                if let Some(ours) = inner.downcast_ref::<Error>() {
                    return self.ours(ours);
                }
                if let Some(inner) = inner.downcast_ref::<DataFusionError>() {
                    return self.any(inner);
                }
                Error::internal(tidy(&e.to_string()))
            }
            ArrowError::DivideByZero => {
                let e = Error::invalid("division by zero").hint("nullif(x, 0) gives NULL instead");
                self.at_quoted(e, "")
            }
            ArrowError::IoError(_, inner) => {
                Error::io("reading", std::io::Error::new(inner.kind(), inner.to_string()))
            }
            ArrowError::MemoryError(m) => Error::exhausted(tidy(m)),
            other => {
                let text = other.to_string();
                let text = PREFIXED.iter().find_map(|p| text.strip_prefix(p)).unwrap_or(&text);
                self.told(tell(text), Kind::Invalid)
            }
        }
    }
}

/// An operator that is there once, with its neighbours.
fn operator_span(source: &Source, op: &str) -> Option<Range<usize>> {
    let is_op = |t: &Tok| source.slice(t.span.clone()) == op;
    let mut found = source.tokens.iter().enumerate().filter(|(_, t)| is_op(t));
    let ((at, _), None) = (found.next()?, found.next()) else { return None };
    let (before, after) = (source.tokens.get(at.checked_sub(1)?)?, source.tokens.get(at + 1)?);
    Some(before.span.start..after.span.end)
}

fn is_end(t: &Tok) -> bool {
    t.is(&datafusion::sql::sqlparser::tokenizer::Token::SemiColon)
}

/// What stands in quotes.
fn quoted(message: &str) -> Vec<&str> {
    let parts = message.split(['\'', '"', '`']);
    parts.skip(1).step_by(2).collect()
}
