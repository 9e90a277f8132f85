//! One walk over SQL's syntax tree. The parser's own is generic over who looks, and as large as
//! the tree's some 350 types each time it is compiled; here it is compiled twice, to look and to
//! change, and calls whoever looks through a pointer.

use std::ops::ControlFlow;

use common::Error;
use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

/// Goes on, or ends the walk by an error.
pub type Flow = ControlFlow<Box<Error>>;

pub type Look<'a> = dyn Visitor<Break = Box<Error>> + 'a;
pub type Change<'a> = dyn VisitorMut<Break = Box<Error>> + 'a;

/// A statement, a query, an expression, or a list of them.
pub(crate) fn read<T: Visit + ?Sized>(node: &T, look: &mut Look<'_>) -> Result<(), Error> {
    done(node.visit(&mut Looking(look)))
}

pub(crate) fn change<T: VisitMut>(node: &mut T, change: &mut Change<'_>) -> Result<(), Error> {
    done(node.visit(&mut Changing(change)))
}

/// For crates above, which then have no walk of their own.
pub fn read_statement(statement: &Statement, look: &mut Look<'_>) -> Result<(), Error> {
    read(statement, look)
}

pub fn change_statement(statement: &mut Statement, by: &mut Change<'_>) -> Result<(), Error> {
    change(statement, by)
}

/// Each expression, before those within it, until one ends the walk.
pub(crate) fn any_expression<T: Visit + ?Sized>(
    node: &T,
    is: &mut dyn FnMut(&Expr) -> bool,
) -> bool {
    let mut each = Each { is, found: false };
    let _ = node.visit(&mut Looking(&mut each));
    each.found
}

/// Each expression, after those within it: what is put in is not visited again.
pub(crate) fn expressions<T: VisitMut>(
    node: &mut T,
    each: &mut dyn FnMut(&mut Expr) -> Result<(), Error>,
) -> Result<(), Error> {
    change(node, &mut EachMut(each))
}

/// The same, where nothing can be wrong.
pub(crate) fn each_expression<T: VisitMut>(node: &mut T, each: &mut dyn FnMut(&mut Expr)) {
    let mut each = |e: &mut Expr| {
        each(e);
        Ok(())
    };
    let _ = expressions(node, &mut each);
}

fn done(flow: Flow) -> Result<(), Error> {
    match flow {
        ControlFlow::Break(e) => Err(*e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Each<'a> {
    is: &'a mut dyn FnMut(&Expr) -> bool,
    found: bool,
}

impl Visitor for Each<'_> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, e: &Expr) -> Flow {
        self.found = self.found || (self.is)(e);
        ControlFlow::Continue(())
    }
}

struct EachMut<'a>(&'a mut dyn FnMut(&mut Expr) -> Result<(), Error>);

impl VisitorMut for EachMut<'_> {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, e: &mut Expr) -> Flow {
        match (self.0)(e) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => ControlFlow::Break(Box::new(e)),
        }
    }
}

struct Looking<'a, 'b>(&'a mut Look<'b>);
struct Changing<'a, 'b>(&'a mut Change<'b>);

/// All that a visitor is told.
macro_rules! forward {
    ($($method:ident: $node:ty),*) => {
        impl Visitor for Looking<'_, '_> {
            type Break = Box<Error>;
            $(fn $method(&mut self, node: &$node) -> Flow {
                self.0.$method(node)
            })*
        }

        impl VisitorMut for Changing<'_, '_> {
            type Break = Box<Error>;
            $(fn $method(&mut self, node: &mut $node) -> Flow {
                self.0.$method(node)
            })*
        }
    };
}

forward!(
    pre_visit_query: Query,
    post_visit_query: Query,
    pre_visit_select: Select,
    post_visit_select: Select,
    pre_visit_relation: ObjectName,
    post_visit_relation: ObjectName,
    pre_visit_table_factor: TableFactor,
    post_visit_table_factor: TableFactor,
    pre_visit_expr: Expr,
    post_visit_expr: Expr,
    pre_visit_statement: Statement,
    post_visit_statement: Statement,
    pre_visit_value: ValueWithSpan,
    post_visit_value: ValueWithSpan
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn parsed(text: &str) -> Statement {
        Parser::parse_sql(&GenericDialect {}, text).unwrap().remove(0)
    }

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Visitor for Told {
        type Break = Box<Error>;

        fn pre_visit_query(&mut self, _: &Query) -> Flow {
            self.0.push("query".into());
            ControlFlow::Continue(())
        }

        fn pre_visit_relation(&mut self, name: &ObjectName) -> Flow {
            self.0.push(name.to_string());
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, e: &Expr) -> Flow {
            self.0.push(e.to_string());
            match e.to_string() == "stop" {
                true => ControlFlow::Break(Box::new(Error::invalid("stopped"))),
                false => ControlFlow::Continue(()),
            }
        }
    }

    #[test]
    fn all_of_a_tree_is_told_until_an_error() {
        let mut told = Told::default();
        read(&parsed("SELECT a + 1 FROM t WHERE b IN (SELECT c FROM u)"), &mut told).unwrap();
        let expected =
            ["query", "a", "1", "a + 1", "t", "b", "query", "c", "u", "b IN (SELECT c FROM u)"];
        assert_eq!(told.0, expected);
        let mut told = Told::default();
        let e = read(&parsed("SELECT a, stop, b"), &mut told).unwrap_err();
        assert_eq!((e.message(), told.0.len()), ("stopped", 3));
    }

    #[test]
    fn expressions_are_changed_from_within() {
        let mut statement = parsed("SELECT a + (a * 2) FROM t");
        each_expression(&mut statement, &mut |e| {
            if matches!(e, Expr::Identifier(_)) {
                *e = Expr::value(datafusion::sql::sqlparser::ast::Value::Null);
            }
        });
        assert_eq!(statement.to_string(), "SELECT NULL + (NULL * 2) FROM t");
        assert!(any_expression(&statement, &mut |e| e.to_string() == "2"));
        assert!(!any_expression(&statement, &mut |e| e.to_string() == "a"));
    }
}
