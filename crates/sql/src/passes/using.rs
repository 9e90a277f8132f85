//! `JOIN … USING (c)` and `NATURAL JOIN` as the standard has them: `c` is one column, the left
//! one's in inner and left joins, the right one's in right joins, and the first that is not NULL in
//! full joins. DataFusion takes the left one's in all of them. Before planning the joins are
//! written out with ON, `c` as the expression it stands for, and `*` with it in front.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExceptSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias,
    TableFactor, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use crate::passes::hidden::{Tables, constraint, last_ident, plain};
use crate::passes::references::ident;
use crate::passes::spark_names::{binary, call};
use crate::walk::{self, Flow};

pub(crate) fn write_out(query: &mut Query, tables: &Tables) {
    let _ = walk::change(query, &mut Walk { tables, ctes: vec![], made: 0 });
}

struct Walk<'a> {
    tables: &'a Tables,
    /// Of the open queries: they hide tables of the same name.
    ctes: Vec<BTreeMap<String, Option<Vec<String>>>>,
    made: usize,
}

/// A table of a FROM clause, and its columns where they are known.
#[derive(Clone)]
struct Factor {
    name: Ident,
    columns: Option<Vec<String>>,
}

/// Some tables joined: the tables, and what the columns stand for that several of them share.
#[derive(Default)]
struct Side {
    factors: Vec<Factor>,
    shared: Vec<(String, Expr)>,
}

impl VisitorMut for Walk<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let ctes = query.with.iter().flat_map(|w| &w.cte_tables);
        let columns = |c: &datafusion::sql::sqlparser::ast::Cte| match c.alias.columns.is_empty() {
            true => columns_of(&c.query),
            false => Some(c.alias.columns.iter().map(|c| ident(&c.name)).collect()),
        };
        self.ctes.push(ctes.map(|c| (ident(&c.alias.name), columns(c))).collect());
        let shared = self.body(&mut query.body);
        if let SetExpr::Select(select) = query.body.as_ref()
            && let Some(order) = &mut query.order_by
            && let OrderByKind::Expressions(by) = &mut order.kind
        {
            // What the SELECT gives goes before what it reads.
            let given: Vec<String> = select.projection.iter().filter_map(name_of).collect();
            let shared: Vec<_> = shared.into_iter().filter(|(n, _)| !given.contains(n)).collect();
            for order in by {
                replace(&mut order.expr, &shared);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> Flow {
        self.ctes.pop();
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn body(&mut self, body: &mut SetExpr) -> Vec<(String, Expr)> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
                vec![]
            }
            _ => vec![],
        }
    }

    fn select(&mut self, select: &mut Select) -> Vec<(String, Expr)> {
        let shares = |j: &mut Join| {
            matches!(constraint(j), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
        };
        if !select.from.iter_mut().any(|t| t.joins.iter_mut().any(shares)) {
            return vec![];
        }
        let mut sides = vec![];
        for table in &mut select.from {
            sides.push(self.joined(table));
        }
        let shared: Vec<(String, Expr)> = sides.iter().flat_map(|s| s.shared.clone()).collect();
        if shared.is_empty() {
            return shared;
        }
        let mut items = vec![];
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => all(&sides, options, &mut items),
                SelectItem::UnnamedExpr(mut e) => {
                    let name = if let Expr::Identifier(i) = &e { Some(i.clone()) } else { None };
                    let changed = replace(&mut e, &shared);
                    items.push(match name.filter(|_| changed) {
                        Some(alias) => SelectItem::ExprWithAlias { expr: e, alias },
                        None => SelectItem::UnnamedExpr(e),
                    });
                }
                SelectItem::ExprWithAlias { mut expr, alias } => {
                    replace(&mut expr, &shared);
                    items.push(SelectItem::ExprWithAlias { expr, alias });
                }
                other => items.push(other),
            }
        }
        select.projection = items;
        replace(&mut select.group_by, &shared);
        let conditions = [&mut select.selection, &mut select.having, &mut select.qualify];
        for e in conditions.into_iter().flatten() {
            replace(e, &shared);
        }
        shared
    }

    fn joined(&mut self, t: &mut TableWithJoins) -> Side {
        let mut left = self.factor(&mut t.relation);
        for join in &mut t.joins {
            let right = self.factor(&mut join.relation);
            left = self.join(left, join, right);
        }
        left
    }

    fn join(&self, mut left: Side, join: &mut Join, right: Side) -> Side {
        let names = match constraint(join) {
            Some(JoinConstraint::Using(names)) => {
                Some(names.iter().filter_map(last_ident).map(ident).collect())
            }
            Some(JoinConstraint::Natural) => in_common(&left, &right),
            _ => None,
        };
        let pairs = names.and_then(|names: Vec<String>| {
            let pair = |n: String| Some((left.column(&n)?, right.column(&n)?, n));
            names.into_iter().map(pair).collect::<Option<Vec<_>>>()
        });
        let Some(pairs) = pairs.filter(|p| !p.is_empty()) else {
            if let Some(JoinConstraint::On(e)) = constraint(join) {
                let both = [&left.shared[..], &right.shared[..]].concat();
                replace(e, &both);
            }
            left.factors.extend(right.factors);
            left.shared.extend(right.shared);
            return left;
        };
        use JoinOperator as J;
        let mut shared = vec![];
        let mut on: Option<Expr> = None;
        for (l, r, name) in pairs {
            let value = match &join.join_operator {
                J::FullOuter(_) => call("coalesce", [l.clone(), r.clone()]),
                J::Right(_) | J::RightOuter(_) => r.clone(),
                _ => l.clone(),
            };
            shared.push((name, value));
            let equal = binary(l, BinaryOperator::Eq, r);
            on = Some(match on {
                Some(on) => binary(on, BinaryOperator::And, equal),
                None => equal,
            });
        }
        if let (Some(on), Some(written)) = (on, constraint(join)) {
            *written = JoinConstraint::On(on);
        }
        let is_new = |n: &str| !shared.iter().any(|(name, _)| name == n);
        let others = left.shared.into_iter().chain(right.shared).filter(|(n, _)| is_new(n));
        let others: Vec<_> = others.collect();
        left.factors.extend(right.factors);
        Side { factors: left.factors, shared: shared.into_iter().chain(others).collect() }
    }

    fn factor(&mut self, t: &mut TableFactor) -> Side {
        let (alias, columns) = match t {
            TableFactor::NestedJoin { table_with_joins, alias: None, .. } => {
                return self.joined(table_with_joins);
            }
            TableFactor::Table { name, alias, args: None, .. } => {
                let Some(last) = last_ident(name) else { return Side::default() };
                let columns = self.columns(name, &ident(last));
                if alias.is_none() {
                    return one(plain(last), columns);
                }
                (alias, columns)
            }
            TableFactor::Derived { subquery, alias, .. } => (alias, columns_of(subquery)),
            TableFactor::Table { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => (alias, None),
            _ => return Side::default(),
        };
        let alias = alias.get_or_insert_with(|| {
            self.made += 1;
            let name = Ident::with_quote('"', format!("__joined_{}", self.made));
            TableAlias { explicit: true, name, columns: vec![], at: None }
        });
        let renamed: Vec<String> = alias.columns.iter().map(|c| ident(&c.name)).collect();
        one(plain(&alias.name), if renamed.is_empty() { columns } else { Some(renamed) })
    }

    fn columns(&self, name: &ObjectName, table: &str) -> Option<Vec<String>> {
        let cte = self.ctes.iter().rev().find_map(|c| c.get(table));
        match cte.filter(|_| name.0.len() == 1) {
            Some(columns) => columns.clone(),
            None => self.tables.get(table).map(|t| t.names.clone()),
        }
    }
}

impl Side {
    /// What a column is that must be in one of the tables; none if it can't be known in which.
    fn column(&self, name: &str) -> Option<Expr> {
        if let Some((_, shared)) = self.shared.iter().find(|(n, _)| n == name) {
            return Some(shared.clone());
        }
        let has = |f: &&Factor| f.columns.as_ref().is_none_or(|c| c.iter().any(|c| c == name));
        let found: Vec<&Factor> = self.factors.iter().filter(has).collect();
        let [one] = found[..] else { return None };
        let column = Ident::with_quote('"', name);
        Some(Expr::CompoundIdentifier(vec![one.name.clone(), column]))
    }

    /// The names of its columns, each once.
    fn names(&self) -> Option<Vec<String>> {
        let mut names: Vec<String> = vec![];
        for f in &self.factors {
            let new = f.columns.as_ref()?.iter().filter(|c| !names.contains(c)).cloned();
            let new: Vec<String> = new.collect();
            names.extend(new);
        }
        Some(names)
    }
}

fn one(name: Ident, columns: Option<Vec<String>>) -> Side {
    Side { factors: vec![Factor { name, columns }], shared: vec![] }
}

fn in_common(left: &Side, right: &Side) -> Option<Vec<String>> {
    let (left, right) = (left.names()?, right.names()?);
    // What begins with `_` is about the event, and not of it.
    Some(left.into_iter().filter(|n| right.contains(n) && !n.starts_with('_')).collect())
}

/// The names of a query's columns, if all of them have one.
pub(crate) fn columns_of(query: &Query) -> Option<Vec<String>> {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.iter().map(name_of).collect(),
        SetExpr::Query(query) => columns_of(query),
        _ => None,
    }
}

fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(ident(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(ident(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(ident),
        _ => None,
    }
}

/// The items that `*` stands for: what is shared, then the rest of each table.
fn all(sides: &[Side], options: WildcardAdditionalOptions, items: &mut Vec<SelectItem>) {
    let plain_star = WildcardAdditionalOptions {
        wildcard_token: options.wildcard_token.clone(),
        ..WildcardAdditionalOptions::default()
    };
    let known = sides.iter().flat_map(|s| &s.factors).all(|f| f.columns.is_some());
    let mut without: Vec<String> = vec![];
    match &options.opt_except {
        Some(ExceptSelectItem { first_element, additional_elements }) if known => {
            without.extend(std::iter::once(first_element).chain(additional_elements).map(ident));
        }
        _ if options != plain_star => return items.push(SelectItem::Wildcard(options)),
        _ => {}
    }
    for side in sides {
        for (name, value) in side.shared.iter().filter(|(n, _)| !without.contains(n)) {
            let alias = Ident::with_quote('"', name);
            items.push(SelectItem::ExprWithAlias { expr: value.clone(), alias });
        }
        let shared: Vec<&String> = side.shared.iter().map(|(n, _)| n).collect();
        for f in &side.factors {
            let left_out = |n: &&String| f.columns.as_ref().is_none_or(|c| c.contains(n));
            let left_out: Vec<&String> =
                shared.iter().copied().chain(&without).filter(left_out).collect();
            let rest = f.columns.as_ref().is_none_or(|c| c.iter().any(|c| !left_out.contains(&c)));
            if rest {
                items.push(rest_of(f, &left_out, &plain_star));
            }
        }
    }
}

fn rest_of(f: &Factor, without: &[&String], star: &WildcardAdditionalOptions) -> SelectItem {
    let mut options = star.clone();
    let mut names = without.iter().map(|n| Ident::with_quote('"', *n));
    if let Some(first_element) = names.next() {
        options.opt_except =
            Some(ExceptSelectItem { first_element, additional_elements: names.collect() });
    }
    let mut name = f.name.clone();
    name.span = star.wildcard_token.0.span;
    let name = ObjectName::from(vec![name]);
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

/// Puts what the shared columns stand for in place of their names, but not in subqueries, which
/// may have columns of that name. Whether there was one.
fn replace<T: VisitMut>(node: &mut T, shared: &[(String, Expr)]) -> bool {
    let mut replacing = Replace { shared, depth: 0, done: false };
    let _ = walk::change(node, &mut replacing);
    replacing.done
}

struct Replace<'a> {
    shared: &'a [(String, Expr)],
    depth: usize,
    done: bool,
}

impl VisitorMut for Replace<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, _: &mut Query) -> Flow {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> Flow {
        if let Expr::Identifier(name) = e
            && self.depth == 0
            && let Some((_, value)) = self.shared.iter().find(|(n, _)| *n == ident(name))
        {
            *e = value.clone();
            self.done = true;
        }
        ControlFlow::Continue(())
    }
}
