//! When groups go whose key is a window that closes.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use common::{Error, Result};
use graph::{KeyWindow, WindowPart};

use super::column::micros;

/// When nothing can come any more for the windows in a column.
pub(crate) struct Ends {
    times: TimestampMicrosecondArray,
    add: i64,
}

impl Ends {
    pub fn of(column: &ArrayRef, key: KeyWindow) -> Result<Self> {
        let start_or_end = match (key.part, column.as_struct_opt()) {
            (WindowPart::Whole, Some(w)) => w.column(0).clone(),
            (WindowPart::Whole, None) => return Err(Error::internal("a window is not a struct")),
            _ => column.clone(),
        };
        let size = if key.part == WindowPart::End { 0 } else { key.window.size_us() };
        Ok(Self { times: micros(&start_or_end)?, add: size + key.window.grace_us() })
    }

    /// None where there is no window.
    pub fn get(&self, row: usize) -> Option<i64> {
        self.times.is_valid(row).then(|| self.times.value(row).saturating_add(self.add))
    }
}

/// The end of each group that can close, and those in the order of time.
#[derive(Default)]
pub(crate) struct Expiry {
    ends: Vec<Option<i64>>,
    by_end: BTreeSet<(i64, u32)>,
}

impl Expiry {
    pub fn set(&mut self, group: u32, end: Option<i64>) {
        self.remove(group);
        let Some(end) = end else { return };
        if self.ends.len() <= group as usize {
            self.ends.resize(group as usize + 1, None);
        }
        self.ends[group as usize] = Some(end);
        self.by_end.insert((end, group));
    }

    pub fn get(&self, group: u32) -> Option<i64> {
        self.ends.get(group as usize).copied().flatten()
    }

    pub fn remove(&mut self, group: u32) {
        if let Some(end) = self.ends.get_mut(group as usize).and_then(Option::take) {
            self.by_end.remove(&(end, group));
        }
    }

    /// A group whose window ended at or before `watermark`, if there is one.
    pub fn ended(&self, watermark: i64) -> Option<u32> {
        self.by_end.first().filter(|(end, _)| *end <= watermark).map(|(_, group)| *group)
    }

    /// All whose windows ended at or before `watermark`.
    pub fn all_ended(&self, watermark: i64) -> impl Iterator<Item = u32> {
        self.by_end.iter().take_while(move |(end, _)| *end <= watermark).map(|(_, group)| *group)
    }

    pub fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<Option<i64>>() + self.by_end.len() * 24
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use graph::Window;

    use super::*;

    #[test]
    fn a_sliding_window_is_kept_until_rows_for_it_are_late() {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(100), None]));
        let key = |part, window| KeyWindow { part, window, closes: true };
        let end = |key| Ends::of(&column, key).map(|e| (e.get(0), e.get(1)));
        let (tumbling, sliding) = (Window::new(60, 60), Window::new(60, 20));
        assert_eq!(end(key(WindowPart::Start, tumbling)).ok(), Some((Some(160), None)));
        assert_eq!(end(key(WindowPart::End, tumbling)).ok(), Some((Some(100), None)));
        assert_eq!(end(key(WindowPart::Start, sliding)).ok(), Some((Some(200), None)));
        assert!(end(key(WindowPart::Whole, sliding)).is_err());
    }

    #[test]
    fn groups_go_in_the_order_of_time() {
        let mut expiry = Expiry::default();
        for (group, end) in [(0, Some(30)), (1, Some(10)), (2, None), (3, Some(20))] {
            expiry.set(group, end);
        }
        expiry.set(3, Some(5));
        assert_eq!((expiry.get(3), expiry.get(2), expiry.get(9)), (Some(5), None, None));
        let mut gone = vec![];
        while let Some(group) = expiry.ended(10) {
            expiry.remove(group);
            gone.push(group);
        }
        assert_eq!((gone, expiry.ended(29), expiry.ended(30)), (vec![3, 1], None, Some(0)));
    }
}
