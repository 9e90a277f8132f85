//! `split(text, regex [, limit])`: an array of the parts, empty ones too.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, ListBuilder, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};
use regex::Regex;

use super::regexp_extract::{Patterns, signature};

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Split {
    signature: Signature,
}

impl Default for Split {
    fn default() -> Self {
        Self { signature: signature() }
    }
}

impl ScalarUDFImpl for Split {
    fn name(&self) -> &str {
        "split"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts, regexes, rest @ ..] = columns.as_slice() else {
            return exec_err!("split needs a text and a pattern");
        };
        let (texts, regexes) = (texts.as_string::<i32>(), regexes.as_string::<i32>());
        let limits = rest.first().map(|l| l.as_primitive::<Int32Type>());
        let mut patterns = Patterns::default();
        let mut parts = ListBuilder::new(StringBuilder::new());
        for row in 0..texts.len() {
            let limit_is_null = limits.is_some_and(|l| l.is_null(row));
            if texts.is_null(row) || regexes.is_null(row) || limit_is_null {
                parts.append_null();
                continue;
            }
            let limit = limits.map_or(-1, |l| l.value(row));
            let pattern = patterns.get(regexes.value(row))?;
            for part in pieces(texts.value(row), pattern, limit) {
                parts.values().append_value(part);
            }
            parts.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(parts.finish())))
    }
}

/// At most `limit` parts if that is above 0. A pattern that matches nothing splits into letters.
fn pieces<'t>(text: &'t str, pattern: &Regex, limit: i32) -> Vec<&'t str> {
    let most = usize::try_from(limit).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
    let mut parts = vec![];
    let mut start = 0;
    for found in pattern.find_iter(text) {
        if parts.len() + 1 == most {
            break;
        }
        // As in Java, an empty match at the beginning gives no part.
        if found.is_empty() && (found.start() == 0 || found.start() == text.len()) {
            continue;
        }
        parts.push(&text[start..found.start()]);
        start = found.end();
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let split = |text, pattern, limit| match Regex::new(pattern) {
            Ok(pattern) => pieces(text, &pattern, limit).join("|"),
            Err(e) => e.to_string(),
        };
        assert_eq!(split("a,b,,c", ",", -1), "a|b||c");
        assert_eq!(split("a,b,,c", ",", 2), "a|b,,c");
        assert_eq!(split(",a,", ",", 0), "|a|");
        assert_eq!(split("oneAtwoBthree", "[AB]", -1), "one|two|three");
        assert_eq!(split("abc", "", -1), "a|b|c");
        assert_eq!(split("", ",", -1), "");
    }
}
