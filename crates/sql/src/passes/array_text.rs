//! `'{1,2}'::int[]`: an array as Postgres writes it in a text (manual, section 8.15.2), which its
//! drivers send where they have no array of their own. A cast of such a text becomes a cast of an
//! ARRAY with each item cast. Spark has no cast from text to array, so no text loses a meaning.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, Expr, Value, VisitMut,
};

use crate::walk;

/// Dimensions of an array that is written as a text; with more it is no array.
const DEPTH_MAX: usize = 6;

pub(crate) fn spell_out<T: VisitMut>(node: &mut T) {
    walk::each_expression(node, &mut |e| {
        if let Expr::Cast { expr, data_type, .. } = e
            && let Expr::Value(value) = &**expr
            && let Value::SingleQuotedString(text) = &value.value
            && let Some(array) = array(text, data_type)
        {
            **expr = array;
        }
    });
}

fn array(text: &str, data_type: &DataType) -> Option<Expr> {
    let mut chars = text.trim().chars().peekable();
    let array = items(&mut chars, data_type, 0)?;
    chars.next().is_none().then_some(array)
}

/// From `{` to `}`; nothing if it is not written so.
fn items(chars: &mut Peekable<Chars>, data_type: &DataType, depth: usize) -> Option<Expr> {
    let inner = item_type(data_type).filter(|_| depth < DEPTH_MAX)?;
    chars.next_if_eq(&'{')?;
    let mut elem = vec![];
    blanks(chars);
    if chars.next_if_eq(&'}').is_none() {
        loop {
            blanks(chars);
            elem.push(match chars.peek()? {
                '{' => items(chars, inner, depth + 1)?,
                _ => cast(item(chars)?, inner),
            });
            blanks(chars);
            match chars.next()? {
                ',' => {}
                '}' => break,
                _ => return None,
            }
        }
    }
    Some(Expr::Array(Array { elem, named: true }))
}

fn item_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(inner, _)
            | ArrayElemTypeDef::AngleBracket(inner)
            | ArrayElemTypeDef::Parenthesis(inner),
        ) => Some(inner),
        _ => None,
    }
}

/// A text in quotes, with backslashes before what is meant as it is; or what stands up to the next
/// comma or brace, where NULL is none.
fn item(chars: &mut Peekable<Chars>) -> Option<Value> {
    let mut text = String::new();
    if chars.next_if_eq(&'"').is_some() {
        loop {
            match chars.next()? {
                '"' => return Some(Value::SingleQuotedString(text)),
                '\\' => text.push(chars.next()?),
                c => text.push(c),
            }
        }
    }
    while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '{' | '}' | '"')) {
        text.push(if c == '\\' { chars.next()? } else { c });
    }
    let text = text.trim_end();
    match text {
        "" => None,
        _ if text.eq_ignore_ascii_case("null") => Some(Value::Null),
        _ => Some(Value::SingleQuotedString(text.to_string())),
    }
}

fn blanks(chars: &mut Peekable<Chars>) {
    while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
}

fn cast(value: Value, data_type: &DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(value.into())),
        data_type: data_type.clone(),
        array: false,
        format: None,
    }
}
