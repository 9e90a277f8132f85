//! `*` and `t.*` over a topic show its declared columns only: before planning they are written
//! out, column by column, wherever a topic stands in the FROM. `SELECT _offset` still works.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins,
    VisitorMut, WildcardAdditionalOptions,
};

use crate::passes::references::ident;
use crate::source::Source;
use crate::walk::{self, Flow};

/// What is known of a table in a FROM clause.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub names: Vec<String>,
    pub topic: bool,
}

/// By table name, in lower case unless quoted.
pub(crate) type Tables = BTreeMap<String, Columns>;

pub(crate) fn expand(query: &mut Query, tables: &Tables, source: &Source) -> Result<(), Error> {
    if !tables.values().any(|t| t.topic) {
        return Ok(());
    }
    let mut walk = Walk { tables, source, ctes: vec![], made: 0 };
    walk::change(query, &mut walk)
}

struct Walk<'a> {
    tables: &'a Tables,
    source: &'a Source<'a>,
    /// CTE names of the open queries: they hide tables of the same name.
    ctes: Vec<BTreeSet<String>>,
    made: usize,
}

/// A table of a FROM clause: what to call it, and its columns where they are known.
struct Factor {
    name: Ident,
    columns: Option<Columns>,
    /// Columns that an earlier table of the FROM shows already (USING).
    merged: BTreeSet<String>,
}

impl VisitorMut for Walk<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let names = query.with.iter().flat_map(|w| &w.cte_tables).map(|c| ident(&c.alias.name));
        self.ctes.push(names.collect());
        self.body(&mut query.body)
    }

    fn post_visit_query(&mut self, _: &mut Query) -> Flow {
        self.ctes.pop();
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn body(&mut self, body: &mut SetExpr) -> Flow {
        match body {
            SetExpr::Select(select) => match self.select(select) {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => ControlFlow::Break(Box::new(e)),
            },
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            // Queries in parentheses are visited by themselves.
            _ => ControlFlow::Continue(()),
        }
    }

    fn select(&mut self, select: &mut Select) -> Result<(), Error> {
        let wild = |i: &SelectItem| {
            matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
        };
        let natural = |j: &mut Join| matches!(constraint(j), Some(JoinConstraint::Natural));
        if !select.projection.iter().any(wild)
            && !select.from.iter_mut().any(|t| t.joins.iter_mut().any(natural))
        {
            return Ok(());
        }
        let mut factors = vec![];
        for table in &mut select.from {
            self.joined(table, &mut factors)?;
        }
        if !factors.iter().any(|f| f.columns.as_ref().is_some_and(|c| c.topic)) {
            return Ok(());
        }
        let mut items = vec![];
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => {
                    let at = options.wildcard_token.0.span;
                    self.all(&factors, &options, at, &mut items)?;
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) => {
                    let last = name.0.last().and_then(|p| p.as_ident()).cloned();
                    let wanted = last.as_ref().map(ident);
                    let found = factors.iter().find(|f| Some(&f.name.value) == wanted.as_ref());
                    match (found, last) {
                        (Some(Factor { columns: Some(c), .. }), Some(last)) if c.topic => {
                            let span = last.span;
                            let f = Factor {
                                name: last,
                                columns: Some(c.clone()),
                                merged: BTreeSet::new(),
                            };
                            self.all(&[f], &options, span, &mut items)?;
                        }
                        _ => items.push(SelectItem::QualifiedWildcard(
                            SelectItemQualifiedWildcardKind::ObjectName(name),
                            options,
                        )),
                    }
                }
                other => items.push(other),
            }
        }
        select.projection = items;
        Ok(())
    }

    /// The items that `*` stands for.
    fn all(
        &self,
        factors: &[Factor],
        options: &WildcardAdditionalOptions,
        at: datafusion::sql::sqlparser::tokenizer::Span,
        items: &mut Vec<SelectItem>,
    ) -> Result<(), Error> {
        let mut except: BTreeSet<String> = BTreeSet::new();
        if let Some(ExceptSelectItem { first_element, additional_elements }) = &options.opt_except {
            except.extend(std::iter::once(first_element).chain(additional_elements).map(ident));
        }
        for name in &except {
            let known = |f: &Factor| f.columns.as_ref().is_none_or(|c| c.names.contains(name));
            if !factors.iter().any(known) {
                let all = factors.iter().filter_map(|f| f.columns.as_ref());
                let all = all.flat_map(|c| c.names.iter().map(String::as_str));
                let place = self.source.place(self.source.find(name).unwrap_or(0..0));
                return Err(Error::unknown("column", name, all).at(place));
            }
        }
        for f in factors {
            let Some(columns) = &f.columns else {
                let without = f.merged.iter().chain(&except).map(|n| Ident::with_quote('"', n));
                items.push(qualified_wildcard(&f.name, without.collect()));
                continue;
            };
            for name in columns.names.iter().filter(|n| !f.merged.contains(*n)) {
                if except.contains(name) {
                    continue;
                }
                let mut column = Ident::with_quote('"', name);
                column.span = at;
                let mut table = f.name.clone();
                table.span = at;
                items.push(SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![table, column])));
            }
        }
        Ok(())
    }

    fn joined(&mut self, t: &mut TableWithJoins, factors: &mut Vec<Factor>) -> Result<(), Error> {
        self.factor(&mut t.relation, factors)?;
        for join in &mut t.joins {
            let before = factors.len();
            self.factor(&mut join.relation, factors)?;
            use JoinOperator as J;
            if matches!(
                join.join_operator,
                J::Semi(_) | J::LeftSemi(_) | J::Anti(_) | J::LeftAnti(_)
            ) {
                factors.truncate(before);
                continue;
            }
            match constraint(join) {
                Some(JoinConstraint::Using(names)) => {
                    let merged = names.iter().filter_map(last_ident).map(ident);
                    let merged: BTreeSet<String> = merged.collect();
                    for f in &mut factors[before..] {
                        f.merged.extend(merged.iter().cloned());
                    }
                }
                Some(JoinConstraint::Natural)
                    if factors.iter().any(|f| f.columns.as_ref().is_some_and(|c| c.topic)) =>
                {
                    let span = self.source.find("natural").unwrap_or(0..0);
                    let e = Error::unsupported("NATURAL JOIN with a topic is not supported")
                        .hint("name the columns: JOIN … USING (column)");
                    return Err(e.at(self.source.place(span)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn factor(&mut self, t: &mut TableFactor, factors: &mut Vec<Factor>) -> Result<(), Error> {
        match t {
            TableFactor::Table { name, alias, args: None, .. } => {
                let Some(last) = last_ident(name) else { return Ok(()) };
                let table = ident(last);
                let hidden = name.0.len() == 1 && self.ctes.iter().any(|c| c.contains(&table));
                let columns = if hidden { None } else { self.tables.get(&table).cloned() };
                let name = alias.as_ref().map_or(last, |a| &a.name);
                // Renamed columns of `t AS x(a, b)` are not worth following.
                let renamed = alias.as_ref().is_some_and(|a| !a.columns.is_empty());
                let columns = if renamed { None } else { columns };
                factors.push(Factor { name: plain(name), columns, merged: BTreeSet::new() });
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.joined(table_with_joins, factors)?;
            }
            TableFactor::Derived { alias, .. } => {
                let name = match alias {
                    Some(a) => plain(&a.name),
                    None => {
                        self.made += 1;
                        let name = Ident::with_quote('"', format!("__query_{}", self.made));
                        *alias = Some(TableAlias {
                            explicit: true,
                            name: name.clone(),
                            columns: vec![],
                            at: None,
                        });
                        name
                    }
                };
                factors.push(Factor { name, columns: None, merged: BTreeSet::new() });
            }
            TableFactor::UNNEST { alias: Some(a), .. }
            | TableFactor::Table { alias: Some(a), .. } => {
                factors.push(Factor {
                    name: plain(&a.name),
                    columns: None,
                    merged: BTreeSet::new(),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// The name as it is looked up, quoted so that it stays so.
pub(crate) fn plain(name: &Ident) -> Ident {
    Ident { value: ident(name), quote_style: Some('"'), span: name.span }
}

pub(crate) fn last_ident(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|p| p.as_ident())
}

fn qualified_wildcard(name: &Ident, without: Vec<Ident>) -> SelectItem {
    let mut options = WildcardAdditionalOptions::default();
    let mut without = without.into_iter();
    if let Some(first_element) = without.next() {
        options.opt_except =
            Some(ExceptSelectItem { first_element, additional_elements: without.collect() });
    }
    let name = ObjectName::from(vec![name.clone()]);
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

pub(crate) fn constraint(join: &mut Join) -> Option<&mut JoinConstraint> {
    use JoinOperator as J;
    match &mut join.join_operator {
        J::Join(c)
        | J::Inner(c)
        | J::Left(c)
        | J::LeftOuter(c)
        | J::Right(c)
        | J::RightOuter(c)
        | J::FullOuter(c) => Some(c),
        _ => None,
    }
}
