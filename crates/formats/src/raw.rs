//! A request body into raw records: the bytes of each are taken as they are.

use crate::fault::BadLine;
use crate::json::too_large;

/// Where a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// The body is one record, whatever is in it; an empty body is an empty record.
    Whole,
    /// One record a line, without its line feed; empty lines do not count.
    Lines,
}

/// A record's bytes and the line in the body where it starts, counted from 1.
pub type Record<'a> = (u64, &'a [u8]);

/// Splits a body. Records over `record_bytes_max` are refused, the others go on.
pub fn split(
    body: &[u8],
    kind: ContentKind,
    record_bytes_max: usize,
) -> (Vec<Record<'_>>, Vec<BadLine>) {
    let records: Vec<Record<'_>> = match kind {
        ContentKind::Whole => vec![(1, body)],
        ContentKind::Lines => {
            (1..).zip(body.split(|b| *b == b'\n')).filter(|(_, line)| !line.is_empty()).collect()
        }
    };
    let (kept, too_long): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|(_, bytes)| bytes.len() <= record_bytes_max);
    let refuse = |(line, bytes): Record<'_>| {
        BadLine::new(line, too_large(bytes.len(), record_bytes_max), bytes)
    };
    (kept, too_long.into_iter().map(refuse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_whole_bodies() {
        let body = b"a\r\n\n\xff\xfe\nlonger\nb";
        let (kept, refused) = split(body, ContentKind::Lines, 4);
        assert_eq!(kept, [(1, &b"a\r"[..]), (3, b"\xff\xfe"), (5, b"b")]);
        assert_eq!(refused.len(), 1);
        assert_eq!((refused[0].line, refused[0].kind.name()), (4, "too_large"));
        assert_eq!(refused[0].raw, b"longer");
        assert_eq!(split(body, ContentKind::Whole, 100).0, [(1, &body[..])]);
        assert_eq!(split(b"", ContentKind::Whole, 100).0, [(1, &b""[..])]);
        assert!(split(b"\n\n", ContentKind::Lines, 100).0.is_empty());
    }
}
