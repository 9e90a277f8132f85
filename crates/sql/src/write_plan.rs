//! What a statement that writes would write, as a query over the topic and whatever it reads: one
//! row for each record, with what is to become of it (`__action`), the key of the row that is
//! there already (`__key`), and the columns that the record has. The engine runs the query and
//! appends what it gives; so UPDATE, MERGE and INSERT read as any query does.

mod merge;
mod values;

use catalog::{Column, Format, Topic};
use common::{Error, Result};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::prelude::Expr as DfExpr;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, Expr, Ident, Insert, ObjectName,
    OnConflict, OnConflictAction, OnInsert, Query, SetExpr, Statement, TableFactor, Update,
    UpdateTableFromKind,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::parameters::{self, Parameter};
use crate::passes::references::ident;
use crate::plan;
use crate::source::{PlaceOf, Source};
use crate::statements::write::{Write, deleted_from};
use crate::tokens;
use crate::tree::{self, JoinKind, Table, case, column, int, is_null, item, null, quoted, select};

/// What becomes of a row, one of `Action`.
pub const ACTION: &str = "__action";
/// The key of the record whose row is replaced or removed; NULL for a new row.
pub const KEY: &str = "__key";

/// What becomes of a row, as `ACTION` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Nothing = 0,
    Put = 1,
    Remove = 2,
    /// A new row whose key is there already.
    Exists = 3,
}

/// The rows that a statement writes.
#[derive(Debug)]
pub struct WritePlan {
    pub plan: LogicalPlan,
    pub parameters: Vec<Parameter>,
    /// A second row with the same key is passed over; else it is an error.
    pub first_only: bool,
}

/// Plans what a statement writes to its topic; `given` are the types of parameters that are known.
pub fn plan_write<'a>(
    state: &'a SessionState,
    write: &'a Write,
    topic: &'a Topic,
    given: &'a [Option<DataType>],
    place: &'a PlaceOf<'a>,
) -> BoxFuture<'a, Result<WritePlan>> {
    planned(state, write, topic, given, place).boxed()
}

async fn planned(
    state: &SessionState,
    write: &Write,
    topic: &Topic,
    given: &[Option<DataType>],
    place: &PlaceOf<'_>,
) -> Result<WritePlan> {
    let source = Source::new(&write.text, place);
    let spans = parameters::spans(&source, given.len())?;
    let statement = tokens::parse_whole(&write.text, tokens::writing)
        .map_err(|e| crate::error::relocate(e, &source))?;
    let target = Target { topic, source: &source };
    let Rows { query, first_only } = target.rows(statement)?;
    let mut query = plan::passed(state, &source, query).await?;
    let parameters = parameters::declare(state, &mut query, given, spans).await;
    let cast = |plan| as_columns(plan, topic);
    let (plan, _) = plan::of_tree(state, query, &source, &cast).await.map_err(arity)?;
    Ok(WritePlan { plan, parameters, first_only })
}

/// Each column as the topic has it.
fn as_columns(plan: LogicalPlan, topic: &Topic) -> DfResult<LogicalPlan> {
    let columns = plan.schema().columns();
    let exprs = columns.into_iter().map(|c| {
        let data_type = match c.name.as_str() {
            ACTION => DataType::Int32,
            KEY => DataType::Binary,
            name => match topic.columns.iter().find(|c| c.name == name) {
                Some(column) => column.data_type.clone(),
                None => return DfExpr::Column(c),
            },
        };
        let name = c.name.clone();
        cast(DfExpr::Column(c), data_type).alias(name)
    });
    let exprs = exprs.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// DataFusion speaks of names given as an alias, which nobody wrote.
fn arity(e: Error) -> Error {
    let words = e.message();
    let is_arity = words.contains("names given as column alias");
    let numbers: Vec<&str> =
        words.split_whitespace().filter(|w| w.parse::<usize>().is_ok()).collect();
    match numbers.as_slice() {
        [has, wants] if is_arity => {
            Error::invalid(format!("the query gives {has} columns, and {wants} are written"))
                .hint("name the columns that are written: INSERT INTO topic (a, b) …")
        }
        _ => e,
    }
}

struct Rows {
    query: Box<Query>,
    first_only: bool,
}

struct Target<'a> {
    topic: &'a Topic,
    source: &'a Source<'a>,
}

impl Target<'_> {
    fn rows(&self, statement: Statement) -> Result<Rows> {
        let name = &self.topic.name;
        let is_insert = matches!(statement, Statement::Insert(_));
        if self.topic.format == Format::Debezium {
            return Err(Error::unsupported(format!("the rows of '{name}' are a database's"))
                .hint("change them there, or write to a table of your own"));
        }
        if !is_insert && !self.topic.format.is_table() {
            return Err(Error::unsupported(format!("the events of topic '{name}' never change"))
                .hint(
                    "send a new event, or CREATE TABLE … (…, PRIMARY KEY (…)) for rows that do",
                ));
        }
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(merge),
            _ => Err(self.unsupported("this form of the statement")),
        }
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::unsupported(format!("{what} is not supported here"))
    }

    fn refuse(&self, forms: &[(bool, &str)]) -> Result<()> {
        match forms.iter().find(|(is_there, _)| *is_there) {
            Some((_, what)) => Err(self.unsupported(what)),
            None => Ok(()),
        }
    }

    /// The column of the topic's key; a table has one.
    fn key(&self) -> Result<&Column> {
        let key = self.topic.columns.iter().find(|c| self.topic.key.as_ref() == Some(&c.name));
        key.ok_or_else(|| Error::internal(format!("table '{}' has no key", self.topic.name)))
    }

    fn insert(&self, insert: Insert) -> Result<Rows> {
        self.refuse(&[
            (insert.or.is_some() || insert.ignore || insert.replace_into, "INSERT OR …"),
            (insert.overwrite, "INSERT OVERWRITE"),
            (insert.partitioned.is_some(), "PARTITION (…)"),
            (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
            (!insert.assignments.is_empty() || insert.insert_alias.is_some(), "INSERT … SET"),
        ])?;
        let names = self.written_columns(&insert.columns)?;
        let Some(mut query) = insert.source else {
            return Err(self.unsupported("INSERT without VALUES or a query"));
        };
        self.values(&mut query, &names)?;
        let alias = Ident::new("excluded");
        let relation = tree::derived(query, &alias, names.iter().map(|c| c.name.as_str()))?;
        let given = |c: &Column| column(&alias, &c.name);
        if !self.topic.format.is_table() {
            self.refuse(&[(insert.on.is_some(), "ON CONFLICT of events")])?;
            let mut items = vec![item(int(Action::Put as i32), ACTION), item(null(), KEY)];
            items.extend(names.iter().map(|c| item(given(c), &c.name)));
            return Ok(Rows { query: select(items, vec![relation], None)?, first_only: false });
        }
        let key = self.key()?;
        if !names.iter().any(|c| c.name == key.name) {
            let e = Error::invalid(format!("a row of '{}' needs its key", self.topic.name));
            return Err(e.hint(format!("write column '{}' too", key.name)));
        }
        let conflict = self.conflict(insert.on)?;
        let target = match &insert.table_alias {
            Some(alias) => alias.alias.clone(),
            None => quoted(&self.topic.name),
        };
        let is_new = is_null(column(&target, "_key"));
        let same = tree::equal(column(&target, &key.name), values::cast_to(given(key), key));
        let relation = Table::from(relation).join(self.table(&target)?, JoinKind::Left, same);
        let (otherwise, sets, first_only) = match conflict {
            Conflict::Refuse => (int(Action::Exists as i32), None, false),
            Conflict::Nothing => (int(Action::Nothing as i32), None, true),
            Conflict::Update(sets, None) => (int(Action::Put as i32), Some(sets), false),
            Conflict::Update(sets, Some(only)) => {
                let put = (*only, int(Action::Put as i32));
                (case(vec![put], int(Action::Nothing as i32))?, Some(sets), false)
            }
        };
        let action = case(vec![(is_new.clone(), int(Action::Put as i32))], otherwise)?;
        let mut items = vec![item(action, ACTION), item(column(&target, "_key"), KEY)];
        match sets {
            None => items.extend(names.iter().map(|c| item(given(c), &c.name))),
            Some(mut sets) => {
                for c in &self.topic.columns {
                    let new = match names.iter().any(|n| n.name == c.name) {
                        true => given(c),
                        false => values::default_of(c)?,
                    };
                    let old = sets.take(&c.name).unwrap_or_else(|| column(&target, &c.name));
                    items.push(item(case(vec![(is_new.clone(), new)], old)?, &c.name));
                }
            }
        }
        Ok(Rows { query: select(items, vec![relation], None)?, first_only })
    }

    fn conflict(&self, on: Option<OnInsert>) -> Result<Conflict> {
        let OnConflict { conflict_target, action } = match on {
            None => return Ok(Conflict::Refuse),
            Some(OnInsert::OnConflict(on)) => on,
            Some(_) => return Err(self.unsupported("ON DUPLICATE KEY")),
        };
        let key = &self.key()?.name;
        match &conflict_target {
            Some(ConflictTarget::Columns(columns))
                if columns.iter().map(ident).ne([key.clone()]) =>
            {
                let e = Error::invalid(format!(
                    "rows of '{}' are told apart by '{key}'",
                    self.topic.name
                ));
                return Err(e.hint(format!("write ON CONFLICT ({key})")));
            }
            Some(ConflictTarget::OnConstraint(_)) => {
                return Err(self.unsupported("ON CONFLICT ON CONSTRAINT"));
            }
            _ => {}
        }
        match action {
            OnConflictAction::DoNothing => Ok(Conflict::Nothing),
            OnConflictAction::DoUpdate(update) => {
                let only = update.selection.map(Box::new);
                Ok(Conflict::Update(self.sets(update.assignments)?, only))
            }
        }
    }

    fn update(&self, update: Update) -> Result<Rows> {
        self.refuse(&[
            (!update.table.joins.is_empty(), "UPDATE of a join"),
            (update.returning.is_some() || update.output.is_some(), "RETURNING"),
            (!update.order_by.is_empty() || update.limit.is_some(), "UPDATE … LIMIT"),
            (update.or.is_some(), "UPDATE OR …"),
        ])?;
        let target = self.named(&update.table.relation)?;
        let mut sets = self.sets(update.assignments)?;
        let mut items =
            vec![item(int(Action::Put as i32), ACTION), item(column(&target, "_key"), KEY)];
        for c in &self.topic.columns {
            let value = sets.take(&c.name).unwrap_or_else(|| column(&target, &c.name));
            items.push(item(value, &c.name));
        }
        let mut from = vec![update.table];
        if let Some(UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more)) =
            update.from
        {
            from.extend(more);
        }
        Ok(Rows { query: select(items, from, update.selection)?, first_only: false })
    }

    fn delete(&self, delete: Delete) -> Result<Rows> {
        self.refuse(&[
            (!delete.tables.is_empty(), "DELETE of several tables"),
            (delete.returning.is_some() || delete.output.is_some(), "RETURNING"),
            (!delete.order_by.is_empty() || delete.limit.is_some(), "DELETE … LIMIT"),
        ])?;
        let Some(table) = deleted_from(&delete.from) else {
            return Err(self.unsupported("DELETE of a join"));
        };
        let key = column(&self.named(&table.relation)?, "_key");
        let items = vec![item(int(Action::Remove as i32), ACTION), item(key, KEY)];
        let mut from = vec![table.clone()];
        from.extend(delete.using.into_iter().flatten());
        Ok(Rows { query: select(items, from, delete.selection)?, first_only: true })
    }

    /// What the target's columns are called by.
    fn named(&self, table: &TableFactor) -> Result<Ident> {
        tree::alias_of(table).ok_or_else(|| self.unsupported("this target"))
    }

    /// The topic as a table of a query.
    fn table(&self, alias: &Ident) -> Result<TableFactor> {
        tree::table(&self.topic.name, alias)
    }

    /// The columns that are named, or all.
    fn written_columns(&self, named: &[ObjectName]) -> Result<Vec<&Column>> {
        if named.is_empty() {
            return Ok(self.topic.columns.iter().collect());
        }
        let mut columns: Vec<&Column> = vec![];
        for name in named {
            let column = self.column(name)?;
            if columns.iter().any(|c| c.name == column.name) {
                return Err(Error::invalid(format!("column '{}' is written twice", column.name)));
            }
            columns.push(column);
        }
        Ok(columns)
    }

    /// A column of the topic, by the last part of its name.
    fn column(&self, name: &ObjectName) -> Result<&Column> {
        let part = name.0.last().and_then(|p| p.as_ident());
        let part = part.ok_or_else(|| self.unsupported("this name of a column"))?;
        let wanted = ident(part);
        let known = self.topic.columns.iter();
        let is_it = |c: &&Column| match part.quote_style {
            Some(_) => c.name == wanted,
            None => c.name.eq_ignore_ascii_case(&wanted),
        };
        known.clone().find(is_it).ok_or_else(|| {
            let names = known.map(|c| c.name.as_str());
            let place = self.source.place(self.source.span(part.span));
            Error::unknown("column", &wanted, names).at(place)
        })
    }

    /// `SET a = 1, (b, c) = (2, 3)`: what each column becomes.
    fn sets(&self, assignments: Vec<Assignment>) -> Result<Sets> {
        let mut sets = Sets(vec![]);
        for Assignment { target, value } in assignments {
            match (target, value) {
                (AssignmentTarget::ColumnName(name), value) => self.set(&mut sets, &name, value)?,
                (AssignmentTarget::Tuple(names), Expr::Tuple(values))
                    if names.len() == values.len() =>
                {
                    for (name, value) in names.iter().zip(values) {
                        self.set(&mut sets, name, value)?;
                    }
                }
                _ => return Err(self.unsupported("SET of several columns by one value")),
            }
        }
        Ok(sets)
    }

    fn set(&self, sets: &mut Sets, name: &ObjectName, value: Expr) -> Result<()> {
        let column = self.column(name)?;
        if self.topic.key.as_ref() == Some(&column.name) {
            let e = Error::unsupported(format!("the key '{}' of a row can't change", column.name));
            return Err(e.hint("DELETE the row and INSERT another"));
        }
        if sets.0.iter().any(|(name, _)| *name == column.name) {
            return Err(Error::invalid(format!("column '{}' is set twice", column.name)));
        }
        sets.0.push((column.name.clone(), self.value(value, column)?));
        Ok(())
    }

    /// `DEFAULT`, and parameters, are of the column they are for.
    fn value(&self, value: Expr, column: &Column) -> Result<Expr> {
        match &value {
            Expr::Identifier(name) if values::is_default(name) => values::default_of(column),
            _ if values::is_parameter(&value) => Ok(values::cast_to(value, column)),
            _ => Ok(value),
        }
    }

    /// The rows of VALUES, each value for its column.
    fn values(&self, query: &mut Query, columns: &[&Column]) -> Result<()> {
        let SetExpr::Values(values) = query.body.as_mut() else { return Ok(()) };
        for (i, row) in values.rows.iter_mut().enumerate() {
            let (has, wants) = (row.content.len(), columns.len());
            if has != wants {
                let what = format!("row {} of VALUES has {has} values for {wants} columns", i + 1);
                return Err(Error::invalid(what)
                    .hint("name the columns that are written: INSERT INTO topic (a, b) VALUES …"));
            }
            for (value, column) in row.content.iter_mut().zip(columns) {
                *value = self.value(value.clone(), column)?;
            }
        }
        Ok(())
    }
}

/// What an INSERT does with a key that is there already.
enum Conflict {
    Refuse,
    Nothing,
    Update(Sets, Option<Box<Expr>>),
}

/// What columns become.
struct Sets(Vec<(String, Expr)>);

impl Sets {
    fn take(&mut self, column: &str) -> Option<Expr> {
        let at = self.0.iter().position(|(name, _)| name == column)?;
        Some(self.0.swap_remove(at).1)
    }
}
