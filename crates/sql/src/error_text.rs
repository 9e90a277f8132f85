//! What DataFusion's messages say, in our words. One entry per message; a message that is not
//! here keeps its text, with SQL's names for types and without prefixes.

use datafusion::arrow::datatypes::DataType;

/// Where to put the mark.
#[derive(Debug, PartialEq)]
pub(crate) enum Spot {
    /// The first word of that name.
    Name(String),
    /// A text literal.
    Literal(String),
    /// An operator and what stands beside it.
    Operator(String),
    /// A piece of the query, whatever its blanks.
    Text(String),
    /// The place DataFusion gives, else what the message quotes, else the whole query.
    Given,
}

pub(crate) struct Told {
    pub message: String,
    pub hint: Option<String>,
    pub spot: Spot,
}

fn told(message: impl Into<String>, hint: &str, spot: Spot) -> Option<Told> {
    let hint = (!hint.is_empty()).then(|| hint.to_string());
    Some(Told { message: message.into(), hint, spot })
}

pub(crate) fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// The last part of `a.b.c`, without quotes.
pub(crate) fn last_part(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_string()
}

pub(crate) fn tell(message: &str) -> Told {
    let found = [calls, values, columns, clauses].into_iter().find_map(|f| f(message));
    found.unwrap_or_else(|| Told { message: tidy(message), hint: None, spot: Spot::Given })
}

/// Functions called with the wrong arguments.
fn calls(m: &str) -> Option<Told> {
    let call = between(m, "argument types '", "'. You might");
    let function = call.and_then(|c| c.split_once('(')).map(|(f, _)| f);
    let function = function.or_else(|| between(m, "Function '", "'"))?;
    let spot = Spot::Name(function.to_string());
    if let Some(n) = between(m, "expects ", " arguments but received ") {
        let got = between(m, "but received ", ".").unwrap_or("others");
        let s = if n == "1" { "" } else { "s" };
        return told(format!("{function}() takes {n} argument{s}, got {got}"), "", spot);
    }
    if let Some(got) = between(m, "min/max was called with ", " arguments") {
        return told(format!("{function}() takes 1 argument, got {got}"), "", spot);
    }
    if let Some(why) = between(m, "user-defined coercion failed with: ", ". No function matches") {
        return told(tidy(why), "", spot);
    }
    let (_, types) = call?.split_once('(')?;
    let types = types.strip_suffix(')').unwrap_or(types);
    let message = match types {
        "" => format!("{function}() needs arguments"),
        types => format!("{function}() cannot take {}", sql_types(types)),
    };
    let hint = candidates(m, function);
    told(message, &hint, spot)
}

/// `it takes sqrt(DOUBLE/FLOAT)`, where the signatures say something.
fn candidates(m: &str, function: &str) -> String {
    let Some((_, list)) = m.split_once("Candidate functions:") else { return String::new() };
    let mut all: Vec<String> = vec![];
    for line in list.lines().map(str::trim).filter(|l| l.starts_with(function)) {
        let shown = sql_types(line);
        let vague = ["UserDefined", "Any", "UInt", "Duration"].iter().any(|w| line.contains(w));
        if !all.contains(&shown) && !vague {
            all.push(shown);
        }
    }
    match all.len() {
        0 => String::new(),
        _ => format!("it takes {}", all.into_iter().take(4).collect::<Vec<_>>().join(", ")),
    }
}

/// Values that do not fit their type.
fn values(m: &str) -> Option<Told> {
    if let Some(value) = between(m, "Invalid input syntax for type interval: \"", "\"") {
        let hint = "write a number and a unit, as in '5 seconds'";
        return told(format!("'{value}' is not an interval"), hint, Spot::Literal(value.into()));
    }
    if let Some(value) = between(m, "Error parsing timestamp from '", "'") {
        let hint = "write it as '2024-01-31 12:00:00' or '2024-01-31T12:00:00Z'";
        return told(format!("'{value}' is not a TIMESTAMP"), hint, Spot::Literal(value.into()));
    }
    if let Some(value) = between(m, "Cannot cast string '", "' to value of ") {
        let to = sql_types(between(m, "' to value of ", " type").unwrap_or("this"));
        let hint = "try_cast gives NULL instead";
        return told(format!("cannot read '{value}' as {to}"), hint, Spot::Literal(value.into()));
    }
    if let Some((value, max)) = m.split_once(" is too ")
        && max.contains("to store in a Decimal")
    {
        // The target's scale is that of the greatest (or least) value named.
        let limit = max.rsplit(' ').next().unwrap_or("");
        let scale = limit.split_once('.').map_or(0, |(_, digits)| digits.len());
        let precision = between(max, "of precision ", ".").unwrap_or("38");
        let message = format!("{value} does not fit into DECIMAL({precision},{scale})");
        return told(message, "try_cast gives NULL instead", Spot::Text(value.into()));
    }
    if let Some(value) = between(m, "Can't cast value ", " to type ") {
        let to = m.rsplit_once(" to type ").map_or("", |(_, t)| t);
        let message = format!("{value} does not fit into {}", sql_types(to));
        return told(message, "try_cast gives NULL instead", Spot::Text(value.into()));
    }
    if let Some((what, text)) = m.split_once(" in ")
        && matches!(what, "integer overflow" | "division by zero" | "overflow")
    {
        let hint = match what {
            "division by zero" => "nullif(x, 0) gives NULL instead",
            "integer overflow" => "compute in a wider type, as in CAST(x AS DECIMAL(38,0))",
            _ => "",
        };
        let spot = match text.split_once(": ") {
            Some((call, _)) if call.ends_with("()") => Spot::Name(call.replace("()", "")),
            Some((written, _)) => Spot::Text(written.into()),
            None => Spot::Text(text.into()),
        };
        return told(m, hint, spot);
    }
    if m.contains("Overflow happened on") {
        return told("integer overflow", "", Spot::Given);
    }
    None
}

fn columns(m: &str) -> Option<Told> {
    if m.starts_with("Column in SELECT must be in GROUP BY")
        || m.starts_with("Column in HAVING must be in GROUP BY")
        || m.starts_with("Column in ORDER BY must be in GROUP BY")
        || m.starts_with("Column in QUALIFY must be in GROUP BY")
    {
        let name = last_part(between(m, "column \"", "\" must").unwrap_or("?"));
        let message = format!("column '{name}' is neither grouped by nor aggregated");
        let hint = format!("add it to GROUP BY, or write an aggregate such as max({name})");
        return told(message, &hint, Spot::Given);
    }
    if let Some(name) = between(m, "unique expression names but the expression \"", "\" at") {
        let name = last_part(name);
        let message = format!("two columns are called '{name}'");
        return told(message, "give one of them another name with AS", Spot::Name(name));
    }
    if let Some(name) = between(m, "Field ", " not found in struct") {
        return told(format!("unknown field '{name}'"), "", Spot::Name(name.into()));
    }
    if let Some(name) = between(m, "WITH query name \"", "\" specified more than once") {
        return told(format!("WITH defines '{name}' twice"), "", Spot::Name(name.into()));
    }
    None
}

fn clauses(m: &str) -> Option<Told> {
    if m.starts_with("Aggregate functions are not allowed in the WHERE clause") {
        let hint = "filter groups with HAVING";
        return told("an aggregate cannot stand in WHERE", hint, Spot::Name("where".into()));
    }
    if m.starts_with("HAVING clause references") {
        let message = "HAVING can use grouped columns and aggregates only";
        return told(message, "filter rows with WHERE", Spot::Name("having".into()));
    }
    if let Some(inside) = between(m, "cannot be nested: '", "' is nested inside '") {
        let outer = m.rsplit_once("inside '").map_or("", |(_, o)| o);
        let outer = outer.split('(').next().unwrap_or("");
        let inner = inside.split('(').next().unwrap_or("");
        let message = format!("{inner}() cannot stand inside {outer}()");
        let hint = "aggregate in a subquery first";
        return told(message, hint, Spot::Name(inner.into()));
    }
    if m.starts_with("UNION queries have different number of columns") {
        let message = "the queries of a UNION have different numbers of columns";
        return told(message, "select as many columns in each", Spot::Name("union".into()));
    }
    if let Some((_, e)) = m.split_once("common argument type for comparison operation ") {
        let types = sql_types(e);
        let parts: Vec<&str> = types.splitn(3, ' ').collect();
        let [left, op, right] = parts.as_slice() else { return None };
        let message = format!("cannot compare {left} with {right}");
        return told(message, "cast one side to the other's type", Spot::Operator(op.to_string()));
    }
    for clause in ["LIMIT", "OFFSET"] {
        if m.starts_with(clause) && m.contains("must be >=") {
            let message = format!("{clause} cannot be negative");
            return told(message, "", Spot::Name(clause.to_lowercase()));
        }
    }
    if let Some(e) = between(m, "Cannot coerce arithmetic expression ", " to valid types") {
        return told(format!("cannot compute {}", sql_types(e)), "", Spot::Given);
    }
    if let Some(name) = between(m, "non-boolean predicate '", "' returning ") {
        let is = sql_types(m.rsplit_once(" returning ").map_or("", |(_, t)| t));
        let message = format!("WHERE needs a condition, got {is}");
        return told(message, "", Spot::Text(name.into()));
    }
    if let Some(n) = between(m, "Order by column out of bounds, specified: ", ", max") {
        let max = m.rsplit_once("max: ").map_or("", |(_, n)| n);
        let message = format!("ORDER BY {n} is not a column: the query has {max}");
        return told(message, "", Spot::Name("order".into()));
    }
    if m.starts_with("Too many columns! The subquery") {
        let message = "a subquery that is used as a value gives one column";
        return told(message, "select one column in it", Spot::Given);
    }
    None
}

/// Arrow's type names become SQL's.
pub(crate) fn sql_types(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        if word == 0 {
            let step = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..step]);
            rest = &rest[step..];
            continue;
        }
        let (name, after) = rest.split_at(word);
        match sql_type(name, after) {
            Some((sql, taken)) => {
                out.push_str(&sql);
                rest = &after[taken..];
            }
            None => {
                out.push_str(name);
                rest = after;
            }
        }
    }
    out
}

/// The SQL name, and how much behind the word belongs to the type.
fn sql_type(name: &str, after: &str) -> Option<(String, usize)> {
    use DataType as D;
    let plain = match name {
        "Utf8" | "LargeUtf8" | "Utf8View" | "String" => D::Utf8,
        "Int8" => D::Int8,
        "Int16" => D::Int16,
        "Int32" => D::Int32,
        "Int64" => D::Int64,
        "Float32" => D::Float32,
        "Float64" => D::Float64,
        "Boolean" => D::Boolean,
        "Date32" => D::Date32,
        "Binary" => D::Binary,
        "Decimal" => return Some(("DECIMAL".into(), 0)),
        "Interval" if !after.starts_with('(') => return Some(("INTERVAL".into(), 0)),
        "Timestamp" | "Interval" | "Decimal128" | "Decimal256" if after.starts_with('(') => {
            let end = after.find(')')? + 1;
            let sql = match name {
                "Interval" => "INTERVAL".to_string(),
                "Timestamp" if after[..end].contains("None") => "TIMESTAMP_NTZ".to_string(),
                "Timestamp" if !after[..end].contains(',') => "TIMESTAMP_NTZ".to_string(),
                "Timestamp" => "TIMESTAMP".to_string(),
                _ => format!("DECIMAL{}", after[..end].replace(", ", ",")),
            };
            return Some((sql, end));
        }
        _ => return None,
    };
    Some((formats::types::sql_name(&plain), 0))
}

const PREFIXES: [&str; 14] = [
    "Error during planning: ",
    "Execution error: ",
    "This feature is not implemented: ",
    "Schema error: ",
    "Arrow error: ",
    "Parser error: ",
    "Cast error: ",
    "Compute error: ",
    "Invalid argument error: ",
    "Internal error: ",
    "External error: ",
    "SQL error: ",
    "Arithmetic overflow: ",
    "Optimizer rule 'simplify_expressions' failed",
];

/// First line, no prefixes, SQL types, lower case at the start, no dot at the end.
pub(crate) fn tidy(message: &str) -> String {
    let mut text = message.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("");
    while let Some(rest) = PREFIXES.iter().find_map(|p| text.strip_prefix(p)) {
        text = rest.trim_start_matches([' ', ':']);
    }
    let text = text.split(". No function matches").next().unwrap_or(text);
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        // Words in capitals (LIMIT, HAVING) stay.
        (Some(first), Some(second)) if second.is_lowercase() => {
            sql_types(&first.to_lowercase().chain(chars).collect::<String>())
        }
        _ => sql_types(text),
    }
}
