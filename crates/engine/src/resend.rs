//! Dead letters sent again, as they came or edited, and removed. Each is sent once, whatever is
//! repeated or crashes: a letter is a batch of an import of its own, which the topic takes once.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::Result;
use formats::BodyKind;
use formats::json::ContentKind;
use serde::{Deserialize, Serialize};

use crate::dead_letters::{Chosen, DeadLetter};
use crate::platform::{Platform, blocking};

/// Letters sent or removed at a time.
const AT_ONCE: usize = 1_000;

/// Which letters are sent again.
#[derive(Clone, Debug, Default, Deserialize)]
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Resent {
    pub accepted: u64,
    /// Refused again: each has a new letter with the reason.
    pub refused: u64,
    /// Those that can't be sent again, by id, and why.
    pub left: BTreeMap<String, String>,
}

impl Platform {
    /// Sends letters again, oldest first; what is accepted or refused anew is marked as sent.
    pub async fn resend(&self, wanted: Resend) -> Result<Resent> {
        self.check_open()?;
        let mut ids = wanted.ids;
        ids.extend(wanted.edited.keys().cloned());
        ids.sort_unstable();
        ids.dedup();
        let chosen = Chosen { ids, topic: wanted.topic, kind: wanted.kind };
        let store = self.inner.dead_letters.clone();
        let found = blocking(move || store.chosen(&chosen, usize::MAX)).await?;
        let (mut resent, mut sent) = (Resent::default(), vec![]);
        for (id, letter) in found {
            if let Some(why) = letter.stays() {
                resent.left.insert(id.to_string(), why.into());
                continue;
            }
            let edited = wanted.edited.get(&id.to_string()).map(String::as_bytes);
            let ingested = self.send_letter(id, &letter, edited).await?;
            resent.accepted += ingested.accepted;
            resent.refused += ingested.refused;
            sent.push((id, letter));
            if sent.len() == AT_ONCE {
                self.mark_resent(std::mem::take(&mut sent)).await?;
            }
        }
        self.mark_resent(sent).await?;
        Ok(resent)
    }

    async fn send_letter(
        &self,
        id: u64,
        letter: &DeadLetter,
        edited: Option<&[u8]>,
    ) -> Result<crate::Ingested> {
        let line = edited.unwrap_or(&letter.raw);
        let is_json = self.inlet(&letter.topic)?.topic.format == catalog::Format::Json;
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
        let sent = self.ingest_import(&letter.topic, &import, 1, body, kind, None).await;
        sent.map_err(|e| e.context(format!("dead letter {id}")))
    }

    async fn mark_resent(&self, letters: Vec<(u64, DeadLetter)>) -> Result<()> {
        let (store, now) = (self.inner.dead_letters.clone(), self.now_us());
        blocking(move || store.mark_resent(&letters, now)).await
    }

    /// Removes letters; how many.
    pub async fn delete_dead_letters(&self, chosen: Chosen) -> Result<u64> {
        self.check_open()?;
        chosen.check()?;
        let store = self.inner.dead_letters.clone();
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
}
