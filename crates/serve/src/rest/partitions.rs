//! `/api/topics/{topic}/partitions`: offsets, sizes and rates; and the deletion of old records
//! (KIP-107) under `/api/topics/{topic}/delete-records`.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use common::{Error, Offset, Partition};
use engine::{DeletedRecords, PartitionInfo};
use schemars::JsonSchema;
use serde::Deserialize;

use super::parameters::Segments;
use crate::app::App;
use crate::body;
use crate::problem::Answer;

/// All that is durable, as in Kafka's DeleteRecords.
const ALL: i64 = -1;

pub async fn list(
    State(app): State<App>,
    Segments(topic): Segments<String>,
) -> Answer<Json<Vec<PartitionInfo>>> {
    Ok(Json(app.session.partition_list(&topic).await?))
}

/// Which records are to be deleted.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeleteRecords")]
#[serde(deny_unknown_fields)]
pub struct Delete {
    partitions: Vec<Before>,
}

/// Records of a partition.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RecordsBefore")]
#[serde(deny_unknown_fields)]
struct Before {
    partition: i32,
    /// The first that is kept; -1 stands for none.
    offset: i64,
}

pub async fn delete_records(
    State(app): State<App>,
    Segments(topic): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Vec<DeletedRecords>>> {
    let example = r#"send JSON: {"partitions": [{"partition": 0, "offset": 17}]}"#;
    let Delete { partitions } = body::json(&app, &headers, body, example).await?;
    let mut before = BTreeMap::new();
    for Before { partition, offset } in partitions {
        let offset = match offset {
            ALL => None,
            0.. => Some(Offset(offset)),
            _ => {
                return Err(Error::invalid(format!("{offset} is no offset"))
                    .hint("write the first offset to be kept, or -1 to keep none")
                    .into());
            }
        };
        if before.insert(Partition(partition), offset).is_some() {
            let what = format!("partition {partition} is named twice");
            return Err(Error::invalid(what).hint(example).into());
        }
    }
    if before.is_empty() {
        return Err(Error::invalid("there are no partitions").hint(example).into());
    }
    Ok(Json(app.session.delete_records(&topic, before).await?))
}
