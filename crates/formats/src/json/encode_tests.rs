//! What is written reads back as the same rows, for every type.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, *};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::json::Decoder;
use crate::types::parse;

fn nulls(random: &mut SmallRng, rows: usize) -> NullBuffer {
    (0..rows).map(|_| random.random_bool(0.8)).collect::<Vec<bool>>().into()
}

fn text(random: &mut SmallRng) -> String {
    let pool = ['a', '"', '\\', '\n', '\t', '\u{1}', 'é', '😀', ' ', '/', '\u{7f}', ',', '{'];
    (0..random.random_range(0..12)).map(|_| pool[random.random_range(0..pool.len())]).collect()
}

macro_rules! primitives {
    ($type:ty, $rows:expr, $nulls:expr, $value:expr) => {{
        let values: Vec<_> = (0..$rows).map(|_| $value).collect();
        Arc::new(PrimitiveArray::<$type>::new(values.into(), Some($nulls)))
    }};
}

fn float(random: &mut SmallRng) -> f64 {
    loop {
        let value = match random.random_range(0..4) {
            0 => f64::from_bits(random.random()),
            1 => f64::from(random.random_range(-100_000..100_000)) / 1000.0,
            2 => f64::from(random.random::<i32>()),
            _ => -0.0,
        };
        if value.is_finite() {
            return value;
        }
    }
}

/// Lengths of list entries, as offsets.
fn offsets(random: &mut SmallRng, rows: usize) -> OffsetBuffer<i32> {
    OffsetBuffer::from_lengths((0..rows).map(|_| random.random_range(0..4)))
}

/// Random values of a type, extremes included.
fn array(random: &mut SmallRng, data_type: &DataType, rows: usize) -> ArrayRef {
    let n = nulls(random, rows);
    let made: ArrayRef = match data_type {
        DataType::Boolean => Arc::new(
            (0..rows)
                .map(|i| n.is_valid(i).then(|| random.random::<bool>()))
                .collect::<BooleanArray>(),
        ),
        DataType::Int8 => primitives!(Int8Type, rows, n, random.random()),
        DataType::Int16 => primitives!(Int16Type, rows, n, random.random()),
        DataType::Int32 => primitives!(Int32Type, rows, n, random.random()),
        DataType::Int64 => primitives!(
            Int64Type,
            rows,
            n,
            match random.random_range(0..4) {
                0 => i64::MIN,
                1 => i64::MAX,
                _ => random.random(),
            }
        ),
        DataType::Float32 => primitives!(
            Float32Type,
            rows,
            n,
            loop {
                let value = f32::from_bits(random.random());
                if value.is_finite() {
                    break value;
                }
            }
        ),
        DataType::Float64 => primitives!(Float64Type, rows, n, float(random)),
        DataType::Decimal128(p, _) => {
            let limit = 10_i128.pow(u32::from(*p));
            primitives!(
                Decimal128Type,
                rows,
                n,
                match random.random_range(0..3) {
                    0 => limit - 1,
                    1 => i128::from(random.random_range(-99..99_i8)) % limit,
                    _ => random.random::<i128>() % limit,
                }
            )
        }
        DataType::Date32 => primitives!(Date32Type, rows, n, random.random()),
        DataType::Timestamp(_, _) => {
            primitives!(
                TimestampMicrosecondType,
                rows,
                n,
                match random.random_range(0..3) {
                    0 => random.random(),
                    1 => random.random_range(0..2_000_000_000) * 1_000_000,
                    _ => random.random_range(0..2_000_000_000_000) * 1000,
                }
            )
        }
        DataType::Utf8 => Arc::new(
            (0..rows).map(|i| n.is_valid(i).then(|| text(random))).collect::<StringArray>(),
        ),
        DataType::Binary => Arc::new(
            (0..rows)
                .map(|i| n.is_valid(i).then(|| text(random).into_bytes()))
                .collect::<BinaryArray>(),
        ),
        other => nested(random, other, rows, n),
    };
    make_array(made.to_data().into_builder().data_type(data_type.clone()).build().unwrap())
}

fn nested(random: &mut SmallRng, data_type: &DataType, rows: usize, n: NullBuffer) -> ArrayRef {
    match data_type {
        DataType::List(item) => {
            let offsets = offsets(random, rows);
            let values = array(random, item.data_type(), offsets[rows] as usize);
            Arc::new(ListArray::new(item.clone(), offsets, values, Some(n)))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|f| array(random, f.data_type(), rows)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, Some(n)))
        }
        DataType::Map(entries, _) => {
            let offsets = offsets(random, rows);
            let len = offsets[rows] as usize;
            let DataType::Struct(fields) = entries.data_type() else { panic!() };
            let keys = (0..len).map(|i| Some(format!("{i}{}", text(random))));
            let keys: ArrayRef = Arc::new(keys.collect::<StringArray>());
            let values = array(random, fields[1].data_type(), len);
            let pairs = StructArray::new(fields.clone(), vec![keys, values], None);
            Arc::new(MapArray::new(entries.clone(), offsets, pairs, Some(n), false))
        }
        other => panic!("{other}"),
    }
}

const TYPES: [&str; 22] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(10,2)",
    "DECIMAL(38,0)",
    "DECIMAL(38,38)",
    "DECIMAL(1,1)",
    "TEXT",
    "BINARY",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMP_NTZ",
    "ARRAY<DOUBLE>",
    "STRUCT<a: TEXT, b: STRUCT<c: BIGINT, d: DATE>>",
    "MAP<TEXT, DECIMAL(9,3)>",
    "ARRAY<STRUCT<x: ARRAY<TEXT>, y: MAP<TEXT, BINARY>>>",
    "MAP<TEXT, ARRAY<MAP<TEXT, TIMESTAMP>>>",
    "STRUCT<start: TIMESTAMP, end: TIMESTAMP>",
];

fn random_batch(random: &mut SmallRng, rows: usize) -> RecordBatch {
    let types = TYPES.map(|t| parse(t).unwrap());
    let fields: Vec<Field> = types
        .iter()
        .enumerate()
        .map(|(i, t)| Field::new(format!("c\"{i}"), t.clone(), true))
        .collect();
    let columns = types.iter().map(|t| array(random, t, rows)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn every_type_round_trips() {
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let rows = random.random_range(0..60);
        let batch = random_batch(&mut random, rows);
        let batch = batch.slice(rows / 4, rows / 2);
        let encoded = encode(&batch).unwrap();
        let records: Vec<&[u8]> = encoded.iter().collect();
        assert_eq!(encoded.len(), batch.num_rows());
        let decoded = Decoder::new(batch.schema(), None).unwrap().decode(&records).unwrap();
        assert_eq!(decoded.refused, [], "seed {seed}");
        for (i, name) in TYPES.iter().enumerate() {
            let (read, written) = (decoded.batch.column(i), batch.column(i));
            assert_eq!(read, written, "seed {seed}, {name}");
        }
        for record in records {
            serde_json::from_slice::<serde_json::Value>(record).unwrap();
        }
    }
}

#[test]
fn answers_name_every_column() {
    let at = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000), None]);
    let batch = RecordBatch::try_from_iter([
        ("at", Arc::new(at.with_timezone("UTC")) as ArrayRef),
        ("x", Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY]))),
        ("n", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("v", Arc::new(StringViewArray::from(vec!["a", "b\n"]))),
        ("i", Arc::new(IntervalDayTimeArray::from(vec![None, Some(IntervalDayTime::new(1, 0))]))),
    ])
    .unwrap();
    let mut out = b"[".to_vec();
    write_rows(&batch.slice(0, 1), Shape::Objects, &mut out).unwrap();
    write_rows(&batch.slice(1, 1), Shape::Arrays, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "[{\"at\":\"2023-11-14T22:13:20Z\",\"x\":\"NaN\",\"n\":18446744073709551615,\"v\":\"a\",\
         \"i\":null},[null,\"-Infinity\",0,\"b\\n\",\"1 days\"]"
    );
}

#[test]
fn what_json_lacks_is_refused_not_hidden() {
    let batch = RecordBatch::try_from_iter([(
        "x",
        Arc::new(Float64Array::from(vec![f64::NAN])) as ArrayRef,
    )])
    .unwrap();
    let encoded = encode(&batch).unwrap();
    let records: Vec<&[u8]> = encoded.iter().collect();
    let decoded = Decoder::new(batch.schema(), None).unwrap().decode(&records).unwrap();
    assert_eq!(decoded.refused[0].reason, "expected a DOUBLE, got the text 'NaN'");
}
