//! `MERGE INTO table USING source ON … WHEN [NOT] MATCHED [BY SOURCE] [AND …] THEN …`: the source
//! joined to the table, and of the clauses the first that holds for a pair of rows.

use common::{Error, Result};
use datafusion::sql::sqlparser::ast::{
    Expr, Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertExpr, MergeInsertKind,
    SelectItem, Value,
};

use super::values::{cast_to, default_of};
use super::{ACTION, Action, KEY, Rows, Target};
use crate::tree::{
    self, JoinKind, Table, alias_of, and, case, column, equal, int, is_not_null, is_null, item,
    null, quoted, select,
};

/// Tells a row of the source from the gap of an outer join.
const IS_SOURCE: &str = "__is_source";
/// The table once more: is the key of a new row there already?
const EXISTING: &str = "__existing";

/// A clause: when it holds, what becomes of the row, and its columns.
struct Clause {
    when: Expr,
    action: Action,
    values: Vec<Expr>,
}

impl Target<'_> {
    pub(super) fn merge(&self, merge: Merge) -> Result<Rows> {
        self.refuse(&[(merge.output.is_some(), "OUTPUT")])?;
        let unnamed =
            || Error::invalid("what stands behind USING has no name").hint("write AS name");
        let target = alias_of(&merge.table).ok_or_else(unnamed)?;
        let source = alias_of(&merge.source).ok_or_else(unnamed)?;
        let by_source =
            merge.clauses.iter().any(|c| c.clause_kind == MergeClauseKind::NotMatchedBySource);
        // The rows of the source, each with a mark.
        let all = SelectItem::Wildcard(Default::default());
        let marked = vec![item(Expr::value(Value::Boolean(true)), IS_SOURCE), all];
        let marked = select(marked, vec![merge.source], None)?;
        let marked = tree::derived(marked, &source, std::iter::empty())?;
        let kind = if by_source { JoinKind::Full } else { JoinKind::Left };
        let mut from = Table::from(marked).join(merge.table, kind, *merge.on);
        let there = column(&target, "_key");
        let from_source = column(&source, IS_SOURCE);
        let mut clauses = vec![];
        for clause in merge.clauses {
            let kind = match clause.clause_kind {
                MergeClauseKind::Matched => {
                    and(is_not_null(there.clone()), Some(is_not_null(from_source.clone())))
                }
                MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => {
                    is_null(there.clone())
                }
                MergeClauseKind::NotMatchedBySource => is_null(from_source.clone()),
            };
            clauses.push(self.clause(kind, clause, &target)?);
        }
        let mut action: Vec<(Expr, Expr)> =
            clauses.iter().map(|c| (c.when.clone(), int(c.action as i32))).collect();
        let key = self.key()?;
        let at = self.topic.columns.iter().position(|c| c.name == key.name).unwrap_or_default();
        let inserted: Vec<(Expr, Expr)> = clauses
            .iter()
            .filter(|c| c.action == Action::Exists)
            .map(|c| (c.when.clone(), c.values[at].clone()))
            .collect();
        if !inserted.is_empty() {
            let existing = quoted(EXISTING);
            let new_key = cast_to(case(inserted, null())?, key);
            let same = equal(column(&existing, &key.name), new_key);
            from = from.join(self.table(&existing)?, JoinKind::Left, same);
            for ((_, action), clause) in action.iter_mut().zip(&clauses) {
                if clause.action == Action::Exists {
                    let is_new = is_null(column(&existing, "_key"));
                    let exists = int(Action::Exists as i32);
                    *action = case(vec![(is_new, int(Action::Put as i32))], exists)?;
                }
            }
        }
        let mut items =
            vec![item(case(action, int(Action::Nothing as i32))?, ACTION), item(there, KEY)];
        for (i, c) in self.topic.columns.iter().enumerate() {
            let values = clauses.iter().filter(|c| !c.values.is_empty());
            let values = values.map(|c| (c.when.clone(), c.values[i].clone())).collect();
            items.push(item(case(values, null())?, &c.name));
        }
        Ok(Rows { query: select(items, vec![from], None)?, first_only: false })
    }

    fn clause(&self, kind: Expr, clause: MergeClause, target: &super::Ident) -> Result<Clause> {
        let when = and(kind, clause.predicate);
        let inserts = matches!(
            clause.clause_kind,
            MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget
        );
        match clause.action {
            MergeAction::Delete { .. } if !inserts => {
                Ok(Clause { when, action: Action::Remove, values: vec![] })
            }
            MergeAction::Update(update) if !inserts => {
                self.refuse(&[
                    (update.update_predicate.is_some(), "UPDATE … WHERE in MERGE"),
                    (update.delete_predicate.is_some(), "UPDATE … DELETE WHERE"),
                ])?;
                let mut sets = self.sets(update.assignments)?;
                let mut value = |c: &catalog::Column| {
                    sets.take(&c.name).unwrap_or_else(|| column(target, &c.name))
                };
                let values = self.topic.columns.iter().map(&mut value).collect();
                Ok(Clause { when, action: Action::Put, values })
            }
            MergeAction::Insert(insert) if inserts => {
                let values = self.inserted(insert)?;
                Ok(Clause { when, action: Action::Exists, values })
            }
            _ => Err(self.unsupported("this action of a WHEN clause")),
        }
    }

    /// What each column of a new row has.
    fn inserted(&self, insert: MergeInsertExpr) -> Result<Vec<Expr>> {
        self.refuse(&[(insert.insert_predicate.is_some(), "INSERT … WHERE in MERGE")])?;
        let columns = self.written_columns(&insert.columns)?;
        let mut rows = match insert.kind {
            MergeInsertKind::Values(values) => values.rows,
            MergeInsertKind::Row => return Err(self.unsupported("INSERT ROW")),
        };
        let row = match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => row.content,
            _ => return Err(Error::invalid("WHEN NOT MATCHED inserts one row")),
        };
        if row.len() != columns.len() {
            let (has, wants) = (row.len(), columns.len());
            return Err(Error::invalid(format!("INSERT has {has} values for {wants} columns")));
        }
        let mut given: Vec<(&str, Expr)> = vec![];
        for (value, column) in row.into_iter().zip(columns) {
            given.push((&column.name, self.value(value, column)?));
        }
        let value = |c: &catalog::Column| match given.iter().find(|(name, _)| *name == c.name) {
            Some((_, value)) => Ok(value.clone()),
            None => default_of(c),
        };
        self.topic.columns.iter().map(value).collect()
    }
}
