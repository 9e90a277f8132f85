//! Spark's names for windows, resolved in the syntax tree: `window.start` and `w.start` of a
//! window that the query groups by, `.start` behind a call, and `tumble`/`hop` for those who
//! come from elsewhere. Durations are checked here, where their place in the text is known.

use std::ops::ControlFlow;

use common::{Error, units};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, Spanned, Subscript, Value,
    VisitorMut,
};

use crate::functions::window::{SESSION_WINDOW, WINDOW};
use crate::passes::references::ident;
use crate::source::Source;
use crate::walk::{self, Flow};

pub(crate) fn resolve(query: &mut Query, source: &Source) -> Result<(), Error> {
    walk::expressions(query, &mut |e| call(e, source))?;
    walk::change(query, &mut Walk { source })
}

fn function_name(f: &Function) -> Option<String> {
    match f.name.0.as_slice() {
        [part] => part.as_ident().map(ident),
        _ => None,
    }
}

fn is_window(e: &Expr) -> bool {
    matches!(e, Expr::Function(f)
        if function_name(f).is_some_and(|n| n == WINDOW || n == SESSION_WINDOW))
}

/// Is the name that of a column in the expression?
fn mentions(e: &Expr, name: &str) -> bool {
    walk::any_expression(e, &mut |e| {
        let first = match e {
            Expr::Identifier(i) => Some(i),
            Expr::CompoundIdentifier(parts) => parts.first(),
            _ => None,
        };
        first.is_some_and(|i| ident(i) == name)
    })
}

/// Aliases become `window`, durations are checked, `call.start` becomes a subscript.
fn call(e: &mut Expr, source: &Source) -> Result<(), Error> {
    if let Expr::CompoundFieldAccess { access_chain, .. } = e {
        for access in access_chain {
            if let AccessExpr::Dot(Expr::Identifier(field)) = access {
                *access = subscript(&ident(field));
            }
        }
        return Ok(());
    }
    let Expr::Function(f) = e else { return Ok(()) };
    let Some(name) = function_name(f) else { return Ok(()) };
    let FunctionArguments::List(list) = &mut f.args else { return Ok(()) };
    match (name.as_str(), list.args.len()) {
        ("tumble", 2..=3) => {
            if list.args.len() == 3 {
                // tumble(ts, size, offset): a window whose slide is its size.
                let size = list.args[1].clone();
                list.args.insert(2, size);
            }
            f.name = ObjectName::from(vec![Ident::new(WINDOW)]);
        }
        ("hop", 3..=4) => {
            list.args.swap(1, 2);
            f.name = ObjectName::from(vec![Ident::new(WINDOW)]);
        }
        (WINDOW | SESSION_WINDOW, _) => {}
        _ => return Ok(()),
    }
    for arg in list.args.iter().skip(1) {
        duration(arg, source)?;
    }
    Ok(())
}

/// `'5 minutes'` is checked here; an INTERVAL is checked by its type.
fn duration(arg: &FunctionArg, source: &Source) -> Result<(), Error> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(v))) = arg else { return Ok(()) };
    let Value::SingleQuotedString(text) = &v.value else { return Ok(()) };
    units::parse_duration_us(text.trim_start_matches('-'))
        .map(drop)
        .map_err(|e| e.at(source.place(source.span(v.span))))
}

fn subscript(field: &str) -> AccessExpr {
    let index = Expr::Value(Value::SingleQuotedString(field.to_string()).into());
    AccessExpr::Subscript(Subscript::Index { index })
}

struct Walk<'a> {
    source: &'a Source<'a>,
}

impl VisitorMut for Walk<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let SetExpr::Select(select) = query.body.as_mut() else {
            return self.others(&mut query.body);
        };
        match self.select(select) {
            Err(e) => ControlFlow::Break(Box::new(e)),
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(names)) => {
                if let Some(order) = &mut query.order_by
                    && let OrderByKind::Expressions(list) = &mut order.kind
                {
                    list.iter_mut().for_each(|o| names.replace_parts(&mut o.expr));
                }
                ControlFlow::Continue(())
            }
        }
    }
}

impl Walk<'_> {
    fn others(&mut self, body: &mut SetExpr) -> Flow {
        match body {
            SetExpr::Select(select) => match self.select(select) {
                Ok(_) => ControlFlow::Continue(()),
                Err(e) => ControlFlow::Break(Box::new(e)),
            },
            SetExpr::SetOperation { left, right, .. } => {
                self.others(left)?;
                self.others(right)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn select(&self, select: &mut Select) -> Result<Option<Names>, Error> {
        let Some(names) = self.names(select)? else { return Ok(None) };
        if let GroupByExpr::Expressions(group, _) = &mut select.group_by {
            group.iter_mut().for_each(|e| names.replace(e));
        }
        for item in &mut select.projection {
            match item {
                SelectItem::UnnamedExpr(e) => {
                    let alias = names.alias(e);
                    names.replace(e);
                    if let Some(alias) = alias {
                        *item = SelectItem::ExprWithAlias { expr: e.clone(), alias };
                    }
                }
                SelectItem::ExprWithAlias { expr, .. } => names.replace(expr),
                _ => {}
            }
        }
        if let Some(having) = &mut select.having {
            names.replace(having);
        }
        Ok(Some(names))
    }

    /// The window the block groups by, and all it may be called.
    fn names(&self, select: &Select) -> Result<Option<Names>, Error> {
        let GroupByExpr::Expressions(group, _) = &select.group_by else { return Ok(None) };
        let mut found: Option<Expr> = group.iter().find(|e| is_window(e)).cloned();
        if let (Some(first), Some(second)) =
            (&found, group.iter().find(|e| is_window(e) && Some(*e) != found.as_ref()))
        {
            let _ = first;
            let e = Error::invalid("a query block can have one time window only")
                .hint("group by the second window in a view or subquery of its own");
            return Err(e.at(self.source.place(self.source.span(second.span()))));
        }
        let mut aliases = vec![];
        for item in &select.projection {
            let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
            let name = ident(alias);
            // `window(w.start, …) AS w`: w is a column of the input first.
            if !is_window(expr) || mentions(expr, &name) {
                continue;
            }
            let grouped =
                group.iter().any(|g| matches!(g, Expr::Identifier(i) if ident(i) == name));
            if found.is_none() && grouped {
                found = Some(expr.clone());
            }
            if found.as_ref() == Some(expr) {
                aliases.push(name);
            }
        }
        let Some(call) = found else { return Ok(None) };
        let Expr::Function(f) = &call else { return Ok(None) };
        let own = function_name(f).unwrap_or_default();
        Ok(Some(Names { call, own, aliases }))
    }
}

struct Names {
    call: Expr,
    /// `window` or `session_window`.
    own: String,
    aliases: Vec<String>,
}

impl Names {
    fn known(&self, name: &Ident) -> bool {
        let name = ident(name);
        name == self.own || self.aliases.contains(&name)
    }

    fn whole(&self, e: &Expr) -> bool {
        matches!(e, Expr::Identifier(i) if self.known(i))
    }

    fn part(&self, e: &Expr) -> Option<String> {
        match e {
            Expr::CompoundIdentifier(parts) if parts.len() == 2 && self.known(&parts[0]) => {
                let field = parts[1].value.to_lowercase();
                matches!(field.as_str(), "start" | "end").then_some(field)
            }
            _ => None,
        }
    }

    fn field(&self, field: &str) -> Expr {
        let root = Box::new(self.call.clone());
        Expr::CompoundFieldAccess { root, access_chain: vec![subscript(field)] }
    }

    fn replace(&self, e: &mut Expr) {
        walk::each_expression(e, &mut |e| {
            if self.whole(e) {
                *e = self.call.clone();
            } else if let Some(field) = self.part(e) {
                *e = self.field(&field);
            }
        });
    }

    /// In ORDER BY a plain name is that of an output column already.
    fn replace_parts(&self, e: &mut Expr) {
        walk::each_expression(e, &mut |e| {
            if let Some(field) = self.part(e) {
                *e = self.field(&field);
            }
        });
    }

    /// What an item without a name is called: `window`, `start`, `end`.
    fn alias(&self, e: &Expr) -> Option<Ident> {
        if self.whole(e) || *e == self.call {
            return Some(match e {
                Expr::Identifier(i) => i.clone(),
                _ => Ident::with_quote('"', &self.own),
            });
        }
        self.part(e).map(|field| Ident::with_quote('"', field))
    }
}
