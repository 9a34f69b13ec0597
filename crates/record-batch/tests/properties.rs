//! Records come out of a batch as they went in, whatever they hold and however the batch is rewritten.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use bytes::Bytes;
use model::{Offset, ProducerId, TimestampRule};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use record_batch::{
    Batch, BatchBuilder, Codec, Entry, HEADER_BYTES, MessageSetBuilder, ProducerStamp, Transcode, crc32c,
    patch, records, split, transcode,
};

const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

type Field = Option<Vec<u8>>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    offset: i64,
    timestamp: i64,
    key: Field,
    value: Field,
    headers: Vec<(String, Field)>,
}

impl Owned {
    fn content(&self) -> (i64, &Field, &Field, &[(String, Field)]) {
        (self.timestamp, &self.key, &self.value, &self.headers)
    }
}

fn field(bytes_max: usize) -> impl Strategy<Value = Field> {
    option::of(prop_oneof![vec(any::<u8>(), 0..bytes_max), (0..bytes_max).prop_map(|size| vec![7; size])])
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![Just(-1), 0..2_000_000_000_000i64, any::<i64>()]
}

/// Records at rising offsets from `base`, with gaps now and then.
fn owned(base: i64, headers_max: usize) -> impl Strategy<Value = Vec<Owned>> {
    let header = ("[a-zé]{0,5}", field(20));
    let gap = prop_oneof![8 => Just(0i64), 1 => 1..1000i64];
    let one = (gap, timestamp(), field(40), field(300), vec(header, 0..=headers_max));
    vec(one, 1..60).prop_map(move |records| {
        let mut offset = base;
        let place = |(gap, timestamp, key, value, headers)| {
            let placed = Owned { offset: offset + gap, timestamp, key, value, headers };
            offset = placed.offset + 1;
            placed
        };
        records.into_iter().map(place).collect()
    })
}

fn batch(codec: Codec, base: i64, trailing_gap: i32, records: &[Owned]) -> Batch {
    let last = i32::try_from(records[records.len() - 1].offset - base).unwrap();
    let mut builder =
        BatchBuilder::new(codec).base_offset(Offset(base)).last_offset_delta(last + trailing_gap);
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let delta = i32::try_from(record.offset - base).unwrap();
        builder.append_at(delta, record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    Batch::read(builder.build()).unwrap()
}

fn read(entry: &Entry) -> Vec<Owned> {
    let records = records(entry, DECOMPRESSED_BYTES_MAX).unwrap();
    let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
    records
        .iter()
        .map(|record| record.unwrap())
        .map(|record| Owned {
            offset: record.offset.0,
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), owned(*value)))
                .collect(),
        })
        .collect()
}

fn codec() -> impl Strategy<Value = Codec> {
    select(Codec::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn records_come_out_as_they_went_in(codec in codec(), records in owned(50, 3)) {
        let batch = batch(codec, 50, 0, &records);
        batch.verify_crc().unwrap();
        prop_assert_eq!(read(&Entry::Batch(batch)), records);
    }

    #[test]
    fn transcoded_records_are_the_same_from_the_position_on(
        codec in codec(),
        records in owned(1000, 3),
        trailing_gap in 0..3,
        from in 990..1100i64,
        batch_bytes_max in prop_oneof![Just(1usize << 20), 700..3000usize],
        zstd in any::<bool>(),
    ) {
        let entry = Entry::Batch(batch(codec, 1000, trailing_gap, &records));
        let how = Transcode { from: Offset(from), timestamps: TimestampRule::AsAtSource, batch_bytes_max, zstd, share: None, may_stay: false };
        let pieces = transcode(&entry, &how).unwrap();
        let expected: Vec<_> = records.iter().filter(|record| record.offset >= from).collect();
        let mut at = 0;
        for piece in &pieces {
            piece.batch.verify_crc().unwrap();
            prop_assert!(piece.batch.bytes.len() <= batch_bytes_max);
            let copied = read(&Entry::Batch(piece.batch.clone()));
            prop_assert_eq!(piece.first_source, Offset(expected[at].offset));
            for (delta, record) in copied.iter().enumerate() {
                prop_assert_eq!(record.offset, delta as i64);
                prop_assert_eq!(record.content(), expected[at + delta].content());
            }
            at += copied.len();
            prop_assert_eq!(piece.last_source, Offset(expected[at - 1].offset));
        }
        prop_assert_eq!(at, expected.len());
        prop_assert!(pieces.last().is_none_or(|last| last.next_source == entry.next_offset()));
        prop_assert_eq!(transcode(&entry, &how).unwrap(), pieces, "the same every time");
    }

    #[test]
    fn a_patched_header_is_that_of_a_full_pass(
        codec in codec(),
        records in owned(0, 1),
        producer in 0..i64::MAX,
        epoch in 0..i16::MAX,
        base_sequence in 0..i32::MAX,
        attributes in any::<i16>(),
        filler in 0..200_000usize,
    ) {
        let codec_bits = 0b111;
        let mut batch = batch(codec, 0, 0, &records);
        // Any attributes, and any length: patching looks at no record.
        batch.header.attributes = batch.header.attributes & codec_bits | attributes & !codec_bits;
        batch.header.batch_length += i32::try_from(filler).unwrap();
        let full = |header: record_batch::Header, payload: &[u8]| {
            let mut bytes = [&header.write()[..], payload].concat();
            let crc = crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            Batch::read(Bytes::from(bytes)).unwrap()
        };
        let payload = [&batch.payload()[..], &vec![0x5a; filler]].concat();
        let batch = full(batch.header, &payload);
        let stamp = ProducerStamp { producer_id: ProducerId(producer), producer_epoch: epoch, base_sequence };
        let head = patch(&batch, stamp);
        let sent = Batch::read(Bytes::from([&head[..], &payload].concat())).unwrap();
        prop_assert_eq!(full(sent.header, &payload).bytes.slice(..HEADER_BYTES), &head[..]);
        prop_assert_eq!(sent.header.attributes, batch.header.attributes & !0x78);
        prop_assert_eq!(sent.header.base_sequence, base_sequence);
    }

    #[test]
    fn old_messages_come_out_as_they_went_in_and_survive_transcoding(
        magic in 0..=1i8,
        codec in select(Codec::ALL[..4].to_vec()),
        mut records in owned(300, 0),
        append_time in option::of(0..2_000_000_000_000i64),
    ) {
        let append_time = append_time.filter(|_| magic == 1);
        let mut set = MessageSetBuilder::new(magic, codec).base_offset(Offset(300));
        if let Some(append_time) = append_time {
            set = set.log_append_time(append_time);
        }
        for record in &mut records {
            let delta = i32::try_from(record.offset - 300).unwrap();
            set.append_at(delta, record.timestamp, record.key.as_deref(), record.value.as_deref());
            record.timestamp = if magic == 0 { -1 } else { append_time.unwrap_or(record.timestamp) };
        }
        let entries: Vec<Entry> = split(set.build()).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(entries.iter().flat_map(read).collect::<Vec<_>>(), records.clone());
        let how = Transcode {
            from: Offset(0),
            timestamps: TimestampRule::AsAtSource,
            batch_bytes_max: 1 << 20,
            zstd: true,
            share: None,
            may_stay: false,
        };
        let pieces: Vec<_> = entries.iter().flat_map(|entry| transcode(entry, &how).unwrap()).collect();
        let copied: Vec<_> = pieces.iter().flat_map(|piece| read(&Entry::Batch(piece.batch.clone()))).collect();
        prop_assert!(copied.iter().map(Owned::content).eq(records.iter().map(Owned::content)));
        prop_assert_eq!(pieces.len(), 1);
    }
}
