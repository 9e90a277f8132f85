//! Unpacks the records of a compressed batch, as Kafka's clients pack them (KIP-98, KIP-110): gzip,
//! snappy in xerial's framing or bare, LZ4 frames, zstd. The log itself stores and sends batches as
//! they came; only who wants the records unpacks.

use std::io::{Read, Write};

use bytes::Bytes;
use common::{Error, Result};

use crate::batch::{Compression, HEADER_LEN, Header, PREFIX_LEN};

/// Records of one batch may take so much memory; what unpacks to more is refused.
pub const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// How xerial's framing of snappy begins.
const XERIAL: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic bytes and two version numbers.
const XERIAL_LEN: usize = 16;
/// Bytes that xerial's framing packs at once.
const XERIAL_BLOCK: usize = 32 << 10;

/// The batch with its records unpacked; the same bytes if they are not compressed. The checksum is
/// that of the packed one.
pub fn unpacked(batch: &Bytes) -> Result<Bytes> {
    let header = Header::parse(batch).ok_or_else(|| bad("it is shorter than its header"))?;
    let packed = batch.get(HEADER_LEN..).unwrap_or_default();
    let mut out = match header.compression() {
        Compression::None => return Ok(batch.clone()),
        // Markers are never packed, whatever the bits say.
        _ if header.is_control() => return Ok(batch.clone()),
        Compression::Unknown => return Err(bad("its compression is unknown")),
        Compression::Gzip => unpack(batch, flate2::read::MultiGzDecoder::new(packed))?,
        Compression::Lz4 => unpack(batch, lz4_flex::frame::FrameDecoder::new(packed))?,
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed);
            unpack(batch, decoder.map_err(|e| bad(&e.to_string()))?)?
        }
        Compression::Snappy => snappy(batch, packed)?,
    };
    let length = i32::try_from(out.len() - PREFIX_LEN).map_err(|_| too_large())?;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[21..23].copy_from_slice(&(header.attributes & !0x07).to_be_bytes());
    Ok(out.into())
}

/// Packs records the same way again, for a batch that lost some of them. Returns how they are
/// packed: not at all when that fails.
pub(crate) fn packed(compression: Compression, records: Vec<u8>) -> (Compression, Vec<u8>) {
    let packed = match compression {
        Compression::None | Compression::Unknown => return (Compression::None, records),
        Compression::Gzip => {
            let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
            out.write_all(&records).and_then(|()| out.finish()).ok()
        }
        Compression::Lz4 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(vec![]);
            out.write_all(&records).ok().and_then(|()| out.finish().ok())
        }
        Compression::Zstd => zstd::encode_all(&records[..], zstd::DEFAULT_COMPRESSION_LEVEL).ok(),
        Compression::Snappy => pack_snappy(&records),
    };
    packed.map_or((Compression::None, records), |packed| (compression, packed))
}

/// In xerial's framing, which all of Kafka's clients read.
fn pack_snappy(records: &[u8]) -> Option<Vec<u8>> {
    let mut out = XERIAL.to_vec();
    // Its version, and the oldest that can read it.
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    for block in records.chunks(XERIAL_BLOCK) {
        let block = snap::raw::Encoder::new().compress_vec(block).ok()?;
        out.extend_from_slice(&u32::try_from(block.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Some(out)
}

fn unpack(batch: &[u8], decoder: impl Read) -> Result<Vec<u8>> {
    let mut out = batch[..HEADER_LEN].to_vec();
    let limit = UNPACKED_BYTES_MAX as u64 + 1;
    decoder.take(limit).read_to_end(&mut out).map_err(|e| bad(&e.to_string()))?;
    if out.len() - HEADER_LEN > UNPACKED_BYTES_MAX {
        return Err(too_large());
    }
    Ok(out)
}

fn snappy(batch: &[u8], packed: &[u8]) -> Result<Vec<u8>> {
    let mut out = batch[..HEADER_LEN].to_vec();
    if !packed.starts_with(&XERIAL) {
        snappy_block(packed, &mut out)?;
        return Ok(out);
    }
    let mut rest = packed.get(XERIAL_LEN..).unwrap_or_default();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let block = behind.get(..len).ok_or_else(|| bad("a snappy block is cut off"))?;
        snappy_block(block, &mut out)?;
        rest = &behind[len..];
    }
    match rest {
        [] => Ok(out),
        _ => Err(bad("it has bytes after its last snappy block")),
    }
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let broken = |e: snap::Error| bad(&e.to_string());
    let len = snap::raw::decompress_len(block).map_err(broken)?;
    let start = out.len();
    if start - HEADER_LEN + len > UNPACKED_BYTES_MAX {
        return Err(too_large());
    }
    out.resize(start + len, 0);
    let n = snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(broken)?;
    out.truncate(start + n);
    Ok(())
}

fn bad(why: &str) -> Error {
    Error::corrupt(format!("record batch cannot be unpacked: {why}"))
}

fn too_large() -> Error {
    Error::too_large(format!("a record batch unpacks to more than {UNPACKED_BYTES_MAX} bytes"))
        .hint("send smaller batches")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::BatchBuilder;

    fn plain() -> Bytes {
        let mut builder = BatchBuilder::new(1_000_000);
        for i in 0..100 {
            builder.push(1_000_000, None, Some(format!("value {i}").as_bytes()), &[]);
        }
        builder.build()
    }

    /// The batch with these bytes instead of its records, as a client would send it.
    fn packed(compression: u8, records: &[u8]) -> Bytes {
        let mut batch = plain()[..HEADER_LEN].to_vec();
        batch[22] |= compression;
        batch.extend_from_slice(records);
        batch.into()
    }

    fn xerial(records: &[u8]) -> Vec<u8> {
        let mut out = XERIAL.to_vec();
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        for block in records.chunks(300) {
            let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
            out.extend_from_slice(&(block.len() as u32).to_be_bytes());
            out.extend_from_slice(&block);
        }
        out
    }

    /// The records in each way that clients pack them.
    fn packings(records: &[u8]) -> [(u8, Vec<u8>); 5] {
        let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gzip.write_all(records).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(vec![]);
        lz4.write_all(records).unwrap();
        let bare = snap::raw::Encoder::new().compress_vec(records).unwrap();
        [
            (1, gzip.finish().unwrap()),
            (2, xerial(records)),
            (2, bare),
            (3, lz4.finish().unwrap()),
            (4, zstd::encode_all(records, 1).unwrap()),
        ]
    }

    #[test]
    fn every_compression_of_kafka() {
        let plain = plain();
        let records = &plain[HEADER_LEN..];
        for (compression, bytes) in packings(records) {
            let batch = unpacked(&packed(compression, &bytes)).unwrap();
            assert_eq!(batch[HEADER_LEN..], *records, "compression {compression}");
            let values: Vec<_> =
                crate::records::iter(&batch).unwrap().map(|r| r.unwrap().offset.0).collect();
            assert_eq!(values, (0..100).collect::<Vec<_>>(), "compression {compression}");
        }
        assert_eq!(unpacked(&plain).unwrap(), plain);
    }

    #[test]
    fn what_is_packed_again_comes_back() {
        let records = plain()[HEADER_LEN..].repeat(40);
        for (bits, compression) in [
            (1, Compression::Gzip),
            (2, Compression::Snappy),
            (3, Compression::Lz4),
            (4, Compression::Zstd),
        ] {
            let (how, bytes) = super::packed(compression, records.clone());
            assert_eq!(how, compression);
            assert!(bytes.len() < records.len() / 2, "{compression:?}: {}", bytes.len());
            let batch = unpacked(&packed(bits, &bytes)).unwrap();
            assert_eq!(batch[HEADER_LEN..], *records, "{compression:?}");
        }
    }

    #[test]
    fn packings_with_wrong_bytes_never_panic() {
        let mut rng = SmallRng::seed_from_u64(1);
        let plain = plain();
        let (mut refused, mut other) = (0, 0);
        for (compression, bytes) in packings(&plain[HEADER_LEN..]) {
            for _ in 0..400 {
                let mut bytes = bytes.clone();
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] = rng.random();
                }
                if rng.random_bool(0.2) {
                    bytes.truncate(rng.random_range(0..bytes.len()));
                }
                let records = unpacked(&packed(compression, &bytes)).and_then(|batch| {
                    crate::records::iter(&batch)?.map(|r| r.map(|_| ())).collect::<Result<Vec<_>>>()
                });
                match records {
                    Ok(records) => other += records.len(),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 500 && other > 0, "{refused} refused, {other} records read");
    }

    #[test]
    fn garbage_and_bombs_are_refused() {
        for compression in 1..=5 {
            for bytes in [&b""[..], b"garbage", &XERIAL, &[0xff; 40]] {
                let packed = packed(compression, bytes);
                // An empty gzip stream is nothing; then there are no records in it.
                let outcome = unpacked(&packed).and_then(|b| {
                    crate::records::iter(&b)?.collect::<Result<Vec<_>>>().map(|r| r.len())
                });
                assert!(outcome.is_err(), "compression {compression} of {bytes:?}: {outcome:?}");
            }
        }
        let bomb = zstd::encode_all(&vec![0; UNPACKED_BYTES_MAX + 1][..], 1).unwrap();
        let e = unpacked(&packed(4, &bomb)).unwrap_err();
        assert_eq!(e.kind(), common::Kind::TooLarge, "{e}");
    }
}
