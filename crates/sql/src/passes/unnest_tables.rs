//! `LATERAL VIEW explode(t.list) v AS c` and `posexplode(t.list) v AS at, c` (Spark), and
//! `… CROSS JOIN UNNEST(t.list) AS v(c)` (the standard) before planning: the table whose list it is
//! becomes a subquery that gives its columns and one more, so that batch and stream see an unnest
//! like any other.

use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinConstraint, JoinOperator,
    ObjectName, Query, Select, SetExpr, TableAlias, TableFactor, TableWithJoins, Value, VisitorMut,
};

use crate::passes::references::ident;
use crate::source::Source;
use crate::tokens::parse_query;
use crate::walk::{self, Flow};

pub(crate) fn write_out(query: &mut Query, source: &Source) -> Result<(), Error> {
    walk::change(query, &mut Walk { source })
}

struct Walk<'a> {
    source: &'a Source<'a>,
}

/// A list to take apart.
struct Unnest {
    list: Expr,
    /// What the rows made of it are called, and their column.
    table: Option<Ident>,
    column: Ident,
    /// Of the number of each element, from 0, if it is asked for.
    position: Option<Ident>,
    /// A row without elements stays, with NULL.
    outer: bool,
}

impl VisitorMut for Walk<'_> {
    type Break = Box<Error>;

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        let done = body(&mut query.body);
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err((e, word)) => {
                let span = self.source.find(word).unwrap_or(0..self.source.text.len());
                ControlFlow::Break(Box::new(e.at(self.source.place(span))))
            }
        }
    }
}

type Done = Result<(), (Error, &'static str)>;

fn body(body: &mut SetExpr) -> Done {
    match body {
        SetExpr::Select(select) => of_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            self::body(left)?;
            self::body(right)
        }
        _ => Ok(()),
    }
}

fn of_select(select: &mut Select) -> Done {
    for view in std::mem::take(&mut select.lateral_views) {
        let (explode, list) = exploded(&view.lateral_view).ok_or_else(|| {
            let e = Error::unsupported("LATERAL VIEW takes explode(list) or posexplode(list)");
            (e.hint("write LATERAL VIEW explode(list) v AS column"), "lateral")
        })?;
        let table = view.lateral_view_name.0.last().and_then(|p| p.as_ident()).cloned();
        let mut columns = view.lateral_col_alias.into_iter();
        let position = explode.with_position.then(|| columns.next());
        let column = columns.next();
        // `LATERAL VIEW explode(x) AS c` names the column alone.
        let (table, column) = match (table.filter(|t| !t.value.is_empty()), column) {
            (table, Some(column)) => (table, column),
            (Some(name), None) if position.is_none() => (None, name),
            (table, None) => (table, Ident::new("col")),
        };
        let position = position.map(|named| named.unwrap_or_else(|| Ident::new("pos")));
        let outer = view.outer || explode.outer;
        put_in(select, Unnest { list, table, column, position, outer }, "lateral")?;
    }
    for unnest in take_unnests(&mut select.from) {
        put_in(select, unnest, "unnest")?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Explode {
    with_position: bool,
    outer: bool,
}

/// Which `explode` it is, and its argument.
fn exploded(call: &Expr) -> Option<(Explode, Expr)> {
    let Expr::Function(f) = call else { return None };
    let (with_position, outer) = match f.name.to_string().to_lowercase().as_str() {
        "explode" | "unnest" => (false, false),
        "explode_outer" => (false, true),
        "posexplode" => (true, false),
        "posexplode_outer" => (true, true),
        _ => return None,
    };
    first_argument(&f.args).map(|list| (Explode { with_position, outer }, list))
}

fn first_argument(args: &FunctionArguments) -> Option<Expr> {
    match args {
        FunctionArguments::List(list) => argument(&list.args),
        _ => None,
    }
}

fn argument(args: &[FunctionArg]) -> Option<Expr> {
    match args {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(e))] => Some(e.clone()),
        _ => None,
    }
}

/// Takes `UNNEST(list)` out of a FROM, wherever it stands behind a table.
fn take_unnests(from: &mut Vec<TableWithJoins>) -> Vec<Unnest> {
    let mut found = vec![];
    for table in from.iter_mut() {
        table.joins.retain(|join| {
            let outer = match &join.join_operator {
                JoinOperator::CrossJoin(_) => false,
                JoinOperator::Join(on) | JoinOperator::Inner(on) if is_true(on) => false,
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) if is_true(on) => true,
                _ => return true,
            };
            let unnest = unnest_of(&join.relation, outer);
            let stays = unnest.is_none();
            found.extend(unnest);
            stays
        });
    }
    if from.len() > 1 {
        from.retain(|table| {
            let unnest = unnest_of(&table.relation, false).filter(|_| table.joins.is_empty());
            let stays = unnest.is_none();
            found.extend(unnest);
            stays
        });
    }
    found
}

fn is_true(on: &JoinConstraint) -> bool {
    match on {
        JoinConstraint::On(Expr::Value(v)) => v.value == Value::Boolean(true),
        _ => false,
    }
}

fn unnest_of(factor: &TableFactor, outer: bool) -> Option<Unnest> {
    let (list, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. }
            if name.to_string().eq_ignore_ascii_case("unnest") =>
        {
            (argument(&args.args)?, alias)
        }
        TableFactor::UNNEST {
            array_exprs,
            alias,
            with_offset: false,
            with_ordinality: false,
            ..
        } => {
            let [list] = array_exprs.as_slice() else { return None };
            (list.clone(), alias)
        }
        _ => return None,
    };
    let (table, column) = match alias {
        None => (None, Ident::new("unnest")),
        Some(alias) => match alias.columns.first() {
            Some(column) => (Some(alias.name.clone()), column.name.clone()),
            None => (Some(alias.name.clone()), alias.name.clone()),
        },
    };
    Some(Unnest { list, table, column, position: None, outer })
}

/// Puts an unnest into the table whose list it takes apart.
fn put_in(select: &mut Select, unnest: Unnest, word: &'static str) -> Done {
    let named = match &unnest.list {
        Expr::CompoundIdentifier(parts) => parts.first().map(ident),
        _ => None,
    };
    let mut tables: Vec<&mut TableFactor> = vec![];
    for table in &mut select.from {
        tables.push(&mut table.relation);
        tables.extend(table.joins.iter_mut().map(|j| &mut j.relation));
    }
    let alone = tables.len() == 1;
    let is_it =
        |t: &&mut TableFactor| name_of(t).is_some_and(|n| alone || named == Some(ident(&n)));
    let Some(table) = tables.into_iter().find(is_it) else {
        let e = Error::unsupported("it can't be told whose list this takes apart");
        return Err((e.hint("name the table of the column, as in UNNEST(t.list)"), word));
    };
    let Some(name) = name_of(table) else { return Ok(()) };
    let derived = derived(table, &name, &unnest).map_err(|e| (e, word))?;
    *table = derived;
    if let Some(made) = &unnest.table {
        let (made, name) = (ident(made), name.clone());
        walk::each_expression(select, &mut |e| {
            if let Expr::CompoundIdentifier(parts) = e
                && parts.len() > 1
                && ident(&parts[0]) == made
            {
                parts[0] = name.clone();
            }
        });
    }
    Ok(())
}

/// What a table of a FROM is called.
fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(a), .. } | TableFactor::Derived { alias: Some(a), .. } => {
            Some(a.name.clone())
        }
        TableFactor::Table { name: ObjectName(parts), args: None, .. } => {
            parts.last().and_then(|p| p.as_ident()).cloned()
        }
        _ => None,
    }
}

fn derived(table: &TableFactor, name: &Ident, unnest: &Unnest) -> Result<TableFactor, Error> {
    let each = |list: &str| match unnest.outer {
        false => format!("explode({list})"),
        true => format!(
            "explode(CASE WHEN __list IS NULL OR cardinality(__list) = 0 THEN array(NULL) \
             ELSE {list} END)"
        ),
    };
    let position = match &unnest.position {
        None => String::new(),
        Some(_) => format!(
            "{} AS __position, ",
            each("sequence(0, CAST(cardinality(__list) AS BIGINT) - 1)")
        ),
    };
    let keep = if unnest.outer { "" } else { " WHERE __list IS NOT NULL" };
    let text = format!("SELECT __t.*, {position}{} AS __c FROM __t{keep}", each("__list"));
    let mut query = parse_query(&text)?;
    walk::each_expression(&mut query, &mut |e| {
        if matches!(e, Expr::Identifier(i) if i.value == "__list") {
            *e = unnest.list.clone();
        }
    });
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from[0].relation = table.clone();
        for item in &mut select.projection {
            use datafusion::sql::sqlparser::ast::{SelectItem, SelectItemQualifiedWildcardKind};
            match item {
                SelectItem::ExprWithAlias { alias, .. } => {
                    let is_position = alias.value == "__position";
                    let name = unnest.position.as_ref().filter(|_| is_position);
                    *alias = name.unwrap_or(&unnest.column).clone();
                }
                SelectItem::QualifiedWildcard(kind, _) => {
                    let of = ObjectName::from(vec![name.clone()]);
                    *kind = SelectItemQualifiedWildcardKind::ObjectName(of);
                }
                _ => {}
            }
        }
    }
    let alias = Some(TableAlias { explicit: true, name: name.clone(), columns: vec![], at: None });
    Ok(TableFactor::Derived { lateral: false, subquery: query, alias, sample: None })
}
