//! Dead letters: what could not be taken in, with place, reason and raw bytes. They live in the
//! keyed store, so that a pipeline's late rows become true in the same write as its epoch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{
    BinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::{Error, Result};
use kv::{Batch, Keyspace, Kv};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Raw bytes kept of one letter; what is longer is cut and said so in the reason.
const RAW_BYTES_MAX: usize = 64 << 10;
/// Letters added in one write, when nothing else depends on them.
const WRITTEN_AT_ONCE: usize = 1_000;
/// Letters removed in one write.
const EXPIRED_AT_ONCE: usize = 10_000;

/// One refused event.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLetter {
    /// When it was refused, µs since 1970.
    pub at: i64,
    pub topic: String,
    pub view: Option<String>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// The file it came from, if it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Of that file, or of the request.
    pub line: Option<u64>,
    pub column: Option<String>,
    pub kind: String,
    pub reason: String,
    /// The names of the columns, where `raw` is a line of CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// When it was sent again, µs since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resent_at: Option<i64>,
    /// The bytes as they came.
    #[serde(skip)]
    pub raw: Vec<u8>,
}

impl DeadLetter {
    /// Why it can't be sent again, if it can't.
    pub fn stays(&self) -> Option<&'static str> {
        match (self.kind.as_str(), &self.view, self.resent_at) {
            (_, _, Some(_)) => Some("it was sent again already"),
            (_, Some(_), _) => Some("the event is in the topic: mend the view, and rebuild it"),
            ("omitted", ..) => Some("it only counts others, of which nothing is kept"),
            _ => None,
        }
    }
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterQuery {
    pub topic: Option<String>,
    pub kind: Option<String>,
    pub limit: usize,
    pub after: Option<String>,
}

/// Which letters are meant: by id, or all of a topic, a kind, or both.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    #[serde(default)]
    pub ids: Vec<String>,
    pub topic: Option<String>,
    pub kind: Option<String>,
}

impl Chosen {
    pub fn check(&self) -> Result<()> {
        if !self.ids.is_empty() || self.topic.is_some() || self.kind.is_some() {
            return Ok(());
        }
        Err(Error::invalid("which dead letters?").hint("name ids, a topic or a kind"))
    }

    fn has(&self, letter: &DeadLetter) -> bool {
        self.topic.as_ref().is_none_or(|t| *t == letter.topic)
            && self.kind.as_ref().is_none_or(|k| *k == letter.kind)
    }
}

/// A page, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetters")]
pub struct DeadLetterPage {
    pub rows: Vec<ShownLetter>,
    pub next: Option<String>,
    pub total: u64,
}

/// A letter as the console shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub struct ShownLetter {
    pub id: String,
    pub at: String,
    pub topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    pub kind: String,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resent_at: Option<String>,
    pub raw: String,
    /// In base64, where `raw` is not all of it because it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_bytes: Option<String>,
}

/// The store of dead letters.
pub struct DeadLetters {
    kv: Arc<Kv>,
    letters: Keyspace,
    next: AtomicU64,
    total: AtomicU64,
    counts: Mutex<Counts>,
}

/// Numbers of letters by topic and kind.
pub type Counts = BTreeMap<(String, String), u64>;

impl DeadLetters {
    pub fn open(kv: &Arc<Kv>) -> Result<DeadLetters> {
        let letters = kv.keyspace("dead_letters")?;
        let mut next = 0;
        let mut total = 0;
        for entry in letters.prefix(b"")? {
            let (key, _) = entry?;
            total += 1;
            next = next.max(id_of(&key)? + 1);
        }
        let (next, total) = (AtomicU64::new(next), AtomicU64::new(total));
        let kv = kv.clone();
        Ok(DeadLetters { kv, letters, next, total, counts: Mutex::default() })
    }

    /// Adds letters to a batch that somebody else commits. Call `committed` after it did.
    pub fn stage(&self, batch: &mut Batch, letters: &[DeadLetter]) -> Result<()> {
        for letter in letters {
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            let mut letter = letter.clone();
            if letter.raw.len() > RAW_BYTES_MAX {
                letter.raw.truncate(RAW_BYTES_MAX);
                letter.reason.push_str("; only the first 64 KiB are kept");
            }
            batch.put(&self.letters, id.to_be_bytes(), encode(&letter)?);
        }
        Ok(())
    }

    pub fn committed(&self, letters: &[DeadLetter]) {
        self.total.fetch_add(letters.len() as u64, Ordering::Relaxed);
        if letters.is_empty() {
            return;
        }
        let mut counts = self.counts();
        for letter in letters {
            *counts.entry((letter.topic.clone(), letter.kind.clone())).or_default() += 1;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many came since the start, by topic and kind.
    pub fn counted(&self) -> Counts {
        self.counts().clone()
    }

    /// Writes letters durably on their own.
    pub fn write(&self, letters: &[DeadLetter]) -> Result<()> {
        for some in letters.chunks(WRITTEN_AT_ONCE) {
            let mut batch = self.kv.batch();
            self.stage(&mut batch, some)?;
            batch.commit_durable()?;
            self.committed(some);
        }
        Ok(())
    }

    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Removes those older than `before_us`, and the oldest of more than `rows_max`.
    pub fn expire(&self, before_us: i64, rows_max: u64) -> Result<usize> {
        let mut removed = 0;
        loop {
            let mut batch = self.kv.batch();
            let surplus = self.total().saturating_sub(rows_max);
            let mut n = 0;
            for entry in self.letters.prefix(b"")?.take(EXPIRED_AT_ONCE) {
                let (key, value) = entry?;
                if n >= surplus && parse(&value)?.at >= before_us {
                    break;
                }
                batch.delete(&self.letters, key);
                n += 1;
            }
            if n == 0 {
                return Ok(removed);
            }
            batch.commit_durable()?;
            self.total.fetch_sub(n, Ordering::Relaxed);
            removed += n as usize;
        }
    }

    /// The letters that are meant, with their ids, oldest first, at most `limit` of them.
    pub fn chosen(&self, chosen: &Chosen, limit: usize) -> Result<Vec<(u64, DeadLetter)>> {
        chosen.check()?;
        let mut found = vec![];
        for id in &chosen.ids {
            let number = id.parse::<u64>().ok();
            let value = number.map(|n| self.letters.get(&n.to_be_bytes())).transpose()?.flatten();
            let (Some(number), Some(value)) = (number, value) else {
                return Err(Error::not_found(format!("there is no dead letter {id}")));
            };
            found.push((number, parse(&value)?));
        }
        if chosen.ids.is_empty() {
            for entry in self.letters.prefix(b"")? {
                let (key, value) = entry?;
                let letter = parse(&value)?;
                if chosen.has(&letter) {
                    found.push((id_of(&key)?, letter));
                }
                if found.len() == limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Notes that letters were sent again.
    pub fn mark_resent(&self, letters: &[(u64, DeadLetter)], now_us: i64) -> Result<()> {
        let mut batch = self.kv.batch();
        for (id, letter) in letters {
            let letter = DeadLetter { resent_at: Some(now_us), ..letter.clone() };
            batch.put(&self.letters, id.to_be_bytes(), encode(&letter)?);
        }
        batch.commit_durable()
    }

    pub fn delete(&self, ids: &[u64]) -> Result<()> {
        let mut batch = self.kv.batch();
        for id in ids {
            batch.delete(&self.letters, id.to_be_bytes());
        }
        batch.commit_durable()?;
        self.total.fetch_sub(ids.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// A page, newest first.
    pub fn page(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage> {
        let after = match &query.after {
            Some(text) => Some(text.parse::<u64>().map_err(|_| {
                Error::invalid(format!("'{text}' is not a place in the dead letters"))
                    .hint("pass the 'next' of the page before as 'after'")
            })?),
            None => None,
        };
        let mut rows = vec![];
        let mut next = None;
        let end = after.unwrap_or(u64::MAX).to_be_bytes();
        for entry in self.letters.range(..&end[..])?.rev() {
            let (key, value) = entry?;
            let id = id_of(&key)?;
            let letter = parse(&value)?;
            let wanted = query.topic.as_ref().is_none_or(|t| *t == letter.topic)
                && query.kind.as_ref().is_none_or(|k| *k == letter.kind);
            if !wanted {
                continue;
            }
            if rows.len() == query.limit {
                next = rows.last().map(|r: &ShownLetter| r.id.clone());
                break;
            }
            rows.push(shown(id, letter));
        }
        Ok(DeadLetterPage { rows, next, total: self.total() })
    }

    /// All letters as the table `dead_letters`, some at a time.
    pub fn read(&self, take: &mut dyn FnMut(RecordBatch) -> Result<bool>) -> Result<()> {
        let mut letters = self.letters.prefix(b"")?;
        loop {
            let mut some = Columns::default();
            while !some.full() {
                let Some(entry) = letters.next() else { break };
                let (key, value) = entry?;
                some.push(id_of(&key)?, parse(&value)?);
            }
            if some.rows == 0 || !take(some.finish()?)? {
                return Ok(());
            }
        }
    }
}

/// Rows of the table `dead_letters` in the making.
#[derive(Default)]
struct Columns {
    rows: usize,
    bytes: usize,
    id: Int64Builder,
    at: TimestampMicrosecondBuilder,
    topic: StringBuilder,
    view: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    file: StringBuilder,
    line: Int64Builder,
    column: StringBuilder,
    kind: StringBuilder,
    reason: StringBuilder,
    resent_at: TimestampMicrosecondBuilder,
    raw: BinaryBuilder,
}

impl Columns {
    const ROWS_MAX: usize = 8192;
    const BYTES_MAX: usize = 8 << 20;

    fn full(&self) -> bool {
        self.rows >= Self::ROWS_MAX || self.bytes >= Self::BYTES_MAX
    }

    fn push(&mut self, id: u64, l: DeadLetter) {
        self.rows += 1;
        self.bytes += l.raw.len() + l.reason.len();
        self.id.append_value(id as i64);
        self.at.append_value(l.at);
        self.topic.append_value(&l.topic);
        self.view.append_option(l.view);
        self.partition.append_option(l.partition);
        self.offset.append_option(l.offset);
        self.file.append_option(l.file);
        self.line.append_option(l.line.map(|n| n as i64));
        self.column.append_option(l.column);
        self.kind.append_value(&l.kind);
        self.reason.append_value(&l.reason);
        self.resent_at.append_option(l.resent_at);
        self.raw.append_value(&l.raw);
    }

    fn finish(mut self) -> Result<RecordBatch> {
        RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(self.id.finish()),
                Arc::new(self.at.finish().with_timezone("UTC")),
                Arc::new(self.topic.finish()),
                Arc::new(self.view.finish()),
                Arc::new(self.partition.finish()),
                Arc::new(self.offset.finish()),
                Arc::new(self.file.finish()),
                Arc::new(self.line.finish()),
                Arc::new(self.column.finish()),
                Arc::new(self.kind.finish()),
                Arc::new(self.reason.finish()),
                Arc::new(self.resent_at.finish().with_timezone("UTC")),
                Arc::new(self.raw.finish()),
            ],
        )
        .map_err(|e| Error::internal(format!("building the table dead_letters: {e}")))
    }
}

/// Columns of the table `dead_letters`.
pub fn schema() -> SchemaRef {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", at.clone(), false),
        Field::new("topic", DataType::Utf8, false),
        Field::new("view", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("file", DataType::Utf8, true),
        Field::new("line", DataType::Int64, true),
        Field::new("column", DataType::Utf8, true),
        Field::new("kind", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("resent_at", at, true),
        Field::new("raw", DataType::Binary, false),
    ]))
}

fn id_of(key: &[u8]) -> Result<u64> {
    let bytes: [u8; 8] =
        key.try_into().map_err(|_| Error::corrupt("a dead letter has a damaged key"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// One line of JSON, then the raw bytes as they came.
fn encode(letter: &DeadLetter) -> Result<Vec<u8>> {
    let mut value = serde_json::to_vec(letter)
        .map_err(|e| Error::internal(format!("encoding a dead letter: {e}")))?;
    value.push(b'\n');
    value.extend_from_slice(&letter.raw);
    Ok(value)
}

fn parse(value: &[u8]) -> Result<DeadLetter> {
    let bad = |e: &dyn std::fmt::Display| Error::corrupt(format!("a dead letter is damaged: {e}"));
    let line = value.iter().position(|b| *b == b'\n');
    let line = line.ok_or_else(|| bad(&"it has no first line"))?;
    let mut letter: DeadLetter = serde_json::from_slice(&value[..line]).map_err(|e| bad(&e))?;
    letter.raw = value[line + 1..].to_vec();
    Ok(letter)
}

fn shown(id: u64, l: DeadLetter) -> ShownLetter {
    ShownLetter {
        id: id.to_string(),
        at: crate::stores::text::rfc3339(l.at),
        topic: l.topic,
        view: l.view,
        partition: l.partition,
        offset: l.offset,
        file: l.file,
        line: l.line,
        column: l.column,
        kind: l.kind,
        reason: l.reason,
        header: l.header,
        resent_at: l.resent_at.map(crate::stores::text::rfc3339),
        raw_bytes: std::str::from_utf8(&l.raw).err().map(|_| BASE64.encode(&l.raw)),
        raw: String::from_utf8_lossy(&l.raw).into_owned(),
    }
}
