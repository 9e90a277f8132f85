//! Queries about a server as DataFusion plans them: columns get the names that Postgres gives them,
//! also two the same one, and subqueries a form that it knows.

use std::collections::HashMap;
use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, GroupByExpr, Ident, JoinOperator, ObjectName, Query, Select,
    SelectItem, SetExpr, Statement, TableFactor, Value, ValueWithSpan, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use engine::walk;

/// Behind the name of a column that another one has already; cut off before it is shown.
const AGAIN: char = '\u{200b}';

/// A column's name as the client sees it.
pub fn shown(name: &str) -> &str {
    name.trim_end_matches(AGAIN)
}

pub fn rewrite(statement: &mut Statement) {
    let _ = walk::change_statement(statement, &mut Subqueries);
    let Statement::Query(query) = statement else { return };
    let nothing = reads_nothing(query);
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    name_columns(select);
    if nothing && select.projection.iter().all(|i| !matches!(i, SelectItem::Wildcard(_))) {
        let mut empty = select.clone();
        if without_rows(&mut empty).is_some() {
            *select = empty;
            query.order_by = None;
        }
    }
}

fn name_columns(select: &mut Select) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in &mut select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => match name_of(expr) {
                Some(name) => (expr.clone(), name),
                None => continue,
            },
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.value.clone()),
            _ => continue,
        };
        let times = seen.entry(name.to_lowercase()).or_default();
        let again: String = std::iter::repeat_n(AGAIN, *times).collect();
        *times += 1;
        let alias = Ident::with_quote('"', name + &again);
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

/// The name that Postgres gives to a column without one.
fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Function(f) => f.name.0.last()?.as_ident().map(|i| i.value.to_lowercase()),
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(idents) => idents.last().map(|i| i.value.clone()),
        Expr::Cast { expr, .. } => name_of(expr),
        Expr::Nested(expr) => name_of(expr),
        Expr::Case { .. } => Some("case".into()),
        Expr::Value(_) | Expr::BinaryOp { .. } | Expr::UnaryOp { .. } => Some("?column?".into()),
        _ => None,
    }
}

struct Subqueries;

impl VisitorMut for Subqueries {
    type Break = Box<Error>;

    /// pg_catalog is always searched.
    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> walk::Flow {
        let is_plain = name.0.len() == 1;
        if let Some(ident) = name.0.first().and_then(|p| p.as_ident())
            && is_plain
            && ident.value.to_ascii_lowercase().starts_with("pg_")
        {
            *name = ObjectName::from(vec![Ident::new("pg_catalog"), ident.clone()]);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> walk::Flow {
        match expr {
            // ARRAY(SELECT …): of what there is none here (members of roles, options of tables).
            Expr::Function(f)
                if f.name.to_string().eq_ignore_ascii_case("array")
                    && matches!(f.args, FunctionArguments::Subquery(_)) =>
            {
                if let Some(none) = parsed("CAST(NULL AS TEXT[])") {
                    *expr = none;
                }
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                escape_by_backslash(pattern, escape_char);
            }
            Expr::Subquery(query) if reads_nothing(query) => {
                if let Some(none) = parsed("CAST(NULL AS TEXT)") {
                    *expr = none;
                }
            }
            Expr::BinaryOp { left, right, .. } if is_function_column(left) => by_name(right),
            Expr::BinaryOp { left, right, .. } if is_function_column(right) => by_name(left),
            // One row by its key, which the planner can't know.
            Expr::Subquery(query) => one_row(query),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// DataFusion knows one escape.
fn escape_by_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) {
    let Some(Value::SingleQuotedString(c)) = escape.as_ref().map(|e| &e.value) else { return };
    let replaced = format!("replace({pattern}, '{}', '\\')", c.replace('\'', "''"));
    if c != "\\"
        && let Some(replaced) = parsed(&replaced)
    {
        *pattern = replaced;
        *escape = None;
    }
}

/// Columns that have the names of functions here, and their numbers in Postgres.
fn is_function_column(expr: &Expr) -> bool {
    const COLUMNS: [&str; 4] = ["typinput", "typoutput", "typreceive", "typsend"];
    let name = match expr {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(idents) => idents.last(),
        _ => None,
    };
    name.is_some_and(|ident| COLUMNS.contains(&ident.value.to_lowercase().as_str()))
}

/// `'array_in'::regproc`, which the parser made a look into pg_proc, as the name again.
fn by_name(expr: &mut Expr) {
    let text = expr.to_string();
    let name = text.split('\'').nth(1).filter(|_| text.contains("pg_proc"));
    if let Some(name) = name.and_then(|name| parsed(&format!("'{name}'"))) {
        *expr = name;
    }
}

fn parsed(text: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?.parse_expr().ok()
}

/// `SELECT x FROM t WHERE …` as `SELECT min(x) …`, unless it gives one row anyway.
fn one_row(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let [item] = select.projection.as_mut_slice() else { return };
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
        return;
    };
    let is_simple = !select.from.is_empty()
        && query.limit_clause.is_none()
        && query.order_by.is_none()
        && !is_aggregate(expr)
        && !matches!(expr, Expr::Value(v) if matches!(v.value, Value::Null));
    let Some(Expr::Function(mut min)) = parsed("min(x)").filter(|_| is_simple) else { return };
    if let FunctionArguments::List(list) = &mut min.args
        && let Some(argument) = list.args.first_mut()
    {
        use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr};
        *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(expr.clone()));
        *item = SelectItem::UnnamedExpr(Expr::Function(min));
    }
}

/// Tables about what no topic and no view has.
const EMPTY: [&str; 9] = [
    "pg_attrdef",
    "pg_collation",
    "pg_constraint",
    "pg_description",
    "pg_index",
    "pg_inherits",
    "pg_policy",
    "pg_sequence",
    "pg_trigger",
];

/// Whether a query gives no row, because it reads one of them.
fn reads_nothing(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let is_one_row = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => is_aggregate(e),
        _ => true,
    }) && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    !is_one_row
        && select.from.iter().any(|from| {
            let joined = from.joins.iter().filter(|j| {
                matches!(j.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_))
            });
            is_empty(&from.relation) || joined.into_iter().any(|j| is_empty(&j.relation))
        })
}

fn is_empty(table: &TableFactor) -> bool {
    match table {
        TableFactor::Table { name, .. } => {
            let name = name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase());
            name.is_some_and(|name| EMPTY.contains(&name.as_str()))
        }
        TableFactor::Derived { subquery, .. } => reads_nothing(subquery),
        _ => false,
    }
}

/// The columns of a query without a row.
fn without_rows(select: &mut Select) -> Option<()> {
    let none = parsed("CAST(NULL AS TEXT)")?;
    for item in &mut select.projection {
        match item {
            SelectItem::ExprWithAlias { expr, .. } => *expr = none.clone(),
            SelectItem::UnnamedExpr(expr) => *expr = none.clone(),
            _ => return None,
        }
    }
    select.from.clear();
    select.group_by = GroupByExpr::Expressions(vec![], vec![]);
    select.having = None;
    select.distinct = None;
    select.selection = parsed("FALSE");
    Some(())
}

fn is_aggregate(expr: &Expr) -> bool {
    const AGGREGATES: [&str; 13] = [
        "array_agg",
        "avg",
        "bool_and",
        "bool_or",
        "count",
        "every",
        "json_agg",
        "json_object_agg",
        "jsonb_agg",
        "max",
        "min",
        "string_agg",
        "sum",
    ];
    let Expr::Function(f) = expr else { return false };
    let name = f.name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase());
    name.is_some_and(|name| AGGREGATES.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_subqueries() {
        for (text, rewritten) in [
            (
                "SELECT current_setting('x'), a.b, 1",
                "SELECT current_setting('x') AS \"current_setting\", a.b AS \"b\", 1 AS \"?column?\"",
            ),
            ("SELECT f(), f() AS f", "SELECT f() AS \"f\", f() AS \"f\u{200b}\""),
            (
                "SELECT c.a, count(*) FROM pg_class c JOIN pg_index i ON i.r = c.o GROUP BY 1",
                "SELECT CAST(NULL AS TEXT) AS \"a\", CAST(NULL AS TEXT) AS \"count\" WHERE false",
            ),
            ("SELECT ARRAY(SELECT 1) AS x", "SELECT CAST(NULL AS TEXT[]) AS \"x\""),
            (
                "SELECT * FROM t WHERE (SELECT c.k = 'c' FROM c WHERE c.o = t.o)",
                "SELECT * FROM t WHERE (SELECT min(c.k = 'c') FROM c WHERE c.o = t.o)",
            ),
        ] {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().remove(0);
            rewrite(&mut statement);
            assert_eq!(statement.to_string(), rewritten);
        }
        assert_eq!(shown("f\u{200b}\u{200b}"), "f");
    }
}
