//! A cut through the whole log at one moment, for a backup while it runs. For that moment every
//! partition is held: nothing is appended, synced, rolled or removed. What is in the cut is what
//! readers could see, so a store that follows the log, snapshotted within the same moment, fits.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use common::{Error, Result};

use crate::batch::{HEADER_LEN, Header};
use crate::checkpoint::Checkpoint;
use crate::index::Extent;
use crate::lock::{lock, read};
use crate::log::Log;
use crate::partition::{PartitionLog, Writer};
use crate::segment::Segment;
use crate::segment_list;
use crate::segment_name::SEGMENT_FILES;
use crate::snapshot_file;
use crate::topic::{Meta, Topic};

/// Beginning of the name of a folder, within a store's, that holds links for a backup under way. No
/// partition's folder is named so, for want of a number.
pub const BACKUP_STAGE: &str = ".backup-";

/// What makes up a log at one moment. Paths are below the log's folder.
#[derive(Debug, Default)]
pub struct Cut {
    pub files: Vec<CutFile>,
    /// Files that are written anew, with their bytes.
    pub small: Vec<(PathBuf, Vec<u8>)>,
    /// Records that readers could see.
    pub records: u64,
}

/// A file as it is.
#[derive(Debug)]
pub struct CutFile {
    pub path: PathBuf,
    /// So many of its bytes belong to the cut; else all, and it never changes.
    pub len: Option<u64>,
    /// Else it is made anew when it is missing.
    pub is_needed: bool,
}

impl Log {
    /// Holds the whole log while `take` notes what there is. It should take no longer than making
    /// links to the files: producers wait.
    pub fn cut(&self, take: &mut dyn FnMut(Cut) -> Result<()>) -> Result<()> {
        let _admin = lock(&self.half_dropped);
        let topics = self.topics();
        let metas: Vec<MutexGuard<'_, Meta>> = topics.iter().map(|t| lock(&t.meta)).collect();
        let of = |topic: &Arc<Topic>| topic.partitions();
        let partitions: Vec<Vec<Arc<PartitionLog>>> = topics.iter().map(of).collect();
        let all = || partitions.iter().flatten();
        let _files: Vec<MutexGuard<'_, ()>> = all().map(|p| lock(&p.cleaner.files)).collect();
        let mut held = vec![];
        for partition in all() {
            let sync = lock(&partition.sync);
            held.push((sync, partition.writer()?));
        }
        let mut cut = Cut::default();
        let mut writers = held.iter().map(|(_, writer)| writer);
        for (meta, partitions) in metas.iter().zip(&partitions) {
            if !meta.dropped {
                let path = self.below(&meta.path(&self.dir));
                cut.small.push((path, meta.encode()?));
            }
            for (partition, writer) in partitions.iter().zip(&mut writers) {
                if !meta.dropped {
                    self.add(&mut cut, partition, writer)?;
                }
            }
        }
        take(cut)
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.dir).unwrap_or(path).to_path_buf()
    }

    fn add(&self, cut: &mut Cut, partition: &PartitionLog, writer: &Writer) -> Result<()> {
        let shown = partition.high_watermark().0;
        cut.records += (shown - partition.start_offset().0).max(0) as u64;
        let segments: Vec<Arc<Segment>> = read(&partition.segments).values().cloned().collect();
        let mut bases: Vec<i64> = segments.iter().map(|s| s.base).collect();
        bases.extend(read(&partition.missing).iter().map(|m| m.base.0));
        if bases.is_empty() {
            return Ok(());
        }
        bases.sort_unstable();
        let list = snapshot_file::with_checksum(segment_list::encode(&bases));
        cut.small.push((self.below(&partition.list), list));
        let dir = &partition.dir;
        let mut add = |path: &Path, len: Option<u64>, is_needed: bool| {
            cut.files.push(CutFile { path: self.below(path), len, is_needed });
        };
        for segment in &segments {
            add(&snapshot_file::producers_path(dir, segment.base), None, false);
            if !writer.is_active(segment) {
                for extension in SEGMENT_FILES {
                    add(&segment.path.with_extension(extension), None, extension == "log");
                }
            }
        }
        add(&dir.join("cleaned"), None, false);
        if let Some(active) = &writer.active {
            let extent = partition.shown_extent(writer, active, shown)?;
            add(&active.path, Some(extent.len), true);
            let checkpoint = Checkpoint { base: active.base, durable: extent };
            cut.small.push((self.below(&Checkpoint::path(dir)), checkpoint.encode()));
        }
        Ok(())
    }
}

impl PartitionLog {
    /// How much of the active segment readers see.
    fn shown_extent(&self, writer: &Writer, active: &Arc<Segment>, shown: i64) -> Result<Extent> {
        let known = [writer.written, writer.durable].into_iter().find(|e| e.next_offset == shown);
        if let Some(extent) = known {
            return Ok(extent);
        }
        // Between the two: its topic's durability was changed a moment ago.
        let failed = |e| Error::io(format!("read '{}'", active.path.display()), e);
        let file = active.file().map_err(failed)?;
        let mut extent = writer.durable;
        while extent.next_offset < shown && extent.len < writer.written.len {
            let mut head = [0; HEADER_LEN];
            file.read_at(&mut head, extent.len).map_err(failed)?;
            let header = Header::parse(&head);
            let Some((header, len)) = header.and_then(|h| Some((h, h.batch_len()?))) else { break };
            extent.len += len as u64;
            extent.next_offset = header.last_offset().0 + 1;
            extent.max_timestamp_ms = extent.max_timestamp_ms.max(header.max_timestamp_ms);
        }
        Ok(extent)
    }
}
