//! `ORDER BY x FETCH FIRST n ROWS WITH TIES` as the rows of at most the rank n: what comes as far
//! as the last of them comes too. The order stays where it is one: in a query that is answered, not
//! in one within another or of a view.

use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Fetch, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, Value, VisitorMut, WindowType,
};

use crate::passes::references::ident;
use crate::passes::spark_names::binary;
use crate::source::Source;
use crate::tokens;
use crate::walk::{self, Flow};

pub(crate) fn write_out(query: &mut Query, source: &Source) -> Result<(), Error> {
    walk::change(query, &mut Walk { source, depth: 0 })
}

struct Walk<'a> {
    source: &'a Source<'a>,
    /// Queries that are open.
    depth: usize,
}

impl VisitorMut for Walk<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        self.depth += 1;
        let Some(fetch) = query.fetch.take_if(|f| f.with_ties) else {
            return ControlFlow::Continue(());
        };
        match ranked(query, fetch) {
            Ok(()) => {
                query.order_by.take_if(|_| self.depth > 1);
                ControlFlow::Continue(())
            }
            Err(e) => {
                let span = self.source.find("ties").unwrap_or(0..self.source.text.len());
                ControlFlow::Break(Box::new(e.at(self.source.place(span))))
            }
        }
    }

    fn post_visit_query(&mut self, _: &mut Query) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn ranked(query: &mut Query, fetch: Fetch) -> Result<(), Error> {
    let one = || Expr::Value(Value::Number("1".into(), false).into());
    let most = fetch.quantity.unwrap_or_else(one);
    let Some(OrderByKind::Expressions(by)) = query.order_by.as_ref().map(|o| &o.kind) else {
        return Err(Error::invalid("WITH TIES needs an order").hint("write ORDER BY … FETCH …"));
    };
    let has_offset = |l: &LimitClause| match l {
        LimitClause::LimitOffset { offset, .. } => offset.is_some(),
        LimitClause::OffsetCommaLimit { .. } => true,
    };
    if query.limit_clause.as_ref().is_some_and(has_offset) {
        return Err(Error::unsupported("WITH TIES with OFFSET is not supported")
            .hint("number the rows: … QUALIFY rank() OVER (ORDER BY x) BETWEEN 11 AND 20"));
    }
    let by = by.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(wrapped()) };
    if select.distinct.is_some() || select.qualify.is_some() {
        return Err(wrapped());
    }
    let mut rank = tokens::parse_whole("rank() OVER (ORDER BY a)", tokens::expression)?;
    if let Expr::Function(f) = &mut rank
        && let Some(WindowType::WindowSpec(spec)) = &mut f.over
    {
        spec.order_by = by.into_iter().map(|order| given(select, order)).collect();
    }
    select.qualify = Some(binary(rank, BinaryOperator::LtEq, most));
    Ok(())
}

fn wrapped() -> Error {
    Error::unsupported("WITH TIES stands behind a plain SELECT only")
        .hint("write SELECT * FROM (…) AS t ORDER BY x FETCH FIRST 3 ROWS WITH TIES")
}

/// What is ordered by, in words of what is read: an alias or a position of the SELECT is what
/// stands there.
fn given(select: &Select, order: OrderByExpr) -> OrderByExpr {
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e.clone()),
        _ => None,
    };
    let expr = match &order.expr {
        Expr::Value(v) => match &v.value {
            Value::Number(n, _) => {
                let at = n.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                at.and_then(|at| select.projection.get(at)).and_then(item)
            }
            _ => None,
        },
        Expr::Identifier(name) => select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if ident(alias) == ident(name) => {
                Some(expr.clone())
            }
            _ => None,
        }),
        _ => None,
    };
    OrderByExpr { expr: expr.unwrap_or(order.expr), ..order }
}
