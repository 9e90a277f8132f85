//! For each group a sorted multiset of row bytes, which remembers what changed since it was
//! last saved. Joins keep their rows in it, and aggregates what they can't compute from sums.

use std::collections::BTreeMap;

use common::Result;

use crate::keyed_state::{Group, GroupState, Groups, Saved};
use crate::snapshot::{Writer, damaged};

/// Bytes of bookkeeping for one item, roughly: two pointers, count, share of the tree's nodes.
const ITEM_OVERHEAD: usize = 56;

#[derive(Clone, Copy, Default)]
struct Entry {
    count: i64,
    touched: bool,
}

#[derive(Default)]
struct Items {
    map: BTreeMap<Box<[u8]>, Entry>,
}

#[derive(Default)]
pub(crate) struct Multiset {
    groups: Vec<Items>,
    touched: Vec<(u32, Box<[u8]>)>,
    bytes: usize,
}

impl Multiset {
    /// Room for so many groups.
    pub fn grow(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, Items::default);
        }
    }

    /// A group without items has this number now.
    pub fn reset(&mut self, group: u32) {
        self.grow(group as usize + 1);
        let gone = std::mem::take(&mut self.groups[group as usize]);
        self.bytes -= gone.map.keys().map(|k| k.len() + ITEM_OVERHEAD).sum::<usize>();
    }

    /// Changes the count of an item and gives it (before, after).
    pub fn add(&mut self, group: u32, item: &[u8], weight: i64) -> (i64, i64) {
        let items = &mut self.groups[group as usize];
        let entry = match items.map.get_mut(item) {
            Some(entry) => entry,
            None => {
                self.bytes += item.len() + ITEM_OVERHEAD;
                items.map.entry(item.into()).or_default()
            }
        };
        let before = entry.count;
        entry.count += weight;
        let after = entry.count;
        if !entry.touched {
            entry.touched = true;
            self.touched.push((group, item.into()));
        }
        (before, after)
    }

    /// Items with their counts, in order; never a count of 0.
    pub fn items(&self, group: u32) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        let items = self.groups.get(group as usize).map(|g| g.map.iter());
        items.into_iter().flatten().filter(|(_, e)| e.count != 0).map(|(k, e)| (&**k, e.count))
    }

    pub fn count(&self, group: u32, item: &[u8]) -> i64 {
        let items = self.groups.get(group as usize);
        items.and_then(|g| g.map.get(item)).map_or(0, |e| e.count)
    }

    pub fn is_empty(&self, group: u32) -> bool {
        self.items(group).next().is_none()
    }

    /// Forgets the items of a group.
    pub fn clear(&mut self, group: u32) {
        if (group as usize) < self.groups.len() {
            self.reset(group);
        }
    }

    /// Puts all items of a group.
    pub fn save(&self, group: &Group, part: usize, to: &mut Writer) {
        self.items(group.number).for_each(|(item, n)| to.item(group.key, part, item, n));
    }

    /// Puts the items touched since the last call, if they are wanted.
    pub fn drain_to(&mut self, part: usize, groups: &Groups, to: Option<&mut Writer>) {
        match to {
            None => self.hand_out(|_, _, _| {}),
            Some(to) => self.hand_out(|group, item, n| to.item(groups.key(group), part, item, n)),
        }
    }

    /// Hands out (group, item, count) of all items touched since the last call; forgets those
    /// whose count became 0.
    fn hand_out(&mut self, mut save: impl FnMut(u32, &[u8], i64)) {
        for (group, item) in std::mem::take(&mut self.touched) {
            let items = &mut self.groups[group as usize];
            // The group may have been cleared, and its number used again.
            let Some(entry) = items.map.get_mut(&item).filter(|e| e.touched) else { continue };
            entry.touched = false;
            let count = entry.count;
            if count == 0 {
                items.map.remove(&item);
                self.bytes -= item.len() + ITEM_OVERHEAD;
            }
            save(group, &item, count);
        }
    }

    /// Sets the count of an item as it was saved.
    pub fn load(&mut self, group: u32, item: &[u8], count: i64) {
        self.grow(group as usize + 1);
        let items = &mut self.groups[group as usize];
        let entry = Entry { count, touched: false };
        let old = match count {
            0 => items.map.remove(item),
            _ => items.map.insert(item.into(), entry),
        };
        let size = item.len() + ITEM_OVERHEAD;
        match (old.is_some(), count != 0) {
            (false, true) => self.bytes += size,
            (true, false) => self.bytes -= size,
            _ => {}
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Where nothing else is kept of a group: its items are the one part.
impl GroupState for Multiset {
    fn reset(&mut self, group: u32) {
        self.reset(group);
    }

    fn save(&self, group: &Group, to: &mut Writer) {
        self.save(group, 0, to);
    }

    fn drain(&mut self, _touched: &[u32], groups: &Groups, to: Option<&mut Writer>) {
        self.drain_to(0, groups, to);
    }

    fn load(&mut self, group: u32, saved: Saved) -> Result<()> {
        let Saved::Item { item, count, .. } = saved else {
            return Err(damaged("a partition is its rows"));
        };
        self.load(group, item, count);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn is_empty(&self, group: u32) -> bool {
        self.is_empty(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(set: &mut Multiset) -> Vec<(u32, Vec<u8>, i64)> {
        let mut out = vec![];
        set.hand_out(|g, item, n| out.push((g, item.to_vec(), n)));
        out.sort();
        out
    }

    #[test]
    fn remembers_what_changed() {
        let mut set = Multiset::default();
        set.reset(0);
        set.reset(1);
        assert_eq!(set.add(0, b"x", 1), (0, 1));
        set.add(0, b"x", 1);
        set.add(0, b"y", 1);
        set.add(1, b"x", 1);
        assert_eq!(set.items(0).collect::<Vec<_>>(), [(&b"x"[..], 2), (&b"y"[..], 1)]);
        assert_eq!(drained(&mut set).len(), 3);
        assert!(drained(&mut set).is_empty());
        set.add(0, b"y", -1);
        set.clear(1);
        assert_eq!((set.count(0, b"y"), set.is_empty(1)), (0, true));
        assert_eq!(drained(&mut set), [(0, b"y".to_vec(), 0)]);
        assert_eq!(set.items(0).collect::<Vec<_>>(), [(&b"x"[..], 2)]);
        let mut copy = Multiset::default();
        copy.reset(0);
        copy.load(0, b"x", 2);
        assert_eq!(copy.bytes(), set.bytes());
        copy.load(0, b"x", 0);
        assert_eq!((copy.bytes(), copy.count(0, b"x")), (0, 0));
    }
}
