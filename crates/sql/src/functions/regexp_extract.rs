//! `regexp_extract(text, regex [, group])`: what a group (the first one) of the first match
//! covers; an empty text where nothing matches.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use regex::Regex;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RegexpExtract {
    signature: Signature,
}

impl Default for RegexpExtract {
    fn default() -> Self {
        Self { signature: signature() }
    }
}

/// A text, a pattern, and a number or not.
pub(crate) fn signature() -> Signature {
    let two = vec![DataType::Utf8, DataType::Utf8];
    let three = vec![DataType::Utf8, DataType::Utf8, DataType::Int32];
    let all = vec![TypeSignature::Exact(two), TypeSignature::Exact(three)];
    Signature::one_of(all, Volatility::Immutable)
}

/// Patterns that were compiled, for a batch.
#[derive(Default)]
pub(crate) struct Patterns {
    known: HashMap<String, Regex>,
}

impl Patterns {
    pub fn get(&mut self, pattern: &str) -> Result<&Regex> {
        if !self.known.contains_key(pattern) {
            let compiled = Regex::new(pattern).map_err(|e| {
                let why = e.to_string();
                let why = why.lines().last().unwrap_or("").trim_start_matches("error: ");
                let message = format!("'{pattern}' is not a regular expression: {why}");
                DataFusionError::Execution(message)
            })?;
            self.known.insert(pattern.to_string(), compiled);
        }
        Ok(&self.known[pattern])
    }
}

impl ScalarUDFImpl for RegexpExtract {
    fn name(&self) -> &str {
        "regexp_extract"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts, regexes, rest @ ..] = columns.as_slice() else {
            return exec_err!("regexp_extract needs a text and a pattern");
        };
        let (texts, regexes) = (texts.as_string::<i32>(), regexes.as_string::<i32>());
        let groups = rest.first().map(|g| g.as_primitive::<Int32Type>());
        let (mut patterns, mut found) = (Patterns::default(), StringBuilder::new());
        for row in 0..texts.len() {
            let no_group = groups.is_some_and(|g| g.is_null(row));
            if texts.is_null(row) || regexes.is_null(row) || no_group {
                found.append_null();
                continue;
            }
            let group = groups.map_or(1, |g| g.value(row));
            let regex = patterns.get(regexes.value(row))?;
            let count = regex.captures_len() - 1;
            let Some(group) = usize::try_from(group).ok().filter(|g| *g <= count) else {
                return exec_err!(
                    "regexp_extract() was asked for group {group}, the pattern has {count}"
                );
            };
            let matched = regex.captures(texts.value(row)).and_then(|c| c.get(group));
            found.append_value(matched.map_or("", |m| m.as_str()));
        }
        Ok(ColumnarValue::Array(Arc::new(found.finish())))
    }
}
