//! Names of a file's fields as names of columns: usable in SQL, in a table of the archive, and told
//! apart in any case of letters.

/// The column of each field, in their order. `keep` those that can be columns as they are.
pub fn repaired(fields: &[String], keep: bool) -> Vec<String> {
    let mut columns: Vec<String> = vec![];
    for (i, field) in fields.iter().enumerate() {
        let wanted = match keep && is_column(field) {
            true => field.clone(),
            false => plain(field).unwrap_or_else(|| format!("column_{}", i + 1)),
        };
        let is_taken = |name: &str| columns.iter().any(|c| c.to_lowercase() == name.to_lowercase());
        let name = match is_taken(&wanted) {
            false => wanted,
            true => (2..)
                .map(|n| format!("{wanted}_{n}"))
                .find(|name| !is_taken(name))
                .unwrap_or_default(),
        };
        columns.push(name);
    }
    columns
}

/// Which fields have got another name, for people.
pub fn told(fields: &[String], columns: &[String]) -> Vec<String> {
    let pairs = fields.iter().zip(columns);
    let changed = pairs.filter(|(field, column)| field.trim() != **column);
    changed.map(|(field, column)| format!("'{field}' is {column}")).collect()
}

/// Whether a topic and its table can have a column of this name.
fn is_column(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('_')
        && !name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=', '/', '\\'])
        && !name.chars().any(char::is_control)
}

/// `Sensor ID` as `sensor_id`; nothing where nothing is left.
pub fn plain(name: &str) -> Option<String> {
    let mut out = String::new();
    for c in name.trim().chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
        if out.len() > 100 {
            break;
        }
    }
    let out = out.trim_matches('_').to_string();
    match out.chars().next() {
        None => None,
        Some(c) if c.is_ascii_digit() => Some(format!("c{out}")),
        Some(_) => Some(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let of = |names: &[&str], keep| {
            let fields: Vec<String> = names.iter().map(|n| n.to_string()).collect();
            let columns = repaired(&fields, keep);
            (columns.join("|"), told(&fields, &columns).len())
        };
        let csv = ["Sensor ID", " temp (°C) ", "1st", "", "at", "value", "value", "Value"];
        let columns = "sensor_id|temp_c|c1st|column_4|at|value|value_2|value_3";
        assert_eq!(of(&csv, false), (columns.into(), 6));
        let json = ["UserUPN", "UserUpn", "_id", "Sensor ID", "a.b", "größe", "x/y"];
        let columns = "UserUPN|UserUpn_2|id|sensor_id|a.b|größe|x_y";
        assert_eq!(of(&json, true), (columns.into(), 4));
        assert_eq!(of(&["a", "a_2", "a"], false).0, "a|a_2|a_3");
    }
}
