//! Dead letters sent again, as they came or edited, and removed. Each is sent once, whatever is
//! repeated or crashes: a letter is a batch of an import of its own, which the topic takes once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::Result;
use formats::BodyKind;
use formats::json::ContentKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inner::Inner;
use crate::stores::blocking::blocking;
use crate::topics::dead_letters::{Chosen, DeadLetter};

/// Letters sent or removed at a time.
const AT_ONCE: usize = 1_000;

/// Which letters are sent again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resend {
    #[serde(default)]
    pub ids: Vec<String>,
    pub topic: Option<String>,
    pub kind: Option<String>,
    /// What is sent in the place of a letter's bytes, by its id.
    #[serde(default)]
    pub edited: BTreeMap<String, String>,
}

/// What became of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Resent {
    pub accepted: u64,
    /// Refused again: each has a new letter with the reason.
    pub refused: u64,
    /// Those that can't be sent again, by id, and why.
    pub left: BTreeMap<String, String>,
}

/// Sends letters again, oldest first; what is accepted or refused anew is marked as sent.
pub async fn resend(inner: &Arc<Inner>, wanted: Resend) -> Result<Resent> {
    inner.check_open()?;
    let mut ids = wanted.ids;
    ids.extend(wanted.edited.keys().cloned());
    ids.sort_unstable();
    ids.dedup();
    let chosen = Chosen { ids, topic: wanted.topic, kind: wanted.kind };
    let store = inner.dead_letters.clone();
    let found = blocking(move || store.chosen(&chosen, usize::MAX)).await?;
    let (mut resent, mut sent) = (Resent::default(), vec![]);
    for (id, letter) in found {
        if let Some(why) = letter.stays() {
            resent.left.insert(id.to_string(), why.into());
            continue;
        }
        let edited = wanted.edited.get(&id.to_string()).map(String::as_bytes);
        let ingested = send_letter(inner, id, &letter, edited).await?;
        resent.accepted += ingested.accepted;
        resent.refused += ingested.refused;
        sent.push((id, letter));
        if sent.len() == AT_ONCE {
            mark_resent(inner, std::mem::take(&mut sent)).await?;
        }
    }
    mark_resent(inner, sent).await?;
    Ok(resent)
}

async fn send_letter(
    inner: &Arc<Inner>,
    id: u64,
    letter: &DeadLetter,
    edited: Option<&[u8]>,
) -> Result<crate::Ingested> {
    let line = edited.unwrap_or(&letter.raw);
    let is_json = inner.topic_writer(&letter.topic)?.topic.format != catalog::Format::Raw;
    let (body, kind) = match &letter.header {
        Some(header) => {
            let body = [header.as_bytes(), b"\n", line].concat();
            (Bytes::from(body), BodyKind::Csv)
        }
        // An object over several lines is one event.
        None if is_json && line.contains(&b'\n') => {
            (Bytes::copy_from_slice(line), BodyKind::Json(ContentKind::Json))
        }
        None => (Bytes::copy_from_slice(line), BodyKind::Octets),
    };
    // The number alone may come again, after a restart without letters.
    let import = format!("letter-{id}-{}", letter.at);
    let sent =
        crate::topics::take_in::ingest_import(inner, &letter.topic, &import, 1, body, kind, None)
            .await;
    sent.map_err(|e| e.context(format!("dead letter {id}")))
}

async fn mark_resent(inner: &Arc<Inner>, letters: Vec<(u64, DeadLetter)>) -> Result<()> {
    let (store, now) = (inner.dead_letters.clone(), inner.clock.now_us());
    blocking(move || store.mark_resent(&letters, now)).await
}

/// Removes letters; how many.
pub async fn delete_dead_letters(inner: &Arc<Inner>, chosen: Chosen) -> Result<u64> {
    inner.check_open()?;
    chosen.check()?;
    let store = inner.dead_letters.clone();
    blocking(move || {
        let mut removed = 0;
        loop {
            let some = store.chosen(&chosen, AT_ONCE)?;
            let ids: Vec<u64> = some.iter().map(|(id, _)| *id).collect();
            if ids.is_empty() {
                return Ok(removed);
            }
            store.delete(&ids)?;
            removed += ids.len() as u64;
            if !chosen.ids.is_empty() {
                return Ok(removed);
            }
        }
    })
    .await
}
