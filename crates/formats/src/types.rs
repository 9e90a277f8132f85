//! SQL names of Arrow types and back. SQL, REST, the console and inference all go through here: a
//! type is spelled the same way everywhere. Lengths, as in VARCHAR(20), are read and not enforced.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use common::{Error, Result};

/// `STRUCT` and `ARRAY` may be nested this deep.
const DEPTH_MAX: usize = 32;

const KNOWN: [&str; 20] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "TEXT",
    "STRING",
    "VARCHAR",
    "BINARY",
    "DATE",
    "TIMESTAMP",
    "ARRAY",
    "STRUCT",
    "MAP",
];

/// TIMESTAMP: an instant.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// TIMESTAMP_NTZ: what a clock on a wall shows.
pub fn timestamp_ntz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub fn array(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// MAP<TEXT, value>, with the field names that DataFusion gives.
pub fn map(value: DataType) -> DataType {
    let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)];
    let entries = Field::new("entries", DataType::Struct(fields.into()), false);
    DataType::Map(Arc::new(entries), false)
}

/// The type as SQL spells it. Types that no topic can have get the nearest SQL name.
pub fn sql_name(data_type: &DataType) -> String {
    use DataType as D;
    match data_type {
        D::Null => "VOID".into(),
        D::Boolean => "BOOLEAN".into(),
        D::Int8 => "TINYINT".into(),
        D::Int16 | D::UInt8 => "SMALLINT".into(),
        D::Int32 | D::UInt16 => "INT".into(),
        D::Int64 | D::UInt32 => "BIGINT".into(),
        D::UInt64 => "DECIMAL(20,0)".into(),
        D::Float16 | D::Float32 => "FLOAT".into(),
        D::Float64 => "DOUBLE".into(),
        D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) | D::Decimal256(p, s) => {
            format!("DECIMAL({p},{s})")
        }
        D::Utf8 | D::LargeUtf8 | D::Utf8View => "TEXT".into(),
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => "BINARY".into(),
        D::Date32 | D::Date64 => "DATE".into(),
        D::Timestamp(_, Some(_)) => "TIMESTAMP".into(),
        D::Timestamp(_, None) => "TIMESTAMP_NTZ".into(),
        D::Time32(_) | D::Time64(_) => "TIME".into(),
        D::Duration(_) => "INTERVAL DAY TO SECOND".into(),
        D::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        D::Interval(_) => "INTERVAL".into(),
        D::List(f)
        | D::LargeList(f)
        | D::ListView(f)
        | D::LargeListView(f)
        | D::FixedSizeList(f, _) => format!("ARRAY<{}>", sql_name(f.data_type())),
        D::Struct(fields) => {
            let parts: Vec<String> = fields.iter().map(|f| field_name(f)).collect();
            format!("STRUCT<{}>", parts.join(", "))
        }
        D::Map(entries, _) => match entries.data_type() {
            D::Struct(f) if f.len() == 2 => {
                format!("MAP<{}, {}>", sql_name(f[0].data_type()), sql_name(f[1].data_type()))
            }
            _ => "MAP".into(),
        },
        D::Dictionary(_, value) => sql_name(value),
        D::RunEndEncoded(_, values) => sql_name(values.data_type()),
        other => other.to_string().to_uppercase(),
    }
}

fn field_name(field: &Field) -> String {
    let name = field.name();
    let plain = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    let shown = if plain { name.clone() } else { format!("\"{}\"", name.replace('"', "\"\"")) };
    format!("{shown}: {}", sql_name(field.data_type()))
}

/// The type a column has on the platform for an Arrow type from elsewhere (Parquet, a query).
/// None where nothing on the platform holds it.
pub fn platform(data_type: &DataType) -> Option<DataType> {
    use DataType as D;
    Some(match data_type {
        D::UInt8 => D::Int16,
        D::UInt16 => D::Int32,
        D::UInt32 => D::Int64,
        D::UInt64 => D::Decimal128(20, 0),
        D::Float16 => D::Float32,
        D::Null | D::LargeUtf8 | D::Utf8View => D::Utf8,
        D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
        D::Date64 => D::Date32,
        D::Timestamp(_, Some(_)) => timestamp(),
        D::Timestamp(_, None) => timestamp_ntz(),
        D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) | D::Decimal256(p, s) => {
            let wide = i16::from(*p) - i16::from(*s).min(0);
            let precision = u8::try_from(wide).ok().filter(|p| *p <= 38)?;
            D::Decimal128(precision, (*s).max(0))
        }
        D::List(f)
        | D::LargeList(f)
        | D::ListView(f)
        | D::LargeListView(f)
        | D::FixedSizeList(f, _) => D::List(Arc::new(platform_field(f)?)),
        D::Struct(fields) if !fields.is_empty() => {
            let fields: Option<Vec<Field>> = fields.iter().map(|f| platform_field(f)).collect();
            D::Struct(fields?.into())
        }
        D::Map(entries, sorted) => {
            let D::Struct(f) = entries.data_type() else {
                return None;
            };
            let [key, value] = f.as_ref() else {
                return None;
            };
            if platform(key.data_type())? != D::Utf8 {
                return None;
            }
            let fields: Fields =
                vec![key.as_ref().clone().with_data_type(D::Utf8), platform_field(value)?].into();
            let entries = entries.as_ref().clone().with_data_type(D::Struct(fields));
            D::Map(Arc::new(entries), *sorted)
        }
        D::Dictionary(_, value) => platform(value)?,
        D::RunEndEncoded(_, values) => platform(values.data_type())?,
        D::Boolean
        | D::Int8
        | D::Int16
        | D::Int32
        | D::Int64
        | D::Float32
        | D::Float64
        | D::Utf8
        | D::Binary
        | D::Date32 => data_type.clone(),
        _ => return None,
    })
}

fn platform_field(field: &Field) -> Option<Field> {
    Some(field.clone().with_data_type(platform(field.data_type())?))
}

/// A type from its SQL spelling, nested ones and the usual aliases too.
pub fn parse(text: &str) -> Result<DataType> {
    let mut parser = Parser { text, at: 0 };
    let data_type = parser.data_type(0)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.unexpected("the end"));
    }
    Ok(data_type)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: char) -> bool {
        self.blanks();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn expect(&mut self, token: char) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected(&format!("'{token}'"))) }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.rest().chars().next() {
            Some(c) => format!("'{c}'"),
            None => "the end".into(),
        };
        Error::syntax(format!("expected {wanted} in type '{}', found {found}", self.text))
    }

    fn word(&mut self) -> &'a str {
        self.blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Takes the words if all of them follow.
    fn words(&mut self, wanted: &[&str]) -> bool {
        let start = self.at;
        let found = wanted.iter().all(|w| self.word().eq_ignore_ascii_case(w));
        if !found {
            self.at = start;
        }
        found
    }

    fn name(&mut self) -> Result<String> {
        if !self.eat('"') {
            return match self.word() {
                "" => Err(self.unexpected("a field name")),
                word => Ok(word.to_string()),
            };
        }
        let mut name = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find('"').ok_or_else(|| self.unexpected("a closing quote"))?;
            name.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.rest().starts_with('"') {
                return Ok(name);
            }
            name.push('"');
            self.at += 1;
        }
    }

    /// `(1, 2)` if it follows.
    fn numbers(&mut self) -> Result<Vec<i64>> {
        let mut numbers = vec![];
        if !self.eat('(') {
            return Ok(numbers);
        }
        loop {
            let word = self.word();
            numbers.push(word.parse().map_err(|_| self.unexpected("a whole number"))?);
            if !self.eat(',') {
                self.expect(')')?;
                return Ok(numbers);
            }
        }
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType> {
        if depth > DEPTH_MAX {
            return Err(Error::too_large(format!("types are nested at most {DEPTH_MAX} deep")));
        }
        let word = self.word();
        let mut data_type = match word.to_ascii_uppercase().as_str() {
            "" => return Err(self.unexpected("a type")),
            "ARRAY" | "LIST" => {
                self.expect('<')?;
                let item = self.data_type(depth + 1)?;
                self.expect('>')?;
                array(item)
            }
            "MAP" => self.map(depth)?,
            "STRUCT" | "ROW" => self.fields(depth)?,
            other => self.scalar(word, other)?,
        };
        while self.eat('[') {
            self.expect(']')?;
            data_type = array(data_type);
        }
        Ok(data_type)
    }

    fn scalar(&mut self, word: &str, upper: &str) -> Result<DataType> {
        use DataType as D;
        Ok(match upper {
            "BOOLEAN" | "BOOL" => D::Boolean,
            "TINYINT" | "BYTE" => D::Int8,
            "SMALLINT" | "SHORT" | "INT2" => D::Int16,
            "INT" | "INTEGER" | "INT4" => D::Int32,
            "BIGINT" | "LONG" | "INT8" => D::Int64,
            "FLOAT" | "REAL" | "FLOAT4" => D::Float32,
            "DOUBLE" => {
                self.words(&["PRECISION"]);
                D::Float64
            }
            "FLOAT8" => D::Float64,
            "DECIMAL" | "NUMERIC" | "DEC" => self.decimal()?,
            "TEXT" | "STRING" => D::Utf8,
            "VARCHAR" | "CHAR" | "CHARACTER" | "NVARCHAR" => {
                self.words(&["VARYING"]);
                self.numbers()?;
                D::Utf8
            }
            "BINARY" | "BYTEA" | "VARBINARY" | "BLOB" => {
                self.numbers()?;
                D::Binary
            }
            "DATE" => D::Date32,
            "TIMESTAMP" | "DATETIME" => {
                self.numbers()?;
                if self.words(&["WITHOUT", "TIME", "ZONE"]) {
                    timestamp_ntz()
                } else {
                    self.words(&["WITH", "TIME", "ZONE"]);
                    timestamp()
                }
            }
            "TIMESTAMPTZ" | "TIMESTAMP_LTZ" => timestamp(),
            "TIMESTAMP_NTZ" => timestamp_ntz(),
            _ => return Err(Error::unknown("type", word, KNOWN)),
        })
    }

    fn decimal(&mut self) -> Result<DataType> {
        let (precision, scale) = match self.numbers()?.as_slice() {
            [] => (10, 0),
            [p] => (*p, 0),
            [p, s] => (*p, *s),
            _ => return Err(Error::syntax("DECIMAL takes a precision and a scale")),
        };
        if !(1..=38).contains(&precision) || !(0..=precision).contains(&scale) {
            return Err(Error::invalid(format!("no such type: DECIMAL({precision},{scale})"))
                .hint("the precision goes from 1 to 38, the scale from 0 to the precision"));
        }
        Ok(DataType::Decimal128(precision as u8, scale as i8))
    }

    fn map(&mut self, depth: usize) -> Result<DataType> {
        self.expect('<')?;
        let key = self.data_type(depth + 1)?;
        if key != DataType::Utf8 {
            let name = sql_name(&key);
            return Err(Error::unsupported(format!("the keys of a MAP cannot be {name}"))
                .hint("write MAP<TEXT, …>"));
        }
        self.expect(',')?;
        let value = self.data_type(depth + 1)?;
        self.expect('>')?;
        Ok(map(value))
    }

    fn fields(&mut self, depth: usize) -> Result<DataType> {
        self.expect('<')?;
        let mut fields: Vec<Field> = vec![];
        loop {
            let name = self.name()?;
            self.eat(':');
            let data_type = self.data_type(depth + 1)?;
            if fields.iter().any(|f| *f.name() == name) {
                return Err(Error::invalid(format!("field '{name}' appears twice in a STRUCT")));
            }
            let nullable = !self.words(&["NOT", "NULL"]);
            fields.push(Field::new(name, data_type, nullable));
            if !self.eat(',') {
                self.expect('>')?;
                return Ok(DataType::Struct(fields.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_read_back() {
        for name in [
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(10,2)",
            "TEXT",
            "BINARY",
            "DATE",
            "TIMESTAMP",
            "TIMESTAMP_NTZ",
            "ARRAY<ARRAY<DOUBLE>>",
            "STRUCT<start: TIMESTAMP, end: TIMESTAMP>",
            "MAP<TEXT, STRUCT<a: INT, \"b c\": TEXT>>",
            "STRUCT<\"1\"\"2\": ARRAY<MAP<TEXT, DECIMAL(38,38)>>>",
        ] {
            let parsed = parse(name).unwrap();
            assert_eq!(sql_name(&parsed), name);
            assert_eq!(platform(&parsed), Some(parsed));
        }
    }

    #[test]
    fn aliases() {
        for (alias, name) in [
            ("string", "TEXT"),
            ("varchar(20)", "TEXT"),
            ("character varying ( 3 )", "TEXT"),
            ("Integer", "INT"),
            ("real", "FLOAT"),
            ("double precision", "DOUBLE"),
            ("numeric", "DECIMAL(10,0)"),
            ("NUMERIC(5)", "DECIMAL(5,0)"),
            ("datetime", "TIMESTAMP"),
            ("bytea", "BINARY"),
            ("timestamp(6) with time zone", "TIMESTAMP"),
            ("timestamp without time zone", "TIMESTAMP_NTZ"),
            ("int[][]", "ARRAY<ARRAY<INT>>"),
            ("STRUCT<a INT NOT NULL,b:TEXT>", "STRUCT<a: INT, b: TEXT>"),
        ] {
            assert_eq!(sql_name(&parse(alias).unwrap()), name, "{alias}");
        }
        let DataType::Struct(fields) = parse("STRUCT<a INT NOT NULL, b INT>").unwrap() else {
            return;
        };
        assert_eq!((fields[0].is_nullable(), fields[1].is_nullable()), (false, true));
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("DOUBEL", "unknown type 'DOUBEL' (did you mean 'DOUBLE'?)"),
            ("", "expected a type in type '', found the end"),
            ("ARRAY<INT", "expected '>' in type 'ARRAY<INT', found the end"),
            ("ARRAY", "expected '<' in type 'ARRAY', found the end"),
            ("INT INT", "expected the end in type 'INT INT', found 'I'"),
            ("MAP<INT, TEXT>", "the keys of a MAP cannot be INT (write MAP<TEXT, …>)"),
            ("STRUCT<a INT, a INT>", "field 'a' appears twice in a STRUCT"),
            (
                "DECIMAL(39,2)",
                "no such type: DECIMAL(39,2) (the precision goes from 1 to 38, \
                the scale from 0 to the precision)",
            ),
            ("STRUCT<>", "expected a field name in type 'STRUCT<>', found '>'"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), want);
        }
        assert!(parse(&"ARRAY<".repeat(5000)).is_err());
    }
}
