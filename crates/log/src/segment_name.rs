//! Names of segment files, and which of the files in a partition's folder count. A compacted
//! segment bears in its name the offsets it stands for: with the one rename that gives it this
//! name, it takes the place of all files within these offsets, whichever of them are still there.

use std::io;
use std::path::{Path, PathBuf};

use common::Disk;

/// Ending of a compacted segment while it is written.
pub(crate) const UNFINISHED: &str = "cleaned";
/// Endings of the files of one segment, in the order in which they are removed.
pub(crate) const SEGMENT_FILES: [&str; 4] = ["txn", "timeindex", "index", "log"];

/// What the name of a `.log` file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub base: i64,
    pub compacted: Option<Compacted>,
}

/// A segment whose offsets may have gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Compacted {
    /// The offset after the last one it stands for.
    pub end: i64,
    /// How often it was compacted; a higher one takes the place of a lower one.
    pub generation: u32,
}

impl SegmentName {
    /// `<base>.log` or `<base>-<end>-<generation>.log`.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".log")?.split('-');
        let base = number(parts.next()?, 20)?;
        let compacted = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => None,
            (Some(end), Some(generation), None) => {
                let generation = u32::try_from(number(generation, 10)?).ok()?;
                Some(Compacted { end: number(end, 20)?, generation })
            }
            _ => return None,
        };
        compacted.is_none_or(|c| c.end > base).then_some(Self { base, compacted })
    }

    pub fn of(path: &Path) -> Option<Self> {
        Self::parse(path.file_name()?.to_str()?)
    }

    pub fn path(&self, dir: &Path) -> PathBuf {
        let base = self.base;
        match self.compacted {
            None => dir.join(format!("{base:020}.log")),
            Some(Compacted { end, generation }) => {
                dir.join(format!("{base:020}-{end:020}-{generation:010}.log"))
            }
        }
    }

    /// 0 for a segment as it was appended.
    pub fn generation(&self) -> u32 {
        self.compacted.map_or(0, |c| c.generation)
    }

    fn is_replaced_by(&self, other: &Self) -> bool {
        let Some(place) = other.compacted else { return false };
        let is_within = match self.compacted {
            None => (other.base..place.end).contains(&self.base),
            Some(own) => other.base <= self.base && own.end <= place.end,
        };
        is_within && self.generation() < place.generation
    }
}

fn number(digits: &str, len: usize) -> Option<i64> {
    let is_number = digits.len() == len && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// The segments of a partition, and the files that a crash left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// By base offset.
    pub segments: Vec<SegmentName>,
    rubbish: Vec<String>,
}

impl Layout {
    pub fn of(names: &[(String, bool)]) -> Self {
        let mut layout = Self::default();
        let mut all: Vec<_> = names.iter().filter_map(|(n, _)| SegmentName::parse(n)).collect();
        all.sort_unstable();
        for name in &all {
            if all.iter().any(|other| name.is_replaced_by(other)) {
                let path = name.path(Path::new(""));
                let files = SEGMENT_FILES.iter().map(|f| path.with_extension(f));
                let files = files.map(|file| file.display().to_string());
                layout.rubbish.extend(files);
            } else {
                layout.segments.push(*name);
            }
        }
        let is_rubbish = |name: &&String| {
            let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
            let of_segment = || SegmentName::parse(&format!("{stem}.log"));
            // What was written for a segment when that was gone already.
            let is_lost = |name: SegmentName| all.binary_search(&name).is_err();
            ending == format!("log.{UNFINISHED}")
                || SEGMENT_FILES.contains(&ending) && of_segment().is_some_and(is_lost)
        };
        layout.rubbish.extend(names.iter().map(|(name, _)| name).filter(is_rubbish).cloned());
        layout
    }

    /// Takes the base offset of the segment to be written on; a compacted one is complete.
    pub fn pop_active(&mut self) -> Option<i64> {
        self.segments.pop_if(|name| name.compacted.is_none()).map(|name| name.base)
    }

    /// Removes replaced segments and unfinished ones.
    pub fn remove_rubbish(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        self.rubbish.iter().try_for_each(|name| disk.remove(&dir.join(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(names: &[&str]) -> Layout {
        let names: Vec<_> = names.iter().map(|n| ((*n).to_string(), false)).collect();
        Layout::of(&names)
    }

    #[test]
    fn names_say_what_they_stand_for() {
        let plain = SegmentName { base: 7, compacted: None };
        let compacted = Some(Compacted { end: 90, generation: 3 });
        for (name, parsed) in [
            ("00000000000000000007.log", Some(plain)),
            (
                "00000000000000000007-00000000000000000090-0000000003.log",
                Some(SegmentName { base: 7, compacted }),
            ),
            ("00000000000000000007-00000000000000000007-0000000003.log", None),
            ("00000000000000000007-00000000000000000090.log", None),
            ("00000000000000000007.index", None),
            ("7.log", None),
            ("0000000000000000000+.log", None),
            ("durable", None),
        ] {
            assert_eq!(SegmentName::parse(name), parsed, "{name}");
            if let Some(parsed) = parsed {
                assert_eq!(parsed.path(Path::new("")), Path::new(name));
            }
        }
    }

    #[test]
    fn a_compacted_segment_takes_the_place_of_those_within_it() {
        let one = "00000000000000000000-00000000000000000050-0000000001.log";
        let two = "00000000000000000000-00000000000000000080-0000000002.log";
        let unfinished = "00000000000000000000-00000000000000000090-0000000003.log.cleaned";
        let [a, b, c] = [0, 50, 80].map(|base| format!("{base:020}.log"));
        let lost = "00000000000000000010.index";
        let mut found = layout(&[&a, one, two, unfinished, &b, &c, lost, "durable"]);
        let bases: Vec<_> = found.segments.iter().map(|s| (s.base, s.generation())).collect();
        assert_eq!(bases, [(0, 2), (80, 0)]);
        assert_eq!(found.rubbish.len(), 14);
        assert!(!found.rubbish.contains(&c) && found.rubbish.contains(&lost.to_string()));
        assert_eq!((found.pop_active(), found.pop_active()), (Some(80), None));
    }
}
