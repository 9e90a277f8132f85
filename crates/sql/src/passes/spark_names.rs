//! Functions that Spark has and DataFusion calls otherwise, said in what DataFusion has. A change
//! to the syntax tree, so that each function is a line here. Those that need code of their own
//! are in `functions/`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, TimezoneInfo,
    UnaryOperator, Value, VisitMut,
};

use crate::functions::try_arithmetic;
use crate::passes::aggregate_names;
use crate::walk;

/// The same function under another name.
const RENAMED: [(&str, &str); 22] = [
    ("any", "bool_or"),
    ("array_size", "size"),
    ("bool_any", "bool_or"),
    ("curdate", "current_date"),
    ("endswith", "ends_with"),
    ("every", "bool_and"),
    ("explode", "unnest"),
    ("first", "first_value"),
    ("grouping_id", "grouping"),
    ("iff", "if"),
    ("last", "last_value"),
    ("lcase", "lower"),
    ("listagg", "string_agg"),
    ("regexp", "regexp_like"),
    ("rlike", "regexp_like"),
    ("sequence", "generate_series"),
    ("sign", "signum"),
    ("some", "bool_or"),
    ("startswith", "starts_with"),
    ("std", "stddev"),
    ("ucase", "upper"),
    ("variance", "var_samp"),
];

/// `name(args)` as another expression; see `meaning`.
const MEANT: [&str; 21] = [
    "bigint",
    "boolean",
    "date_from_unix_date",
    "double",
    "equal_null",
    "float",
    "int",
    "isnotnull",
    "isnull",
    "locate",
    "log1p",
    "nullifzero",
    "regexp_replace",
    "string",
    "timestamp_seconds",
    "try_add",
    "try_divide",
    "try_multiply",
    "try_subtract",
    "unix_timestamp",
    "zeroifnull",
];

/// They take no BIGINT, which is what DataFusion takes a literal for before `int_literals.rs`.
const WANT_INT: [&str; 17] = [
    "add_months",
    "bit_get",
    "date_add",
    "date_sub",
    "dateadd",
    "factorial",
    "getbit",
    "make_dt_interval",
    "make_interval",
    "regexp_extract",
    "regexp_extract_all",
    "sha2",
    "shiftleft",
    "shiftright",
    "shiftrightunsigned",
    "space",
    "split",
];

/// Names of functions that have another, and that other.
pub(crate) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    RENAMED.into_iter()
}

/// Names that are another expression.
pub(crate) fn meant() -> impl Iterator<Item = &'static str> {
    MEANT.into_iter()
}

/// Operators and functions of Spark.
pub(crate) fn resolve<T: VisitMut>(node: &mut T) {
    walk::each_expression(node, &mut |e| match e {
        Expr::RLike { negated, expr, pattern, .. } => {
            let like = call("regexp_like", [expr.as_ref().clone(), pattern.as_ref().clone()]);
            *e = if *negated { not(like) } else { like };
        }
        Expr::Function(f) => {
            if let Some(meant) = function(f) {
                *e = meant;
            }
        }
        _ => {}
    });
}

fn function(f: &mut Function) -> Option<Expr> {
    let name = f.name.to_string().to_lowercase();
    if WANT_INT.contains(&name.as_str())
        && let FunctionArguments::List(list) = &mut f.args
    {
        list.args.iter_mut().for_each(int_literal);
    }
    aggregate_names::order_within(&name, f);
    if let Some((_, other)) = RENAMED.iter().find(|(n, _)| *n == name) {
        f.name = ObjectName::from(vec![Ident::new(*other)]);
        return None;
    }
    if aggregate_names::NAMES.contains(&name.as_str()) {
        return aggregate_names::meaning(&name, f);
    }
    if !MEANT.contains(&name.as_str()) {
        return None;
    }
    let FunctionArguments::List(list) = &f.args else { return None };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    let args = list.args.iter().map(|a| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    });
    meaning(&name, args.collect::<Option<Vec<_>>>()?)
}

fn int_literal(arg: &mut FunctionArg) {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = arg else { return };
    let inner = match &*e {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => expr.as_ref(),
        e => e,
    };
    if let Expr::Value(v) = inner
        && let Value::Number(n, _) = &v.value
        && n.parse::<i32>().is_ok()
    {
        *e = cast(e.clone(), DataType::Int(None));
    }
}

/// None where the number of arguments is another: the error names the function then.
fn meaning(name: &str, args: Vec<Expr>) -> Option<Expr> {
    let timestamp = DataType::Timestamp(None, TimezoneInfo::None);
    Some(match (name, <[Expr; 1]>::try_from(args.clone()).ok()) {
        ("bigint", Some([x])) => cast(x, DataType::BigInt(None)),
        ("boolean", Some([x])) => cast(x, DataType::Boolean),
        ("double", Some([x])) => cast(x, DataType::Double(ExactNumberInfo::None)),
        ("float", Some([x])) => cast(x, DataType::Real),
        ("int", Some([x])) => cast(x, DataType::Int(None)),
        ("string", Some([x])) => cast(x, DataType::Text),
        ("timestamp_seconds", Some([x])) => cast(x, timestamp),
        ("unix_timestamp", Some([x])) => call("unix_seconds", [cast(x, timestamp)]),
        ("date_from_unix_date", Some([x])) => {
            let first = cast(text("1970-01-01"), DataType::Date);
            call("date_add", [first, cast(x, DataType::Int(None))])
        }
        ("isnull", Some([x])) => Expr::IsNull(Box::new(x)),
        ("isnotnull", Some([x])) => Expr::IsNotNull(Box::new(x)),
        ("log1p", Some([x])) => call("ln", [binary(number("1"), BinaryOperator::Plus, x)]),
        ("nullifzero", Some([x])) => call("nullif", [x, number("0")]),
        ("zeroifnull", Some([x])) => call("coalesce", [x, number("0")]),
        _ => return several(name, args),
    })
}

fn several(name: &str, args: Vec<Expr>) -> Option<Expr> {
    match (name, args.as_slice()) {
        ("equal_null", [x, y]) => {
            Some(Expr::IsNotDistinctFrom(Box::new(x.clone()), Box::new(y.clone())))
        }
        ("try_add" | "try_divide" | "try_multiply" | "try_subtract", [x, y]) => {
            let op = match name {
                "try_add" => BinaryOperator::Plus,
                "try_divide" => BinaryOperator::Divide,
                "try_multiply" => BinaryOperator::Multiply,
                _ => BinaryOperator::Minus,
            };
            Some(call(try_arithmetic::NAME, [binary(x.clone(), op, y.clone())]))
        }
        // Spark's order of arguments is the other way round.
        ("locate", [part, whole]) => Some(call("strpos", [whole.clone(), part.clone()])),
        // Spark replaces all matches, DataFusion the first one.
        ("regexp_replace", [s, pattern, by]) => {
            Some(call(name, [s.clone(), pattern.clone(), by.clone(), text("g")]))
        }
        _ => None,
    }
}

pub(crate) fn call(name: &str, args: impl IntoIterator<Item = Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn cast(e: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(e), data_type, array: false, format: None }
}

pub(crate) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn not(e: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(e) }
}

pub(crate) fn number(n: &str) -> Expr {
    Expr::Value(Value::Number(n.into(), false).into())
}

fn text(t: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(t.into()).into())
}
