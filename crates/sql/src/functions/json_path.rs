//! `get_json_object(text, path)`: what stands in a JSON text at a path such as `$.a.b[0]['c'][*]`,
//! as text, as Spark has it. A text that is no JSON has nothing at any path.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct GetJsonObject {
    signature: Signature,
}

impl Default for GetJsonObject {
    fn default() -> Self {
        let texts = vec![DataType::Utf8, DataType::Utf8];
        Self { signature: Signature::exact(texts, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for GetJsonObject {
    fn name(&self) -> &str {
        "get_json_object"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts, paths] = columns.as_slice() else {
            return exec_err!("get_json_object needs a text and a path");
        };
        let (texts, paths) = (texts.as_string::<i32>(), paths.as_string::<i32>());
        let mut known: Option<(&str, Option<Vec<Step>>)> = None;
        let mut out = StringBuilder::new();
        for row in 0..texts.len() {
            if texts.is_null(row) || paths.is_null(row) {
                out.append_null();
                continue;
            }
            let path = paths.value(row);
            if known.as_ref().is_none_or(|(of, _)| *of != path) {
                known = Some((path, parse(path)));
            }
            let steps = known.as_ref().and_then(|(_, steps)| steps.as_deref());
            out.append_option(steps.and_then(|steps| at(texts.value(row), steps)));
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
    /// All elements of a list.
    Each,
}

/// The steps of a path; nothing if it is none.
fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = vec![];
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 || &name[..end] == "*" {
                return None;
            }
            steps.push(Step::Member(name[..end].to_string()));
            rest = &name[end..];
        } else if let Some(name) = rest.strip_prefix("['") {
            let end = name.find("']")?;
            steps.push(Step::Member(name[..end].to_string()));
            rest = &name[end + 2..];
        } else {
            let inner = rest.strip_prefix('[')?;
            let end = inner.find(']')?;
            steps.push(match inner[..end].trim() {
                "*" => Step::Each,
                number => Step::Element(number.parse().ok()?),
            });
            rest = &inner[end + 1..];
        }
    }
    Some(steps)
}

/// What is there, as Spark writes it: texts bare unless they are of a list that was walked.
fn at(text: &str, steps: &[Step]) -> Option<String> {
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    let mut found = vec![];
    collect(whole.get(), steps, &mut found)?;
    let walked = steps.contains(&Step::Each);
    match (&found[..], walked) {
        ([], _) => None,
        ([one], false) if *one == "null" => None,
        ([one], false) if one.starts_with('"') => serde_json::from_str(one).ok(),
        ([one], _) => Some(compact(one)),
        (several, _) => {
            let several: Vec<String> = several.iter().map(|one| compact(one)).collect();
            Some(format!("[{}]", several.join(",")))
        }
    }
}

/// Nothing when a value on the way is no JSON.
fn collect<'a>(value: &'a str, steps: &[Step], found: &mut Vec<&'a str>) -> Option<()> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return Some(());
    };
    match step {
        Step::Member(name) if value.starts_with('{') => {
            let Members(members) = serde_json::from_str(value).ok()?;
            if let Some((_, value)) = members.into_iter().find(|(n, _)| n == name) {
                collect(value.get(), rest, found)?;
            }
        }
        Step::Element(_) | Step::Each if value.starts_with('[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            let wanted = |i: &usize| match step {
                Step::Element(n) => i == n,
                _ => true,
            };
            for (_, element) in elements.iter().enumerate().filter(|(i, _)| wanted(i)) {
                collect(element.get(), rest, found)?;
            }
        }
        _ => {}
    }
    Some(())
}

/// The members of an object in their order; of several with one name the first counts.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Members<'de>, A::Error> {
                let mut members = vec![];
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(InOrder)
    }
}

/// Without the blanks between its parts.
fn compact(json: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        if in_text || !c.is_ascii_whitespace() {
            out.push(c);
        }
        in_text = match c {
            '"' if !escaped => !in_text,
            _ => in_text,
        };
        escaped = in_text && c == '\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as Spark 4 gives them.
    #[test]
    fn paths_lead_to_values() {
        let text = r#" {"a": {"b c": [1, {"x": "y\n\"z\""}, null]}, "n": 1.50, "t": true, "a": 2,
                        "l": [{"v": 1}, {"v": "two"}, {"w": 3}], "e": {}, "o": [{"v": "one"}]} "#;
        for (path, wanted) in [
            ("$.n", Some("1.50")),
            ("$.t", Some("true")),
            ("$.a['b c'][0]", Some("1")),
            ("$.a['b c'][1].x", Some("y\n\"z\"")),
            ("$.a['b c'][1]", Some(r#"{"x":"y\n\"z\""}"#)),
            ("$.a['b c'][2]", None),
            ("$.a['b c'][3]", None),
            ("$.e", Some("{}")),
            ("$.l[*].v", Some(r#"[1,"two"]"#)),
            ("$.o[*].v", Some(r#""one""#)),
            ("$.l[*].z", None),
            ("$.n.x", None),
            ("$.missing", None),
            ("n", None),
            ("$.", None),
            ("$.l[x]", None),
        ] {
            let steps = parse(path);
            let found = steps.and_then(|steps| at(text, &steps));
            assert_eq!(found.as_deref(), wanted, "{path}");
        }
        for broken in ["", "{", "{\"n\":}", "[1, 2", "nothing"] {
            assert_eq!(parse("$.n").and_then(|steps| at(broken, &steps)), None, "{broken}");
        }
        assert_eq!(parse("$").and_then(|s| at("[ 1 , 2 ]", &s)).as_deref(), Some("[1,2]"));
    }
}
