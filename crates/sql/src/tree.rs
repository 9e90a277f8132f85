//! Pieces of a syntax tree. Those with many members are parsed from a text and filled in.

use common::{Error, Result};
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, Value,
};

use crate::tokens;

/// A name as it is.
pub(crate) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

pub(crate) fn column(table: &Ident, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![table.clone(), quoted(name)])
}

pub(crate) fn int(n: i32) -> Expr {
    Expr::value(Value::Number(n.to_string(), false))
}

pub(crate) fn null() -> Expr {
    Expr::value(Value::Null)
}

pub(crate) fn is_null(e: Expr) -> Expr {
    Expr::IsNull(Box::new(e))
}

pub(crate) fn is_not_null(e: Expr) -> Expr {
    Expr::IsNotNull(Box::new(e))
}

pub(crate) fn equal(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: ast::BinaryOperator::Eq, right: Box::new(right) }
}

pub(crate) fn and(left: Expr, right: Option<Expr>) -> Expr {
    let Some(right) = right else { return left };
    let (left, right) = (Box::new(left), Box::new(Expr::Nested(Box::new(right))));
    Expr::BinaryOp { left, op: ast::BinaryOperator::And, right }
}

pub(crate) fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: quoted(name) }
}

/// `CASE WHEN … THEN … ELSE … END`.
pub(crate) fn case(whens: Vec<(Expr, Expr)>, otherwise: Expr) -> Result<Expr> {
    if whens.is_empty() {
        return Ok(otherwise);
    }
    let mut case = tokens::parse_whole("CASE WHEN a THEN b ELSE c END", tokens::expression)?;
    if let Expr::Case { conditions, else_result, .. } = &mut case {
        *conditions = whens
            .into_iter()
            .map(|(condition, result)| ast::CaseWhen { condition, result })
            .collect();
        *else_result = Some(Box::new(otherwise));
    }
    Ok(case)
}

/// `SELECT items FROM from WHERE only`.
pub(crate) fn select(
    items: Vec<SelectItem>,
    from: Vec<impl Into<Table>>,
    only: Option<Expr>,
) -> Result<Box<Query>> {
    let mut query = tokens::parse_query("SELECT 1")?;
    let select = body(&mut query)?;
    select.projection = items;
    select.from = from.into_iter().map(|t| t.into().0).collect();
    select.selection = only;
    Ok(query)
}

/// What stands in FROM, with its joins.
pub(crate) struct Table(pub ast::TableWithJoins);

impl From<ast::TableWithJoins> for Table {
    fn from(table: ast::TableWithJoins) -> Table {
        Table(table)
    }
}

impl From<TableFactor> for Table {
    fn from(relation: TableFactor) -> Table {
        Table(ast::TableWithJoins { relation, joins: vec![] })
    }
}

impl Table {
    pub fn join(mut self, relation: TableFactor, kind: JoinKind, on: Expr) -> Table {
        let on = ast::JoinConstraint::On(on);
        let join_operator = match kind {
            JoinKind::Left => ast::JoinOperator::Left(on),
            JoinKind::Full => ast::JoinOperator::FullOuter(on),
        };
        self.0.joins.push(ast::Join { relation, global: false, join_operator });
        self
    }
}

#[derive(Clone, Copy)]
pub(crate) enum JoinKind {
    Left,
    Full,
}

fn body(query: &mut Query) -> Result<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        _ => Err(Error::internal("a query without SELECT")),
    }
}

/// `(query) AS alias(columns)`.
pub(crate) fn derived<'a>(
    query: Box<Query>,
    alias: &Ident,
    columns: impl Iterator<Item = &'a str>,
) -> Result<TableFactor> {
    let mut relation = relation("SELECT 1 FROM (SELECT 1) AS a(b)")?;
    if let TableFactor::Derived { subquery, alias: Some(named), .. } = &mut relation {
        *subquery = query;
        named.name = alias.clone();
        let column = |name| ast::TableAliasColumnDef { name: quoted(name), data_type: None };
        named.columns = columns.map(column).collect();
    }
    Ok(relation)
}

/// A topic or view by its name.
pub(crate) fn table(name: &str, alias: &Ident) -> Result<TableFactor> {
    let mut relation = relation("SELECT 1 FROM a AS b")?;
    if let TableFactor::Table { name: named, alias: Some(as_name), .. } = &mut relation {
        *named = quoted(name).into();
        as_name.name = alias.clone();
    }
    Ok(relation)
}

fn relation(text: &str) -> Result<TableFactor> {
    let mut query = tokens::parse_query(text)?;
    let table = body(&mut query)?.from.pop();
    table.map(|t| t.relation).ok_or_else(|| Error::internal("a query without FROM"))
}

/// What the columns of a table are called by in a query.
pub(crate) fn alias_of(table: &TableFactor) -> Option<Ident> {
    let (TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) = table else {
        return None;
    };
    match (alias, table) {
        (Some(alias), _) => Some(alias.name.clone()),
        (None, TableFactor::Table { name, .. }) => {
            name.0.last().and_then(|p| p.as_ident()).cloned()
        }
        _ => None,
    }
}
