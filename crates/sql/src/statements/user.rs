//! `CREATE USER name [WITH] PASSWORD '…'`, `ALTER USER name [WITH] PASSWORD '…'` and
//! `DROP USER name`, as PostgreSQL writes them. No error shows a password: neither does a message
//! name what was found behind PASSWORD, nor does the text that an error points into have it: see
//! `catalog::literals`, which hides what may be a mistyped one of these statements, too.

use common::{Error, Place, Result, Secret};

use crate::statements::statement::{Statement, Text};
use crate::tokens::Cursor;

/// Behind `CREATE USER`.
pub(crate) fn create(cursor: &mut Cursor) -> Result<Statement> {
    let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
    let (name, password) = name_and_password(cursor)?;
    Ok(Statement::CreateUser { name, password, if_not_exists })
}

/// Behind `ALTER USER`.
pub(crate) fn alter(cursor: &mut Cursor) -> Result<Statement> {
    let (name, password) = name_and_password(cursor)?;
    Ok(Statement::AlterUser { name, password })
}

/// Behind `DROP USER`.
pub(crate) fn drop(cursor: &mut Cursor) -> Result<Statement> {
    let if_exists = cursor.words(&["IF", "EXISTS"]);
    let (name, _) = cursor.name("the name of a user")?;
    cursor.expect_end()?;
    Ok(Statement::DropUser { name, if_exists })
}

fn name_and_password(cursor: &mut Cursor) -> Result<(String, Secret)> {
    let (name, _) = cursor.name("the name of a user")?;
    cursor.word("WITH");
    cursor.expect_word("PASSWORD").map_err(|e| e.hint("write PASSWORD '…' behind the name"))?;
    let span = cursor.span();
    let Some((password, _)) = cursor.string() else {
        let e = Error::syntax("expected a password").hint("write it in single quotes");
        return Err(cursor.error(e, span));
    };
    if !cursor.done() {
        let e = Error::syntax("expected the end of the statement behind the password");
        let span = cursor.span();
        return Err(cursor.error(e.hint("a quote inside is written twice"), span));
    }
    Ok((name, Secret::new(password)))
}

/// The errors, pointing into a text in which passwords and the options of connectors are stars.
pub(crate) fn without_secrets(text: &Text, errors: Vec<Error>) -> Vec<Error> {
    let mut shown = catalog::literals::hidden(&text.text);
    if let Some(from) = password_start(&text.text) {
        let behind = from..text.text.len();
        shown = catalog::literals::stars(&shown, std::slice::from_ref(&behind)).into();
    }
    let hide = |error: Error| match error.place().cloned() {
        Some(place) => error.at(Place { text: shown.clone(), ..place }),
        None => error,
    };
    errors.into_iter().map(hide).collect()
}

/// Where the first password may begin: behind the words CREATE or ALTER, USER, PASSWORD, whatever
/// stands between them. The text may be one that cannot be cut into tokens.
fn password_start(text: &str) -> Option<usize> {
    let is_break = |c: char| !c.is_alphanumeric() && c != '_';
    let mut wanted: &[&[&str]] = &[&["CREATE", "ALTER"], &["USER"], &["PASSWORD"]];
    let mut at = 0;
    for word in text.split_inclusive(is_break) {
        at += word.len();
        let word = word.trim_end_matches(is_break);
        if wanted.first().is_some_and(|any| any.iter().any(|w| word.eq_ignore_ascii_case(w))) {
            wanted = wanted.get(1..).unwrap_or_default();
            if wanted.is_empty() {
                return Some(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::statements::statement::{Show, parse};

    fn one(text: &str) -> Statement {
        parse(&Text::new(None, text)).unwrap().pop().unwrap()
    }

    #[test]
    fn statements_about_users() {
        for text in
            ["CREATE USER Alice PASSWORD 'it''s'", "create user alice with password 'it''s'"]
        {
            let Statement::CreateUser { name, password, if_not_exists: false } = one(text) else {
                panic!("{text}");
            };
            assert_eq!((name.as_str(), password.expose()), ("alice", "it's"));
        }
        assert!(matches!(
            one("CREATE USER IF NOT EXISTS a PASSWORD 'x'"),
            Statement::CreateUser { if_not_exists: true, .. }
        ));
        assert!(matches!(one("ALTER USER \"A.b\" PASSWORD 'x'"),
            Statement::AlterUser { name, .. } if name == "A.b"));
        assert!(matches!(one("DROP USER IF EXISTS a"),
            Statement::DropUser { name, if_exists: true } if name == "a"));
        assert!(matches!(one("SHOW USERS"), Statement::Show(Show::Users)));
    }

    #[test]
    fn no_fault_shows_the_password() {
        for text in [
            "CREATE USER a PASSWORD secret",
            "CREATE USER a PASSWORD 'secret' x",
            "CREATE USER a PASSWORD 'it'secret'",
            "CREATE USER a PASSWORD 'secret",
            "CREATE USER a PASSWORD \"secret\"",
            "CREATE USER a PASSWORD\n'secret' 'secret'",
            "CREATE/**/USER a PASSWORD 'secret' VALID UNTIL 'x'",
            "ALTER USER a SET PASSWORD 'secret'",
            "SELEC 1; ALTER USER a PASSWORD 'ä secret';",
            "CREATE USER a PASSWORT 'secret'",
            "CREATE USER a 'secret'",
            "CREATE USER 'secret'",
            "CREATE USR a PASSWORD 'secret'",
            "CREAT USER a PASSWORD 'secret'",
            "SET PASSWORD 'secret'",
            "SHOW 'secret'",
            "CREATE SINK a FROM v WITH (headers = secret)",
            "CREATE SINK a FROM v WITH (headers = \"secret\")",
            "CREATE SINK a FROM v WITH (headers = 'it'secret')",
            "CREATE SINK a FROM v WITH (headers = 'it' 'secret')",
            "CREATE SINK a FROM v WITH (headers 'secret')",
            "CREATE SINK a FROM v WITH (headers = 'secret'",
            "CREATE SINK a FROM v WITH (headers = 'secret') x",
            "CREATE USER a b PASSWORD 'secret'",
        ] {
            let faults = parse(&Text::new(None, text)).unwrap_err();
            assert!(!faults.is_empty(), "{text}");
            for e in faults {
                let shown = format!("{e} {:?} {}", e, e.to_json());
                assert!(!shown.contains("secret"), "{text}: {shown}");
                assert!(!e.place().unwrap().text.contains("secret"), "{text}");
                assert_eq!(e.place().unwrap().text.len(), text.len());
            }
        }
        let shown = format!("{:?}", one("CREATE USER a PASSWORD 'secret'"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
