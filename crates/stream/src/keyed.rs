//! Groups of rows by the value of some expressions, and when those go whose key is a window.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use common::Result;

use crate::aggregate::{WindowEnds, closing_key, key_codec, key_columns};
use crate::group_index::GroupIndex;
use crate::rows::KeyCodec;
use graph::{Key, KeyWindow};

pub(crate) struct Keyed {
    keys: Vec<Key>,
    codec: KeyCodec,
    pub index: GroupIndex,
    closing: Option<(usize, KeyWindow)>,
    /// Of each group that can close, and in the order of time.
    ends: Vec<Option<i64>>,
    by_end: BTreeSet<(i64, u32)>,
}

impl Keyed {
    pub fn new(keys: &[Key]) -> Result<Self> {
        Ok(Self {
            codec: key_codec(keys)?,
            keys: keys.to_vec(),
            index: GroupIndex::new(),
            closing: closing_key(keys),
            ends: vec![],
            by_end: BTreeSet::new(),
        })
    }

    /// The group of each row.
    pub fn intern_batch(&mut self, batch: &RecordBatch) -> Result<Vec<u32>> {
        if self.keys.is_empty() {
            let (group, _) = self.index.intern(&[]);
            self.ends.resize(self.index.capacity(), None);
            return Ok(vec![group; batch.num_rows()]);
        }
        let columns = key_columns(&self.keys, batch)?;
        let rows = self.codec.encode(&columns)?;
        let (mut groups, mut new) = (vec![], vec![]);
        self.index.intern_rows(&rows, &mut groups, &mut new);
        self.ends.resize(self.index.capacity(), None);
        let (Some((at, window)), false) = (self.closing, new.is_empty()) else {
            return Ok(groups);
        };
        let ends = WindowEnds::of(&columns[at], window)?;
        for (group, row) in new {
            self.ends[group as usize] = ends.get(row);
            self.by_end.extend(ends.get(row).map(|e| (e, group)));
        }
        Ok(groups)
    }

    /// Evaluates the keys, and changes nothing.
    pub fn probe(&self, batch: &RecordBatch) -> Result<()> {
        key_columns(&self.keys, batch).map(|_| ())
    }

    /// The group of a key that was saved.
    pub fn intern_saved(&mut self, key: &[u8]) -> Result<u32> {
        let (group, new) = self.index.intern(key);
        self.ends.resize(self.index.capacity(), None);
        if let (true, Some((at, window))) = (new, self.closing) {
            let columns = self.codec.decode(std::iter::once(key))?;
            let end = WindowEnds::of(&columns[at], window)?.get(0);
            self.ends[group as usize] = end;
            self.by_end.extend(end.map(|e| (e, group)));
        }
        Ok(group)
    }

    /// A group whose window ended at or before `watermark`, if there is one.
    pub fn ended(&self, watermark: i64) -> Option<u32> {
        self.by_end.first().filter(|(end, _)| *end <= watermark).map(|(_, group)| *group)
    }

    /// Forgets a group and gives its key.
    pub fn remove(&mut self, group: u32) -> Box<[u8]> {
        if let Some(end) = self.ends[group as usize].take() {
            self.by_end.remove(&(end, group));
        }
        self.index.remove(group)
    }

    pub fn bytes(&self) -> usize {
        self.index.bytes() + self.ends.capacity() * 16 + self.by_end.len() * 24
    }
}
