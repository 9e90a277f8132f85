//! Change events as Debezium makes them of a database's log: an envelope with the row before and
//! after the change and what was done (`op`: c created, u updated, d deleted, r read for a
//! snapshot), alone or as the `payload` beside a `schema`. Source: "Data change events" in the
//! manual of each Debezium connector.

use super::cursor::Cursor;
use crate::fault::{Fault, Refused, RefusedKind};

/// The row of a change, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed<'a> {
    /// It is so now.
    Row(&'a [u8]),
    /// It is gone; what it was, if that is told.
    Gone(Option<&'a [u8]>),
}

/// What the change event with this number says.
pub fn changed(record: u32, event: &[u8]) -> Result<Changed<'_>, Refused> {
    envelope(event).map_err(|fault| {
        let (column, kind, reason) = fault.into_parts();
        Refused { record, column, kind, reason }
    })
}

fn envelope(event: &[u8]) -> Result<Changed<'_>, Fault> {
    let [payload, op, before, after] = members(event, ["payload", "op", "before", "after"])?;
    if let (Some(payload), None) = (payload, op) {
        return envelope(payload);
    }
    let wrong = |reason: &str| Err(Fault::new(RefusedKind::Type, reason));
    let is_there = |row: &&[u8]| *row != b"null";
    let (before, after) = (before.filter(is_there), after.filter(is_there));
    match (op, after) {
        (Some(br#""c""# | br#""u""# | br#""r""#), Some(row)) => Ok(Changed::Row(row)),
        (Some(br#""c""# | br#""u""# | br#""r""#), None) => {
            wrong("the change event has no row in 'after'")
        }
        (Some(br#""d""#), _) => Ok(Changed::Gone(before)),
        (Some(op), _) => {
            let op = String::from_utf8_lossy(op);
            wrong(&format!("the change event's op {op} is none of \"c\", \"u\", \"d\", \"r\""))
        }
        (None, _) => wrong("no change event of Debezium: it has no 'op'"),
    }
}

/// The values of these members of an object, as JSON; the last of each.
fn members<'a, const N: usize>(
    object: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a [u8]>; N], Fault> {
    let mut found = [None; N];
    let mut cursor = Cursor::new(object);
    cursor.blanks();
    cursor.expect(b'{', "a change event, which is a JSON object")?;
    cursor.blanks();
    if !cursor.eat(b'}') {
        loop {
            let name = cursor.string()?;
            cursor.colon()?;
            let start = cursor.at;
            cursor.skip()?;
            if let Some(i) = names.iter().position(|n| n.as_bytes() == name.as_ref()) {
                found[i] = object.get(start..cursor.at);
            }
            cursor.blanks();
            if cursor.eat(b'}') {
                break;
            }
            cursor.expect(b',', "',' or '}'")?;
            cursor.blanks();
        }
    }
    cursor.end()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: &str) -> String {
        let text = |row: &[u8]| String::from_utf8_lossy(row).into_owned();
        match changed(7, event.as_bytes()) {
            Ok(Changed::Row(row)) => text(row),
            Ok(Changed::Gone(row)) => format!("gone {}", row.map(text).unwrap_or_default()),
            Err(refused) => {
                format!("{} {}: {}", refused.record, refused.kind.name(), refused.reason)
            }
        }
    }

    #[test]
    fn change_events() {
        for (event, wanted) in [
            (r#"{"before":null,"after":{"id":1},"op":"c","ts_ms":5}"#, r#"{"id":1}"#),
            (r#" { "op" : "u", "after" : { "id" : 2 } } "#, r#"{ "id" : 2 }"#),
            (r#"{"op":"r","after":{"id":3},"source":{"after":{"id":9}}}"#, r#"{"id":3}"#),
            (r#"{"op":"d","before":{"id":4},"after":null}"#, r#"gone {"id":4}"#),
            (r#"{"op":"d"}"#, "gone "),
            (r#"{"schema":{"op":1},"payload":{"op":"c","after":{"id":5}}}"#, r#"{"id":5}"#),
            (r#"{"op":"c"}"#, "7 type: the change event has no row in 'after'"),
            (r#"{"op":"t"}"#, r#"7 type: the change event's op "t" is none of "c", "u", "d", "r""#),
            (r#"{"id":1}"#, "7 type: no change event of Debezium: it has no 'op'"),
        ] {
            assert_eq!(told(event), wanted, "{event}");
        }
        for broken in ["", "[]", "{\"op\":\"c\",", "{\"op\":\"c\"} x", "{op:1}"] {
            assert!(told(broken).starts_with("7 parse: "), "{broken}: {}", told(broken));
        }
    }
}
