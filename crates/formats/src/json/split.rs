//! A request body into records, without building a tree: NDJSON by lines, an array by elements.
//! Every byte of the body ends up in a record or in a refusal that names its line.

use super::Cursor;
use crate::fault::{BadLine, Fault, RefusedKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// One record a line; blank lines do not count as records.
    Ndjson,
    /// An array of records, or a single one.
    Json,
}

/// A record's text and the line in the body where it starts, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub line: u64,
    pub bytes: &'a [u8],
}

/// The records of a body, one after the other.
#[derive(Debug)]
pub struct Split<'a> {
    cursor: Cursor<'a>,
    state: State,
    record_bytes_max: usize,
    /// Line of the byte at `counted`.
    line: u64,
    counted: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Lines,
    /// Before the first byte of a JSON body.
    Start,
    /// In an array, before an element; the first may also be its end.
    Element {
        first: bool,
    },
    /// After a single value, with something behind it.
    Behind,
    Done,
}

/// Splits a body. Records over `record_bytes_max` are refused, the others go on.
pub fn split(body: &[u8], kind: ContentKind, record_bytes_max: usize) -> Split<'_> {
    let mut cursor = Cursor::new(body);
    if body.starts_with(b"\xEF\xBB\xBF") {
        cursor.at = 3;
    }
    let state = if kind == ContentKind::Ndjson { State::Lines } else { State::Start };
    Split { cursor, state, record_bytes_max, line: 1, counted: 0 }
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<Record<'a>, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.state {
            State::Lines => self.next_line(),
            State::Start => self.begin(),
            State::Element { first } => self.element(first),
            State::Behind => self.behind(),
            State::Done => None,
        }
    }
}

impl<'a> Split<'a> {
    /// The line of a position; positions only grow.
    fn line_at(&mut self, at: usize) -> u64 {
        let passed = &self.cursor.bytes[self.counted.min(at)..at];
        self.line += memchr::memchr_iter(b'\n', passed).count() as u64;
        self.counted = self.counted.max(at);
        self.line
    }

    fn record(&self, line: u64, bytes: &'a [u8]) -> Result<Record<'a>, BadLine> {
        if bytes.len() <= self.record_bytes_max {
            return Ok(Record { line, bytes });
        }
        Err(BadLine::new(line, too_large(bytes.len(), self.record_bytes_max), bytes))
    }

    fn next_line(&mut self) -> Option<Result<Record<'a>, BadLine>> {
        while self.cursor.at < self.cursor.bytes.len() {
            let rest = &self.cursor.bytes[self.cursor.at..];
            let end = memchr::memchr(b'\n', rest);
            let line = rest[..end.unwrap_or(rest.len())].trim_ascii();
            self.cursor.at += end.map_or(rest.len(), |e| e + 1);
            let number = self.line;
            self.line += 1;
            if !line.is_empty() {
                return Some(self.record(number, line));
            }
        }
        self.state = State::Done;
        None
    }

    fn begin(&mut self) -> Option<Result<Record<'a>, BadLine>> {
        self.cursor.blanks();
        if self.cursor.at == self.cursor.bytes.len() {
            self.state = State::Done;
            return None;
        }
        if self.cursor.eat(b'[') {
            self.state = State::Element { first: true };
            return self.element(true);
        }
        self.state = State::Done;
        let start = self.cursor.at;
        let line = self.line_at(start);
        let found = self.cursor.skip();
        if let Err(fault) = found {
            return Some(Err(self.broken(fault, start)));
        }
        let bytes = &self.cursor.bytes[start..self.cursor.at];
        self.cursor.blanks();
        if self.cursor.at < self.cursor.bytes.len() {
            self.state = State::Behind;
        }
        Some(self.record(line, bytes))
    }

    fn behind(&mut self) -> Option<Result<Record<'a>, BadLine>> {
        let start = self.cursor.at;
        let fault = self.cursor.unexpected(
            "the end after one record (send several as an array, \
            or one a line as application/x-ndjson)",
        );
        self.stop(fault, start)
    }

    fn element(&mut self, first: bool) -> Option<Result<Record<'a>, BadLine>> {
        self.cursor.blanks();
        let at = self.cursor.at;
        if self.cursor.eat(b']') {
            return self.after_array();
        }
        if !first {
            if let Err(fault) = self.cursor.expect(b',', "',' or ']' after a record") {
                return self.stop(fault, at);
            }
            self.cursor.blanks();
        }
        let start = self.cursor.at;
        let line = self.line_at(start);
        if let Err(fault) = self.cursor.skip() {
            return self.stop(fault, start);
        }
        self.state = State::Element { first: false };
        let bytes = &self.cursor.bytes[start..self.cursor.at];
        Some(self.record(line, bytes))
    }

    fn after_array(&mut self) -> Option<Result<Record<'a>, BadLine>> {
        self.state = State::Done;
        let start = self.cursor.at;
        let end = self.cursor.end();
        end.err().map(|fault| Err(self.broken(fault, start)))
    }

    fn stop(&mut self, fault: Fault, start: usize) -> Option<Result<Record<'a>, BadLine>> {
        self.state = State::Done;
        Some(Err(self.broken(fault, start)))
    }

    /// The refusal of all from `start`, at the line of the break.
    fn broken(&mut self, fault: Fault, start: usize) -> BadLine {
        let line = self.line_at(fault.at());
        BadLine::new(line, fault, &self.cursor.bytes[start..])
    }
}

pub(crate) fn too_large(len: usize, max: usize) -> Fault {
    let reason = format!("{len} bytes are more than an event may have ({max})");
    Fault::new(RefusedKind::TooLarge, reason)
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
