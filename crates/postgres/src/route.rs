//! Who answers a statement: the engine, or the library that knows what Postgres clients ask about
//! a server. The library refuses what is not its own, so a wrong guess here costs an answer and
//! nothing else.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use engine::{PostgresStatement, walk};

use crate::sent::Sent;

/// First words of statements about the session; everything else, nonsense too, is the engine's.
const SESSION_WORDS: [&str; 14] = [
    "abort",
    "begin",
    "commit",
    "deallocate",
    "discard",
    "end",
    "listen",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "set",
    "start",
    "unlisten",
];

/// First words of queries: only these can ask about the server.
const QUERY_WORDS: [&str; 4] = ["select", "with", "values", "table"];

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
const SHOWN: [&str; 10] = [
    "topics",
    "sources",
    "views",
    "sinks",
    "tables",
    "users",
    "create",
    "materialized",
    "pipelines",
    "functions",
];

/// Whether a statement means the platform and not the server behind the protocol.
pub fn for_engine(sent: &Sent) -> bool {
    let statement = sent.statement();
    let mut words = statement.first_words.iter().map(String::as_str);
    match (words.next(), words.next()) {
        (Some("show"), what) => what.is_some_and(|w| SHOWN.contains(&w)),
        (Some(first), _) if SESSION_WORDS.contains(&first) => false,
        (Some(first), _) if QUERY_WORDS.contains(&first) => {
            !about_server(statement) || reads_tables(sent.as_sent())
        }
        _ => true,
    }
}

fn about_server(statement: &PostgresStatement) -> bool {
    let server = |w: &String| w.starts_with("pg_") || SERVER_NAMES.contains(&w.as_str());
    let version = || {
        statement.words.contains("version")
            && statement.text.to_ascii_lowercase().contains("version()")
    };
    statement.words.iter().any(server) || version()
}

/// Whether a query reads tables other than those about the server.
fn reads_tables(query: &str) -> bool {
    let Ok(statements) = Parser::parse_sql(&PostgreSqlDialect {}, query) else {
        return false;
    };
    let mut tables = Tables::default();
    let _ = statements.iter().try_for_each(|s| walk::read_statement(s, &mut tables));
    tables.read.difference(&tables.named).next().is_some()
}

#[derive(Default)]
struct Tables {
    /// Tables of the platform, by all it can tell.
    read: BTreeSet<String>,
    /// Names given by WITH.
    named: BTreeSet<String>,
}

impl Visitor for Tables {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> walk::Flow {
        let ctes = query.with.iter().flat_map(|w| &w.cte_tables);
        self.named.extend(ctes.map(|c| c.alias.name.value.to_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> walk::Flow {
        let TableFactor::Table { name, args: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let parts = name.0.iter().filter_map(|p| p.as_ident());
        let parts: Vec<String> = parts.map(|i| i.value.to_lowercase()).collect();
        let server =
            |p: &String| p.starts_with("pg_") || p == "information_schema" || p == "current_user";
        if let Some(last) = parts.last()
            && !parts.iter().any(server)
        {
            self.read.insert(last.clone());
        }
        ControlFlow::Continue(())
    }
}

/// `CREATE TOPIC`, as the command tag of a statement without rows.
pub fn tag(statement: &str) -> String {
    let words = statement.split_ascii_whitespace().map(str::to_ascii_uppercase);
    let words: Vec<String> = words.filter(|w| w != "OR" && w != "REPLACE").take(3).collect();
    match words.get(1).map(String::as_str) {
        Some("MATERIALIZED") => words.join(" "),
        Some(_) => words[..2].join(" "),
        None => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_answers() {
        for (statement, engine) in [
            ("SELECT * FROM readings", true),
            ("select version()", false),
            ("SELECT version FROM releases", true),
            ("SELECT c.oid FROM pg_catalog.pg_class c", false),
            ("SELECT 'pg_class', E'it\\'s current_user' FROM t", true),
            ("SELECT 1 -- pg_class", true),
            ("SELECT /* pg_class */ current_user", false),
            ("SHOW TOPICS", true),
            ("SHOW search_path", false),
            ("SELEC 1", true),
            ("SET client_encoding TO 'UTF8'", false),
            ("BEGIN", false),
            ("CREATE TOPIC t (a INT)", true),
            // A name of the server beside tables of the platform.
            ("SELECT pg_size FROM discs", true),
            ("SELECT x FROM (SELECT pg_size AS x FROM discs) d", true),
            ("WITH c AS (SELECT oid FROM pg_class) SELECT * FROM c", false),
            ("SELECT a FROM generate_series(1, 2) AS g(a), pg_type", false),
            ("CREATE MATERIALIZED VIEW v AS SELECT pg_size FROM discs", true),
            ("EXPLAIN SELECT pg_size FROM discs", true),
            // What could do more than read.
            ("COPY (SELECT 1) TO 'x'", true),
            ("(COPY (SELECT 1) TO 'x')", true),
            ("CREATE EXTERNAL TABLE pg_x STORED AS CSV LOCATION 'x'", true),
            ("PREPARE p AS SELECT pg_x", true),
            ("EXECUTE pg_p", true),
            ("INSERT INTO pg_class VALUES (1)", true),
        ] {
            let sent = Sent::all(statement).unwrap().remove(0);
            assert_eq!(for_engine(&sent), engine, "{statement}");
        }
        assert!(Sent::all("").unwrap().is_empty());
        assert_eq!(tag("create topic t (a int)"), "CREATE TOPIC");
        assert_eq!(
            tag("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1"),
            "CREATE MATERIALIZED VIEW"
        );
        assert_eq!(tag("DROP MATERIALIZED VIEW v"), "DROP MATERIALIZED VIEW");
    }
}
