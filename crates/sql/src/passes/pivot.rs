//! `PIVOT (sum(x) FOR quarter IN (1, 2))` as a GROUP BY of the columns it leaves, with an
//! aggregate `FILTER (WHERE quarter = 1)` for each value; `UNPIVOT (x FOR name IN (a, b))` as a
//! UNION ALL of a query for each column. Both are Spark's, in batch and in views.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, ExprWithAlias, Function, GroupByExpr, Ident, NullInclusion,
    PivotValueSource, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, TableAlias,
    TableFactor, Value, VisitorMut,
};

use crate::passes::hidden::{Tables, last_ident};
use crate::passes::references::ident;
use crate::passes::spark_names::binary;
use crate::passes::using::columns_of;
use crate::source::Source;
use crate::tree::{self, Table, case, int, item, null, quoted, select};
use crate::{tokens, walk};
use walk::Flow;

pub(crate) fn write_out(query: &mut Query, tables: &Tables, source: &Source) -> Result<(), Error> {
    walk::change(query, &mut Walk { tables, source, ctes: vec![], made: 0 })
}

struct Walk<'a> {
    tables: &'a Tables,
    source: &'a Source<'a>,
    /// Of the open queries: they hide tables of the same name.
    ctes: Vec<BTreeMap<String, Option<Vec<String>>>>,
    made: usize,
}

/// Aggregates that are NULL anyway where a group has no row of the value.
const NULL_OF_NOTHING: [&str; 4] = ["sum", "avg", "min", "max"];

impl VisitorMut for Walk<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let ctes = query.with.iter().flat_map(|w| &w.cte_tables);
        let columns = |c: &datafusion::sql::sqlparser::ast::Cte| match c.alias.columns.is_empty() {
            true => columns_of(&c.query),
            false => Some(c.alias.columns.iter().map(|c| ident(&c.name)).collect()),
        };
        self.ctes.push(ctes.map(|c| (ident(&c.alias.name), columns(c))).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> Flow {
        self.ctes.pop();
        ControlFlow::Continue(())
    }

    // After the factors within it.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        let word = match factor {
            TableFactor::Pivot { .. } => "pivot",
            TableFactor::Unpivot { .. } => "unpivot",
            _ => return ControlFlow::Continue(()),
        };
        match self.derived(factor) {
            Ok(derived) => {
                *factor = derived;
                ControlFlow::Continue(())
            }
            Err(e) => {
                let span = self.source.find(word).unwrap_or(0..self.source.text.len());
                ControlFlow::Break(Box::new(e.at(self.source.place(span))))
            }
        }
    }
}

impl Walk<'_> {
    fn derived(&mut self, factor: &TableFactor) -> Result<TableFactor, Error> {
        self.made += 1;
        let unnamed = quoted(&format!("__pivot_{}", self.made));
        let name = |alias: &Option<TableAlias>| alias.as_ref().map_or(unnamed, |a| a.name.clone());
        let (query, alias) = match factor {
            TableFactor::Pivot {
                table,
                aggregate_functions,
                value_column,
                value_source: PivotValueSource::List(values),
                default_on_null: None,
                alias,
            } => (self.pivoted(table, aggregate_functions, value_column, values)?, name(alias)),
            TableFactor::Unpivot { table, value, name: named, columns, null_inclusion, alias } => {
                let keep = matches!(null_inclusion, Some(NullInclusion::IncludeNulls));
                let Expr::Identifier(value) = value else {
                    return Err(Error::unsupported("UNPIVOT makes one column of values"));
                };
                (self.unpivoted(table, value, named, columns, keep)?, name(alias))
            }
            _ => {
                return Err(Error::unsupported("this form of PIVOT is not supported")
                    .hint("list the values: PIVOT (sum(x) FOR y IN ('a', 'b'))"));
            }
        };
        tree::derived(query, &alias, std::iter::empty())
    }

    /// The columns of what is pivoted.
    fn columns(&self, table: &TableFactor) -> Result<Vec<String>, Error> {
        let columns = match table {
            TableFactor::Table { name, args: None, .. } => last_ident(name).and_then(|last| {
                let name = ident(last);
                match self.ctes.iter().rev().find_map(|c| c.get(&name)) {
                    Some(columns) => columns.clone(),
                    None => self.tables.get(&name).map(|t| t.names.clone()),
                }
            }),
            TableFactor::Derived { subquery, alias, .. } => {
                let renamed = alias.as_ref().filter(|a| !a.columns.is_empty());
                match renamed {
                    Some(a) => Some(a.columns.iter().map(|c| ident(&c.name)).collect()),
                    None => columns_of(subquery),
                }
            }
            _ => None,
        };
        columns.ok_or_else(|| {
            Error::unsupported("which columns are left over can't be known here")
                .hint("name them: FROM (SELECT a, b, c FROM …) PIVOT (…)")
        })
    }

    fn pivoted(
        &self,
        table: &TableFactor,
        aggregates: &[ExprWithAlias],
        by: &[Expr],
        values: &[ExprWithAlias],
    ) -> Result<Box<Query>, Error> {
        let mut used = BTreeSet::new();
        aggregates.iter().for_each(|a| names_in(&a.expr, &mut used));
        by.iter().for_each(|e| names_in(e, &mut used));
        let columns = self.columns(table)?;
        let left: Vec<Expr> = columns
            .iter()
            .filter(|c| !used.contains(c.as_str()))
            .map(|c| Expr::Identifier(quoted(c)))
            .collect();
        let mut items: Vec<SelectItem> =
            left.iter().cloned().map(SelectItem::UnnamedExpr).collect();
        for value in values {
            let of_value = is_value(by, &value.expr)?;
            let name = value.alias.as_ref().map_or_else(|| said(&value.expr), ident);
            for aggregate in aggregates {
                let Expr::Function(f) = &aggregate.expr else {
                    return Err(Error::unsupported("PIVOT takes aggregates by themselves")
                        .hint("compute with them in the SELECT around it"));
                };
                let name = match aggregates.len() {
                    1 => name.clone(),
                    _ => {
                        let text = || aggregate.expr.to_string().to_lowercase();
                        let of = aggregate.alias.as_ref().map_or_else(text, ident);
                        format!("{name}_{of}")
                    }
                };
                items.push(item(filtered(f, of_value.clone())?, &name));
            }
        }
        let mut query = select(items, vec![Table::from(table.clone())], None)?;
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.group_by = GroupByExpr::Expressions(left, vec![]);
        }
        Ok(query)
    }

    fn unpivoted(
        &self,
        table: &TableFactor,
        value: &Ident,
        name: &Ident,
        columns: &[ExprWithAlias],
        keep_nulls: bool,
    ) -> Result<Box<Query>, Error> {
        let all = self.columns(table)?;
        let mut used = BTreeSet::new();
        columns.iter().for_each(|c| names_in(&c.expr, &mut used));
        let rest = all.iter().filter(|c| !used.contains(c.as_str()));
        let rest: Vec<SelectItem> =
            rest.map(|c| SelectItem::UnnamedExpr(Expr::Identifier(quoted(c)))).collect();
        let mut union: Option<Box<SetExpr>> = None;
        for column in columns {
            let said = column.alias.as_ref().map_or_else(|| said(&column.expr), ident);
            let mut items = rest.clone();
            items.push(item(Expr::value(Value::SingleQuotedString(said)), &ident(name)));
            items.push(item(column.expr.clone(), &ident(value)));
            let only = (!keep_nulls).then(|| tree::is_not_null(column.expr.clone()));
            let part = select(items, vec![Table::from(table.clone())], only)?.body;
            union = Some(match union {
                None => part,
                Some(left) => Box::new(SetExpr::SetOperation {
                    op: SetOperator::Union,
                    set_quantifier: SetQuantifier::All,
                    left,
                    right: part,
                }),
            });
        }
        let mut query = tokens::parse_query("SELECT 1")?;
        query.body = union.ok_or_else(|| Error::invalid("UNPIVOT of no columns"))?;
        Ok(query)
    }
}

/// The aggregate over the rows of one value; NULL where there are none.
fn filtered(f: &Function, of_value: Expr) -> Result<Expr, Error> {
    let mut f = f.clone();
    let only = match f.filter.take() {
        Some(filter) => binary(of_value.clone(), BinaryOperator::And, Expr::Nested(filter)),
        None => of_value.clone(),
    };
    let name = f.name.to_string().to_lowercase();
    f.filter = Some(Box::new(only));
    let aggregate = Expr::Function(f);
    if NULL_OF_NOTHING.contains(&name.as_str()) {
        return Ok(aggregate);
    }
    let mut rows = tokens::parse_whole("count(*)", tokens::expression)?;
    if let Expr::Function(count) = &mut rows {
        count.filter = Some(Box::new(of_value));
    }
    case(vec![(binary(rows, BinaryOperator::Gt, int(0)), aggregate)], null())
}

/// `by` is `value`; of several columns each.
fn is_value(by: &[Expr], value: &Expr) -> Result<Expr, Error> {
    let same = |(by, value): (&Expr, &Expr)| tree::equal(by.clone(), value.clone());
    match (by, value) {
        ([by], value) => Ok(same((by, value))),
        (by, Expr::Tuple(values)) if by.len() == values.len() => {
            let all = by.iter().zip(values).map(same);
            let all = all.reduce(|a, b| binary(a, BinaryOperator::And, b));
            all.ok_or_else(|| Error::invalid("PIVOT for no column"))
        }
        _ => Err(Error::invalid("PIVOT needs a value for each column it is for")
            .hint("write FOR (a, b) IN ((1, 2), (3, 4))")),
    }
}

/// What a column for a value is called that has no name.
fn said(value: &Expr) -> String {
    match value {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(name) => ident(name),
        Expr::CompoundIdentifier(parts) => parts.last().map(ident).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// The columns that an expression names.
fn names_in(e: &Expr, names: &mut BTreeSet<String>) {
    walk::any_expression(e, &mut |e| {
        match e {
            Expr::Identifier(name) => {
                names.insert(ident(name));
            }
            Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(ident)),
            _ => {}
        }
        false
    });
}
