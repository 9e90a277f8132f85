//! Two columns of one name in the answer to a query: SQL allows them, DataFusion does not. The
//! second one is numbered by letters that nobody sees, which are taken off again.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};

/// A space without width.
const AGAIN: char = '\u{200b}';

/// Columns as the query names them.
pub fn shown_schema(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|f| !f.name().ends_with(AGAIN)) {
        return schema.clone();
    }
    let shown =
        |f: &Arc<Field>| f.as_ref().clone().with_name(f.name().trim_end_matches(AGAIN).to_string());
    Arc::new(Schema::new(schema.fields().iter().map(shown).collect::<Vec<_>>()))
}

/// Tells the columns of a query apart.
pub(crate) fn number(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in &mut select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (&*expr, name_of(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (&*expr, alias.value.clone()),
            _ => continue,
        };
        let times = seen.entry(name.to_lowercase()).or_default();
        *times += 1;
        if *times > 1 {
            let again: String = std::iter::repeat_n(AGAIN, *times - 1).collect();
            let alias = Ident::with_quote('"', name + &again);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(idents) => {
            idents.last().map(|i| i.value.clone()).unwrap_or_default()
        }
        expr => expr.to_string(),
    }
}
