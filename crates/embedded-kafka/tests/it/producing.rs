use bytes::{Bytes, BytesMut};
use embedded_kafka::{ErrorCode, Profile};
use record_batch::{BatchBuilder, Codec, Header};

use crate::client::{
    Client, NOW_MS, batch, batch_at, batch_of, cluster, produce_request, single, stamp, stamped,
};

const ALL: [Profile; 4] = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];

fn invalid_record(profile: Profile) -> ErrorCode {
    if profile == Profile::V1_1 { ErrorCode::CORRUPT_MESSAGE } else { ErrorCode::INVALID_RECORD }
}

/// The batch with one field changed and a right checksum.
fn with_field(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut changed = BytesMut::from(&batch[..]);
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = record_batch::crc32c(&changed[21..]);
    changed[17..21].copy_from_slice(&crc.to_be_bytes());
    changed.freeze()
}

async fn check(profile: Profile, batch: Bytes, expected: ErrorCode) {
    let (_cluster, mut client) = single(profile).await;
    assert_eq!(client.offer(batch).await.0, expected, "{profile:?}");
}

#[tokio::test]
async fn what_is_produced_is_stored_byte_for_byte_behind_its_header() {
    for profile in ALL {
        for codec in Codec::ALL {
            if codec == Codec::Zstd && profile == Profile::V1_1 {
                continue;
            }
            let (cluster, mut client) = single(profile).await;
            let sent = batch_of(10, BatchBuilder::new(codec), NOW_MS);
            assert_eq!(client.offer(sent.clone()).await, (ErrorCode::NONE, 0));
            assert_eq!(client.offer(sent.clone()).await, (ErrorCode::NONE, 10));
            let log = cluster.log("t", 0).unwrap();
            assert_eq!(log[1][61..], sent[61..]);
            assert_eq!(log[1][21..57], sent[21..57]);
            assert_eq!(Header::read(&log[1]).unwrap().base_offset.0, 10);
            assert_eq!(Header::read(&log[1]).unwrap().partition_leader_epoch.0, 0);
        }
    }
}

#[tokio::test]
async fn a_base_offset_that_is_not_0_is_refused() {
    for profile in ALL {
        check(profile, batch_at(5, 3), invalid_record(profile)).await;
    }
}

#[tokio::test]
async fn a_flipped_bit_is_a_corrupt_message() {
    for profile in ALL {
        let mut flipped = BytesMut::from(&batch(3)[..]);
        let at = flipped.len() - 1;
        flipped[at] ^= 4;
        check(profile, flipped.freeze(), ErrorCode::CORRUPT_MESSAGE).await;
    }
}

#[tokio::test]
async fn counts_that_do_not_agree_are_refused() {
    for profile in ALL {
        let good = batch(3);
        let invalid = invalid_record(profile);
        check(profile, with_field(&good, 57, &2_i32.to_be_bytes()), invalid).await;
        check(profile, with_field(&good, 23, &i32::MAX.to_be_bytes()), invalid).await;
        check(profile, with_field(&good, 23, &(-1_i32).to_be_bytes()), invalid).await;
        check(profile, batch(0), invalid).await;
        let fewer = with_field(&with_field(&good, 57, &4_i32.to_be_bytes()), 23, &3_i32.to_be_bytes());
        check(profile, fewer, invalid).await;
        let more = with_field(&with_field(&good, 57, &2_i32.to_be_bytes()), 23, &1_i32.to_be_bytes());
        check(profile, more, invalid).await;
    }
}

#[tokio::test]
async fn a_gap_whose_header_was_patched_is_taken_uncompressed_and_corrupts_the_log() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        let mut builder = BatchBuilder::new(Codec::None).last_offset_delta(1);
        builder.append_at(0, NOW_MS, Some(b"a"), None, &[]);
        builder.append_at(2, NOW_MS, Some(b"c"), None, &[]);
        assert_eq!(client.offer(builder.build()).await, (ErrorCode::NONE, 0));
        assert_eq!(cluster.end_offset("t", 0).unwrap(), 2);
        let mut builder = BatchBuilder::new(Codec::Gzip).last_offset_delta(1);
        builder.append_at(0, NOW_MS, Some(b"a"), None, &[]);
        builder.append_at(2, NOW_MS, Some(b"c"), None, &[]);
        let expected =
            if profile == Profile::V1_1 { ErrorCode::NONE } else { ErrorCode::UNKNOWN_SERVER_ERROR };
        assert_eq!(client.offer(builder.build()).await.0, expected, "{profile:?}");
    }
}

#[tokio::test]
async fn attributes_that_clients_may_not_set_are_refused_and_unknown_ones_are_kept() {
    for profile in ALL {
        let invalid = invalid_record(profile);
        check(profile, batch_of(1, BatchBuilder::new(Codec::None).control(), NOW_MS), invalid).await;
        check(profile, with_field(&batch(1), 21, &5_i16.to_be_bytes()), ErrorCode::UNKNOWN_SERVER_ERROR)
            .await;
        for bit in [6, 7, 8, 14] {
            check(profile, with_field(&batch(1), 21, &(1_i16 << bit).to_be_bytes()), ErrorCode::NONE).await;
        }
        let in_transaction = BatchBuilder::new(Codec::None).stamp(stamp(7, 0, 0)).transactional();
        let transactional = batch_of(1, in_transaction, NOW_MS);
        let expected = match profile {
            Profile::V1_1 => ErrorCode::NONE,
            _ => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        };
        check(profile, transactional, expected).await;
        let without_producer = batch_of(1, BatchBuilder::new(Codec::None).transactional(), NOW_MS);
        check(profile, without_producer, expected).await;
    }
}

#[tokio::test]
async fn one_batch_a_partition_and_of_the_new_format_only() {
    for profile in ALL {
        let two: Bytes = [batch(1), batch(1)].concat().into();
        let mut old = BytesMut::from(&batch(1)[..]);
        old[16] = 1;
        for bytes in [two, old.freeze(), Bytes::new()] {
            let (_cluster, mut client) = single(profile).await;
            if profile == Profile::V1_1 {
                client.send(protocol::ApiKey::Produce, 5, &produce_request(None, &[("t", 0, bytes)])).await;
                assert!(client.is_closed().await);
            } else {
                assert_eq!(client.offer(bytes).await.0, ErrorCode::INVALID_RECORD);
            }
        }
    }
}

#[tokio::test]
async fn sizes_are_taken_up_to_the_limit() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        let limit = batch(3).len();
        cluster.set_topic_config("t", "max.message.bytes", Some(&limit.to_string()));
        assert_eq!(client.offer(batch(3)).await.0, ErrorCode::NONE);
        assert_eq!(client.offer(batch(4)).await.0, ErrorCode::MESSAGE_TOO_LARGE);
        cluster.set_topic_config("t", "max.message.bytes", Some("100000000"));
        cluster.set_topic_config("t", "segment.bytes", Some("1048576"));
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW_MS, None, Some(&vec![0; 1 << 20]), &[]);
        assert_eq!(client.offer(builder.build()).await.0, ErrorCode::RECORD_LIST_TOO_LARGE);
    }
}

#[tokio::test]
async fn a_time_too_far_ahead_is_refused_by_the_newest_only() {
    for profile in ALL {
        let ahead = batch_of(1, BatchBuilder::new(Codec::None), NOW_MS + 2 * 3_600_000);
        let expected = if profile == Profile::V4_3 { ErrorCode::INVALID_TIMESTAMP } else { ErrorCode::NONE };
        check(profile, ahead, expected).await;
        for old in [0, -1, NOW_MS - 10 * 365 * 86_400_000] {
            check(profile, batch_of(1, BatchBuilder::new(Codec::None), old), ErrorCode::NONE).await;
        }
    }
}

#[tokio::test]
async fn an_append_time_bit_is_cleared_or_refused_by_version_and_topic() {
    for profile in ALL {
        let marked = with_field(&batch(2), 21, &8_i16.to_be_bytes());
        let taken = profile >= Profile::V3_9;
        let (cluster, mut client) = single(profile).await;
        let expected = if taken { ErrorCode::NONE } else { ErrorCode::INVALID_TIMESTAMP };
        assert_eq!(client.offer(marked.clone()).await.0, expected);
        if taken {
            assert!(!Header::read(&cluster.log("t", 0).unwrap()[0]).unwrap().is_log_append_time());
        }
        cluster.set_topic_config("t", "message.timestamp.type", Some("LogAppendTime"));
        assert_eq!(client.offer(marked).await.0, ErrorCode::INVALID_TIMESTAMP);
        let reply = client.produce(batch(2)).await;
        assert_eq!(reply.error_code, 0);
        let stored = cluster.log("t", 0).unwrap().pop().unwrap();
        let header = Header::read(&stored).unwrap();
        assert!(header.is_log_append_time());
        assert_eq!(header.max_timestamp, reply.log_append_time_ms);
        let entry = record_batch::split(stored).next().unwrap().unwrap();
        entry.verify_crc().unwrap();
    }
}

#[tokio::test]
async fn a_wrong_maximum_time_in_the_header_is_corrected() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        let wrong = with_field(&batch(2), 35, &(NOW_MS + 5000).to_be_bytes());
        assert_eq!(client.offer(wrong).await.0, ErrorCode::NONE);
        let stored = cluster.log("t", 0).unwrap().remove(0);
        assert_eq!(Header::read(&stored).unwrap().max_timestamp, NOW_MS + 1);
        record_batch::split(stored).next().unwrap().unwrap().verify_crc().unwrap();
    }
}

#[tokio::test]
async fn a_compacted_topic_wants_keys_and_names_the_records_without() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        cluster.set_topic_config("t", "cleanup.policy", Some("compact"));
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW_MS, Some(b"k"), None, &[]);
        builder.append(NOW_MS, None, None, &[]);
        let reply = client.produce(builder.build()).await;
        assert_eq!(ErrorCode(reply.error_code), invalid_record(profile));
        if profile != Profile::V1_1 {
            assert_eq!(reply.record_errors[0].batch_index, 1);
        }
    }
}

#[tokio::test]
async fn a_topic_with_its_own_codec_recompresses_what_has_another() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.set_topic_config("t", "compression.type", Some("gzip"));
    let sent = batch_of(50, BatchBuilder::new(Codec::Lz4).stamp(stamp(5, 0, 0)), NOW_MS);
    assert_eq!(client.offer(sent.clone()).await, (ErrorCode::NONE, 0));
    let stored = cluster.log("t", 0).unwrap().remove(0);
    let header = Header::read(&stored).unwrap();
    assert_eq!(header.codec().unwrap(), Codec::Gzip);
    assert_eq!((header.producer_id.0, header.base_sequence, header.record_count), (5, 0, 50));
    record_batch::split(stored).next().unwrap().unwrap().verify_crc().unwrap();
}

#[tokio::test]
async fn of_a_partition_that_is_listed_twice_only_the_last_batch_counts() {
    let (cluster, mut client) = single(Profile::V3_9).await;
    let replies = client.produce_all(&produce_request(None, &[("t", 0, batch(1)), ("t", 0, batch(5))])).await;
    assert_eq!(replies.len(), 1);
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 5);
}

#[tokio::test]
async fn a_small_batch_does_not_keep_its_request_in_memory() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let small = ("t", 0, batch(1));
    let refused = ("nowhere", 0, Bytes::from(vec![0; 3_000_000]));
    client.produce_all(&produce_request(None, std::slice::from_ref(&small))).await;
    client.produce_all(&produce_request(None, &[small, refused])).await;
    let entries = cluster.entries("t", 0, 0).unwrap();
    assert_eq!(entries.len(), 2);
    cluster.delete_topic("t");
    for entry in entries {
        let bytes = entry.body.len();
        let body = entry.body.try_into_mut().expect("nobody else has any of it");
        assert_eq!(body.capacity(), bytes);
    }
}

#[tokio::test]
async fn bad_partitions_do_not_disturb_good_ones() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.create_topic("u", 2, &[]);
    let request = produce_request(
        None,
        &[("u", 1, batch(1)), ("u", 7, batch(1)), ("none", 0, batch(1)), ("t", 0, batch_at(9, 1))],
    );
    let mut codes: Vec<ErrorCode> =
        client.produce_all(&request).await.iter().map(|reply| ErrorCode(reply.error_code)).collect();
    codes.sort_unstable();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(codes, [ErrorCode::NONE, unknown, unknown, ErrorCode::INVALID_RECORD]);
    assert_eq!(cluster.end_offset("u", 1).unwrap(), 1);
}

#[tokio::test]
async fn without_acks_there_is_no_reply_and_an_error_closes_the_connection() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let request = produce_request(None, &[("t", 0, batch(2))]).with_acks(0);
    client.send(protocol::ApiKey::Produce, 8, &request).await;
    assert_eq!(client.offset_at(-1).await, (ErrorCode::NONE, 2));
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 2);
    let request = produce_request(None, &[("none", 0, batch(2))]).with_acks(0);
    client.send(protocol::ApiKey::Produce, 8, &request).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn only_the_leader_takes_batches_and_names_itself_to_new_clients() {
    let cluster = cluster(2, Profile::V4_3).await;
    let mut client = Client::connect(&cluster, 1).await.produce_version(11);
    let reply = client.produce(stamped(1, 0, 0, 1)).await;
    assert_eq!(ErrorCode(reply.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(reply.current_leader.leader_id.0, 0);
}

#[tokio::test]
async fn zstd_needs_a_new_enough_produce() {
    let (_cluster, client) = single(Profile::V4_3).await;
    let sent = batch_of(5, BatchBuilder::new(Codec::Zstd), NOW_MS);
    assert_eq!(client.produce_version(6).offer(sent).await.0, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
}
