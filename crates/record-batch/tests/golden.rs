//! Bytes that Kafka itself wrote, and what Kafka itself reads from them.
//!
//! Each `golden/*.bin` is one partition's records of a fetch reply; its `.json` says what a consumer gets.
//! `golden/README.md` says how to capture more.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::{Offset, ProducerId, TimestampRule};
use record_batch::{
    Batch, Entry, HEADER_BYTES, ProducerStamp, Record, Transcode, count_from, offset_after, patch, records,
    split, transcode,
};
use serde_json::Value;

const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Expected {
    fn of(record: &Record<'_>) -> Expected {
        Expected {
            offset: record.offset.0,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    fn from_json(record: &Value) -> Expected {
        let headers = record["headers"].as_array().expect("headers is a list").iter();
        Expected {
            offset: record["offset"].as_i64().expect("offset is a number"),
            timestamp: record["timestamp"].as_i64().expect("timestamp is a number"),
            key: hex(&record["key"]),
            value: hex(&record["value"]),
            headers: headers
                .map(|header| (header[0].as_str().expect("a header has a name").into(), hex(&header[1])))
                .collect(),
        }
    }

    /// The same record after its copy, at another offset.
    fn content(&self) -> Expected {
        Expected { offset: 0, ..self.clone() }
    }
}

fn hex(field: &Value) -> Option<Vec<u8>> {
    // "null" in quotes is what a careless generator writes; no hex text looks like that.
    let digits = field.as_str().filter(|digits| *digits != "null")?.as_bytes();
    assert_eq!(digits.len() % 2, 0, "odd number of hex digits: {field}");
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hex digits");
    Some(digits.chunks(2).map(byte).collect())
}

fn captures() -> Vec<(PathBuf, Bytes, Vec<Expected>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("tests/golden is there")
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no captures in {}", folder.display());
    files
        .into_iter()
        .map(|path| {
            let json = fs::read_to_string(path.with_extension("json")).expect("each .bin has its .json");
            let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let records = json["records"].as_array().expect("records is a list");
            let expected = records.iter().map(Expected::from_json).collect();
            let bytes = Bytes::from(fs::read(&path).unwrap());
            (path, bytes, expected)
        })
        .collect()
}

/// Entries that hold data.
fn data_entries(path: &Path, bytes: &Bytes) -> Vec<Entry> {
    split(bytes.clone())
        .map(|entry| entry.unwrap_or_else(|error| panic!("{path:?}: {error}")))
        .filter(|entry| !matches!(entry, Entry::Batch(batch) if batch.header.is_control()))
        .collect()
}

fn read(entry: &Entry) -> Vec<Expected> {
    let records = records(entry, DECOMPRESSED_BYTES_MAX).unwrap();
    records.iter().map(|record| Expected::of(&record.unwrap())).collect()
}

#[test]
fn records_are_those_that_kafka_reads() {
    for (path, bytes, expected) in captures() {
        let entries = data_entries(&path, &bytes);
        for entry in &entries {
            entry.verify_crc().unwrap_or_else(|error| panic!("{path:?}: {error}"));
        }
        let found: Vec<Expected> = entries.iter().flat_map(read).collect();
        assert_eq!(found, expected, "{path:?}");
    }
}

#[test]
fn a_patched_batch_has_a_right_checksum_and_the_same_records() {
    let stamp = ProducerStamp { producer_id: ProducerId(77), producer_epoch: 3, base_sequence: 1_234_567 };
    for (path, bytes, _) in captures() {
        for entry in split(bytes.clone()) {
            let Entry::Batch(batch) = entry.unwrap() else { continue };
            let mut sent = patch(&batch, stamp).to_vec();
            sent.extend_from_slice(&batch.bytes[HEADER_BYTES..]);
            let sent = Batch::read(Bytes::from(sent)).unwrap();
            sent.verify_crc().unwrap_or_else(|error| panic!("{path:?}: {error}"));
            assert_eq!((sent.header.base_offset, sent.header.producer_id), (Offset(0), ProducerId(77)));
            if !batch.header.is_log_append_time() && !batch.header.is_control() {
                let content =
                    |batch| read(&Entry::Batch(batch)).iter().map(Expected::content).collect::<Vec<_>>();
                assert_eq!(content(sent), content(batch), "{path:?}");
            }
        }
    }
}

#[test]
fn transcoding_keeps_what_a_consumer_sees() {
    for batch_bytes_max in [1 << 20, 400] {
        for (path, bytes, expected) in captures() {
            let mut copied = Vec::new();
            for entry in data_entries(&path, &bytes) {
                let how = Transcode {
                    from: Offset(0),
                    timestamps: TimestampRule::AsAtSource,
                    batch_bytes_max,
                    zstd: true,
                    share: None,
                    may_stay: false,
                };
                let pieces = transcode(&entry, &how).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                let mut next_source = None;
                for piece in &pieces {
                    assert_eq!(next_source.unwrap_or(piece.first_source), piece.first_source, "{path:?}");
                    piece.batch.verify_crc().unwrap();
                    assert!(piece.batch.bytes.len() <= batch_bytes_max, "{path:?}");
                    assert!(!piece.batch.header.has_gaps(), "{path:?}");
                    copied.extend(read(&Entry::Batch(piece.batch.clone())));
                    next_source = Some(piece.next_source);
                }
                assert_eq!(next_source.unwrap_or(entry.next_offset()), entry.next_offset(), "{path:?}");
            }
            let content = |records: &[Expected]| records.iter().map(Expected::content).collect::<Vec<_>>();
            assert_eq!(content(&copied), content(&expected), "{path:?}");
        }
    }
}

#[test]
fn counting_agrees_with_reading() {
    for (path, bytes, _) in captures() {
        for entry in data_entries(&path, &bytes) {
            let offsets: Vec<i64> = read(&entry).iter().map(|record| record.offset).collect();
            assert_eq!(count_from(&entry, Offset(0), None).unwrap(), offsets.len() as i64, "{path:?}");
            for (at, offset) in offsets.iter().enumerate() {
                assert_eq!(
                    count_from(&entry, Offset(*offset), None).unwrap(),
                    (offsets.len() - at) as i64,
                    "{path:?}"
                );
                let after = offset_after(&entry, Offset(0), at as i64 + 1, None).unwrap();
                let expected = if at + 1 == offsets.len() { entry.next_offset() } else { Offset(offset + 1) };
                assert_eq!(after, expected, "{path:?}");
            }
        }
    }
}
