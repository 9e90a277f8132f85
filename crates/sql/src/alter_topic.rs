//! `ALTER TOPIC name SET (option = value, …)` and `ALTER TOPIC name RESET (option, …)`: changes the
//! options of the CREATE statement that is kept, and nothing else of it.

use common::{Error, Result};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::options::{OptionList, option_name};
use crate::statement::{Statement, Text};
use crate::tokens::{self, Cursor};

pub(crate) fn parse(cursor: &mut Cursor, faults: &mut Vec<Error>) -> Result<Statement> {
    cursor
        .expect_word("TOPIC")
        .map_err(|e| e.hint("write ALTER TOPIC name SET (…) or ALTER USER name PASSWORD '…'"))?;
    let (name, span) = cursor.name("a topic name")?;
    let changes = if cursor.word("SET") {
        let options = OptionList::inside(cursor, faults)?;
        options.into_options().into_iter().map(|(name, value)| (name, Some(value))).collect()
    } else if cursor.word("RESET") {
        let mut names = vec![];
        cursor.expect_symbol(&Token::LParen)?;
        loop {
            names.push((option_name(cursor)?.0, None));
            if cursor.symbol(&Token::RParen) {
                break names;
            }
            if !cursor.symbol(&Token::Comma) {
                return Err(cursor.expected("',' or ')'"));
            }
        }
    } else {
        return Err(cursor.expected("SET or RESET"));
    };
    cursor.expect_end()?;
    Ok(Statement::AlterTopic { name, changes, span })
}

/// A CREATE TOPIC statement with other options: those with a value are set, the others removed.
pub fn with_options(statement: &str, changes: &[(String, Option<String>)]) -> Result<String> {
    let text = Text { file: None, text: statement.into() };
    let (toks, _) = tokens::tokens(&text);
    let mut depth = 0_i32;
    let with = toks.iter().position(|t| {
        depth += i32::from(t.is(&Token::LParen)) - i32::from(t.is(&Token::RParen));
        depth == 0 && t.is_word("WITH")
    });
    let end = toks.last().map_or(0, |t| t.span.end);
    let before = with.and_then(|i| toks.get(i)).map_or(end, |t| t.span.start);
    let mut cursor = Cursor::new(&text, with.and_then(|i| toks.get(i..)).unwrap_or_default());
    let mut options = OptionList::parse(&mut cursor, &mut vec![])?.into_options();
    for (name, value) in changes {
        match value {
            Some(value) => options.insert(name.clone(), value.clone()),
            None => options.remove(name),
        };
    }
    // A comment may stand before it, so the options have a line of their own.
    let head = statement.get(..before).unwrap_or_default().trim_end();
    if options.is_empty() {
        return Ok(head.to_string());
    }
    let shown =
        |(name, value): (&String, &String)| format!("{name} = '{}'", value.replace('\'', "''"));
    let options: Vec<_> = options.iter().map(shown).collect();
    Ok(format!("{head}\nWITH ({})", options.join(", ")))
}
