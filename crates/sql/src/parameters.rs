//! `$1`, `$2`, … in a query, for doors that plan first and get the values later. Each parameter
//! has one type before anything is planned: the one the client said, else what stands around it
//! says, else TEXT. In the tree it is a cast to that type, so every pass sees a typed expression
//! and the columns of the result are known before the values are.

use std::ops::{ControlFlow, Range};

use common::Error;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr as DfExpr, ExprSchemable, LogicalPlan};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    self, CastKind, Expr, LimitClause, Query, Statement, Value, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::dialect::WatershedDialect;
use crate::passes::same_names;
use crate::plan;
use crate::plan_walk;
use crate::source::{PlaceOf, Source};
use crate::walk::{self, Flow};

/// What the Postgres protocol can number.
const PARAMETERS_MAX: usize = 65_535;

/// A parameter of a query and where it stands first.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub data_type: DataType,
    pub span: Range<usize>,
}

/// A query whose values come later.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub plan: LogicalPlan,
    /// The columns it gives, whatever the values are.
    pub schema: SchemaRef,
    pub parameters: Vec<Parameter>,
}

/// As `plan`, for a query with parameters; `given` are the types that are known already.
pub fn prepare<'a>(
    state: &'a SessionState,
    text: &'a str,
    given: &'a [Option<DataType>],
    place: &'a PlaceOf<'a>,
) -> BoxFuture<'a, Result<Prepared, Error>> {
    prepared(state, text, given, place).boxed()
}

async fn prepared(
    state: &SessionState,
    text: &str,
    given: &[Option<DataType>],
    place: &PlaceOf<'_>,
) -> Result<Prepared, Error> {
    let source = Source::new(text, place);
    let spans = spans(&source, given.len())?;
    let mut query = plan::tree(state, &source).await?;
    same_names::number(&mut query);
    let parameters = declare(state, &mut query, given, spans).await;
    let (plan, checked) = plan::of_tree(state, query, &source, &Ok).await?;
    let schema = same_names::shown_schema(checked.schema().inner());
    Ok(Prepared { plan, schema, parameters })
}

/// Gives each parameter its type, in the tree too.
pub(crate) async fn declare(
    state: &SessionState,
    query: &mut Box<Query>,
    given: &[Option<DataType>],
    spans: Vec<Option<Range<usize>>>,
) -> Vec<Parameter> {
    let mut types: Vec<Option<DataType>> = given.to_vec();
    types.resize(spans.len(), None);
    let _ = walk::read(&**query, &mut Hints { types: &mut types });
    if types.iter().any(Option::is_none) {
        infer(state, query, &mut types).await;
    }
    let types: Vec<DataType> = types.into_iter().map(|t| t.unwrap_or(DataType::Utf8)).collect();
    cast(query, &types.iter().cloned().map(Some).collect::<Vec<_>>());
    let parameter = |(data_type, span): (DataType, Option<Range<usize>>)| Parameter {
        data_type,
        span: span.unwrap_or(0..0),
    };
    types.into_iter().zip(spans).map(parameter).collect()
}

/// The plan with its values, one for each parameter, of that parameter's type.
pub fn bind(plan: LogicalPlan, values: Vec<ScalarValue>) -> Result<LogicalPlan, Error> {
    if values.is_empty() {
        return Ok(plan);
    }
    plan.replace_params_with_values(&ParamValues::from(values))
        .map_err(|e| crate::error::explain(&e, None, &[]))
}

/// As for a query, for any text that is run at once.
pub fn refuse_parameters(text: &str, place: &PlaceOf<'_>) -> Result<(), Error> {
    refuse(&Source::new(text, place))
}

/// A query that is run at once cannot have parameters.
pub(crate) fn refuse(source: &Source) -> Result<(), Error> {
    let Some((span, name)) = placeholders(source).next() else { return Ok(()) };
    Err(Error::invalid(format!("parameter '{name}' has no value"))
        .hint("write the value in its place, or send it through a prepared statement")
        .at(source.place(span)))
}

fn placeholders<'a>(source: &'a Source<'_>) -> impl Iterator<Item = (Range<usize>, &'a str)> + 'a {
    source.tokens.iter().filter_map(|t| match &t.inner.token {
        Token::Placeholder(name) => Some((t.span.clone(), name.as_str())),
        _ => None,
    })
}

/// Where each parameter stands first; none for a number that is left out.
pub(crate) fn spans(source: &Source, given: usize) -> Result<Vec<Option<Range<usize>>>, Error> {
    let mut spans = vec![None; given];
    for (span, name) in placeholders(source) {
        let number = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        let Some(at) = number.filter(|n| *n <= PARAMETERS_MAX).and_then(|n| n.checked_sub(1))
        else {
            return Err(Error::syntax(format!("'{name}' is not a parameter"))
                .hint("parameters are written $1, $2, …")
                .at(source.place(span)));
        };
        if spans.len() <= at {
            spans.resize(at + 1, None);
        }
        spans[at].get_or_insert(span);
    }
    Ok(spans)
}

/// Position of a parameter in the list, if the expression is one.
fn index(e: &Expr) -> Option<usize> {
    let Expr::Value(v) = e else { return None };
    let Value::Placeholder(name) = &v.value else { return None };
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// What the tree alone says: `$1::INT` is an INT, a limit is a BIGINT.
struct Hints<'a> {
    types: &'a mut Vec<Option<DataType>>,
}

impl Hints<'_> {
    fn set(&mut self, e: &Expr, data_type: Option<DataType>) {
        if let Some(slot) = index(e).and_then(|i| self.types.get_mut(i))
            && slot.is_none()
        {
            *slot = data_type;
        }
    }
}

impl Visitor for Hints<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        let number = Some(DataType::Int64);
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.iter().for_each(|e| self.set(e, number.clone()));
                offset.iter().for_each(|o| self.set(&o.value, number.clone()));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.set(offset, number.clone());
                self.set(limit, number.clone());
            }
            None => {}
        }
        if let Some(quantity) = query.fetch.as_ref().and_then(|f| f.quantity.as_ref()) {
            self.set(quantity, number);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &Expr) -> Flow {
        if let Expr::Cast { expr, data_type, .. } = e {
            self.set(expr, formats::types::parse(&data_type.to_string()).ok());
        }
        ControlFlow::Continue(())
    }
}

/// What stands beside a parameter says the rest: in `celsius > $1` it is a DOUBLE. DataFusion
/// finds it while it plans; a query that it cannot plan untyped is told about by the real plan.
async fn infer(state: &SessionState, query: &Query, types: &mut [Option<DataType>]) {
    let mut query = Box::new(query.clone());
    cast(&mut query, types);
    let statement = DfStatement::Statement(Box::new(Statement::Query(query)));
    let Ok(plan) = state.statement_to_plan(statement).await else { return };
    let mut found = |id: &str, data_type: &DataType| {
        let number = id.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        if let Some(slot) = number.and_then(|n| n.checked_sub(1)).and_then(|i| types.get_mut(i))
            && slot.is_none()
        {
            *slot = formats::types::platform(data_type);
        }
    };
    let _ = plan_walk::each_of_plan(&plan, &mut |node, e| {
        match e {
            // `x = ANY($1)`: an array of what x is.
            DfExpr::ScalarFunction(f) if f.name() == "array_has" => {
                if let [DfExpr::Placeholder(p), item] = f.args.as_slice()
                    && let Ok(item) = item.get_type(&merge_schema(&node.inputs()))
                {
                    found(&p.id, &formats::types::array(item));
                }
            }
            // Our planner of `/` casts what it divides.
            DfExpr::Cast(c) => {
                if let DfExpr::Placeholder(p) = c.expr.as_ref() {
                    found(&p.id, c.field.data_type());
                }
            }
            DfExpr::Placeholder(p) => {
                if let Some(field) = &p.field {
                    found(&p.id, field.data_type());
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// Each parameter whose type is known becomes a cast to it.
fn cast(query: &mut Query, types: &[Option<DataType>]) {
    let types: Vec<Option<ast::DataType>> =
        types.iter().map(|t| t.as_ref().and_then(written)).collect();
    let _ = walk::change(query, &mut Casts { types });
}

struct Casts {
    types: Vec<Option<ast::DataType>>,
}

impl VisitorMut for Casts {
    type Break = Box<Error>;

    // After the children: what is put in is not visited again.
    fn post_visit_expr(&mut self, e: &mut Expr) -> Flow {
        if let Some(Some(data_type)) = index(e).and_then(|i| self.types.get(i)) {
            *e = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(e.clone()),
                data_type: data_type.clone(),
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}

pub(crate) fn written(data_type: &DataType) -> Option<ast::DataType> {
    let name = formats::types::sql_name(data_type);
    Parser::new(&WatershedDialect).try_with_sql(&name).ok()?.parse_data_type().ok()
}
