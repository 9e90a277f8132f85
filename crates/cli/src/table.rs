//! Result rows for people and for scripts: an aligned table, CSV, or JSON lines. Values come as raw
//! JSON text, so that no digit of a decimal is lost on the way.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A column of an answer.
#[derive(Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// Cells as text; `None` is NULL.
pub type Cells = Vec<Option<String>>;

/// What stands in a cell: a string without its quotes, anything else as JSON has it.
pub fn text(raw: &RawValue) -> Option<String> {
    let raw = raw.get();
    if raw == "null" {
        return None;
    }
    match serde_json::from_str::<String>(raw) {
        Ok(text) => Some(text),
        Err(_) => Some(raw.to_string()),
    }
}

/// The same for a parsed value.
pub fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(s) => Some(s.clone()),
        other => Some(other.to_string()),
    }
}

/// An aligned table as psql draws it, numbers to the right.
pub fn table(columns: &[Column], rows: &[Cells]) -> String {
    let shown = |cell: &Option<String>| match cell {
        Some(text) => text.replace('\n', "⏎").replace('\t', " "),
        None => "NULL".to_string(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(shown).collect()).collect();
    let mut widths: Vec<usize> = columns.iter().map(|c| c.name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>, right: bool| {
        let padded = cells.iter().zip(columns).zip(&widths).map(|((cell, column), width)| {
            let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
            if right && is_number(&column.kind) {
                format!(" {fill}{cell} ")
            } else {
                format!(" {cell}{fill} ")
            }
        });
        padded.collect::<Vec<_>>().join("|").trim_end().to_string()
    };
    let mut out = vec![line(columns.iter().map(|c| c.name.as_str()).collect(), false)];
    out.push(widths.iter().map(|w| "-".repeat(w + 2)).collect::<Vec<_>>().join("+"));
    out.extend(rows.iter().map(|r| line(r.iter().map(String::as_str).collect(), true)));
    out.push(match rows.len() {
        1 => "(1 row)".to_string(),
        n => format!("({n} rows)"),
    });
    out.join("\n")
}

fn is_number(kind: &str) -> bool {
    let name = kind.split('(').next().unwrap_or("");
    ["TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL"].contains(&name)
        || name.starts_with("UINT")
}

/// CSV with a header line; NULL is an empty field, an empty text is quoted.
pub fn csv(columns: &[Column], rows: &[Cells]) -> String {
    let field = |text: &str| {
        if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_string()
        }
    };
    let mut lines = vec![columns.iter().map(|c| field(&c.name)).collect::<Vec<_>>().join(",")];
    for row in rows {
        let cells = row.iter().map(|c| c.as_deref().map(field).unwrap_or_default());
        lines.push(cells.collect::<Vec<_>>().join(","));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str) -> Column {
        Column { name: name.into(), kind: kind.into() }
    }

    #[test]
    fn draws_tables_and_csv() {
        let columns = [column("sensor", "TEXT"), column("n", "BIGINT")];
        let rows = vec![
            vec![Some("roof".into()), Some("5".into())],
            vec![None, Some("12345".into())],
            vec![Some("a,\"b\"".into()), None],
        ];
        assert_eq!(
            table(&columns, &rows),
            " sensor | n\n--------+-------\n roof   |     5\n NULL   | 12345\n \
             a,\"b\"  |  NULL\n(3 rows)"
        );
        assert_eq!(csv(&columns, &rows), "sensor,n\nroof,5\n,12345\n\"a,\"\"b\"\"\",");
    }

    #[test]
    fn digits_survive() {
        let raw = RawValue::from_string("12345678901234567890.123".into()).ok();
        assert_eq!(raw.and_then(|r| text(&r)).as_deref(), Some("12345678901234567890.123"));
    }
}
