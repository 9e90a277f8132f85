//! Where the columns of a plan come from: which stand for a window, which tell rows apart, and,
//! as long as only filters and projections lie between, how they follow from a topic's columns.

use std::collections::HashSet;

use common::{Error, Result};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use graph::{KeyWindow, WindowPart};

use super::plan_error;
use crate::functions::window::{BUCKETS, WINDOW, WindowSize};
use crate::plan_walk;

/// A way from a topic through filters and projections.
#[derive(Clone)]
pub(super) struct Path {
    /// Node of the topic.
    pub source: usize,
    /// Event time column of the topic.
    pub event_time: Option<String>,
    /// Each column, said in columns of the topic; none if it has become a part of one.
    pub exprs: Vec<Option<Expr>>,
    pub filters: Vec<Expr>,
    /// The call that gave the sliding windows of a row, if they have become rows.
    pub sliding: Option<Expr>,
}

impl Path {
    /// `expr`, over columns of `schema`, said in columns of the topic, where that can be done.
    pub fn say(&self, expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let mut unknown = false;
        let said = plan_walk::change_up(expr.clone(), &mut |e| match &e {
            Expr::Column(c) => match &self.exprs[schema.index_of_column(c)?] {
                Some(said) => Ok(Transformed::yes(said.clone().unalias())),
                None => {
                    unknown = true;
                    Ok(Transformed::no(e))
                }
            },
            _ => Ok(Transformed::no(e)),
        });
        let said = said.map_err(plan_error)?.data.unalias();
        Ok((!unknown).then_some(said))
    }
}

/// What is known of the columns of a plan.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// Columns that tell the rows apart.
    pub key: Option<Vec<usize>>,
    pub windows: Vec<Option<KeyWindow>>,
    /// Empty once anything but a filter or projection came between.
    pub paths: Vec<Path>,
    /// The rows are those that stand in the query, so there are not many.
    pub is_fixed: bool,
}

impl Known {
    /// What remains known of the columns `exprs`, made from the columns of `schema`.
    pub fn project(&self, exprs: &[Expr], schema: &DFSchema) -> Result<Known> {
        let windows = exprs.iter().map(|e| self.window_of(e, schema)).collect::<Result<_>>()?;
        let mut paths = vec![];
        for path in &self.paths {
            let exprs = exprs.iter().map(|e| path.say(e, schema)).collect::<Result<_>>()?;
            paths.push(Path { exprs, ..path.clone() });
        }
        let key = self.key.as_ref().and_then(|key| {
            key.iter().map(|k| exprs.iter().position(|e| self.is_column(e, schema, *k))).collect()
        });
        Ok(Known { key, windows, paths, is_fixed: self.is_fixed })
    }

    /// Whether an expression tells as much as column `at`: it is the column, or start or end of
    /// the window that the column is.
    fn is_column(&self, expr: &Expr, schema: &DFSchema, at: usize) -> bool {
        let (base, part) = base(expr);
        let Expr::Column(c) = base else { return false };
        let whole = self.windows[at].is_some_and(|w| w.part == WindowPart::Whole);
        schema.index_of_column(c).is_ok_and(|i| i == at) && (part.is_none() || whole)
    }

    /// Whether an expression stands for a window.
    pub fn window_of(&self, expr: &Expr, schema: &DFSchema) -> Result<Option<KeyWindow>> {
        let (base, part) = base(expr);
        let window = match base {
            Expr::Column(c) => match schema.index_of_column(c) {
                Ok(at) => self.windows[at],
                Err(_) => None,
            },
            Expr::ScalarFunction(f) if matches!(f.name(), WINDOW | BUCKETS) => {
                let closes = !self.paths.is_empty() && self.is_event_time(&f.args, schema)?;
                let window = window_size(&f.args)?.window();
                let part = if f.name() == WINDOW { WindowPart::Whole } else { WindowPart::Each };
                Some(KeyWindow { part, window, closes })
            }
            _ => None,
        };
        Ok(match (window, part) {
            (Some(w), Some(part)) if w.part == WindowPart::Whole => Some(KeyWindow { part, ..w }),
            (_, Some(_)) => None,
            (window, None) => window,
        })
    }

    /// Whether the time of a window call is made from the event time of the topic, on all ways.
    fn is_event_time(&self, args: &[Expr], schema: &DFSchema) -> Result<bool> {
        let Some(time) = args.first() else { return Ok(false) };
        for path in &self.paths {
            let Some(said) = path.say(time, schema)? else { return Ok(false) };
            let names: HashSet<&str> =
                said.column_refs().into_iter().map(|c| c.name.as_str()).collect();
            if !path.event_time.as_deref().is_some_and(|t| names.contains(t)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// No column stands for a window that closes, but for those in `keep`.
    pub fn keep_closing(&mut self, keep: &[usize]) {
        for (i, window) in self.windows.iter_mut().enumerate() {
            if let Some(window) = window.as_mut().filter(|_| !keep.contains(&i)) {
                window.closes = false;
            }
        }
    }
}

/// An expression without aliases, and without `.start` or `.end`, which is told apart.
pub(super) fn base(expr: &Expr) -> (&Expr, Option<WindowPart>) {
    match expr {
        Expr::Alias(a) => base(&a.expr),
        Expr::ScalarFunction(f) if f.name() == "get_field" && f.args.len() == 2 => {
            let name = match &f.args[1] {
                Expr::Literal(v, _) => v.try_as_str().flatten().unwrap_or(""),
                _ => "",
            };
            match (name, base(&f.args[0])) {
                ("start", (inner, None)) => (inner, Some(WindowPart::Start)),
                ("end", (inner, None)) => (inner, Some(WindowPart::End)),
                _ => (expr, None),
            }
        }
        _ => (expr, None),
    }
}

/// The call of a window function in an expression.
pub(super) fn window_call(expr: &Expr) -> Option<Expr> {
    let mut found = None;
    let _ = plan_walk::each(expr, &mut |e| match e {
        Expr::ScalarFunction(f) if matches!(f.name(), WINDOW | BUCKETS) => {
            found = Some(e.clone());
            Ok(TreeNodeRecursion::Stop)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    });
    found
}

/// Of the arguments of `window(ts, size [, slide [, offset]])`.
pub(super) fn window_size(args: &[Expr]) -> Result<WindowSize> {
    WindowSize::of(args).map_err(|e| Error::invalid(e.strip_backtrace()))
}
