//! A file as bytes of UTF-8, from any position: unpacked (gzip, zstd), decoded (UTF-16, Latin-1,
//! …), or standard input. Bytes of UTF-8 are passed on as they are: what is wrong in them is
//! judged by the server, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::{Error, Result};
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

/// So much is looked at to find packing and encoding.
const HEAD_BYTES: usize = 4 << 10;
/// So much of standard input is awaited to find out what it holds.
const STDIN_SAMPLE_BYTES: u64 = 1 << 20;

/// Beginnings of files that are no text, and what they are.
const OTHERS: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a zip archive (as .xlsx is): save the sheet as CSV, or unpack it"),
    (b"BZh", "packed with bzip2: unpack it, or pack it with gzip or zstd"),
    (b"\xFD7zXZ\0", "packed with xz: unpack it, or pack it with gzip or zstd"),
    (b"%PDF-", "a PDF"),
    (b"SQLite format 3\0", "an SQLite database: write the table as CSV"),
];

pub struct Input {
    pub path: PathBuf,
    pub packing: Option<Packing>,
    pub encoding: &'static Encoding,
    /// The beginning, as UTF-8.
    pub sample: Vec<u8>,
    /// `sample` is all of it.
    pub whole: bool,
    /// Taken by the only reader.
    stdin: Mutex<Option<Box<dyn Read + Send>>>,
}

impl Input {
    /// `-` is standard input. `encoding` is a label as browsers know it, `utf-16le`, `latin1`.
    pub fn open(path: &Path, encoding: Option<&str>, sample_bytes: u64) -> Result<Input> {
        let mut input = Input {
            path: path.to_path_buf(),
            packing: None,
            encoding: UTF_8,
            sample: vec![],
            whole: false,
            stdin: Mutex::default(),
        };
        let given = encoding.map(label).transpose()?;
        if input.is_stdin() {
            let mut stdin = io::stdin();
            let head = input.read_some(&mut stdin, HEAD_BYTES as u64)?;
            let rest = Box::new(Cursor::new(head.clone()).chain(stdin));
            let mut reader = input.unpack(&head, rest, given)?;
            input.sample = input.read_some(&mut reader, sample_bytes.min(STDIN_SAMPLE_BYTES))?;
            input.whole = (input.sample.len() as u64) < sample_bytes.min(STDIN_SAMPLE_BYTES);
            input.stdin = Mutex::new(Some(reader));
            return Ok(input);
        }
        let mut file = input.file()?;
        let head = input.read_some(&mut file, HEAD_BYTES as u64)?;
        let file = input.file()?;
        let mut reader = input.unpack(&head, Box::new(file), given)?;
        input.sample = input.read_some(&mut reader, sample_bytes)?;
        input.whole = (input.sample.len() as u64) < sample_bytes;
        Ok(input)
    }

    pub fn is_stdin(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// As messages call it.
    pub fn name(&self) -> String {
        match self.is_stdin() {
            true => "standard input".into(),
            false => self.path.display().to_string(),
        }
    }

    /// Bytes are those of the file.
    fn is_plain(&self) -> bool {
        self.packing.is_none() && self.encoding == UTF_8 && !self.is_stdin()
    }

    /// Bytes in all, if that is known.
    pub fn length(&self) -> Option<u64> {
        match self.is_plain() {
            true => std::fs::metadata(&self.path).ok().map(|m| m.len()),
            false => None,
        }
    }

    /// Bytes from this position on.
    pub fn reader(&self, position: u64) -> Result<BufReader<Box<dyn Read + Send>>> {
        let failed = |e| Error::io(format!("reading '{}'", self.name()), e);
        let mut reader: Box<dyn Read + Send> = if self.is_stdin() {
            let taken = self.stdin.lock().ok().and_then(|mut stdin| stdin.take());
            let rest = taken.ok_or_else(|| {
                Error::invalid("standard input can be read once").hint("import a file to go on")
            })?;
            Box::new(Cursor::new(self.sample.clone()).chain(rest))
        } else {
            let mut file = self.file()?;
            if self.is_plain() {
                file.seek(SeekFrom::Start(position)).map_err(failed)?;
                return Ok(BufReader::with_capacity(1 << 20, Box::new(file)));
            }
            self.unpacked(Box::new(file))?
        };
        if position > 0 {
            io::copy(&mut reader.by_ref().take(position), &mut io::sink()).map_err(failed)?;
        }
        Ok(BufReader::with_capacity(1 << 20, reader))
    }

    fn file(&self) -> Result<File> {
        let failed = |e| Error::io(format!("reading '{}'", self.path.display()), e);
        let file = File::open(&self.path).map_err(failed)?;
        match file.metadata().map_err(failed)?.is_dir() {
            false => Ok(file),
            true => Err(Error::invalid(format!("'{}' is a folder", self.path.display()))
                .hint("name its files, as in FOLDER/*.csv")),
        }
    }

    fn read_some(&self, reader: &mut impl Read, bytes: u64) -> Result<Vec<u8>> {
        let mut some = vec![];
        reader
            .take(bytes)
            .read_to_end(&mut some)
            .map_err(|e| Error::io(format!("reading '{}'", self.name()), e))?;
        Ok(some)
    }

    /// Finds out what `head`, with which `all` begins, is the beginning of.
    fn unpack(
        &mut self,
        head: &[u8],
        all: Box<dyn Read + Send>,
        given: Option<&'static Encoding>,
    ) -> Result<Box<dyn Read + Send>> {
        if let Some((_, what)) = OTHERS.iter().find(|(begin, _)| head.starts_with(begin)) {
            return Err(Error::unsupported(format!("'{}' is {what}", self.name())));
        }
        self.packing = match head {
            [0x1F, 0x8B, ..] => Some(Packing::Gzip),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Some(Packing::Zstd),
            _ => None,
        };
        let mut bytes = match self.packing {
            None => BufReader::new(all),
            Some(packing) => BufReader::new(unpacking(packing, all)?),
        };
        let failed = |e| Error::io(format!("reading '{}'", self.name()), e);
        let mut head = vec![];
        bytes.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
        self.encoding = given.unwrap_or_else(|| encoding_of(&head));
        let bytes = Cursor::new(head).chain(bytes);
        Ok(self.decoded(Box::new(bytes)))
    }

    /// The same again, of the same file.
    fn unpacked(&self, all: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>> {
        let bytes = match self.packing {
            None => all,
            Some(packing) => unpacking(packing, all)?,
        };
        Ok(self.decoded(bytes))
    }

    fn decoded(&self, bytes: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        match self.encoding == UTF_8 {
            true => bytes,
            false => Box::new(Decoded::new(bytes, self.encoding)),
        }
    }
}

fn unpacking(packing: Packing, all: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>> {
    Ok(match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(all)),
        Packing::Zstd => Box::new(
            zstd::stream::read::Decoder::new(all).map_err(|e| Error::io("unpacking zstd", e))?,
        ),
    })
}

fn label(label: &str) -> Result<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).ok_or_else(|| {
        Error::invalid(format!("there is no encoding '{label}'"))
            .hint("as in utf-8, utf-16le, latin1, windows-1252, iso-8859-15, shift_jis")
    })
}

/// By its mark, or by the zeros that UTF-16 has beside every letter of Latin script.
fn encoding_of(head: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return encoding;
    }
    let zeros = |from: usize| head.iter().skip(from).step_by(2).filter(|b| **b == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), head.len() / 2);
    match pairs {
        2.. if odd * 10 > pairs * 7 && even * 10 < pairs => UTF_16LE,
        2.. if even * 10 > pairs * 7 && odd * 10 < pairs => UTF_16BE,
        _ => UTF_8,
    }
}

/// Bytes of another encoding as UTF-8.
struct Decoded {
    bytes: BufReader<Box<dyn Read + Send>>,
    decoder: Decoder,
    out: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Decoded {
    fn new(bytes: Box<dyn Read + Send>, encoding: &'static Encoding) -> Decoded {
        let decoder = encoding.new_decoder_with_bom_removal();
        Decoded { bytes: BufReader::new(bytes), decoder, out: vec![], at: 0, ended: false }
    }
}

impl Read for Decoded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.out.len() && !self.ended {
            let chunk = self.bytes.fill_buf()?;
            self.ended = chunk.is_empty();
            let room = self.decoder.max_utf8_buffer_length(chunk.len()).unwrap_or(1 << 16);
            self.out.resize(room, 0);
            let (_, used, written, _) =
                self.decoder.decode_to_utf8(chunk, &mut self.out, self.ended);
            self.bytes.consume(used);
            self.out.truncate(written);
            self.at = 0;
        }
        let n = (self.out.len() - self.at).min(into.len());
        into[..n].copy_from_slice(&self.out[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    #[test]
    fn packed_and_decoded_from_any_position() {
        let dir = tempfile::tempdir().unwrap();
        let text = "name;größe\n".repeat(3_000) + "end";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xFF\xFE", &utf16[..]].concat();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(&text);
        let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gzip.write_all(&marked).unwrap();
        let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
        for (name, bytes, encoding) in [
            ("plain", text.as_bytes(), None),
            ("utf16", &utf16, None),
            ("marked", &marked, None),
            ("big", &big, None),
            ("latin", &latin, Some("latin1")),
            ("gzip", &gzip.finish().unwrap(), None),
            ("zstd", &zstd, None),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let input = Input::open(&path, encoding, 100).unwrap();
            assert_eq!(
                (&input.sample[..], input.whole),
                (&text.as_bytes()[..100], false),
                "{name}"
            );
            for from in [0, 7, 20_000] {
                let mut read = String::new();
                let mut reader = input.reader(from).unwrap();
                if from != 7 {
                    reader.read_to_string(&mut read).unwrap();
                    assert!(read == text[from as usize..], "{name} from {from}");
                }
            }
        }
        std::fs::write(dir.path().join("x.xlsx"), b"PK\x03\x04...").unwrap();
        let e = Input::open(&dir.path().join("x.xlsx"), None, 10).err().unwrap();
        assert!(e.to_string().contains("save the sheet as CSV"), "{e}");
        let e = Input::open(&dir.path().join("plain"), Some("klingon"), 10).err().unwrap();
        assert!(e.to_string().contains("no encoding 'klingon'"), "{e}");
    }
}
