//! `/api/openapi.json`: the OpenAPI 3.1 document, made from the table of routes. The schemas are
//! those of the types that the handlers read and write; none is written here.

use axum::Json;
use common::ProblemDetails;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{ROUTES, Route, shape};

/// Where the schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";

pub async fn get() -> Json<Value> {
    Json(document())
}

/// The whole document.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Watershed",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Topics in, views out. Errors are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": { "schemas": schemas.finish() },
    })
}

/// Collects the schemas that the routes ask for. A type is shown as serde reads it in a request,
/// and as serde writes it in an answer.
struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let settings = SchemaSettings::draft2020_12().with(|s| {
            s.definitions_path = SCHEMAS.into();
            s.meta_schema = None;
        });
        Schemas {
            requests: settings.clone().for_deserialize().into_generator(),
            answers: settings.for_serialize().into_generator(),
        }
    }

    fn finish(mut self) -> Map<String, Value> {
        let mut all = self.answers.take_definitions(true);
        all.values_mut().for_each(left_out_is_not_null);
        all.extend(self.requests.take_definitions(true));
        all.sort_keys();
        all
    }
}

/// What an answer may leave out it never has as null: all such members are written with
/// `skip_serializing_if`, which the generator cannot look into.
fn left_out_is_not_null(schema: &mut Value) {
    let null = json!("null");
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema["properties"].as_object_mut() else { return };
    for (_, member) in properties.iter_mut().filter(|(n, _)| !required.contains(&json!(n))) {
        if let Some(types) = member["type"].as_array_mut() {
            types.retain(|t| *t != null);
            if let [only] = types.as_slice() {
                member["type"] = only.clone();
            }
        }
        let Some(either) = member.get_mut("anyOf").and_then(Value::as_array_mut) else { continue };
        either.retain(|of| of["type"] != null);
        let [Value::Object(only)] = either.as_mut_slice() else { continue };
        let only = std::mem::take(only);
        if let Some(member) = member.as_object_mut() {
            member.shift_remove("anyOf");
            member.extend(only);
        }
    }
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let mut parameters: Vec<Value> = path_names(route.path)
        .map(|n| json!({ "name": n, "in": "path", "required": true, "schema": type_of("string") }))
        .collect();
    for p in route.query {
        parameters.push(json!({
            "name": p.name, "in": "query", "required": false,
            "description": p.doc, "schema": type_of(p.kind),
        }));
    }
    let of = (route.answer)(&mut schemas.answers);
    let problem = json!({
        "description": "Problem details",
        "content": { "application/problem+json":
            { "schema": shape::<ProblemDetails>(&mut schemas.answers) } },
    });
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.doc,
        "responses": {
            "200": { "description": "Done", "content": { route.gives: { "schema": of } } },
            "default": problem,
        },
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if !route.takes.is_empty() {
        let mut content = Map::new();
        for (content_type, of) in route.takes {
            content
                .insert(content_type.to_string(), json!({ "schema": of(&mut schemas.requests) }));
        }
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'))
}

fn type_of(name: &str) -> Value {
    json!({ "type": name })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_route_is_there_once() {
        let document = document();
        let mut ids: Vec<&str> = ROUTES.iter().map(|r| r.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ROUTES.len(), "operation ids repeat");
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            assert_eq!(operation["operationId"], route.id);
            let named = operation["parameters"].as_array().map_or(0, Vec::len);
            assert_eq!(named, path_names(route.path).count() + route.query.len(), "{}", route.id);
        }
    }

    fn references<'a>(of: &'a Value, found: &mut Vec<&'a str>) {
        match of {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|m| references(m, found));
            }
            Value::Array(items) => items.iter().for_each(|i| references(i, found)),
            _ => {}
        }
    }

    #[test]
    fn no_two_types_share_a_name_and_all_references_resolve() {
        let mut schemas = Schemas::new();
        ROUTES.iter().for_each(|r| drop(operation(r, &mut schemas)));
        let (requests, answers) = (schemas.requests.definitions(), schemas.answers.definitions());
        for name in requests.keys().chain(answers.keys()) {
            assert!(!(requests.contains_key(name) && answers.contains_key(name)), "{name}");
            assert!(name.chars().all(char::is_alphabetic), "{name} needs a name of its own");
        }
        let document = document();
        let mut found = vec![];
        references(&document, &mut found);
        assert!(found.len() > 50);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_may_be_left_out_is_told_from_what_may_be_null() {
        let schemas = document()["components"]["schemas"].take();
        let required = |of: &str, member: &str| {
            schemas[of]["required"].as_array().unwrap().contains(&json!(member))
        };
        let topic = &schemas["Topic"]["properties"];
        assert!(required("Topic", "last_arrived"));
        assert_eq!(topic["last_arrived"]["type"], json!(["string", "null"]));
        assert!(!required("Topic", "key"));
        assert_eq!(topic["key"]["type"], "string");
        assert_eq!(topic["watermark"]["$ref"], "#/components/schemas/Watermark");
        assert!(required("Reset", "to") && !required("Reset", "dry_run"));
        assert!(!required("View", "sql"), "not in the status of each second");
        assert!(schemas["Column"]["properties"].get("type").is_some());
    }

    #[test]
    fn routes_stand_by_path() {
        assert!(ROUTES.is_sorted_by_key(|r| r.path));
    }
}
