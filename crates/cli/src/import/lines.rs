//! Text files line by line with byte positions, and NDJSON, whose lines go out as they are.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use common::{Error, Result};

use super::source::{BATCH_BYTES, Batch};

/// A longer line is cut off when it goes out: the server refuses it as too large all the same.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A text file, read from any byte.
pub struct LineReader {
    reader: BufReader<File>,
    name: String,
    pub position: u64,
    /// Line that begins at `position`, counted from 1.
    pub line: u64,
    pub length: u64,
}

impl LineReader {
    pub fn open(path: &Path) -> Result<LineReader> {
        let name = path.display().to_string();
        let failed = |e| Error::io(format!("reading '{name}'"), e);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let reader = BufReader::with_capacity(1 << 20, file);
        Ok(LineReader { reader, name, position: 0, line: 1, length })
    }

    pub fn seek(&mut self, position: u64, line: u64) -> Result<()> {
        let failed = |e| Error::io(format!("reading '{}'", self.name), e);
        self.reader.seek(SeekFrom::Start(position)).map_err(failed)?;
        (self.position, self.line) = (position, line);
        Ok(())
    }

    /// Appends the next line with its end; false at the end of the file.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        let name = self.name.clone();
        let failed = |e| Error::io(format!("reading '{name}'"), e);
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX as u64);
        let mut read = limited.read_until(b'\n', out).map_err(failed)?;
        if read == LINE_BYTES_MAX && !out.ends_with(b"\n") {
            read += self.drop_line().map_err(failed)?;
            out.push(b'\n');
        }
        if self.position == 0 && out.starts_with(b"\xEF\xBB\xBF") {
            out.drain(..3);
        }
        self.position += read as u64;
        self.line += u64::from(read > 0);
        Ok(read > 0)
    }

    /// Reads to the line's end without keeping it.
    fn drop_line(&mut self) -> std::io::Result<usize> {
        let mut dropped = 0;
        loop {
            let chunk = self.reader.fill_buf()?;
            let end = chunk.iter().position(|b| *b == b'\n');
            let n = end.map_or(chunk.len(), |i| i + 1);
            self.reader.consume(n);
            dropped += n;
            if end.is_some() || n == 0 {
                return Ok(dropped);
            }
        }
    }
}

/// An NDJSON file.
pub struct Lines {
    pub reader: LineReader,
    /// The beginning, for the types.
    pub sample: Vec<u8>,
}

impl Lines {
    pub fn open(path: &Path, sample: Vec<u8>) -> Result<Lines> {
        let first = sample.iter().find(|b| !b.is_ascii_whitespace());
        if first == Some(&b'[') {
            let name = path.display();
            return Err(Error::unsupported(format!("'{name}' holds one JSON array"))
                .hint("make lines of it: jq -c '.[]' FILE > FILE.ndjson"));
        }
        Ok(Lines { reader: LineReader::open(path)?, sample })
    }

    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let mut batch = Batch { content_type: "application/x-ndjson", ..Batch::default() };
        batch.note_line(1, self.reader.line);
        let mut line = vec![];
        while batch.body.len() < BATCH_BYTES {
            line.clear();
            if !self.reader.next(&mut line)? {
                break;
            }
            batch.rows += u64::from(!line.trim_ascii().is_empty());
            batch.body.extend_from_slice(&line);
        }
        (batch.position, batch.next_line) = (self.reader.position, self.reader.line);
        Ok((!batch.body.is_empty()).then_some(batch))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_comes_whole_however_often_it_is_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        let text: String =
            (0..60_000).map(|i| format!("{{\"n\":{i},\"pad\":\"{i:040}\"}}\n")).collect();
        let text = text.trim_end().to_string();
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        let (mut got, mut position, mut line) = (String::new(), 0, 1);
        loop {
            let mut source = Lines::open(&path, vec![]).unwrap();
            source.reader.seek(position, line).unwrap();
            let Some(batch) = source.next_batch().unwrap() else { break };
            got.push_str(std::str::from_utf8(&batch.body).unwrap());
            assert_eq!(batch.source_line(1), line);
            (position, line) = (batch.position, batch.next_line);
        }
        assert_eq!(got, text);
        assert_eq!(line, 60_001);
    }

    #[test]
    fn a_monstrous_line_takes_little_memory_and_keeps_the_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        let mut bytes = vec![b'x'; LINE_BYTES_MAX * 2];
        bytes.extend_from_slice(b"\n{\"n\":1}\n");
        std::fs::write(&path, &bytes).unwrap();
        let mut reader = LineReader::open(&path).unwrap();
        let mut line = vec![];
        assert!(reader.next(&mut line).unwrap());
        assert_eq!(line.len(), LINE_BYTES_MAX + 1);
        line.clear();
        assert!(reader.next(&mut line).unwrap());
        assert_eq!(line, b"{\"n\":1}\n");
        assert_eq!((reader.position, reader.line), (bytes.len() as u64, 3));
    }
}
