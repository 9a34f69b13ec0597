//! The hot functions of this crate: `cargo bench -p record-batch` tells their times, which the crate's documentation
//! speaks of; `cargo xtask counts` how many instructions they take.
//!
//! The correction of a checksum is private: it is nearly all of `patch`, and grows with the bytes of the number that is
//! the batch's size, so that `patch` of three sizes shows it.

#![allow(clippy::unwrap_used, reason = "a bench fails where it stands")]

mod harness;

use std::hint::black_box;

use bytes::Bytes;
use harness::{Call, Scenario};
use model::{Offset, ProducerId, TimestampRule};
use record_batch::{
    Batch, BatchBuilder, Codec, Entry, Header, Piece, ProducerStamp, Transcode, merge, patch, records, split,
    transcode,
};

const STAMP: ProducerStamp =
    ProducerStamp { producer_id: ProducerId(4), producer_epoch: 1, base_sequence: 77 };
const HOW: Transcode = Transcode {
    from: Offset(0),
    timestamps: TimestampRule::AsAtSource,
    batch_bytes_max: 4 << 20,
    zstd: true,
    share: None,
    may_stay: false,
};
/// Values of a kilobyte in the batches that are walked and transcoded.
const VALUES: i64 = 250;
/// Batches of 16 values that are split, and merged.
const SMALL_BATCHES: i64 = 64;

fn main() {
    let small_bytes = 16_000 * SMALL_BATCHES as usize;
    let mut scenarios = vec![
        Scenario::new("read-header", 1000, reading_a_header),
        Scenario::new("patch/1KiB", 1000, || patching(1)),
        Scenario::new("patch/16KiB", 1000, || patching(16)),
        Scenario::new("patch/1MB", 1000, || patching(1000)),
        Scenario::new("verify-crc/16KiB", 100, || verifying(16)).through(16_000),
        Scenario::new("verify-crc/1MB", 5, || verifying(1000)).through(1_000_000),
        Scenario::new("split/64x16KiB", 100, splitting).through(small_bytes),
        Scenario::new("merge/64x16KiB", 5, merging).through(small_bytes),
    ];
    for codec in Codec::ALL {
        let bytes = 1000 * VALUES as usize;
        scenarios.push(Scenario::new(format!("walk/{codec}"), 4, move || walking(codec)).through(bytes));
        scenarios
            .push(Scenario::new(format!("transcode/{codec}"), 2, move || transcoding(codec)).through(bytes));
    }
    harness::run(&scenarios);
}

fn batch(codec: Codec, base_offset: i64, values: i64, value: impl Fn(i64) -> Vec<u8>) -> Batch {
    let mut builder = BatchBuilder::new(codec).base_offset(Offset(base_offset));
    for at in 0..values {
        builder.append(at, Some(b"key12345"), Some(&value(at)), &[]);
    }
    Batch::read(builder.build()).unwrap()
}

/// A kilobyte that can be compressed as such texts can.
fn json(at: i64) -> Vec<u8> {
    let mix = |by: i64, modulo: i64| (at * by).rem_euclid(modulo);
    let (user, amount) = (mix(2_654_435_761, 10_007), mix(40_503, 977));
    let one = format!("{{\"id\":{at},\"user\":\"u-{user}\",\"amount\":{amount}}}");
    one.repeat(1000 / one.len()).into_bytes()
}

fn plain(base_offset: i64, kilobytes: i64) -> Batch {
    batch(Codec::None, base_offset, kilobytes, |_| vec![7; 1000])
}

fn small_batches() -> impl Iterator<Item = Batch> {
    (0..SMALL_BATCHES).map(|at| plain(16 * at, 16))
}

fn reading_a_header() -> Call {
    let bytes = plain(0, 1).bytes;
    Box::new(move || {
        black_box(Header::read(black_box(&bytes))).unwrap();
    })
}

fn patching(kilobytes: i64) -> Call {
    let batch = plain(0, kilobytes);
    Box::new(move || _ = black_box(patch(black_box(&batch), STAMP)))
}

fn verifying(kilobytes: i64) -> Call {
    let batch = plain(0, kilobytes);
    Box::new(move || black_box(&batch).verify_crc().unwrap())
}

fn splitting() -> Call {
    let reply = Bytes::from(small_batches().flat_map(|batch| batch.bytes).collect::<Vec<u8>>());
    Box::new(move || assert_eq!(split(black_box(reply.clone())).count(), SMALL_BATCHES as usize))
}

fn merging() -> Call {
    let piece = |batch: Batch| Piece {
        first_source: batch.header.base_offset,
        last_source: batch.header.last_offset(),
        next_source: batch.header.next_offset(),
        record_count: batch.header.record_count,
        batch,
    };
    let pieces: Vec<Piece> = small_batches().map(piece).collect();
    Box::new(move || assert_eq!(black_box(merge(pieces.clone(), 4 << 20)).len(), 1))
}

fn walking(codec: Codec) -> Call {
    let entry = Entry::Batch(batch(codec, 0, VALUES, json));
    Box::new(move || {
        assert!(black_box(records(&entry, 4 << 20)).unwrap().iter().all(|record| record.is_ok()));
    })
}

fn transcoding(codec: Codec) -> Call {
    let entry = Entry::Batch(batch(codec, 0, VALUES, json));
    Box::new(move || drop(black_box(transcode(&entry, &HOW)).unwrap()))
}
