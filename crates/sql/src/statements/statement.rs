//! Statements of ours and how a text is cut into them. All faults of a text are found at once:
//! after a fault reading goes on behind the next `;`.

use std::ops::Range;
use std::sync::Arc;

use catalog::kind::{self, KINDS};
use catalog::{Definition, Kind, Origin};
use common::{Error, Place, Secret};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::nesting;
use crate::statements::alter_topic::TopicChange;
use crate::statements::write::Write;
use crate::statements::{
    alter_topic, create_sink, create_source, create_topic, create_view, drop, explain, show, user,
    write,
};
use crate::tokens::{self, Cursor, Tok};

/// A text to parse and the file it comes from, none when typed in.
#[derive(Clone, Debug)]
pub struct Text {
    pub file: Option<String>,
    pub text: Arc<str>,
}

impl Text {
    pub fn new(file: Option<&str>, text: &str) -> Self {
        Self { file: file.map(Into::into), text: text.into() }
    }

    pub fn place(&self, span: Range<usize>) -> Place {
        Place { file: self.file.clone(), text: self.text.clone(), span }
    }

    pub(crate) fn origin(&self, span: Range<usize>) -> Origin {
        Origin { file: self.file.clone(), text: self.text.clone(), span }
    }
}

/// How the definition of each kind is read, behind `CREATE kind`.
type Parse = fn(&mut Cursor, &mut Vec<Error>) -> Result<Definition, Error>;

static PARSERS: [(&Kind, Parse); 4] = [
    (&kind::TOPIC, create_topic::parse),
    (&kind::SOURCE, |cursor, _| create_source::parse(cursor)),
    (&kind::VIEW, create_view::parse),
    (&kind::SINK, create_sink::parse),
];

/// Reads a kind if one comes next.
pub(crate) fn object_kind(cursor: &mut Cursor) -> Option<&'static Kind> {
    // A table is a topic whose rows change.
    if cursor.word("TABLE") {
        return Some(&kind::TOPIC);
    }
    let is_next = |kind: &&&Kind| {
        let words: Vec<&str> = kind.name.split(' ').collect();
        cursor.words(&words) || cursor.word(kind.short)
    };
    KINDS.iter().find(is_next).copied()
}

/// For messages: all that can be made and dropped.
pub(crate) fn kinds() -> String {
    let names: Vec<&str> = KINDS.iter().map(|k| k.name).collect();
    format!("{} or USER", names.join(", "))
}

#[derive(Clone, Debug)]
pub enum Statement {
    Create {
        definition: Box<Definition>,
        existing: Existing,
    },
    Drop {
        kind: &'static Kind,
        name: String,
        if_exists: bool,
        span: Range<usize>,
    },
    AlterTopic {
        name: String,
        change: TopicChange,
        span: Range<usize>,
    },
    CreateUser {
        name: String,
        password: Secret,
        if_not_exists: bool,
    },
    AlterUser {
        name: String,
        password: Secret,
    },
    DropUser {
        name: String,
        if_exists: bool,
    },
    Show(Show),
    Describe {
        name: String,
        span: Range<usize>,
    },
    Explain {
        analyze: bool,
        what: ExplainWhat,
    },
    /// Any query; `start` is where its text begins in the whole.
    Query {
        text: String,
        start: usize,
    },
    Write(Write),
}

/// What CREATE does with an object of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    /// IF NOT EXISTS.
    Keep,
    /// OR REPLACE.
    Replace,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Show {
    /// All of a kind.
    Objects(&'static Kind),
    /// Topics and views: all that can be selected from.
    Tables,
    Functions,
    Users,
    /// The text that made an object; of whatever kind when none is named.
    Create {
        kind: Option<&'static Kind>,
        name: String,
        span: Range<usize>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExplainWhat {
    View { name: String, span: Range<usize> },
    Query { text: String, start: usize },
}

/// All statements of a text, or all its faults.
pub fn parse(text: &Text) -> Result<Vec<Statement>, Vec<Error>> {
    nesting::check_text(text).map_err(|e| user::without_secrets(text, vec![e]))?;
    let (tokens, fault) = tokens::tokens(text);
    let mut faults = vec![];
    let mut statements = vec![];
    for part in tokens.split(|t| t.is(&Token::SemiColon)).filter(|p| !p.is_empty()) {
        match statement(text, part, &mut faults) {
            Ok(s) => statements.push(s),
            Err(e) => faults.push(e),
        }
    }
    faults.extend(fault);
    if faults.is_empty() {
        return Ok(statements);
    }
    faults.sort_by_key(|e| e.place().map_or(0, |p| p.span.start));
    Err(user::without_secrets(text, faults))
}

/// Longest names: of topics what Kafka takes.
const NAME_BYTES_MAX: usize = 128;
const TOPIC_NAME_BYTES_MAX: usize = 249;

const STARTS: [&str; 15] = [
    "CREATE", "ALTER", "DROP", "SHOW", "DESCRIBE", "EXPLAIN", "SELECT", "WITH", "VALUES", "TABLE",
    "FROM", "INSERT", "UPDATE", "DELETE", "MERGE",
];

fn statement(text: &Text, tokens: &[Tok], faults: &mut Vec<Error>) -> Result<Statement, Error> {
    nesting::check(text, tokens)?;
    let mut cursor = Cursor::new(text, tokens);
    if cursor.words(&["CREATE", "USER"]) {
        return user::create(&mut cursor);
    }
    if cursor.words(&["ALTER", "USER"]) {
        return user::alter(&mut cursor);
    }
    if cursor.words(&["DROP", "USER"]) {
        return user::drop(&mut cursor);
    }
    if cursor.word("CREATE") {
        return create(&mut cursor, faults);
    }
    if cursor.word("ALTER") {
        return alter_topic::parse(&mut cursor, faults);
    }
    if cursor.word("DROP") {
        return drop::parse(&mut cursor);
    }
    if cursor.word("SHOW") {
        return show::parse(&mut cursor);
    }
    if cursor.word("DESCRIBE") || cursor.word("DESC") {
        return show::describe(&mut cursor);
    }
    if cursor.word("EXPLAIN") {
        return explain::parse(&mut cursor);
    }
    if begins_query(&cursor) {
        let (text, start) = query(&mut cursor)?;
        return Ok(Statement::Query { text, start });
    }
    if let Some(write) = write::parse(&mut cursor)? {
        return Ok(Statement::Write(write));
    }
    Err(unknown_statement(&cursor))
}

pub(crate) fn begins_query(cursor: &Cursor) -> bool {
    ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|w| cursor.peek_word(0, w))
        || cursor.peek_symbol(0, &Token::LParen)
}

/// The rest of the statement as a query: its text and where it starts.
pub(crate) fn query(cursor: &mut Cursor) -> Result<(String, usize), Error> {
    let rest = cursor.rest();
    if rest.is_empty() {
        return Err(cursor.expected("a query").hint("write SELECT …"));
    }
    tokens::query(cursor.text, rest)?;
    let start = cursor.span().start;
    let end = rest.last().map_or(start, |t| t.span.end);
    while cursor.advance().is_some() {}
    Ok((cursor.slice(start..end).to_string(), start))
}

fn unknown_statement(cursor: &Cursor) -> Error {
    let span = cursor.span();
    let word = cursor.slice(span.clone()).to_uppercase();
    let hint = match word.as_str() {
        "COPY" | "LOAD" => {
            "events come in through INSERT, POST /api/topics/…, `watershed import` or a SOURCE"
        }
        "TRUNCATE" => "write DELETE FROM a table, or DROP and CREATE the topic",
        "SET" | "USE" | "RESET" => "settings live in watershed.toml",
        _ => {
            let e = match common::nearest(&word, STARTS) {
                Some(near) => Error::syntax(format!("unknown statement '{word}'"))
                    .hint(format!("did you mean '{near}'?")),
                None => Error::syntax(format!("unknown statement '{word}'")).hint(
                    "statements begin with CREATE, DROP, SHOW, DESCRIBE, EXPLAIN, SELECT, WITH, \
                     INSERT, UPDATE, DELETE or MERGE",
                ),
            };
            return cursor.error(e, span);
        }
    };
    let e = Error::unsupported(format!("{word} is not supported")).hint(hint);
    cursor.error(e, span)
}

fn create(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<Statement, Error> {
    let or_replace = cursor.words(&["OR", "REPLACE"]);
    let span = cursor.span();
    if cursor.peek_word(0, "VIEW") {
        let e = Error::unsupported("a view is always materialized");
        return Err(cursor.error(e.hint("write CREATE MATERIALIZED VIEW …"), span));
    }
    let is_table = cursor.peek_word(0, "TABLE");
    let Some(kind) = object_kind(cursor) else {
        return Err(unknown_kind(cursor));
    };
    let at = cursor.span();
    let existing = match (or_replace, cursor.words(&["IF", "NOT", "EXISTS"])) {
        (true, true) => {
            let e = Error::syntax("OR REPLACE and IF NOT EXISTS contradict each other");
            return Err(cursor.error(e.hint("leave one of them out"), at));
        }
        (true, false) => Existing::Replace,
        (false, true) => Existing::Keep,
        (false, false) => Existing::Refuse,
    };
    let parse = match PARSERS.iter().find(|(of, _)| *of == kind) {
        Some(_) if is_table => create_topic::parse_table,
        Some((_, parse)) => *parse,
        None => return Err(Error::internal(format!("CREATE {kind} can't be read"))),
    };
    let definition = Box::new(parse(cursor, faults)?);
    Ok(Statement::Create { definition, existing })
}

fn unknown_kind(cursor: &Cursor) -> Error {
    let known = KINDS.iter().map(|k| k.name).chain(["USER"]);
    let e = cursor.expected(&kinds());
    let word = cursor.slice(cursor.span()).to_uppercase();
    match word.as_str() {
        "STREAM" => e.hint("write CREATE TOPIC name (column TYPE, …)"),
        _ => match common::nearest(&word, known) {
            Some(near) => e.hint(format!("did you mean '{near}'?")),
            None => e,
        },
    }
}

/// The name of an object that a statement makes: one part, and usable in a query as it is written.
pub(crate) fn object_name(cursor: &mut Cursor, what: &str) -> Result<String, Error> {
    let (name, span) = one_part(cursor, what)?;
    check_name(cursor, &name, &span)?;
    Ok(name)
}

/// The name of a topic: also what Kafka takes for one, as `__heartbeat`.
pub(crate) fn topic_name(cursor: &mut Cursor) -> Result<String, Error> {
    let (name, span) = one_part(cursor, "a topic name")?;
    check_letters(cursor, &name, &span, TOPIC_NAME_BYTES_MAX)?;
    check_usable(cursor, &name, &span)?;
    Ok(name)
}

fn one_part(cursor: &mut Cursor, what: &str) -> Result<(String, Range<usize>), Error> {
    let (name, span) = cursor.name(what)?;
    if cursor.symbol(&Token::Period) {
        let e = Error::syntax("names have one part here").hint("leave out the schema");
        return Err(cursor.error(e, span.start..cursor.span().end));
    }
    Ok((name, span))
}

/// A name must be usable in a query as it is written, and not be taken for a hidden column.
pub(crate) fn check_name(cursor: &Cursor, name: &str, span: &Range<usize>) -> Result<(), Error> {
    if name.starts_with('_') {
        let e = Error::invalid(format!("'{name}' begins with '_'"))
            .hint("such names are kept for hidden columns; take another");
        return Err(cursor.error(e, span.clone()));
    }
    check_letters(cursor, name, span, NAME_BYTES_MAX)?;
    check_usable(cursor, name, span)
}

fn check_letters(
    cursor: &Cursor,
    name: &str,
    span: &Range<usize>,
    bytes_max: usize,
) -> Result<(), Error> {
    if name.len() > bytes_max || name.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
        let e = Error::invalid(format!("'{name}' cannot be a name")).hint(format!(
            "names have at most {bytes_max} bytes and no control characters or slashes"
        ));
        return Err(cursor.error(e, span.clone()));
    }
    Ok(())
}

fn check_usable(cursor: &Cursor, name: &str, span: &Range<usize>) -> Result<(), Error> {
    let written = cursor.slice(span.clone());
    let probe = Text::new(None, &format!("SELECT {written}, a.{written} FROM {written}"));
    let (tokens, fault) = tokens::tokens(&probe);
    if fault.is_some() || tokens::query(&probe, &tokens).is_err() {
        let e = Error::syntax(format!("'{name}' is a reserved word"))
            .hint(format!("take another name, or write \"{name}\" wherever it is used"));
        return Err(cursor.error(e, span.clone()));
    }
    Ok(())
}
