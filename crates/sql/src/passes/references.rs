//! The tables a query reads, found by walking its syntax tree. Names that `WITH` defines are not
//! tables where they are visible; a CTE's own query still sees the outer table of its name.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use common::Error;
use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visitor};

use crate::Text;
use crate::tokens::{self, Lines, Tok};
use crate::walk::{self, Flow};

/// Name and place of each table in the order of the text; a table is named each time it is used.
pub(crate) fn of_tokens(text: &Text, tokens: &[Tok]) -> Result<Vec<(String, Range<usize>)>, Error> {
    let query = tokens::query(text, tokens)?;
    Ok(of_query(&text.text, &query))
}

pub(crate) fn of_query(text: &str, query: &Query) -> Vec<(String, Range<usize>)> {
    let mut walk = Walk { lines: Lines::new(text), frames: vec![], ctes: vec![], found: vec![] };
    let _ = walk::read(query, &mut walk);
    walk.found
}

struct Walk<'a> {
    lines: Lines<'a>,
    /// Per open query the CTE names visible in it.
    frames: Vec<BTreeSet<String>>,
    /// The queries of CTEs that are not visible yet: address, name, and their frame.
    ctes: Vec<(*const Query, String, usize)>,
    found: Vec<(String, Range<usize>)>,
}

impl Visitor for Walk<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        let mut frame = BTreeSet::new();
        let depth = self.frames.len();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = ident(&cte.alias.name);
                if with.recursive {
                    frame.insert(name);
                } else {
                    self.ctes.push((cte.query.as_ref() as *const Query, name, depth));
                }
            }
        }
        self.frames.push(frame);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> Flow {
        self.frames.pop();
        if let Some(at) = self.ctes.iter().position(|(q, ..)| std::ptr::eq(*q, query)) {
            let (_, name, depth) = self.ctes.remove(at);
            if let Some(frame) = self.frames.get_mut(depth) {
                frame.insert(name);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        let TableFactor::Table { name, args: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let parts: Vec<_> = name.0.iter().filter_map(|p| p.as_ident()).collect();
        let Some(last) = parts.last() else { return ControlFlow::Continue(()) };
        let table = ident(last);
        if parts.len() == 1 && self.frames.iter().any(|f| f.contains(&table)) {
            return ControlFlow::Continue(());
        }
        let span = self.lines.at(last.span.start)..self.lines.at(last.span.end);
        self.found.push((table, span));
        ControlFlow::Continue(())
    }
}

/// A name as it is looked up: unquoted ones in lower case.
pub(crate) fn ident(ident: &datafusion::sql::sqlparser::ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
