//! Cuts SQL text at the semicolons that end statements, not at those in strings, names and
//! comments: for the shell, which runs a statement when its semicolon came, and for piped files.

/// Complete statements without their semicolons, and what is left behind the last one.
pub fn split(text: &str) -> (Vec<&str>, &str) {
    let bytes = text.as_bytes();
    let (mut statements, mut start, mut at) = (vec![], 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b';' => {
                statements.push(text[start..at].trim());
                at += 1;
                start = at;
            }
            quote @ (b'\'' | b'"' | b'`') => at = after(bytes, at + 1, &[quote]),
            b'-' if bytes[at..].starts_with(b"--") => at = after(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => at = after(bytes, at + 2, b"*/"),
            _ => at += 1,
        }
    }
    statements.retain(|s| !is_empty(s));
    (statements, text[start..].trim())
}

/// Position behind the next `end`; the end of the text when there is none.
fn after(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or(&[]);
    match rest.windows(end.len()).position(|w| w == end) {
        Some(i) => from + i + end.len(),
        None => bytes.len(),
    }
}

/// Whether there is nothing but comments and blanks.
pub fn is_empty(text: &str) -> bool {
    let mut rest = text.trim();
    loop {
        if rest.is_empty() {
            return true;
        } else if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, r)| r).trim();
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, r)| r).trim();
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_where_statements_end() {
        for (text, statements, rest) in [
            ("SELECT 1; SELECT 2;", vec!["SELECT 1", "SELECT 2"], ""),
            ("SELECT ';' ; x", vec!["SELECT ';'"], "x"),
            ("SELECT 'it''s;' \";\"; y", vec!["SELECT 'it''s;' \";\""], "y"),
            ("-- a;\nSELECT 1;", vec!["-- a;\nSELECT 1"], ""),
            ("/* ; */ SELECT 1", vec![], "/* ; */ SELECT 1"),
            (";;", vec![], ""),
            ("SELECT 'open;", vec![], "SELECT 'open;"),
        ] {
            assert_eq!(split(text), (statements, rest), "{text}");
        }
        assert!(is_empty(" -- only this\n /* and this */ "));
        assert!(!is_empty("-- a\nSELECT 1"));
    }
}
