//! `regexp_extract(text, regex [, group])`: what a group (the first one) of the first match
//! covers; an empty text where nothing matches. `regexp_extract_all` gives that of every match.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, ListBuilder, StringBuilder};
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

/// What was asked for of a row: its text, its pattern and the number of the group.
type Asked<'a> = Option<(&'a str, &'a Regex, usize)>;

/// Calls `each` for every row; with nothing where one of the arguments is NULL.
fn each_row(name: &str, args: &ScalarFunctionArgs, each: &mut dyn FnMut(Asked<'_>)) -> Result<()> {
    let columns = ColumnarValue::values_to_arrays(&args.args)?;
    let [texts, regexes, rest @ ..] = columns.as_slice() else {
        return exec_err!("{name} needs a text and a pattern");
    };
    let (texts, regexes) = (texts.as_string::<i32>(), regexes.as_string::<i32>());
    let groups = rest.first().map(|g| g.as_primitive::<Int32Type>());
    let mut patterns = Patterns::default();
    for row in 0..texts.len() {
        let no_group = groups.is_some_and(|g| g.is_null(row));
        if texts.is_null(row) || regexes.is_null(row) || no_group {
            each(None);
            continue;
        }
        let group = groups.map_or(1, |g| g.value(row));
        let regex = patterns.get(regexes.value(row))?;
        let count = regex.captures_len() - 1;
        let Some(group) = usize::try_from(group).ok().filter(|g| *g <= count) else {
            return exec_err!("{name}() was asked for group {group}, the pattern has {count}");
        };
        each(Some((texts.value(row), regex, group)));
    }
    Ok(())
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
        let mut found = StringBuilder::new();
        each_row(self.name(), &args, &mut |asked| {
            found.append_option(asked.map(|(text, regex, group)| {
                let matched = regex.captures(text).and_then(|c| c.get(group));
                matched.map_or("", |m| m.as_str())
            }));
        })?;
        Ok(ColumnarValue::Array(Arc::new(found.finish())))
    }
}

/// `regexp_extract_all`: the same of every match, as a list.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RegexpExtractAll {
    signature: Signature,
}

impl Default for RegexpExtractAll {
    fn default() -> Self {
        Self { signature: signature() }
    }
}

impl ScalarUDFImpl for RegexpExtractAll {
    fn name(&self) -> &str {
        "regexp_extract_all"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut found = ListBuilder::new(StringBuilder::new());
        each_row(self.name(), &args, &mut |asked| {
            if let Some((text, regex, group)) = asked {
                for matched in regex.captures_iter(text) {
                    found.values().append_value(matched.get(group).map_or("", |m| m.as_str()));
                }
            }
            found.append(asked.is_some());
        })?;
        Ok(ColumnarValue::Array(Arc::new(found.finish())))
    }
}
