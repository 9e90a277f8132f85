//! Checks a log's folder without changing anything, for `watershed doctor --deep`: every batch of
//! every segment with its checksum and its place, that no segment is missing, that each topic is
//! described. No process may have the folder open. What a start would put right by itself, such as
//! a torn end or a missing index, is no fault.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use common::{Disk, DiskFile, Error, Offset, Partition, Result};

use crate::backup::BACKUP_STAGE;
use crate::batch::{self, HEADER_LEN, Header};
use crate::checkpoint::Checkpoint;
use crate::read::read_stretch;
use crate::segment_list;
use crate::segment_name::{Layout, SegmentName};
use crate::topic::{Meta, partition_dir};

/// Bytes read at once; a larger batch is read by itself.
const STRETCH: u64 = 1 << 20;

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Checked {
    pub topics: usize,
    pub partitions: usize,
    pub segments: usize,
    pub batches: u64,
    pub bytes: u64,
    pub ends: Vec<PartitionEnd>,
    pub faults: Vec<Error>,
}

/// Where a partition ends that was found whole.
#[derive(Debug)]
pub struct PartitionEnd {
    pub topic: String,
    pub topic_id: String,
    pub partition: Partition,
    pub end: Offset,
}

/// Checks all topics in `dir`, which need not exist.
pub fn check(disk: &dyn Disk, dir: &Path) -> Checked {
    let mut checked = Checked::default();
    let topics = dir.join("topics");
    let names = match disk.list(&topics) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotFound => vec![],
        Err(e) => {
            checked.faults.push(Error::io(format!("read '{}'", topics.display()), e));
            return checked;
        }
    };
    let mut known = BTreeSet::from([topics.clone()]);
    let mut is_described = true;
    for (name, _) in names.iter().filter(|(name, is_dir)| !is_dir && name.ends_with(".json")) {
        match Meta::load(disk, &topics.join(name)) {
            Ok(meta) => {
                let folders = 0..meta.config.partitions;
                known.extend(folders.map(|p| partition_dir(dir, &meta.name, p)));
                if !meta.dropped {
                    checked.topic(disk, dir, &meta);
                }
            }
            Err(e) => {
                is_described = false;
                checked.faults.push(e);
            }
        }
    }
    // A topic whose description cannot be read has folders too.
    if is_described {
        checked.strangers(disk, dir, &known);
    }
    checked
}

impl Checked {
    fn topic(&mut self, disk: &dyn Disk, dir: &Path, meta: &Meta) {
        self.topics += 1;
        for p in 0..meta.config.partitions {
            self.partitions += 1;
            if let Err(e) = self.partition(disk, dir, meta, p) {
                self.faults.push(e);
            }
        }
    }

    fn partition(&mut self, disk: &dyn Disk, log_dir: &Path, meta: &Meta, p: u32) -> Result<()> {
        let dir = partition_dir(log_dir, &meta.name, p);
        let names = match disk.list(&dir) {
            Ok(names) => names,
            Err(e) if e.kind() == io::ErrorKind::NotFound => vec![],
            Err(e) => return Err(Error::io(format!("read '{}'", dir.display()), e)),
        };
        let segments = Layout::of(&names).segments;
        let start = meta.start_offsets.get(p as usize).copied().unwrap_or(0);
        let list = segment_list::path(log_dir, &meta.id, p);
        let listed = segment_list::load(disk, &list).unwrap_or_default();
        let missing = segment_list::missing(&listed, &segments, start);
        let has_end = missing.last().is_none_or(|m| m.end.is_some());
        let id = Partition(p as i32);
        self.faults.extend(missing.iter().map(|m| m.error(&meta.name, id, &dir)));
        let bases = segments.iter().map(|s| s.base).chain(missing.iter().map(|m| m.base.0));
        let bases: BTreeSet<i64> = bases.collect();
        let durable = Checkpoint::load(disk, &Checkpoint::path(&dir));
        let (mut reached, mut is_whole) = (start, missing.is_empty());
        for name in segments {
            self.segments += 1;
            let next = bases.range(name.base + 1..).next().copied();
            let end = name.compacted.map(|c| c.end).or(next);
            // Only the newest may end torn, behind what was synced.
            let synced = match end {
                None if has_end => {
                    Some(durable.filter(|d| d.base == name.base).map_or(0, |d| d.durable.len))
                }
                _ => None,
            };
            let walked = Walk::of(disk, &dir, name, end).and_then(|mut w| {
                w.run(synced, self)?;
                Ok(w.next.max(end.unwrap_or(w.next)))
            });
            match walked {
                Ok(next) => reached = reached.max(next),
                Err(e) => {
                    is_whole = false;
                    let place = format!("topic '{}' partition {p}", meta.name);
                    self.faults.push(e.context(place));
                }
            }
        }
        if is_whole {
            self.ends.push(PartitionEnd {
                topic: meta.name.clone(),
                topic_id: meta.id.clone(),
                partition: id,
                end: Offset(reached),
            });
        }
        Ok(())
    }

    fn strangers(&mut self, disk: &dyn Disk, dir: &Path, known: &BTreeSet<PathBuf>) {
        for (name, is_dir) in disk.list(dir).unwrap_or_default() {
            let path = dir.join(name);
            let is_stage = name_of(&path).starts_with(BACKUP_STAGE);
            if is_dir && !known.contains(&path) && !is_stage {
                let text = format!("the folder '{}' belongs to no topic", path.display());
                self.faults.push(Error::corrupt(text).hint(
                    "the description of its topic is gone from 'topics': restore that from a \
                     backup, or move the folder away",
                ));
            }
        }
    }
}

fn name_of(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// The way through one segment.
struct Walk {
    path: PathBuf,
    file: std::sync::Arc<dyn DiskFile>,
    name: SegmentName,
    /// Where it must end; none for the newest.
    end: Option<i64>,
    len: u64,
    position: u64,
    next: i64,
}

impl Walk {
    fn of(disk: &dyn Disk, dir: &Path, name: SegmentName, end: Option<i64>) -> Result<Self> {
        let path = name.path(dir);
        let opened = disk.open(&path, false).and_then(|file| Ok((file.len()?, file)));
        let (len, file) = opened.map_err(|e| Error::io(format!("read '{}'", path.display()), e))?;
        Ok(Self { path, file, name, end, len, position: 0, next: name.base })
    }

    fn run(&mut self, synced: Option<u64>, checked: &mut Checked) -> Result<()> {
        if let Some(synced) = synced.filter(|synced| self.len < *synced) {
            return Err(self.damaged(&format!("it has {} bytes, not {synced}", self.len)));
        }
        while self.position < self.len && self.end.is_none_or(|end| self.next < end) {
            match self.stretch(checked)? {
                None => {}
                // The start cuts it off; it was never acknowledged.
                Some(_) if synced.is_some_and(|synced| self.position >= synced) => return Ok(()),
                Some(why) => return Err(self.damaged(why)),
            }
        }
        match self.end.filter(|end| *end != self.next) {
            Some(end) => Err(self.damaged(&format!("it must go on up to offset {}", end - 1))),
            None => Ok(()),
        }
    }

    /// Checks the batches in one read; what is wrong with the one it stops at.
    fn stretch(&mut self, checked: &mut Checked) -> Result<Option<&'static str>> {
        let bytes = self.bytes(STRETCH)?;
        let mut at = 0;
        while at < bytes.len() && self.end.is_none_or(|end| self.next < end) {
            let left = self.len - self.position;
            let Some(header) = Header::parse(&bytes[at..]) else {
                let is_cut = left < HEADER_LEN as u64;
                return Ok(is_cut.then_some("it ends within a header"));
            };
            if let Some(fault) = header.fault().or_else(|| self.misplaced(&header)) {
                return Ok(Some(fault));
            }
            let batch_len = header.batch_len().unwrap_or(HEADER_LEN);
            if batch_len as u64 > left {
                return Ok(Some("it ends within a batch"));
            }
            let is_intact = match bytes.get(at..at + batch_len) {
                Some(batch) => batch::is_intact(&header, batch),
                None if at > 0 => return Ok(None),
                None => batch::is_intact(&header, &self.bytes(batch_len as u64)?),
            };
            if !is_intact {
                return Ok(Some("the checksum of the batch does not match"));
            }
            at += batch_len;
            self.position += batch_len as u64;
            self.next = header.last_offset().0 + 1;
            checked.batches += 1;
            checked.bytes += batch_len as u64;
        }
        Ok(None)
    }

    fn bytes(&self, len: u64) -> Result<bytes::Bytes> {
        let len = len.min(self.len - self.position);
        let read = read_stretch(&*self.file, self.position, len)
            .map_err(|e| Error::io(format!("read '{}'", self.path.display()), e))?;
        if (read.len() as u64) < len {
            return Err(self.damaged("the file has become shorter"));
        }
        Ok(read)
    }

    fn misplaced(&self, header: &Header) -> Option<&'static str> {
        let (first, end) = (header.base_offset, header.last_offset().0 + 1);
        let fits = match self.name.compacted {
            None => first == self.next,
            Some(_) => first >= self.next,
        };
        let is_within = self.end.is_none_or(|most| end <= most);
        (!fits || !is_within).then_some("the batch does not continue the offsets")
    }

    fn damaged(&self, why: &str) -> Error {
        let (path, position) = (self.path.display(), self.position);
        let text =
            format!("'{path}' is damaged at position {position}, offset {}: {why}", self.next);
        Error::corrupt(text).hint("restore the file from a backup")
    }
}
