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
) -> impl Iterator<Item = Result<Record<'_>, BadLine>> {
    let (whole, lines) = match kind {
        ContentKind::Whole => (Some((1, body)), None),
        ContentKind::Lines => (None, Some((1..).zip(body.split(|b| *b == b'\n')))),
    };
    let lines = lines.into_iter().flatten().filter(|(_, line)| !line.is_empty());
    whole.into_iter().chain(lines).map(move |(line, bytes)| match bytes.len() <= record_bytes_max {
        true => Ok((line, bytes)),
        false => Err(BadLine::new(line, too_large(bytes.len(), record_bytes_max), bytes)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_whole_bodies() {
        let body = b"a\r\n\n\xff\xfe\nlonger\nb";
        let all = |body, kind, most| -> Vec<_> { split(body, kind, most).collect() };
        let (kept, refused): (Vec<_>, Vec<_>) =
            all(&body[..], ContentKind::Lines, 4).into_iter().partition(Result::is_ok);
        let kept: Vec<Record<'_>> = kept.into_iter().flatten().collect();
        let refused: Vec<BadLine> = refused.into_iter().filter_map(Result::err).collect();
        assert_eq!(kept, [(1, &b"a\r"[..]), (3, b"\xff\xfe"), (5, b"b")]);
        assert_eq!(refused.len(), 1);
        assert_eq!((refused[0].line, refused[0].kind.name()), (4, "too_large"));
        assert_eq!(refused[0].raw, b"longer");
        assert_eq!(all(body, ContentKind::Whole, 100), [Ok((1, &body[..]))]);
        assert_eq!(all(b"", ContentKind::Whole, 100), [Ok((1, &b""[..]))]);
        assert!(all(b"\n\n", ContentKind::Lines, 100).is_empty());
    }
}
