//! The bytes of the two small files of `snapshot.rs`: `<offset>.producers` and `<base>.txn`. Each
//! ends with the checksum of what is before it (`docs/formats/log.md`).

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use common::{Disk, Offset, disk};

use crate::producers::{AbortedTransaction, Producer, Producers, SENT_MAX, Sent};

const PRODUCERS_MAGIC: &[u8; 8] = b"WSPRODU1";
const ABORTED_MAGIC: &[u8; 8] = b"WSABORT1";
const NONE: i64 = -1;

/// The transactions aborted in one sealed segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AbortedIndex {
    pub aborted: Vec<AbortedTransaction>,
    /// The first offset that was undecided at the segment's end, or that end: markers further on
    /// end no transaction that began before it.
    pub stable: i64,
    /// Where the segment ends.
    pub end: i64,
}

impl AbortedIndex {
    pub fn store(&self, disk: &dyn Disk, log_path: &Path) -> io::Result<()> {
        let mut out = ABORTED_MAGIC.to_vec();
        put_i64s(&mut out, [self.end, self.stable, self.aborted.len() as i64]);
        for a in &self.aborted {
            put_i64s(&mut out, [a.producer_id, a.first.0, a.last.0]);
        }
        store(disk, &log_path.with_extension("txn"), out)
    }

    /// Nothing if the file is missing or damaged.
    pub fn load(disk: &dyn Disk, log_path: &Path) -> Option<Self> {
        let bytes = disk::read(disk, &log_path.with_extension("txn")).ok()?;
        let mut fields = Fields::open(&bytes, ABORTED_MAGIC)?;
        let (end, stable) = (fields.i64()?, fields.i64()?);
        let count = fields.i64()?;
        let aborted = (0..count).map(|_| fields.aborted()).collect::<Option<Vec<_>>>()?;
        fields.is_over().then_some(Self { aborted, stable, end })
    }
}

impl Producers {
    /// The file's bytes as of `offset`.
    pub fn encode(&self, offset: i64) -> Vec<u8> {
        let mut out = PRODUCERS_MAGIC.to_vec();
        put_i64s(&mut out, [offset, self.len() as i64, self.aborted.len() as i64]);
        let mut producers: Vec<_> = self.iter().collect();
        producers.sort_unstable_by_key(|(id, _)| *id);
        for (id, p) in producers {
            put_i64s(&mut out, [id, p.transaction.unwrap_or(NONE)]);
            put_i64s(&mut out, [p.last_timestamp_ms, p.used_ms]);
            out.extend(p.epoch.to_be_bytes());
            out.push(p.sent.len() as u8);
            for s in &p.sent {
                out.extend(s.first_sequence.to_be_bytes());
                out.extend(s.last_sequence.to_be_bytes());
                put_i64s(&mut out, [s.first, s.last]);
            }
        }
        for a in &self.aborted {
            put_i64s(&mut out, [a.producer_id, a.first.0, a.last.0]);
        }
        out
    }

    /// What was stored as of `offset`, in the segment at `base`.
    pub fn load(disk: &dyn Disk, dir: &Path, offset: i64, base: i64) -> Option<Self> {
        let bytes = disk::read(disk, &producers_path(dir, offset)).ok()?;
        let mut fields = Fields::open(&bytes, PRODUCERS_MAGIC)?;
        if fields.i64()? != offset {
            return None;
        }
        let (producers, aborted) = (fields.i64()?, fields.i64()?);
        let mut state = Self::empty(base);
        for _ in 0..producers {
            let id = fields.i64()?;
            state.insert(id, fields.producer()?);
        }
        for _ in 0..aborted {
            state.aborted.push(fields.aborted()?);
        }
        fields.is_over().then_some(state)
    }
}

impl Producers {
    /// The segment ends: what was aborted in it leaves this state.
    pub fn seal(&mut self, end: i64) -> AbortedIndex {
        let stable = self.first_open().min(end);
        AbortedIndex { aborted: self.begin_segment(end), stable, end }
    }
}

pub(crate) fn producers_path(dir: &Path, offset: i64) -> PathBuf {
    dir.join(format!("{offset:020}.producers"))
}

/// The bytes of such a file.
pub(crate) fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

/// Writes and syncs a file, its checksum behind its bytes.
pub(crate) fn store(disk: &dyn Disk, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let bytes = with_checksum(bytes);
    let file = disk.open(path, true)?;
    file.set_len(0)?;
    file.write_at(&bytes, 0)?;
    file.sync()
}

fn put_i64s<const N: usize>(out: &mut Vec<u8>, values: [i64; N]) {
    for value in values {
        out.extend(value.to_be_bytes());
    }
}

/// What is left of a file.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Nothing if the bytes are not as they were written.
    fn open(bytes: &'a [u8], magic: &[u8; 8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let fields = body.strip_prefix(magic)?;
        (crc32c::crc32c(body) == u32::from_be_bytes(*crc)).then_some(Self(fields))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn aborted(&mut self) -> Option<AbortedTransaction> {
        let (producer_id, first, last) = (self.i64()?, self.i64()?, self.i64()?);
        Some(AbortedTransaction { producer_id, first: Offset(first), last: Offset(last) })
    }

    fn producer(&mut self) -> Option<Producer> {
        let transaction = Some(self.i64()?).filter(|first| *first != NONE);
        let (last_timestamp_ms, used_ms) = (self.i64()?, self.i64()?);
        let epoch = i16::from_be_bytes(self.take()?);
        let [count] = self.take()?;
        if usize::from(count) > SENT_MAX {
            return None;
        }
        let mut sent = VecDeque::with_capacity(SENT_MAX);
        for _ in 0..count {
            let (first_sequence, last_sequence) = (self.i32()?, self.i32()?);
            let (first, last) = (self.i64()?, self.i64()?);
            sent.push_back(Sent { first_sequence, last_sequence, first, last });
        }
        Some(Producer { epoch, sent, transaction, last_timestamp_ms, used_ms })
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}
