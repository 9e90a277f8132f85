//! Small changes to the syntax tree before planning: what cannot be kept is refused, doubles
//! written with an exponent are doubles, and a column without a name is called as it is written.

use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, CastKind, DataType, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, LimitClause, ObjectName, Query, Select, SelectItem, SetExpr, Spanned,
    Subscript, TableFactor, TableWithJoins, Value, VisitMut, Visitor, VisitorMut,
};

use crate::analyzer::intervals;
use crate::functions::time_zones::AT_TIME_ZONE;
use crate::passes::references::ident;
use crate::passes::{array_text, spark_names};
use crate::source::Source;
use crate::walk::{self, Flow};

/// What the parser takes and nothing here can do.
pub(crate) fn refuse(query: &Query, source: &Source) -> Result<(), Error> {
    walk::read(query, &mut Refuse { source })
}

struct Refuse<'a> {
    source: &'a Source<'a>,
}

impl Refuse<'_> {
    fn no(&self, message: &str, hint: &str, word: &str) -> Flow {
        let span = self.source.find(word).unwrap_or(0..self.source.text.len());
        let e = Error::unsupported(message).hint(hint).at(self.source.place(span));
        ControlFlow::Break(Box::new(e))
    }
}

impl Visitor for Refuse<'_> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, e: &Expr) -> Flow {
        if let Expr::Substring { substring_from: None, substring_for: None, shorthand, .. } = e {
            let name = if *shorthand { "substr" } else { "substring" };
            let e = Error::invalid(format!("{name}() takes 2 or 3 arguments, got 1"));
            let span = self.source.find(name).unwrap_or(0..self.source.text.len());
            return ControlFlow::Break(Box::new(e.at(self.source.place(span))));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        if matches!(query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_)) {
            return self.no("events are never changed", "send a new event", "insert");
        }
        if query.fetch.as_ref().is_some_and(|f| f.percent) {
            let hint = "number the rows: … QUALIFY percent_rank() OVER (ORDER BY x) <= 0.1";
            return self.no("FETCH … PERCENT is not supported", hint, "percent");
        }
        if let Some(lock) = query.locks.first() {
            let _ = lock;
            return self.no("FOR UPDATE is not supported", "take it out", "for");
        }
        if let SetExpr::Select(select) = query.body.as_ref()
            && select.into.is_some()
        {
            let hint = "write CREATE MATERIALIZED VIEW … AS SELECT …";
            return self.no("SELECT INTO is not supported", hint, "into");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table { sample: Some(_), .. }
            | TableFactor::Derived { sample: Some(_), .. } => {
                let hint = "filter by a hash of a column instead";
                self.no("TABLESAMPLE is not supported", hint, "tablesample")
            }
            TableFactor::Table { version: Some(_), .. } => {
                self.no("time travel is not supported yet", "leave out FOR …", "for")
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// `FETCH FIRST n ROWS ONLY` is the standard's `LIMIT n`.
pub(crate) fn fetch_as_limit(query: &mut Query) {
    let _ = walk::change(query, &mut FetchAsLimit);
}

struct FetchAsLimit;

impl VisitorMut for FetchAsLimit {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        if let Some(fetch) = query.fetch.take() {
            let one = || Expr::Value(Value::Number("1".into(), false).into());
            let limit = Some(fetch.quantity.unwrap_or_else(one));
            let offset = match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, .. }) => offset,
                _ => None,
            };
            let limit_by = vec![];
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by });
        }
        ControlFlow::Continue(())
    }
}

/// What expressions mean here, whether they stand in a query or alone.
pub(crate) fn expressions<T: VisitMut>(node: &mut T) {
    spark_names::resolve(node);
    date_parts(node);
    doubles(node);
    zones(node);
    array_text::spell_out(node);
    intervals::spell_out(node);
}

/// `1.5` is a decimal and `1.5e0` a double.
fn doubles<T: VisitMut>(node: &mut T) {
    walk::each_expression(node, &mut |e| {
        if let Expr::Value(v) = e
            && let Value::Number(n, _) = &v.value
            && n.contains(['e', 'E'])
        {
            let text = Value::SingleQuotedString(n.to_string());
            *e = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Value(text.into())),
                data_type: DataType::Double(ExactNumberInfo::None),
                array: false,
                format: None,
            };
        }
    });
}

/// `t AT TIME ZONE z` as a call; DataFusion's own only gives the time another type.
fn zones<T: VisitMut>(node: &mut T) {
    walk::each_expression(node, &mut |e| {
        if let Expr::AtTimeZone { timestamp, time_zone } = e {
            let args = [timestamp, time_zone].map(|e| e.as_ref().clone());
            *e = spark_names::call(AT_TIME_ZONE, args);
        }
    });
}

/// Spark's names for parts of a date: `year(x)` is `date_part('year', x)`.
pub(crate) const DATE_PARTS: [(&str, &str); 8] = [
    ("year", "year"),
    ("quarter", "quarter"),
    ("month", "month"),
    ("weekofyear", "week"),
    ("day", "day"),
    ("dayofmonth", "day"),
    ("dayofyear", "doy"),
    ("dayofweek", "dayofweek"),
];

fn date_parts<T: VisitMut>(node: &mut T) {
    walk::each_expression(node, &mut date_part);
}

fn date_part(e: &mut Expr) {
    let Expr::Function(f) = e else { return };
    let name = f.name.to_string().to_lowercase();
    let Some((_, part)) = DATE_PARTS.iter().find(|(n, _)| *n == name) else { return };
    let FunctionArguments::List(list) = &mut f.args else { return };
    if list.args.len() != 1 {
        return;
    }
    let part = Expr::Value(Value::SingleQuotedString((*part).into()).into());
    list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(part)));
    f.name = ObjectName::from(vec![Ident::new("date_part")]);
}

/// Columns that are not named get their text as name; DataFusion's would show its own notation.
pub(crate) fn name_columns(query: &mut Query, source: &Source) {
    let _ = walk::change(query, &mut NameColumns { source });
}

struct NameColumns<'a> {
    source: &'a Source<'a>,
}

impl VisitorMut for NameColumns<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        self.body(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl NameColumns<'_> {
    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => {
                let tables = tables(select);
                select.projection.iter_mut().for_each(|i| self.item(i, &tables));
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn item(&self, item: &mut SelectItem, tables: &[String]) {
        let SelectItem::UnnamedExpr(e) = item else { return };
        let name = match e {
            Expr::Identifier(_) => return,
            // `t.column` has its name; `column.field` gets that of the field.
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, _] if tables.contains(&ident(table)) => return,
                [.., last] => ident(last),
                [] => return,
            },
            // `call(…).field` is called by its field, as on Spark.
            Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
                Some(AccessExpr::Subscript(Subscript::Index { index: Expr::Value(v) })) => {
                    match &v.value {
                        Value::SingleQuotedString(field) => field.clone(),
                        _ => e.to_string(),
                    }
                }
                _ => e.to_string(),
            },
            Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("unnest") => return,
            _ => match self.source.slice(self.source.span(e.span())) {
                // Spans of some expressions leave out an end; the tree's own text is whole.
                text if !text.is_empty() && same(text, &e.to_string()) => one_line(text),
                _ => e.to_string(),
            },
        };
        let alias = Ident::with_quote('"', name);
        *item = SelectItem::ExprWithAlias { expr: e.clone(), alias };
    }
}

/// What the tables of a FROM are called.
fn tables(select: &Select) -> Vec<String> {
    let mut names = vec![];
    let mut open: Vec<&TableWithJoins> = select.from.iter().collect();
    while let Some(t) = open.pop() {
        for factor in std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)) {
            match factor {
                TableFactor::NestedJoin { table_with_joins, .. } => open.push(table_with_joins),
                TableFactor::Table { alias: Some(a), .. }
                | TableFactor::Derived { alias: Some(a), .. }
                | TableFactor::UNNEST { alias: Some(a), .. } => names.push(ident(&a.name)),
                TableFactor::Table { name, .. } => {
                    names.extend(name.0.last().and_then(|p| p.as_ident()).map(ident));
                }
                _ => {}
            }
        }
    }
    names
}

fn same(a: &str, b: &str) -> bool {
    let letters = |t: &str| -> String {
        t.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
    };
    letters(a) == letters(b)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
