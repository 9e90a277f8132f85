//! Rows that a view's query can't compute: a division by zero, a cast that fails, a number that is
//! too large. They become dead letters and the view goes on.
//!
//! Most are found by evaluating what the query asks of each row alone. What only shows beside
//! other rows (the condition of a join) is found by going back to the last commit and taking fewer
//! rows at a time, down to the one that fails. So are rows that give too much for one epoch. A
//! fault of a whole group is no row's: the view stops.

use std::collections::BTreeMap;

use common::{Error, Kind, Offset, Partition, Result};
use stream::Job;

use crate::topics::rows::Rows;

/// From so many rows at a time on all are taken.
const ROWS_MAX: usize = 1 << 16;

/// What a view does with such a row (`WITH (on_error = …)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    #[default]
    DeadLetter,
    Stop,
}

impl OnError {
    pub fn of(options: &catalog::Options) -> OnError {
        match options.get("on_error").map(String::as_str) {
            Some("stop") => OnError::Stop,
            _ => OnError::DeadLetter,
        }
    }
}

/// A row in the log.
pub type At = (String, Partition, Offset);

/// How rows are taken once one of them could not be computed.
#[derive(Debug, Default)]
pub struct Care {
    /// Each row is evaluated alone first.
    on: bool,
    rows_max: Option<usize>,
    /// Rows that failed beside others, and why.
    left_out: BTreeMap<At, Error>,
    /// The first of the rows that were taken last, and how many they were.
    last: Option<(At, usize)>,
}

impl Care {
    /// Whether the data is at fault, and not the platform.
    pub fn is_of_a_row(e: &Error) -> bool {
        matches!(e.kind(), Kind::Invalid | Kind::TooLarge)
    }

    /// Rows may be left out.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// How many rows are taken at a time, when they are few.
    pub fn rows_max(&self) -> Option<usize> {
        self.rows_max
    }

    /// Whether the end of an epoch that failed so may succeed with other rows.
    pub fn may_mend(&self, e: &Error) -> bool {
        let rows = self.last.as_ref().map_or(0, |(_, n)| *n);
        Self::is_of_a_row(e) && (!self.on || (e.kind() == Kind::TooLarge && rows > 1))
    }

    /// Taking rows failed, and the job is at its last commit again: takes more care from now on.
    pub fn failed(&mut self, e: Error) {
        match self.last.take() {
            Some((one, 1)) if self.on => {
                self.left_out.insert(one, e);
                self.rows_max = None;
            }
            Some((_, rows)) if self.on => self.rows_max = Some((rows / 2).max(1)),
            _ => self.on = true,
        }
    }

    /// All that was taken is committed.
    pub fn committed(&mut self, next: &BTreeMap<(String, Partition), Offset>) {
        self.left_out.retain(|(topic, partition, offset), _| {
            next.get(&(topic.clone(), *partition)).is_none_or(|next| next <= offset)
        });
        self.rows_max = self.rows_max.map(|n| n * 2).filter(|n| *n < ROWS_MAX);
        self.last = None;
    }

    /// The rows that can be taken, and which others can't and why.
    pub fn computable(
        &mut self,
        job: &Job,
        topic: &str,
        partition: Partition,
        rows: Rows,
    ) -> Result<(Rows, Vec<(usize, Error)>)> {
        let at = |offset: &Offset| (topic.to_string(), partition, *offset);
        let mut bad: BTreeMap<usize, Error> = BTreeMap::new();
        if self.on {
            find(job, topic, &rows, 0, rows.offsets.len(), &mut bad)?;
            for (i, offset) in rows.offsets.iter().enumerate() {
                if let Some(e) = self.left_out.get(&at(offset)) {
                    bad.insert(i, Error::new(e.kind(), e.message()));
                }
            }
        }
        let numbers: Vec<usize> = bad.keys().copied().collect();
        let rows = if numbers.is_empty() { rows } else { rows.without(&numbers)? };
        if let Some(first) = rows.offsets.first() {
            self.last = Some((at(first), rows.offsets.len()));
        }
        Ok((rows, bad.into_iter().collect()))
    }
}

/// Halves a stretch that can't be evaluated until each faulty row stands alone.
fn find(
    job: &Job,
    topic: &str,
    rows: &Rows,
    from: usize,
    n: usize,
    bad: &mut BTreeMap<usize, Error>,
) -> Result<()> {
    let Err(e) = job.probe(topic, &rows.batch.slice(from, n)).map_err(sql::stream_error) else {
        return Ok(());
    };
    match n {
        _ if !Care::is_of_a_row(&e) => Err(e),
        0 | 1 => {
            bad.insert(from, e);
            Ok(())
        }
        _ => {
            find(job, topic, rows, from, n / 2, bad)?;
            find(job, topic, rows, from + n / 2, n - n / 2, bad)
        }
    }
}
