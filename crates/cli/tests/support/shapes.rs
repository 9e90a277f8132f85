//! Whether an answer is what the OpenAPI document says of its route: members known, those required
//! there, all of the right type. Stricter than JSON Schema, where unknown members are welcome.

use serde_json::Value;

use super::Answer;
use super::typescript::is_required;

/// Panics where an answer is not as the document says.
pub fn check(document: &Value, method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    let Some(operation) = operation(document, method, path) else { return };
    let responses = &operation["responses"];
    let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
    let response = if answer.status == 200 { &responses["200"] } else { &responses["default"] };
    let content = &response["content"][kind];
    assert!(content.is_object(), "{method} {path} gives {kind}, the document says {response}");
    let Ok(value) = serde_json::from_slice::<Value>(&answer.body) else { return };
    let mut faults = vec![];
    compare(document, &content["schema"], &value, "answer", &mut faults);
    assert!(faults.is_empty(), "{method} {path}: {}\n{value:#}", faults.join("\n"));
}

/// Of the path with the fewest parameters.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |known: &str| {
        let known: Vec<&str> = known.split('/').collect();
        let same = |(k, p): (&&str, &&str)| k.starts_with('{') || k == p;
        known.len() == parts.len() && known.iter().zip(&parts).all(same)
    };
    let paths = document["paths"].as_object().unwrap().iter().filter(|(p, _)| fits(p));
    let (_, found) = paths.min_by_key(|(p, _)| p.matches('{').count())?;
    found.get(method.to_lowercase())
}

fn compare(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(&reference[1..]).unwrap();
        return compare(document, schema, value, at, faults);
    }
    if let Some(either) = schema["anyOf"].as_array() {
        let fits = |schema: &Value| {
            let mut faults = vec![];
            compare(document, schema, value, at, &mut faults);
            faults.is_empty()
        };
        if !either.iter().any(fits) {
            faults.push(format!("{at} is none of {schema}: {value}"));
        }
        return;
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        faults.push(format!("{at} is none of {}: {value}", schema["enum"]));
    }
    let types = match &schema["type"] {
        Value::Null => return,
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => vec![one.as_str().unwrap()],
    };
    if !types.iter().any(|t| is_a(t, value)) {
        return faults.push(format!("{at} is no {}: {value}", types.join(" or ")));
    }
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                compare(document, &schema["items"], item, &format!("{at}[{i}]"), faults);
            }
        }
        Value::Object(members) => {
            let properties = schema["properties"].as_object();
            for name in properties.into_iter().flat_map(|p| p.keys()) {
                if is_required(schema, name) && !members.contains_key(name) {
                    faults.push(format!("{at} has no '{name}'"));
                }
            }
            for (name, member) in members {
                let known = properties.and_then(|p| p.get(name));
                let of = known.or(schema.get("additionalProperties").filter(|m| **m != false));
                match of {
                    Some(of) => compare(document, of, member, &format!("{at}.{name}"), faults),
                    None => faults.push(format!("{at} has the unknown member '{name}'")),
                }
            }
        }
        _ => {}
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type of JSON: {other}"),
    }
}
