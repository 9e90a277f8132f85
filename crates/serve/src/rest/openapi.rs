//! `/api/openapi.json`: the OpenAPI 3.1 document, made from the table of routes.

use axum::Json;
use serde_json::{Map, Value, json};

use super::{ROUTES, Route};

pub async fn get() -> Json<Value> {
    Json(document())
}

/// The whole document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Watershed",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Topics in, views out. Errors are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = path_names(route.path)
        .map(|n| json!({ "name": n, "in": "path", "required": true, "schema": type_of("string") }))
        .collect();
    for p in route.query {
        parameters.push(json!({
            "name": p.name, "in": "query", "required": false,
            "description": p.doc, "schema": type_of(p.kind),
        }));
    }
    let of = json!({ "$ref": format!("#/components/schemas/{}", route.schema) });
    let problem = json!({
        "description": "Problem details",
        "content": { "application/problem+json":
            { "schema": { "$ref": "#/components/schemas/Problem" } } },
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
        let content: Map<String, Value> =
            route.takes.iter().map(|t| (t.to_string(), json!({ "schema": {} }))).collect();
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

fn object(members: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(n, v)| (n.to_string(), v.clone())).collect();
    json!({ "type": "object", "properties": properties })
}

fn list_of(name: &str) -> Value {
    json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{name}") } })
}

fn schemas() -> Value {
    let (text, number) = (|| type_of("string"), || type_of("integer"));
    let (any, flag) = (|| json!({}), || type_of("boolean"));
    let anys = || json!({ "type": "array", "items": {} });
    let optional = || json!({ "type": ["string", "null"] });
    let mut schemas = json!({
        "Any": {},
        "Text": text(),
        "Ready": object(&[("ready", flag()), ("problems", list_of("Problem"))]),
        "Column": object(&[("name", text()), ("type", text()), ("nullable", flag())]),
        "Problem": object(&[
            ("type", text()), ("title", text()), ("status", number()), ("detail", text()),
            ("code", text()), ("sqlstate", text()), ("hint", text()), ("place", object(&[
                ("file", optional()), ("line", number()), ("column", number()),
                ("end_line", number()), ("end_column", number()), ("text", text()),
            ])),
        ]),
        "Ingested": object(&[
            ("accepted", number()), ("refused", number()), ("partitions", anys()),
            ("errors", anys()), ("errors_omitted", number()),
        ]),
        "Events": object(&[("events", anys()), ("next", type_of("object"))]),
        "Views": list_of("View"),
        "View": object(&[
            ("name", text()), ("sql", text()), ("columns", list_of("Column")), ("key", anys()),
            ("state", text()), ("error", any()), ("epoch", number()), ("rows", number()),
            ("lag_events", number()), ("freshness_ms", any()),
        ]),
        "Rows": object(&[
            ("columns", list_of("Column")), ("rows", anys()), ("epoch", number()),
            ("next", optional()), ("stopped", optional()),
        ]),
        "Changes": object(&[("epoch", number()), ("changes", anys())]),
        "SqlResult": object(&[
            ("columns", list_of("Column")), ("rows", anys()), ("rows_omitted", flag()),
            ("elapsed_ms", number()), ("message", text()),
        ]),
        "Status": object(&[
            ("version", text()), ("project", optional()), ("uptime_s", type_of("number")),
            ("ready", flag()), ("events_per_second", type_of("number")),
            ("events_total", number()), ("topics", number()), ("views", anys()),
            ("sources", anys()), ("sinks", anys()), ("archive", anys()),
            ("dead_letters", number()), ("problems", list_of("Problem")),
            ("memory_bytes", any()), ("disk_bytes", any()),
        ]),
        "Dashboards": anys(),
        "Objects": json!({ "type": "array", "items": object(&[
            ("kind", text()), ("name", text()), ("depends_on", anys()), ("file", optional()),
            ("statement", text()), ("info", any()),
        ]) }),
    });
    for more in [log_schemas(), letter_schemas()] {
        if let (Value::Object(all), Value::Object(more)) = (&mut schemas, more) {
            all.extend(more);
        }
    }
    schemas
}

/// Of dead letters.
fn letter_schemas() -> Value {
    let (text, number) = (|| type_of("string"), || type_of("integer"));
    let letter = object(&[
        ("id", text()),
        ("at", text()),
        ("topic", text()),
        ("view", text()),
        ("partition", number()),
        ("offset", number()),
        ("file", text()),
        ("line", number()),
        ("column", text()),
        ("kind", text()),
        ("reason", text()),
        ("header", text()),
        ("resent_at", text()),
        ("raw", text()),
        ("raw_bytes", text()),
    ]);
    json!({
        "DeadLetters": object(&[
            ("rows", json!({ "type": "array", "items": letter })),
            ("next", json!({ "type": ["string", "null"] })), ("total", number()),
        ]),
        "DeletedLetters": object(&[("deleted", number())]),
        "Resent": object(&[
            ("accepted", number()), ("refused", number()),
            ("left", json!({ "type": "object", "additionalProperties": text() })),
        ]),
        "Backup": object(&[
            ("to", text()), ("at", text()), ("records", number()), ("files", number()),
            ("bytes", number()),
        ]),
        "Rebuilt": object(&[("rebuilt", text())]),
    })
}

/// Of topics and groups.
fn log_schemas() -> Value {
    let (text, number) = (|| type_of("string"), || type_of("integer"));
    let (any, flag) = (|| json!({}), || type_of("boolean"));
    let anys = || json!({ "type": "array", "items": {} });
    let optional = || json!({ "type": ["string", "null"] });
    json!({
        "Topics": list_of("Topic"),
        "Topic": object(&[
            ("name", text()), ("format", text()), ("partitions", number()),
            ("columns", list_of("Column")), ("records", number()), ("bytes", number()),
            ("retention_ms", number()), ("retention_bytes", number()), ("cleanup_policy", text()),
            ("events_per_second", any()), ("bytes_per_second", any()),
            ("last_arrived", optional()),
        ]),
        "Partitions": list_of("Partition"),
        "Partition": object(&[
            ("partition", number()), ("log_start_offset", number()),
            ("last_stable_offset", number()), ("log_end_offset", number()),
            ("records", number()), ("bytes", number()), ("segments", number()),
            ("records_per_second", any()), ("bytes_per_second", any()),
            ("max_timestamp", optional()),
        ]),
        "DeletedRecords": json!({ "type": "array", "items":
            object(&[("partition", number()), ("low_watermark", number())]) }),
        "Records": object(&[
            ("records", list_of("Record")), ("next", text()), ("end", flag()),
        ]),
        "Record": object(&[
            ("partition", number()), ("offset", number()), ("timestamp", text()),
            ("timestamp_type", text()), ("key", optional()), ("key_encoding", optional()),
            ("value", any()), ("value_encoding", optional()), ("value_bytes", number()),
            ("headers", json!({ "type": "array", "items": object(&[
                ("key", text()), ("value", optional()), ("encoding", optional()),
            ]) })),
            ("refused", flag()), ("error", text()), ("batch", object(&[
                ("base_offset", number()), ("records", number()), ("bytes", number()),
                ("compression", text()), ("producer_id", any()), ("producer_epoch", any()),
                ("base_sequence", any()), ("transactional", flag()),
            ])),
        ]),
        "Groups": json!({ "type": "array", "items": object(&[
            ("group", text()), ("state", text()), ("type", text()), ("protocol_type", text()),
            ("members", number()), ("topics", anys()), ("lag", any()),
        ]) }),
        "Group": object(&[
            ("group", text()), ("state", text()), ("type", text()), ("protocol_type", text()),
            ("assignor", text()), ("lag", any()),
            ("members", json!({ "type": "array", "items": object(&[
                ("consumer_id", text()), ("group_instance_id", optional()), ("client_id", text()),
                ("host", text()), ("assignment", anys()),
            ]) })),
            ("partitions", json!({ "type": "array", "items": object(&[
                ("topic", text()), ("partition", number()), ("current_offset", any()),
                ("log_start_offset", any()), ("log_end_offset", any()), ("lag", any()),
                ("metadata", text()), ("consumer_id", optional()), ("client_id", optional()),
                ("host", optional()),
            ]) })),
        ]),
        "Deleted": object(&[("deleted", text())]),
        "ResetPlan": object(&[
            ("group", text()), ("state", text()), ("executed", flag()),
            ("partitions", json!({ "type": "array", "items": object(&[
                ("topic", text()), ("partition", number()), ("current_offset", any()),
                ("new_offset", number()), ("lag", number()), ("clamped", flag()),
            ]) })),
        ]),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_route_is_there_once_and_all_references_resolve() {
        let document = document();
        let mut ids: Vec<&str> = ROUTES.iter().map(|r| r.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ROUTES.len(), "operation ids repeat");
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            assert_eq!(operation["operationId"], route.id);
            assert!(document["components"]["schemas"].get(route.schema).is_some(), "{}", route.id);
            let named = operation["parameters"].as_array().map_or(0, Vec::len);
            assert_eq!(named, path_names(route.path).count() + route.query.len(), "{}", route.id);
        }
    }

    #[test]
    fn routes_stand_by_path() {
        assert!(ROUTES.is_sorted_by_key(|r| r.path));
    }
}
