//! Topics with `durability = page_cache`: an append is acknowledged and visible once it is written
//! to the file. The flusher syncs it within about a second, a segment is synced before the next one
//! begins, and so is all at a close. It survives the end of the process, not a power cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{DiskFile, Error, Kind, Result};

use crate::partition::{PartitionLog, Writer};
use crate::recovery;

impl PartitionLog {
    /// Acknowledges all that is written, synced or not.
    pub(crate) fn show_written(&self, writer: &Writer) {
        if let Some(active) = &writer.active {
            active.set_durable_len(writer.written.len);
        }
        self.advance(writer.written.next_offset);
    }

    /// To be called after each append: somebody must sync it, and readers may wait for it.
    pub(crate) fn queue_sync(self: &Arc<Self>) {
        let is_lazy = self.settings.is_page_cache();
        if !self.is_dirty.swap(true, Ordering::AcqRel) {
            if is_lazy {
                self.shared.flusher.push_lazy(self.clone());
            } else {
                self.shared.flusher.push(self.clone());
            }
        }
        if is_lazy {
            self.shared.commits.note();
        }
    }

    /// Syncs if need be, so that a power cut takes nothing below `offset`.
    pub(crate) fn sync_up_to(&self, offset: i64) -> Result<()> {
        if self.writer()?.durable.next_offset < offset {
            self.sync();
        }
        if self.writer()?.durable.next_offset < offset {
            let name = format!("{}-{}", self.topic, self.id);
            return Err(Error::new(Kind::Io, format!("partition '{name}' cannot be synced"))
                .hint("check the disk, then try again"));
        }
        Ok(())
    }

    /// Whether a failed sync is to be repeated.
    pub(crate) fn must_sync_again(&self) -> bool {
        self.writer().is_ok_and(|writer| writer.must_rewrite)
    }

    /// Syncs the active segment's file, whose bytes up to `len` are wanted.
    pub(crate) fn sync_file(
        &self,
        file: &dyn DiskFile,
        rewrite_from: Option<u64>,
        len: u64,
    ) -> io::Result<()> {
        if let Some(from) = rewrite_from {
            recovery::rewrite(file, from, len).inspect_err(|_| {
                self.counters.sync_failures.fetch_add(1, Ordering::Relaxed);
            })?;
        }
        self.timed_sync(file)
    }

    /// After a failed sync of what is acknowledged already: the page cache still has it, so it
    /// stays. It is written once more before the next sync, which would skip it otherwise.
    pub(crate) fn keep_unsynced(&self, writer: &mut Writer, e: io::Error) -> Error {
        writer.must_rewrite = true;
        let e = Error::io(format!("sync partition '{}-{}'", self.topic, self.id), e);
        let records = writer.written.next_offset - writer.durable.next_offset;
        tracing::error!("{e}; {records} acknowledged records would not survive a power cut");
        e
    }
}

impl Writer {
    /// Where the bytes begin that the next sync would skip.
    pub(crate) fn rewrite_from(&self) -> Option<u64> {
        self.must_rewrite.then_some(self.durable.len)
    }
}
