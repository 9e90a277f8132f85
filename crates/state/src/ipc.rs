//! A delta's bytes: a flag, the crc32c of what follows, an Arrow IPC stream with lz4. The checksum
//! stands before Arrow's reader, which is not made for damaged input.

use std::io::Cursor;

use arrow::compute::concat_batches;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use common::{Error, Result};
use graph::REBUILD;

const PART: u8 = 0;
const FULL: u8 = 1;
const HEADER: usize = 5;

pub(crate) fn encode(batch: &RecordBatch, full: bool) -> Result<Vec<u8>> {
    let bad = |e| Error::internal("operator state cannot be encoded").caused_by(e);
    let mut bytes = vec![if full { FULL } else { PART }, 0, 0, 0, 0];
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .map_err(bad)?;
    let mut writer =
        StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), options).map_err(bad)?;
    writer.write(batch).map_err(bad)?;
    writer.finish().map_err(bad)?;
    drop(writer);
    let crc = crc32c::crc32c(&bytes[HEADER..]);
    bytes[1..HEADER].copy_from_slice(&crc.to_be_bytes());
    Ok(bytes)
}

/// The batch, and whether it is a full one.
pub(crate) fn decode(bytes: &[u8]) -> Result<(RecordBatch, bool)> {
    let bad =
        |why: String| Error::corrupt(format!("operator state cannot be read: {why}")).hint(REBUILD);
    let full = match bytes.first() {
        Some(&PART) => false,
        Some(&FULL) => true,
        Some(flag) => return Err(bad(format!("unknown flag {flag}"))),
        None => return Err(bad("it is empty".into())),
    };
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return Err(bad("it is cut off".into()));
    };
    if crc32c::crc32c(body).to_be_bytes() != header[1..] {
        return Err(bad("its checksum is wrong".into()));
    }
    let reader = StreamReader::try_new(Cursor::new(body), None).map_err(|e| bad(e.to_string()))?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| bad(e.to_string()))?;
    // `stage` writes exactly one batch; a stream cut after its schema has none.
    match batches.len() {
        1 => {}
        n => return Err(bad(format!("it has {n} batches instead of 1"))),
    }
    let batch = concat_batches(&schema, &batches).map_err(|e| bad(e.to_string()))?;
    Ok((batch, full))
}
