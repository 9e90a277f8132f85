//! How many 200-byte JSON records a second one core decodes, all columns and projected:
//! `cargo run --release -p watershed-formats --example decode`.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{Field, Schema, SchemaRef};
use common::Result;
use formats::json::{Decoder, encode};

const RECORDS: usize = 8192;
const ROUNDS: usize = 400;

fn schema() -> Result<SchemaRef> {
    let columns = [
        ("sensor", "TEXT"),
        ("site", "TEXT"),
        ("celsius", "DOUBLE"),
        ("humidity", "DOUBLE"),
        ("count", "BIGINT"),
        ("price", "DECIMAL(12,2)"),
        ("at", "TIMESTAMP"),
        ("note", "TEXT"),
    ];
    let fields: Result<Vec<Field>> = columns
        .iter()
        .map(|(name, sql)| Ok(Field::new(*name, formats::types::parse(sql)?, true)))
        .collect();
    Ok(Arc::new(Schema::new(fields?)))
}

fn main() -> Result<()> {
    let records: Vec<String> = (0..RECORDS)
        .map(|i| {
            format!(
                "{{\"sensor\":\"sensor-{:05}\",\"site\":\"plant {} hall {}\",\"celsius\":{}.{:03},\
                 \"humidity\":{:.2},\"count\":{},\"price\":{}.{:02},\
                 \"at\":\"2026-11-22T10:{:02}:{:02}.{:03}Z\",\
                 \"note\":\"a note of some length {:08}\"}}",
                i % 1000,
                i % 7,
                i % 13,
                15 + i % 20,
                i % 1000,
                (i % 997) as f64 / 9.97,
                i * 7919,
                i % 9000,
                i % 100,
                i / 60 % 60,
                i % 60,
                i % 1000,
                i,
            )
        })
        .collect();
    let records: Vec<&[u8]> = records.iter().map(|r| r.as_bytes()).collect();
    let bytes: usize = records.iter().map(|r| r.len()).sum();
    println!("{} bytes a record", bytes / RECORDS);
    for (name, projection) in [("8 columns", None), ("3 columns", Some(&[0, 2, 6][..]))] {
        let mut decoder = Decoder::new(schema()?, projection)?;
        let start = Instant::now();
        let mut rows = 0;
        for _ in 0..ROUNDS {
            rows += decoder.decode(&records)?.batch.num_rows();
        }
        let seconds = start.elapsed().as_secs_f64();
        let (millions, megabytes) = (rows as f64 / 1e6, (bytes * ROUNDS) as f64 / 1e6);
        println!(
            "decode {name}: {:.2} M rows/s, {:.0} MB/s",
            millions / seconds,
            megabytes / seconds
        );
    }
    let batch = Decoder::new(schema()?, None)?.decode(&records)?.batch;
    let start = Instant::now();
    for _ in 0..ROUNDS / 4 {
        encode(&batch)?;
    }
    let rows = (RECORDS * ROUNDS / 4) as f64 / 1e6;
    println!("encode 8 columns: {:.2} M rows/s", rows / start.elapsed().as_secs_f64());
    Ok(())
}
