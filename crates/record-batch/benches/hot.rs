//! The speeds that the crate's documentation speaks of: `cargo bench -p record-batch`.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stdout, reason = "a bench tells its numbers")]
#![allow(clippy::unwrap_used, reason = "a bench fails where it stands")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use model::{Offset, ProducerId, TimestampRule};
use record_batch::{Batch, BatchBuilder, Codec, Entry, ProducerStamp, Transcode, patch, records, transcode};

const HOW: Transcode = Transcode {
    from: Offset(0),
    timestamps: TimestampRule::AsAtSource,
    batch_bytes_max: 4 << 20,
    zstd: true,
    share: None,
    may_stay: false,
};

/// The time that one call takes: the best of a few rounds, since what disturbs only adds.
fn time(mut call: impl FnMut()) -> Duration {
    let round = |calls: u32, call: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed() / calls
    };
    let once = round(3, &mut call).max(Duration::from_nanos(20));
    let calls = (20_000_000 / once.as_nanos()).max(1) as u32;
    (0..10).map(|_| round(calls, &mut call)).min().unwrap()
}

fn batch(codec: Codec, records: i64, value: impl Fn(i64) -> Vec<u8>) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    for at in 0..records {
        builder.append(at, Some(b"key12345"), Some(&value(at)), &[]);
    }
    Batch::read(builder.build()).unwrap()
}

fn main() {
    let stamp = ProducerStamp { producer_id: ProducerId(4), producer_epoch: 1, base_sequence: 77 };
    for records in [1, 3, 16, 1000] {
        let batch = batch(Codec::None, records, |_| vec![7; 1000]);
        let patching = time(|| _ = black_box(patch(black_box(&batch), stamp)));
        let full_pass = time(|| black_box(batch.verify_crc()).unwrap());
        println!("{:>8} bytes: patch {patching:?}, pass for the checksum {full_pass:?}", batch.bytes.len());
    }
    let json = |at: i64| {
        let mix = |by: i64, modulo: i64| (at * by).rem_euclid(modulo);
        let one = format!(
            "{{\"id\":{at},\"user\":\"u-{}\",\"amount\":{}}}",
            mix(2_654_435_761, 10_007),
            mix(40_503, 977)
        );
        one.repeat(1000 / one.len()).into_bytes()
    };
    for codec in Codec::ALL {
        let entry = Entry::Batch(batch(codec, 1000, json));
        let plain_bytes = records(&entry, 4 << 20).unwrap().plain_bytes();
        let megabytes = |time: Duration| plain_bytes as f64 / 1e6 / time.as_secs_f64();
        let walking =
            time(|| assert!(black_box(records(&entry, 4 << 20)).unwrap().iter().all(|r| r.is_ok())));
        let transcoding = time(|| drop(black_box(transcode(&entry, &HOW)).unwrap()));
        println!(
            "{:>8} bytes of {codec}: walk {:.0} MB/s, transcode {:.0} MB/s, without compression",
            entry.size_bytes(),
            megabytes(walking),
            megabytes(transcoding)
        );
    }
}
