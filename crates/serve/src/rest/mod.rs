//! The REST door: one table of all routes, one file per resource. The router and the OpenAPI
//! document are both made from the table, so that neither can know a route the other does not.

mod backup;
mod changes;
mod dashboards;
mod dead_letters;
mod events;
mod groups;
mod health;
mod metrics;
mod objects;
pub mod openapi;
mod parameters;
mod partitions;
mod records;
mod sql;
mod status;
mod topics;
mod views;

use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Router, middleware};
use common::Error;
use engine::{
    BackupInfo, Dashboard, DeadLetterPage, DeletedRecords, GroupDetail, GroupInfo, Ingested,
    ObjectInfo, OperatorInfo, PartitionInfo, Resend, Resent, ResetPlan, Status, TopicInfo,
    ViewInfo,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::problem::Problem;
use crate::{console, guard};
pub use events::KEEP_ALIVE;

/// One route, with all that is said about it.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// The operation's id in OpenAPI.
    pub id: &'static str,
    pub doc: &'static str,
    pub query: &'static [Parameter],
    /// Content types it takes, and the shape of what is in them.
    pub takes: &'static [(&'static str, Shape)],
    /// Content type it gives.
    pub gives: &'static str,
    /// Of the answer, or of the data of each event.
    pub answer: Shape,
    pub handler: fn() -> MethodRouter<App>,
}

/// The schema of a type of ours.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A query parameter.
pub struct Parameter {
    pub name: &'static str,
    pub kind: &'static str,
    pub doc: &'static str,
}

const fn parameter(name: &'static str, kind: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind, doc }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// A route that answers with a `T` as JSON.
const fn read<T: JsonSchema>(
    path: &'static str,
    id: &'static str,
    doc: &'static str,
    handler: fn() -> MethodRouter<App>,
) -> Route {
    let (query, takes): (&[Parameter], &[(&str, Shape)]) = (&[], &[]);
    let (method, gives, answer) = ("GET", JSON, shape::<T> as Shape);
    Route { method, path, id, doc, query, takes, gives, answer, handler }
}

/// All routes but the console's files, by path.
pub const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        takes: &[(JSON, shape::<backup::Asked>)],
        ..read::<BackupInfo>(
            "/api/backup",
            "backup",
            "Copies the project with all its data, as of one moment, into the folder `to`, which \
             must be missing or empty and lie where `files.allowed` lets statements write",
            || post(backup::make),
        )
    },
    read::<Vec<Dashboard>>(
        "/api/dashboards",
        "listDashboards",
        "Dashboards of the project",
        || get(dashboards::list),
    ),
    Route {
        query: &[
            parameter("topic", "string", "only letters of this topic"),
            parameter(
                "kind",
                "string",
                "parse, type, missing, check, too_large, late, future, compute or encoding",
            ),
            parameter("limit", "integer", "rows of a page (100)"),
            parameter("after", "string", "`next` of the page before"),
        ],
        ..read::<DeadLetterPage>(
            "/api/dead-letters",
            "listDeadLetters",
            "Events that were refused, newest first, with the reason",
            || get(dead_letters::list),
        )
    },
    Route {
        method: "DELETE",
        query: &[
            parameter("ids", "string", "ids, separated by commas"),
            parameter("topic", "string", "all of this topic"),
            parameter("kind", "string", "all of this kind"),
        ],
        ..read::<dead_letters::Deleted>(
            "/api/dead-letters",
            "deleteDeadLetters",
            "Removes dead letters",
            || delete(dead_letters::delete),
        )
    },
    Route {
        method: "POST",
        takes: &[(JSON, shape::<Resend>)],
        ..read::<Resent>(
            "/api/dead-letters/resend",
            "resendDeadLetters",
            "Sends dead letters again, each once: those of `ids`, or all of a `topic` or `kind`; \
             `edited` has what is sent in the place of a letter's bytes, by its id",
            || post(dead_letters::resend),
        )
    },
    read::<Vec<GroupInfo>>(
        "/api/groups",
        "listGroups",
        "All consumer groups, with their lag",
        || get(groups::list),
    ),
    read::<GroupDetail>(
        "/api/groups/{group}",
        "describeGroup",
        "Members of a group, what they read, and how far behind it is",
        || get(groups::describe),
    ),
    Route {
        method: "DELETE",
        ..read::<groups::Deleted>(
            "/api/groups/{group}",
            "deleteGroup",
            "Removes a group without members, with its offsets",
            || delete(groups::delete),
        )
    },
    Route {
        method: "POST",
        takes: &[(JSON, shape::<groups::Reset>)],
        ..read::<ResetPlan>(
            "/api/groups/{group}/offsets",
            "resetOffsets",
            "Sets offsets of a group without members: `to` is earliest, latest, current, an \
             offset, a shift (`+5`, `-5`) or a time; `topics` are names, or `topic:0,1` (without: \
             all that the group committed); with `dry_run` it only says what would change",
            || post(groups::reset),
        )
    },
    Route {
        query: &[parameter("kind", "string", "only of this kind: topic, source, view or sink")],
        ..read::<Vec<ObjectInfo>>(
            "/api/objects",
            "listObjects",
            "Everything that is defined, kind by kind, with its statement and what runs of it",
            || get(objects::list),
        )
    },
    read::<Value>("/api/openapi.json", "getOpenApi", "This document", || get(openapi::get)),
    read::<Vec<OperatorInfo>>(
        "/api/pipelines/{pipeline}/operators",
        "listOperators",
        "The operators that keep a view up to date, or fill a sink: what goes through each, and \
         what it keeps",
        || get(objects::operators),
    ),
    Route {
        method: "POST",
        takes: &[(JSON, shape::<sql::Request>)],
        ..read::<sql::SqlResult>("/api/sql", "runSql", "Runs one SQL statement of any kind", || {
            post(sql::run)
        })
    },
    read::<Status>("/api/status", "getStatus", "What runs, how fast, and what is wrong", || {
        get(status::get)
    }),
    Route {
        gives: EVENTS,
        ..read::<Status>(
            "/api/status/changes",
            "followStatus",
            "The status each second, as events named `status`",
            || get(status::follow),
        )
    },
    read::<Vec<TopicInfo>>("/api/topics", "listTopics", "All topics", || get(topics::list)),
    Route {
        query: &[
            parameter("partition", "integer", "only this partition"),
            parameter(
                "from",
                "string",
                "first offset, for all partitions (`17`) or for each (`0:17,1:4`)",
            ),
            parameter("limit", "integer", "events at most (100)"),
            parameter("tail", "integer", "the last events over all partitions, newest first"),
        ],
        ..read::<topics::Events>(
            "/api/topics/{topic}",
            "readTopic",
            "Raw events of a topic",
            || get(topics::read),
        )
    },
    Route {
        method: "POST",
        takes: &[
            ("application/x-ndjson", shape::<String>),
            (JSON, shape::<Value>),
            ("text/csv", shape::<String>),
        ],
        ..read::<Ingested>(
            "/api/topics/{topic}",
            "ingest",
            "Appends events; answers once they are durable. Content-Encoding gzip or zstd",
            || post(topics::ingest),
        )
    },
    Route {
        method: "POST",
        takes: &[(JSON, shape::<partitions::Delete>)],
        ..read::<Vec<DeletedRecords>>(
            "/api/topics/{topic}/delete-records",
            "deleteRecords",
            "Deletes the records of `partitions` (each `partition` and `offset`) below an offset; \
             -1 stands for all",
            || post(partitions::delete_records),
        )
    },
    read::<Vec<PartitionInfo>>(
        "/api/topics/{topic}/partitions",
        "listPartitions",
        "Offsets, sizes and rates of the partitions of a topic",
        || get(partitions::list),
    ),
    Route {
        query: &[
            parameter("partition", "integer", "only this partition"),
            parameter(
                "from",
                "string",
                "earliest, latest, an offset, `-20` for the last 20, a time (RFC 3339, or `@` and \
                 milliseconds since 1970), or `next` of the page before (earliest)",
            ),
            parameter("key", "string", "only records with this key; see `end` and `next`"),
            parameter("limit", "integer", "records at most (100)"),
        ],
        ..read::<records::Page>(
            "/api/topics/{topic}/records",
            "readRecords",
            "Committed records with key, headers and batch, oldest first. One call reads 32 MiB \
             at most: unless `end` says that there is no more, go on with `next`",
            || get(records::read),
        )
    },
    Route {
        method: "POST",
        takes: &[(JSON, shape::<records::Produce>)],
        ..read::<Ingested>(
            "/api/topics/{topic}/records",
            "produceRecords",
            "Appends `records`, each with `value` (a text, or any JSON; null is a tombstone), and \
             `key`, `headers` and `partition` if wanted; `key_encoding` and `value_encoding` may \
             be base64. Answers once they are durable",
            || post(records::produce),
        )
    },
    read::<TopicInfo>("/api/topics/{topic}/schema", "describeTopic", "Columns of a topic", || {
        get(topics::describe)
    }),
    read::<Vec<ViewInfo>>("/api/views", "listViews", "All views", || get(views::list)),
    Route {
        query: &[
            parameter("{column}", "string", "rows whose column has this value; `w.start` too"),
            parameter("order", "string", "`column` or `column.desc`"),
            parameter("limit", "integer", "rows of a page (100)"),
            parameter("after", "string", "`next` of the page before"),
        ],
        ..read::<views::Rows>("/api/views/{view}", "readView", "Rows of a view", || {
            get(views::rows)
        })
    },
    Route {
        gives: EVENTS,
        query: &[parameter("after", "integer", "go on after this epoch, as Last-Event-ID")],
        ..read::<changes::Changes>(
            "/api/views/{view}/changes",
            "followView",
            "A snapshot, then the changes of each epoch",
            || get(changes::follow),
        )
    },
    Route {
        method: "POST",
        ..read::<views::Rebuilt>(
            "/api/views/{view}/rebuild",
            "rebuildView",
            "Computes a view anew from all events; the old rows serve until it has caught up",
            // A key may have this name, too.
            || post(views::rebuild).get(views::by_key_rebuild),
        )
    },
    Route {
        query: &[
            parameter("limit", "integer", "rows of a page (1000)"),
            parameter("after", "string", "`next` of the page before"),
        ],
        ..read::<views::Rows>(
            "/api/views/{view}/{key}",
            "readViewKey",
            "Rows whose first key column has this value",
            || get(views::by_key),
        )
    },
    Route {
        gives: "text/plain",
        ..read::<String>("/health", "health", "The process serves", || get(health::health))
    },
    Route {
        gives: "text/plain",
        ..read::<String>("/metrics", "metrics", "Figures in Prometheus' text format", || {
            get(metrics::get)
        })
    },
    read::<health::Ready>("/ready", "ready", "Data can be taken and given", || get(health::ready)),
];

/// The router of all routes, with the guard around them.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, (route.handler)());
    }
    let for_panics = app.clone();
    router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(console::fallback)
        .layer(CatchPanicLayer::custom(move |panic| guard::panicked(&for_panics, panic)))
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        // The body reader has a limit of its own, for packed and unpacked size.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(app)
}

pub async fn method_not_allowed(method: Method) -> impl IntoResponse {
    let e = Error::unsupported(format!("this path does not take {method}"))
        .hint("methods and paths stand in /api/openapi.json");
    Problem::status(e, StatusCode::METHOD_NOT_ALLOWED)
}
