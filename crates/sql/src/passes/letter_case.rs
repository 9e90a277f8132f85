//! Names in other letters than they were defined with: a name without quotes is found in any case,
//! `userId` as column of a view or field of a struct by `userid` and `USERID`, if no other has the
//! same letters. Names that are written as defined go before.

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, SchemaError, TableReference};
use datafusion::functions::core::get_field;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Ident, Query};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::walk;

/// Fields of structs.
#[derive(Debug)]
pub struct FieldNames;

impl ExprPlanner for FieldNames {
    fn plan_field_access(
        &self,
        e: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = e;
        let field_access = match field_access {
            GetFieldAccess::NamedStructField { name: ScalarValue::Utf8(Some(name)) } => {
                let name = defined(&expr.get_type(schema)?, name);
                GetFieldAccess::NamedStructField { name: ScalarValue::Utf8(Some(name)) }
            }
            other => other,
        };
        Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr }))
    }

    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let mut value = Expr::Column(Column::from((qualifier, field)));
        let mut data_type = field.data_type().clone();
        for name in nested_names {
            let name = defined(&data_type, name.clone());
            let inner = fields_of(&data_type).and_then(|f| f.iter().find(|f| *f.name() == name));
            data_type = inner.map_or(DataType::Null, |f| f.data_type().clone());
            value = get_field().call(vec![value, lit(name)]);
        }
        Ok(PlannerResult::Planned(value))
    }
}

fn fields_of(t: &DataType) -> Option<&Fields> {
    match t {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

/// The name of the struct's field that is meant; as it is if there is none, or more than one.
fn defined(t: &DataType, name: String) -> String {
    let names = fields_of(t).into_iter().flatten().map(|f| f.name().as_str());
    only(&name, names).unwrap_or(name)
}

/// The one name with the same letters; none if it is there as it is written.
fn only<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut found: Option<&str> = None;
    for known in known.filter(|k| k.to_lowercase() == name.to_lowercase()) {
        if known == name || found.is_some_and(|f| f != known) {
            return None;
        }
        found = Some(known);
    }
    found.map(String::from)
}

/// Writes a column that was not found as it is defined, if that is another case only.
pub(crate) fn mend(query: &mut Query, e: &DataFusionError) -> bool {
    let Some((field, valid)) = not_found(e) else { return false };
    let same_table = |c: &&Column| field.relation.is_none() || c.relation == field.relation;
    let known = valid.iter().filter(same_table).map(|c| c.name.as_str());
    let Some(name) = only(&field.name, known) else { return false };
    let at = field.spans.first().map(|s| (s.start.line, s.start.column));
    let place = |span: Span| (span.start.line, span.start.column);
    let mut done = false;
    let mut mend = |ident: &mut Ident| {
        let is_meant = ident.quote_style.is_none()
            && ident.value.to_lowercase() == field.name
            && at.is_none_or(|at| at == place(ident.span));
        if is_meant {
            (ident.value, ident.quote_style) = (name.clone(), Some('"'));
            done = true;
        }
    };
    walk::each_expression(query, &mut |e| match e {
        ast::Expr::Identifier(ident) => mend(ident),
        ast::Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(&mut mend),
        _ => {}
    });
    done
}

fn not_found(e: &DataFusionError) -> Option<(&Column, &[Column])> {
    match e {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => Some((field, valid_fields)),
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            not_found(inner)
        }
        DataFusionError::Shared(inner) => not_found(inner),
        DataFusionError::Collection(all) => all.first().and_then(not_found),
        _ => None,
    }
}
