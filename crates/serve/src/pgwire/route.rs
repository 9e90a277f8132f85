//! Who answers a statement: the engine, or the library that knows what Postgres clients ask about
//! a server.

/// First words of statements about the session; everything else, nonsense too, is the engine's.
const SESSION_WORDS: [&str; 22] = [
    "abort",
    "analyze",
    "begin",
    "commit",
    "copy",
    "deallocate",
    "discard",
    "end",
    "execute",
    "listen",
    "lock",
    "move",
    "notify",
    "prepare",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "set",
    "start",
    "unlisten",
    "vacuum",
];

/// Names that only a question about the server has in it.
const SERVER_NAMES: [&str; 8] = [
    "information_schema",
    "current_schema",
    "current_schemas",
    "current_database",
    "current_user",
    "session_user",
    "current_setting",
    "current_catalog",
];

/// What `SHOW` shows of the platform; `SHOW search_path` is about the session.
const SHOWN: [&str; 9] = [
    "topics",
    "sources",
    "views",
    "sinks",
    "tables",
    "create",
    "materialized",
    "pipelines",
    "functions",
];

/// Whether a statement means the platform and not the server behind the protocol.
pub fn for_engine(statement: &str) -> bool {
    let words = words(statement);
    match words.first().map(String::as_str) {
        None => !statement.trim().is_empty(),
        Some("show") => words.get(1).is_some_and(|what| SHOWN.contains(&what.as_str())),
        Some(first) if SESSION_WORDS.contains(&first) => false,
        Some(_) => {
            let about_server =
                |w: &String| w.starts_with("pg_") || SERVER_NAMES.contains(&w.as_str());
            let version = words.iter().any(|w| w == "version")
                && statement.to_ascii_lowercase().contains("version()");
            !version && !words.iter().any(about_server)
        }
    }
}

/// The words of a statement in lower case, without those in strings and comments.
fn words(statement: &str) -> Vec<String> {
    let (mut words, mut word, mut rest) = (vec![], String::new(), statement);
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '\'' => Some(quoted(rest)),
            '-' if rest.starts_with("--") => Some(rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => Some(rest.find("*/").map_or(rest.len(), |i| i + 2)),
            _ => None,
        };
        if skipped.is_none() && (c.is_alphanumeric() || c == '_') {
            word.extend(c.to_lowercase());
        } else if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        rest = &rest[skipped.unwrap_or(c.len_utf8())..];
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Length of the string at the start; `''` and `\'` are quotes inside of it.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// `CREATE TOPIC`, as the command tag of a statement without rows.
pub fn tag(statement: &str) -> String {
    let words: Vec<String> =
        statement.split_ascii_whitespace().take(3).map(str::to_ascii_uppercase).collect();
    match words.get(1).map(String::as_str) {
        Some("MATERIALIZED") => words.join(" "),
        Some(_) => words[..2].join(" "),
        None => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers() {
        for (statement, engine) in [
            ("SELECT * FROM readings", true),
            ("select version()", false),
            ("SELECT version FROM releases", true),
            ("SELECT c.oid FROM pg_catalog.pg_class c", false),
            ("SELECT 'pg_class', 'it\\'s current_user' FROM t", true),
            ("SELECT 1 -- pg_class", true),
            ("SELECT /* pg_class */ current_user", false),
            ("SHOW TOPICS", true),
            ("SHOW search_path", false),
            ("SELEC 1", true),
            ("SET client_encoding TO 'UTF8'", false),
            ("BEGIN", false),
            ("CREATE TOPIC t (a INT)", true),
            ("", false),
        ] {
            assert_eq!(for_engine(statement), engine, "{statement}");
        }
        assert_eq!(tag("create topic t (a int)"), "CREATE TOPIC");
        assert_eq!(tag("DROP MATERIALIZED VIEW v"), "DROP MATERIALIZED VIEW");
    }
}
