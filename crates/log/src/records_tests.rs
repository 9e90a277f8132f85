//! Batches built and walked here against the `kafka-protocol` crate, both ways; and garbage.
#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::{Bytes, BytesMut};
use common::Kind;
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::batch::{self, Header};
use crate::{BatchBuilder, records};

#[derive(Clone, Debug, PartialEq)]
struct Plain {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

fn random_records(rng: &mut SmallRng, n: usize) -> Vec<Plain> {
    let mut bytes = |max: usize| -> Option<Vec<u8>> {
        let len = rng.random_range(0..=max);
        (rng.random_range(0..5) > 0).then(|| (0..len).map(|_| rng.random()).collect())
    };
    let mut out = vec![];
    for offset in 0..n as i64 {
        let headers = (0..offset % 3)
            .map(|i| (format!("header {i}"), bytes(20).unwrap_or_default()))
            .collect();
        let (key, value) = (bytes(30), bytes(300));
        let timestamp_ms = 1_700_000_000_000 + (offset * 7919) % 1000 - 500;
        out.push(Plain { offset, timestamp_ms, key, value, headers });
    }
    out
}

fn build(records: &[Plain]) -> Bytes {
    let base = records.first().map_or(0, |r| r.timestamp_ms);
    let mut builder = BatchBuilder::new(base * 1000);
    for r in records {
        let headers: Vec<(&str, &[u8])> =
            r.headers.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
        builder.push(r.timestamp_ms * 1000 + 999, r.key.as_deref(), r.value.as_deref(), &headers);
    }
    assert_eq!(builder.count(), records.len());
    builder.build()
}

fn walk(batch: &Bytes) -> Vec<Plain> {
    records::iter(batch)
        .unwrap()
        .map(|r| {
            let r = r.unwrap();
            Plain {
                offset: r.offset.0,
                timestamp_ms: r.timestamp_ms,
                key: r.key.map(<[u8]>::to_vec),
                value: r.value.map(<[u8]>::to_vec),
                headers: r
                    .headers()
                    .map(|(k, v)| (k.into_owned(), v.unwrap_or_default().to_vec()))
                    .collect(),
            }
        })
        .collect()
}

fn encode_theirs(records: &[Plain], compression: Compression) -> Bytes {
    let records: Vec<Record> = records
        .iter()
        .map(|r| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: r.offset,
            sequence: r.offset as i32,
            timestamp: r.timestamp_ms,
            key: r.key.clone().map(Bytes::from),
            value: r.value.clone().map(Bytes::from),
            headers: r
                .headers
                .iter()
                .map(|(k, v)| (StrBytes::from_string(k.clone()), Some(Bytes::from(v.clone()))))
                .collect::<IndexMap<_, _>>(),
        })
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

#[test]
fn what_we_write_kafka_protocol_reads() {
    let mut rng = SmallRng::seed_from_u64(1);
    for n in [1, 2, 63, 64, 65, 1000] {
        let records = random_records(&mut rng, n);
        let batch = build(&records);
        let theirs = RecordBatchDecoder::decode(&mut batch.clone()).unwrap();
        assert_eq!(theirs.records.len(), n);
        for (ours, theirs) in records.iter().zip(&theirs.records) {
            assert_eq!(theirs.offset, ours.offset);
            assert_eq!(theirs.timestamp, ours.timestamp_ms);
            assert_eq!(theirs.key.as_deref(), ours.key.as_deref());
            assert_eq!(theirs.value.as_deref(), ours.value.as_deref());
            let headers: Vec<_> = theirs
                .headers
                .iter()
                .map(|(k, v)| (k.to_string(), v.clone().unwrap_or_default().to_vec()))
                .collect();
            assert_eq!(headers, ours.headers);
        }
    }
}

#[test]
fn what_kafka_protocol_writes_we_read_and_accept() {
    let mut rng = SmallRng::seed_from_u64(2);
    for n in [1, 2, 64, 500] {
        let records = random_records(&mut rng, n);
        let batch = encode_theirs(&records, Compression::None);
        assert_eq!(batch::check_sent(&batch, 1 << 30).unwrap(), n as i64);
        assert_eq!(walk(&batch), records);
        assert_eq!(walk(&build(&records)), records);
    }
}

#[test]
fn a_patched_batch_keeps_its_checksum_and_moves_its_offsets() {
    let mut rng = SmallRng::seed_from_u64(3);
    let records = random_records(&mut rng, 10);
    let mut two = BytesMut::from(&build(&records)[..]);
    two.extend_from_slice(&encode_theirs(&records[..4], Compression::None));
    batch::patch(&mut two, 1_000_000_000_000);
    assert_eq!(batch::check_sent(&two, 1 << 30).unwrap(), 14);
    let first = Header::parse(&two).unwrap();
    let at = first.batch_len().unwrap();
    let second = Header::parse(&two[at..]).unwrap();
    assert_eq!((first.base_offset, second.base_offset), (1_000_000_000_000, 1_000_000_000_010));
    assert_eq!(second.leader_epoch, 0);
    let moved = walk(&two.freeze().slice(at..));
    assert_eq!(moved[3].offset, 1_000_000_000_013);
}

#[test]
fn compressed_batches_are_named_as_not_supported() {
    // kafka-protocol is built without codecs here, so the flag is set by hand.
    let mut batch = BytesMut::from(&build(&random_records(&mut SmallRng::seed_from_u64(4), 3))[..]);
    for (bits, name) in [(1, "gzip"), (3, "lz4"), (4, "zstd")] {
        batch[22] = bits;
        let e = records::iter(&batch).err().unwrap();
        assert_eq!(e.kind(), Kind::Unsupported);
        assert!(e.message().contains(name), "{e}");
    }
    batch[22] = 0x20;
    assert_eq!(records::iter(&batch).unwrap().count(), 0, "a control batch has no records");
}

#[test]
fn a_client_is_told_what_is_wrong_with_its_batch() {
    let good = build(&random_records(&mut SmallRng::seed_from_u64(5), 3));
    let change = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        bytes
    };
    let empty = BatchBuilder::new(0).build();
    for (bytes, why) in [
        (vec![], "cut off within its header"),
        (good[..60].to_vec(), "cut off within its header"),
        (good[..good.len() - 1].to_vec(), "cut off"),
        ([&good[..], b"x"].concat(), "cut off within its header"),
        (change(16, 1), "format version is not 2"),
        (change(8, 0xff), "length makes no sense"),
        (change(26, 9), "number of records does not fit"),
        (change(22, 5), "compression is unknown"),
        (change(good.len() - 1, 0x55), "checksum does not match"),
        (empty.to_vec(), "number of records makes no sense"),
    ] {
        let e = batch::check_sent(&bytes, 1 << 20).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid, "{e}");
        assert!(e.message().contains(why), "'{e}' does not say '{why}'");
    }
    assert_eq!(batch::check_sent(&good, 100).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn garbage_never_panics() {
    let mut rng = SmallRng::seed_from_u64(6);
    let good = build(&random_records(&mut rng, 20));
    let (mut broken, mut intact) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = good.to_vec();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        if rng.random_range(0..4) == 0 {
            bytes.truncate(rng.random_range(0..bytes.len()));
        }
        let _ = batch::check_sent(&bytes, 1 << 20);
        match records::iter(&bytes) {
            Err(_) => broken += 1,
            Ok(records) => {
                let last = records.map(|r| r.map(|r| r.headers().count())).last();
                match last {
                    Some(Err(_)) => broken += 1,
                    _ => intact += 1,
                }
            }
        }
    }
    assert!(broken > 1000 && intact > 1000, "{broken} broken, {intact} intact");
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
        let _ = records::iter(&bytes).map(Iterator::count);
        let _ = batch::check_sent(&bytes, 1 << 20);
    }
}

#[test]
fn microseconds_are_cut_to_their_millisecond() {
    let mut builder = BatchBuilder::new(-1);
    builder.push(-1, None, Some(b"before 1970"), &[]);
    builder.push(1_999, None, Some(b"after"), &[]);
    let batch = builder.build();
    let times: Vec<_> = walk(&batch).iter().map(|r| r.timestamp_ms).collect();
    assert_eq!(times, [-1, 1]);
    assert_eq!(Header::parse(&batch).unwrap().max_timestamp_ms, 1);
}
