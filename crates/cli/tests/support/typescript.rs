//! The schemas of an OpenAPI document as TypeScript: an interface for each, with its doc comments.
//! Knows what the schemas of our types are made of, and fails on anything else.

use serde_json::Value;

const HEAD: &str = "\
// The shapes of the REST contract, made from /api/openapi.json by `make bless`. Do not edit: the
// types are Rust structs. What only the console needs stands in `local.ts`.
";

/// The whole file.
pub fn module(document: &Value) -> String {
    let mut out = HEAD.to_string();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        out.push('\n');
        out.push_str(&comment(schema, ""));
        out.push_str(&format!("export interface {name} {{\n"));
        for (member, of) in schema["properties"].as_object().unwrap() {
            let mark = if is_required(schema, member) { "" } else { "?" };
            out.push_str(&comment(of, "  "));
            out.push_str(&format!("  {member}{mark}: {};\n", type_of(of)));
        }
        // Problem details have members of their own for some answers.
        if schema["additionalProperties"] == true {
            out.push_str("  [more: string]: unknown;\n");
        }
        out.push_str("}\n");
    }
    out
}

pub fn is_required(schema: &Value, member: &str) -> bool {
    schema["required"].as_array().is_some_and(|all| all.iter().any(|m| m == member))
}

fn comment(schema: &Value, indent: &str) -> String {
    let Some(text) = schema["description"].as_str() else { return String::new() };
    let one = format!("{indent}/** {text} */\n");
    if !text.contains('\n') && one.len() <= 101 {
        return one;
    }
    let mut out = format!("{indent}/**\n");
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + word.len() > 95 {
            out.push_str(&format!("{indent} * {line}\n"));
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    out.push_str(&format!("{indent} * {line}\n{indent} */\n"));
    out
}

fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap().to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(|v| v.to_string().replace('"', "'")).collect();
        return values.join(" | ");
    }
    if let Some(either) = schema["anyOf"].as_array() {
        return either.iter().map(type_of).collect::<Vec<_>>().join(" | ");
    }
    match &schema["type"] {
        Value::Null => "unknown".into(),
        Value::String(one) => simple(one, schema),
        Value::Array(types) => {
            let types = types.iter().map(|t| simple(t.as_str().unwrap(), schema));
            types.collect::<Vec<_>>().join(" | ")
        }
        other => panic!("no type: {other}"),
    }
}

fn simple(name: &str, schema: &Value) -> String {
    match name {
        "string" | "boolean" | "null" => name.into(),
        "integer" | "number" => "number".into(),
        "array" => {
            let item = type_of(&schema["items"]);
            if item.contains('|') { format!("({item})[]") } else { format!("{item}[]") }
        }
        "object" => format!("Record<string, {}>", type_of(&schema["additionalProperties"])),
        other => panic!("no type of TypeScript for {other}"),
    }
}
