//! What a broker takes from a client, and what it makes of it.

use bytes::{Bytes, BytesMut};
use embedded_kafka::Profile;
use model::Offset;
use record_batch::{BatchBuilder, Codec};

use crate::client::{batch_of, produce_request, stamp};
use crate::desk::Desk;

/// The batch with one field changed and a right checksum.
fn with_field(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut changed = BytesMut::from(&batch[..]);
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = record_batch::crc32c(&changed[21..]);
    changed[17..21].copy_from_slice(&crc.to_be_bytes());
    changed.freeze()
}

fn gaps(codec: Codec, at_ms: i64, deltas: &[i32], last: i32) -> Bytes {
    let mut builder = BatchBuilder::new(codec).last_offset_delta(last);
    for delta in deltas {
        builder.append_at(*delta, at_ms, Some(b"k"), Some(b"v"), &[]);
    }
    builder.build()
}

pub(crate) async fn check(desk: &mut Desk) {
    let now = desk.now_ms;
    let plain = |count| batch_of(count, BatchBuilder::new(Codec::None), now);
    let codecs = Codec::ALL.into_iter().filter(|codec| *codec != Codec::Zstd || desk.profile > Profile::V1_1);
    for codec in codecs.collect::<Vec<_>>() {
        let name = desk.topic(&[]).await;
        let sent = batch_of(10, BatchBuilder::new(codec), now);
        desk.note_offer(&format!("{codec} first"), &name, sent.clone()).await;
        desk.note_offer(&format!("{codec} second"), &name, sent.clone()).await;
        desk.note_log(&format!("{codec} log"), &name).await;
        let fetched = desk.fetch(&name, 0, 1 << 20).await.records.unwrap();
        desk.note(&format!("{codec} payload kept"), fetched[61..sent.len()] == sent[61..]);
    }

    let three = plain(3);
    let short = |value: i16| value.to_be_bytes();
    let int = |value: i32| value.to_be_bytes();
    let mut flipped = BytesMut::from(&three[..]);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let mut header_flipped = BytesMut::from(&three[..]);
    header_flipped[30] ^= 1;
    let mut old_magic = BytesMut::from(&three[..]);
    old_magic[16] = 1;
    let mut wrong_length = BytesMut::from(&three[..]);
    wrong_length[8..12].copy_from_slice(&int(20));
    let mut long_length = BytesMut::from(&three[..]);
    long_length[8..12].copy_from_slice(&int(500_000));
    let with_epoch = {
        let mut bytes = BytesMut::from(&three[..]);
        bytes[12..16].copy_from_slice(&int(99));
        bytes.freeze()
    };
    let mut cases: Vec<(String, Bytes)> = vec![
        ("leader epoch 99".into(), with_epoch),
        ("base offset 5".into(), batch_of(3, BatchBuilder::new(Codec::None).base_offset(Offset(5)), now)),
        ("a payload bit flipped".into(), flipped.freeze()),
        ("a header bit flipped".into(), header_flipped.freeze()),
        ("magic 1".into(), old_magic.freeze()),
        ("length below the minimum".into(), wrong_length.freeze()),
        ("length beyond the end".into(), long_length.freeze()),
        ("no bytes".into(), Bytes::new()),
        ("two batches".into(), [plain(1), plain(1)].concat().into()),
        ("count 0".into(), plain(0)),
        ("count one less".into(), with_field(&three, 57, &int(2))),
        ("count one more".into(), with_field(&three, 57, &int(4))),
        ("count negative".into(), with_field(&three, 57, &int(-1))),
        ("last delta huge".into(), with_field(&three, 23, &int(i32::MAX))),
        ("last delta negative".into(), with_field(&three, 23, &int(-1))),
        ("fewer records than both".into(), with_field(&with_field(&three, 57, &int(4)), 23, &int(3))),
        ("more records than both".into(), with_field(&with_field(&three, 57, &int(2)), 23, &int(1))),
        ("a trailing byte".into(), {
            let mut longer = BytesMut::from(&three[..]);
            longer.extend_from_slice(&[0]);
            let length = int(i32::try_from(longer.len() - 12).unwrap());
            with_field(&longer.freeze(), 8, &length)
        }),
        ("control".into(), batch_of(1, BatchBuilder::new(Codec::None).control(), now)),
        ("transactional without id".into(), {
            batch_of(1, BatchBuilder::new(Codec::None).stamp(stamp(88, 0, 0)).transactional(), now)
        }),
        ("transactional without producer".into(), {
            batch_of(1, BatchBuilder::new(Codec::None).transactional(), now)
        }),
        (
            "producer without sequence".into(),
            batch_of(1, BatchBuilder::new(Codec::None).stamp(stamp(88, 0, -1)), now),
        ),
        ("append time bit".into(), with_field(&three, 21, &short(8))),
        ("delete horizon bit".into(), with_field(&three, 21, &short(64))),
        ("unknown bit 7".into(), with_field(&three, 21, &short(128))),
        ("unknown bit 8".into(), with_field(&three, 21, &short(256))),
        ("codec 5".into(), with_field(&three, 21, &short(5))),
        ("codec 7".into(), with_field(&three, 21, &short(7))),
        ("gzip bit on plain records".into(), with_field(&three, 21, &short(1))),
        ("maximum time wrong".into(), with_field(&three, 35, &(now + 5000).to_be_bytes())),
        ("gap as it is".into(), gaps(Codec::None, now, &[0, 2], 2)),
        ("time 0".into(), batch_of(1, BatchBuilder::new(Codec::None), 0)),
        ("time -1".into(), batch_of(1, BatchBuilder::new(Codec::None), -1)),
        ("time ten years ago".into(), batch_of(1, BatchBuilder::new(Codec::None), 1_400_000_000_000)),
        ("time in two hours".into(), batch_of(2, BatchBuilder::new(Codec::None), now + 7_200_000)),
    ];
    for codec in [Codec::None, Codec::Gzip, Codec::Lz4] {
        cases.push((format!("{codec} gap with a patched last delta"), gaps(codec, now, &[0, 2], 1)));
        cases.push((format!("{codec} all deltas 0"), gaps(codec, now, &[0, 0, 0], 2)));
    }
    for (check, batch) in cases {
        let name = desk.topic(&[]).await;
        desk.note_offer(&check, &name, batch).await;
        desk.note_log(&format!("{check}, log"), &name).await;
    }
    limits(desk).await;
    by_topic(desk).await;
}

async fn limits(desk: &mut Desk) {
    let now = desk.now_ms;
    let plain = |count| batch_of(count, BatchBuilder::new(Codec::None), now);
    let limit = plain(3).len().to_string();
    let name = desk.topic(&[("max.message.bytes", &limit)]).await;
    desk.note_offer("exactly the limit", &name, plain(3)).await;
    desk.note_offer("above the limit", &name, plain(4)).await;
    let name = desk.topic(&[("segment.bytes", "1048576"), ("max.message.bytes", "10000000")]).await;
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(now, Some(b"k"), Some(&vec![0; 1 << 20]), &[]);
    desk.note_offer("above the segment", &name, builder.build()).await;
    let unknown = desk.offer("no-such-topic", plain(1)).await;
    let unknown = desk.describe(unknown);
    desk.note("unknown topic", unknown);
    let name = desk.topic(&[]).await;
    for acks in [2, -2] {
        let request = produce_request(None, &[(&name, 0, plain(1))]).with_acks(acks);
        let reply = desk.offer_with(desk.produce_version(), &request).await;
        let answer = desk.describe(reply);
        desk.note(&format!("acks {acks}"), answer);
    }
    let twice = produce_request(None, &[(&name, 0, plain(1)), (&name, 0, plain(5))]);
    let reply = desk.offer_with(desk.produce_version(), &twice).await;
    let answer = desk.describe(reply);
    desk.note("a partition listed twice", answer);
    let end = desk.list_offset(&name, -1).await;
    desk.note("a partition listed twice, end", end.1);
    if desk.profile > Profile::V1_1 {
        let zstd = batch_of(3, BatchBuilder::new(Codec::Zstd), now);
        let reply = desk.offer_with(6, &produce_request(None, &[(&name, 0, zstd)])).await;
        let answer = desk.describe(reply);
        desk.note("zstd by an old request", answer);
    }
}

async fn by_topic(desk: &mut Desk) {
    let now = desk.now_ms;
    let three = batch_of(3, BatchBuilder::new(Codec::None), now);
    let append_time = desk.topic(&[("message.timestamp.type", "LogAppendTime")]).await;
    desk.note_offer("append time topic", &append_time, three.clone()).await;
    desk.note_offer("append time topic, bit set", &append_time, with_field(&three, 21, &8_i16.to_be_bytes()))
        .await;
    let old = batch_of(1, BatchBuilder::new(Codec::None), 5);
    desk.note_offer("append time topic, old record", &append_time, old).await;
    desk.note_log("append time topic, log", &append_time).await;

    let compacted = desk.topic(&[("cleanup.policy", "compact")]).await;
    let mut keyless = BatchBuilder::new(Codec::None);
    keyless.append(now, Some(b"k"), None, &[]);
    keyless.append(now, None, Some(b"v"), &[]);
    desk.note_offer("a record without key, compacted", &compacted, keyless.build()).await;
    desk.note_offer("records with keys, compacted", &compacted, three.clone()).await;

    for (wanted, sent) in
        [("gzip", Codec::Lz4), ("gzip", Codec::Gzip), ("uncompressed", Codec::Gzip), ("lz4", Codec::None)]
    {
        let name = desk.topic(&[("compression.type", wanted)]).await;
        desk.note_offer(
            &format!("{sent} to a {wanted} topic"),
            &name,
            batch_of(9, BatchBuilder::new(sent), now),
        )
        .await;
        let fetched = desk.fetch(&name, 0, 1 << 20).await.records.unwrap();
        let header = record_batch::Header::read(&fetched).unwrap();
        let told = format!("{} count {}", header.codec().unwrap(), header.record_count);
        desk.note(&format!("{sent} to a {wanted} topic, stored"), told);
    }
    if desk.profile >= Profile::V3_9 {
        let name = desk.topic(&[("message.timestamp.before.max.ms", "1000")]).await;
        let old = batch_of(2, BatchBuilder::new(Codec::None), now - 60_000);
        desk.note_offer("older than the topic allows", &name, old).await;
    }
    if desk.profile < Profile::V4_3 {
        let name = desk.topic(&[("message.timestamp.difference.max.ms", "1000")]).await;
        let old = batch_of(2, BatchBuilder::new(Codec::None), now - 60_000);
        desk.note_offer("another time than the topic allows", &name, old).await;
    }
}
