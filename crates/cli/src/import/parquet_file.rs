//! Parquet files, sent as NDJSON; positions are rows.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatchReader;
use common::{Error, Result};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::source::Batch;

/// Rows of one request.
const ROWS: usize = 8_192;

/// An open Parquet file.
pub struct ParquetFile {
    path: PathBuf,
    pub schema: SchemaRef,
    pub rows: u64,
    reader: ParquetRecordBatchReader,
    /// Rows before the next one.
    pub position: u64,
}

impl ParquetFile {
    pub fn open(path: &Path) -> Result<ParquetFile> {
        let (reader, rows) = open(path, 0)?;
        let schema = reader.schema();
        Ok(ParquetFile { path: path.to_path_buf(), schema, rows, reader, position: 0 })
    }

    /// Goes behind `position` rows.
    pub fn seek(&mut self, position: u64) -> Result<()> {
        self.reader = open(&self.path, position as usize)?.0;
        self.position = position;
        Ok(())
    }

    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let Some(rows) = self.reader.next() else { return Ok(None) };
        let rows = rows.map_err(|e| damaged(&self.path, &e))?;
        let mut batch = Batch { content_type: "application/x-ndjson", ..Batch::default() };
        // "Lines" of such a file are its rows, counted from 1.
        batch.note_line(1, self.position + 1);
        let mut writer = arrow::json::LineDelimitedWriter::new(&mut batch.body);
        writer
            .write(&rows)
            .and_then(|()| writer.finish())
            .map_err(|e| Error::unsupported(format!("rows of '{}': {e}", self.path.display())))?;
        drop(writer);
        batch.rows = rows.num_rows() as u64;
        self.position += batch.rows;
        (batch.position, batch.next_line) = (self.position, self.position + 1);
        Ok(Some(batch))
    }
}

fn open(path: &Path, skip: usize) -> Result<(ParquetRecordBatchReader, u64)> {
    let file =
        File::open(path).map_err(|e| Error::io(format!("reading '{}'", path.display()), e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| damaged(path, &e))?;
    let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
    let reader =
        builder.with_batch_size(ROWS).with_offset(skip).build().map_err(|e| damaged(path, &e))?;
    Ok((reader, rows))
}

fn damaged(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("'{}' does not read as Parquet: {e}", path.display()))
}
