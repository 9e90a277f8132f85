//! Text files line by line with byte positions, and NDJSON, whose lines go out as they are unless
//! members have to get other names.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use common::{Error, Result};
use serde_json::value::RawValue;

use super::input::Input;
use super::source::{BATCH_BYTES, Batch};

/// A longer line is cut off when it goes out: the server refuses it as too large all the same.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Lines of a file, from any byte.
pub struct LineReader {
    input: Arc<Input>,
    reader: BufReader<Box<dyn Read + Send>>,
    /// Lines that were given back.
    pending: VecDeque<Vec<u8>>,
    pub position: u64,
    /// Line that begins at `position`, counted from 1.
    pub line: u64,
}

impl LineReader {
    pub fn open(input: &Arc<Input>) -> Result<LineReader> {
        let reader = input.reader(0)?;
        Ok(LineReader {
            input: input.clone(),
            reader,
            pending: VecDeque::new(),
            position: 0,
            line: 1,
        })
    }

    pub fn seek(&mut self, position: u64, line: u64) -> Result<()> {
        if (position, line) != (self.position, self.line) {
            self.reader = self.input.reader(position)?;
            self.pending.clear();
            (self.position, self.line) = (position, line);
        }
        Ok(())
    }

    /// Appends the next line with its end; false at the end of the file.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        if let Some(line) = self.pending.pop_front() {
            out.extend_from_slice(&line);
            self.position += line.len() as u64;
            self.line += 1;
            return Ok(true);
        }
        let name = self.input.name();
        let failed = |e| Error::io(format!("reading '{name}'"), e);
        let start = out.len();
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX as u64);
        let mut read = limited.read_until(b'\n', out).map_err(failed)?;
        if read == LINE_BYTES_MAX && !out.ends_with(b"\n") {
            read += self.drop_line().map_err(failed)?;
            out.push(b'\n');
        }
        if self.position == 0 && out[start..].starts_with(b"\xEF\xBB\xBF") {
            out.drain(start..start + 3);
        }
        self.position += read as u64;
        self.line += u64::from(read > 0);
        Ok(read > 0)
    }

    /// Gives back whole lines that were read last.
    pub fn give_back(&mut self, lines: &[u8]) {
        for line in lines.split_inclusive(|b| *b == b'\n').rev() {
            self.position -= line.len() as u64;
            self.line -= 1;
            self.pending.push_front(line.to_vec());
        }
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
    /// Columns of members that can't have their own name.
    pub renamed: BTreeMap<String, String>,
}

impl Lines {
    pub fn open(input: &Arc<Input>) -> Result<Lines> {
        let first = input.sample.iter().find(|b| !b.is_ascii_whitespace());
        if first == Some(&b'[') {
            let name = input.name();
            return Err(Error::unsupported(format!("'{name}' holds one JSON array"))
                .hint("make lines of it: jq -c '.[]' FILE > FILE.ndjson"));
        }
        Ok(Lines { reader: LineReader::open(input)?, renamed: BTreeMap::new() })
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
            match self.rename(&line) {
                Some(renamed) => batch.body.extend_from_slice(&renamed),
                None => batch.body.extend_from_slice(&line),
            }
        }
        (batch.position, batch.next_line) = (self.reader.position, self.reader.line);
        Ok((!batch.body.is_empty()).then_some(batch))
    }

    /// The line with other names; none where it stays as it is, also where it is no JSON.
    fn rename(&self, line: &[u8]) -> Option<Vec<u8>> {
        if self.renamed.is_empty() {
            return None;
        }
        let Members(members) = serde_json::from_slice(line).ok()?;
        let mut out = vec![b'{'];
        for (i, (name, value)) in members.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let name = self.renamed.get(name).unwrap_or(name);
            serde_json::to_writer(&mut out, name).ok()?;
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.extend_from_slice(b"}\n");
        Some(out)
    }
}

/// An object's members in their order, their values as they are written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = vec![];
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    fn input(path: &Path) -> Arc<Input> {
        Arc::new(Input::open(path, None, 100).unwrap())
    }

    #[test]
    fn members_get_other_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        std::fs::write(&path, "{\"_id\": 1.50, \"b\":[ 1 ],\"_id\":2}\nno json\n").unwrap();
        let mut source = Lines::open(&input(&path)).unwrap();
        source.renamed.insert("_id".into(), "id".into());
        let batch = source.next_batch().unwrap().unwrap();
        let text = String::from_utf8(batch.body).unwrap();
        assert_eq!(text, "{\"id\":1.50,\"b\":[ 1 ],\"id\":2}\nno json\n");
    }

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
            let mut source = Lines::open(&input(&path)).unwrap();
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
        let mut reader = LineReader::open(&input(&path)).unwrap();
        let mut line = vec![];
        assert!(reader.next(&mut line).unwrap());
        assert_eq!(line.len(), LINE_BYTES_MAX + 1);
        for _ in 0..2 {
            line.clear();
            assert!(reader.next(&mut line).unwrap());
            assert_eq!(line, b"{\"n\":1}\n");
            assert_eq!((reader.position, reader.line), (bytes.len() as u64, 3));
            reader.give_back(&line);
            assert_eq!(reader.line, 2);
        }
    }
}
