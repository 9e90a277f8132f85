//! The checkpoint (where a pipeline stands after an epoch) and its JSON form, which is a format on
//! disk: `docs/formats/state.md`, with a golden test below.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use common::{Epoch, Error, Offset, Partition, Result};
use serde::{Deserialize, Serialize};

/// Raised when a checkpoint or a delta changes so that an older program could not read it.
pub const FORMAT_VERSION: u32 = 1;

/// A topic's partition.
pub type Position = (String, Partition);

/// Where a pipeline stands after an epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    pub epoch: Epoch,
    /// Of the view's SQL and schema; another one means the state is of no use to it.
    pub fingerprint: String,
    /// Next offset to read.
    pub offsets: BTreeMap<Position, Offset>,
    /// Watermarks of partitions, in microseconds of event time.
    pub watermarks: BTreeMap<Position, i64>,
    /// Watermark of the whole, if there is one yet.
    pub watermark: Option<i64>,
    /// What is stored in deltas; kept up by whoever stores them.
    pub stored: Stored,
}

/// Sizes of what is stored, to know when compacting pays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Epochs with deltas since the oldest one kept.
    pub epochs: u64,
    /// Bytes of all deltas kept.
    pub bytes: u64,
    /// Bytes of the last full epoch.
    pub full_bytes: u64,
}

/// Part of an operator's state as of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub operator: u32,
    pub batch: RecordBatch,
    /// Replaces all of this operator's deltas before it.
    pub full: bool,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    epoch: Epoch,
    fingerprint: String,
    partitions: Vec<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watermark_us: Option<i64>,
    #[serde(default)]
    stored: Stored,
}

#[derive(Serialize, Deserialize)]
struct Part {
    topic: String,
    partition: Partition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<Offset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watermark_us: Option<i64>,
}

impl Checkpoint {
    pub fn to_json(&self) -> Vec<u8> {
        let mut parts: BTreeMap<&Position, Part> = BTreeMap::new();
        let part = |at: &Position| Part {
            topic: at.0.clone(),
            partition: at.1,
            offset: None,
            watermark_us: None,
        };
        for (at, offset) in &self.offsets {
            parts.entry(at).or_insert_with(|| part(at)).offset = Some(*offset);
        }
        for (at, us) in &self.watermarks {
            parts.entry(at).or_insert_with(|| part(at)).watermark_us = Some(*us);
        }
        let document = Document {
            version: FORMAT_VERSION,
            epoch: self.epoch,
            fingerprint: self.fingerprint.clone(),
            partitions: parts.into_values().collect(),
            watermark_us: self.watermark,
            stored: self.stored.clone(),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct OnlyVersion {
            version: u32,
        }
        let bad = |e: serde_json::Error| {
            Error::corrupt(format!("a checkpoint cannot be read: {e}")).hint(REBUILD)
        };
        let OnlyVersion { version } = serde_json::from_slice(bytes).map_err(bad)?;
        if version > FORMAT_VERSION {
            let text = format!(
                "a checkpoint has format version {version}, this program knows {FORMAT_VERSION}"
            );
            return Err(Error::unsupported(text)
                .hint("a newer watershed wrote this data folder; start that one"));
        }
        let document: Document = serde_json::from_slice(bytes).map_err(bad)?;
        let mut checkpoint = Self {
            epoch: document.epoch,
            fingerprint: document.fingerprint,
            watermark: document.watermark_us,
            stored: document.stored,
            ..Self::default()
        };
        for part in document.partitions {
            let at = (part.topic, part.partition);
            if let Some(offset) = part.offset {
                checkpoint.offsets.insert(at.clone(), offset);
            }
            if let Some(us) = part.watermark_us {
                checkpoint.watermarks.insert(at, us);
            }
        }
        Ok(checkpoint)
    }
}

pub const REBUILD: &str =
    "restore a backup of the data folder, or drop and create the view: it is computed anew";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::Kind;

    /// Version 1 as released; never edit, add a new one beside it.
    const GOLDEN_1: &str = include_str!("../tests/golden/checkpoint-1.json");

    #[test]
    fn version_1_is_read_and_written() {
        let at = |topic: &str, p| (topic.to_owned(), Partition(p));
        let expected = Checkpoint {
            epoch: Epoch(7),
            fingerprint: "f00d".into(),
            offsets: [(at("plays", 0), Offset(12)), (at("plays", 1), Offset(0))].into(),
            watermarks: [(at("plays", 0), -5), (at("shown", 0), 9)].into(),
            watermark: Some(-5),
            stored: Stored { epochs: 3, bytes: 100, full_bytes: 60 },
        };
        assert_eq!(Checkpoint::from_json(GOLDEN_1.as_bytes()).unwrap(), expected);
        // The first release could keep more, and never did.
        let without = GOLDEN_1.replace("\"extra\":{\"a\":[1]},", "");
        assert_eq!(String::from_utf8(expected.to_json()).unwrap(), without);
    }

    #[test]
    fn a_newer_version_and_nonsense_say_so() {
        let newer = GOLDEN_1.replace("\"version\":1", "\"version\":2,\"new\":{}");
        let e = Checkpoint::from_json(newer.as_bytes()).unwrap_err();
        assert_eq!(e.kind(), Kind::Unsupported);
        assert!(e.to_string().contains("format version 2, this program knows 1"), "{e}");
        for text in ["", "{", "[]", "{\"version\":1}", &GOLDEN_1[..80]] {
            let e = Checkpoint::from_json(text.as_bytes()).unwrap_err();
            assert_eq!(e.kind(), Kind::Corrupt, "{text}");
        }
    }
}
