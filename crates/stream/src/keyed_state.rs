//! What an operator remembers for each key, under every operator with state: a dense number for
//! each key, the values kept under it, when it closes, and what is not saved yet. Whatever is kept
//! for a key leaves (`GroupState::save`) and enters again (`GroupState::load`) by its key alone.

use arrow::array::RecordBatch;
use common::Result;

use crate::group_index::{GroupIndex, NO_GROUP};
use crate::keys::Keys;
use crate::operator::Size;
use crate::snapshot::{Entry, Reader, Writer};
use crate::windows::Expiry;

/// What is kept under the numbers of groups.
pub(crate) trait GroupState: Send + Sync {
    /// A group with nothing in it has this number now, however many there were before.
    fn reset(&mut self, group: u32);

    /// All there is of a group.
    fn save(&self, group: &Group, to: &mut Writer);

    /// What changed since it was saved last, of groups that are among `touched`; without a writer
    /// it counts as saved.
    fn drain(&mut self, touched: &[u32], groups: &Groups, to: Option<&mut Writer>);

    /// Takes up what was saved.
    fn load(&mut self, group: u32, saved: Saved) -> Result<()>;

    fn bytes(&self) -> usize;

    /// Nothing is kept for a group any more, and what was saved says so.
    fn is_empty(&self, _group: u32) -> bool {
        false
    }
}

/// One entry of what was saved for a group.
pub(crate) enum Saved<'a> {
    State(&'a [u8]),
    Item { part: usize, item: &'a [u8], count: i64 },
}

pub(crate) struct Group<'a> {
    pub number: u32,
    pub key: &'a [u8],
    /// When it closes.
    pub end: Option<i64>,
}

/// Which groups there are.
pub(crate) struct Groups {
    index: GroupIndex,
    expiry: Expiry,
}

impl Groups {
    pub fn get(&self, number: u32) -> Group<'_> {
        Group { number, key: self.index.key(number), end: self.expiry.get(number) }
    }

    pub fn key(&self, number: u32) -> &[u8] {
        self.index.key(number)
    }

    /// The numbers of all.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.index.groups()
    }

    /// Those whose windows ended at or before `watermark`, in the order of time.
    pub fn ended(&self, watermark: i64) -> impl Iterator<Item = u32> {
        self.expiry.all_ended(watermark)
    }

    /// One more than the greatest number ever used.
    pub fn capacity(&self) -> usize {
        self.index.capacity()
    }
}

pub(crate) struct KeyedState<V> {
    pub groups: Groups,
    pub values: V,
    is_touched: Vec<bool>,
    /// In this epoch, and not yet flushed.
    touched: Vec<u32>,
    /// Groups and keys of removed groups to be saved with the next delta.
    unsaved: Vec<u32>,
    removed: Vec<Box<[u8]>>,
}

impl<V: GroupState> KeyedState<V> {
    pub fn new(values: V) -> Self {
        Self {
            groups: Groups { index: GroupIndex::new(), expiry: Expiry::default() },
            values,
            is_touched: vec![],
            touched: vec![],
            unsaved: vec![],
            removed: vec![],
        }
    }

    /// The group of a key, and whether it is new.
    pub fn intern(&mut self, key: &[u8]) -> (u32, bool) {
        let (group, new) = self.groups.index.intern(key);
        if new {
            self.make_room(group);
        }
        (group, new)
    }

    /// The group of each row.
    pub fn intern_batch(
        &mut self,
        keys: &Keys,
        batch: &RecordBatch,
        groups: &mut Vec<u32>,
    ) -> Result<()> {
        self.intern_some(keys, batch, false, groups)
    }

    /// The group of each row; `NO_GROUP` where one of the keys is NULL, if `skip_nulls`.
    pub fn intern_some(
        &mut self,
        keys: &Keys,
        batch: &RecordBatch,
        skip_nulls: bool,
        groups: &mut Vec<u32>,
    ) -> Result<()> {
        groups.clear();
        if keys.is_empty() {
            let (group, _) = self.intern(&[]);
            groups.resize(batch.num_rows(), group);
            return Ok(());
        }
        let columns = keys.columns(batch)?;
        let skip = if skip_nulls { Keys::nulls(&columns) } else { None };
        let rows = keys.encode(&columns)?;
        let mut new = vec![];
        self.groups.index.intern_rows(&rows, skip.as_ref(), groups, &mut new);
        for (group, _) in &new {
            self.make_room(*group);
        }
        if let (false, Some(ends)) = (new.is_empty(), keys.ends(&columns)?) {
            for (group, row) in new {
                self.groups.expiry.set(group, ends.get(row));
            }
        }
        Ok(())
    }

    fn make_room(&mut self, group: u32) {
        self.values.reset(group);
        if self.is_touched.len() <= group as usize {
            self.is_touched.resize(self.groups.index.capacity(), false);
        }
    }

    /// Marks a group as touched, and says whether it was not before.
    pub fn touch(&mut self, group: u32) -> bool {
        let first = !std::mem::replace(&mut self.is_touched[group as usize], true);
        if first {
            self.touched.push(group);
        }
        first
    }

    /// Marks groups as touched, and gives those that were not before.
    pub fn touch_all(&mut self, groups: &[u32]) -> &[u32] {
        let before = self.touched.len();
        for group in groups.iter().filter(|g| **g != NO_GROUP) {
            self.touch(*group);
        }
        &self.touched[before..]
    }

    /// The groups touched since the last call; they are to be saved.
    pub fn take_touched(&mut self) -> Vec<u32> {
        let touched = std::mem::take(&mut self.touched);
        for group in &touched {
            self.is_touched[*group as usize] = false;
        }
        self.unsaved.extend_from_slice(&touched);
        touched
    }

    /// Forgets a group and its key; its number may be used again.
    pub fn remove(&mut self, group: u32) {
        let key = self.forget(group);
        self.removed.push(key);
    }

    fn forget(&mut self, group: u32) -> Box<[u8]> {
        self.values.reset(group);
        self.groups.expiry.remove(group);
        self.groups.index.remove(group)
    }

    /// Removes the groups whose windows ended at or before `watermark`.
    pub fn close(&mut self, watermark: i64) {
        while let Some(group) = self.groups.expiry.ended(watermark) {
            self.remove(group);
        }
    }

    /// What changed since the last call, or all of it.
    pub fn delta(&mut self, full: bool) -> Result<Vec<RecordBatch>> {
        self.take_touched();
        let mut touched = std::mem::take(&mut self.unsaved);
        touched.retain(|g| self.groups.index.is_live(*g));
        let removed = std::mem::take(&mut self.removed);
        let mut writer = Writer::default();
        if full {
            self.values.drain(&touched, &self.groups, None);
            for group in self.groups.numbers() {
                self.values.save(&self.groups.get(group), &mut writer);
            }
        } else {
            removed.iter().for_each(|key| writer.group(key, None));
            self.values.drain(&touched, &self.groups, Some(&mut writer));
        }
        for group in touched {
            if self.values.is_empty(group) {
                self.forget(group);
            }
        }
        writer.finish(full)
    }

    /// Takes up a batch that `delta` gave.
    pub fn restore(&mut self, keys: &Keys, batch: &RecordBatch) -> Result<()> {
        self.take_touched();
        self.unsaved.clear();
        let mut new = vec![];
        for entry in Reader::new(batch)?.entries() {
            let (key, saved) = match entry {
                Entry::Group { key, state: Some(state) } => (key, Some(Saved::State(state))),
                Entry::Group { key, state: None } => (key, None),
                Entry::Item { key, part, item, count } => {
                    (key, Some(Saved::Item { part, item, count }))
                }
            };
            let gone = matches!(saved, None | Some(Saved::Item { count: 0, .. }));
            let group = match self.groups.index.find(key) {
                Some(group) => group,
                None if gone => continue,
                None => {
                    let (group, _) = self.intern(key);
                    new.push(group);
                    group
                }
            };
            match saved {
                Some(saved) => self.values.load(group, saved)?,
                None => {
                    self.forget(group);
                    continue;
                }
            }
            if self.values.is_empty(group) {
                self.forget(group);
            }
        }
        self.set_ends(keys, new)
    }

    /// When restored groups close.
    fn set_ends(&mut self, keys: &Keys, mut groups: Vec<u32>) -> Result<()> {
        groups.retain(|g| self.groups.index.is_live(*g));
        if !keys.closes() || groups.is_empty() {
            return Ok(());
        }
        let columns = keys.decode(groups.iter().map(|g| self.groups.key(*g)))?;
        if let Some(ends) = keys.ends(&columns)? {
            for (row, group) in groups.into_iter().enumerate() {
                self.groups.expiry.set(group, ends.get(row));
            }
        }
        Ok(())
    }

    pub fn size(&self) -> Size {
        let groups = self.groups.index.bytes() + self.groups.expiry.bytes();
        let bytes = groups + self.values.bytes() + self.is_touched.capacity();
        Size { groups: self.groups.index.len(), bytes }
    }
}

#[cfg(test)]
#[path = "keyed_state_tests.rs"]
mod tests;
