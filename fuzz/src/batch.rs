//! Claims about `record-batch` that hold for any bytes.

use bytes::Bytes;
use model::{Offset, ProducerId, RewriteRule, TimestampRule};
use record_batch::{
    AbortedSet, Batch, BatchError, DECOMPRESSED_BYTES_MAX, Entry, HEADER_BYTES, Header, ProducerStamp,
    Transcode, choose, choose_legacy, count_from, crc32c, marker, offset_after, patch, records, split,
    transcode,
};

/// Entries are neighbouring slices of the reply, in range and in order, and every header can be decided about.
pub fn split_check(data: &[u8]) {
    let reply = Bytes::copy_from_slice(data);
    let mut split = split(reply.clone());
    let mut aborted = AbortedSet::new(vec![(ProducerId(1), Offset(5)), (ProducerId(1), Offset(0))]);
    let mut end = 0;
    let mut failed = false;
    for entry in split.by_ref() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                describe(&error);
                failed = true;
                break;
            }
        };
        end += entry.size_bytes();
        assert!(end <= data.len());
        assert!(entry.base_offset() >= Offset(0) && entry.base_offset() <= entry.last_offset());
        assert_eq!(entry.next_offset().0, entry.last_offset().0 + 1);
        let position = Offset(i64::from(data[0]));
        match &entry {
            Entry::Batch(batch) => {
                assert_eq!(batch.bytes, reply.slice(end - batch.bytes.len()..end));
                let header = Header::read(&batch.bytes).expect("it was read before");
                assert_eq!(header, batch.header);
                assert_eq!(header.write(), batch.bytes[..HEADER_BYTES]);
                assert!(Batch::read(batch.bytes.clone()).is_ok());
                let aborted = aborted.observe(batch);
                assert!(!aborted || !header.is_control());
                for timestamps in [TimestampRule::AsAtSource, TimestampRule::Append] {
                    let rule = RewriteRule {
                        timestamps,
                        batch_bytes_max: 100,
                        zstd: false,
                        source_compacted: false,
                    };
                    let choice = choose(&header, position, &rule, aborted, false);
                    assert_eq!(choice.is_err(), header.codec().is_err());
                }
                let _ = marker(batch);
            }
            Entry::Legacy(legacy) => {
                assert_eq!(legacy.bytes, reply.slice(end - legacy.bytes.len()..end));
                choose_legacy(legacy, position);
            }
        }
    }
    assert!(split.next().is_none());
    if !failed {
        assert_eq!(split.cut_off_bytes().is_some(), end < data.len());
        assert!(split.cut_off_bytes().is_none_or(|need_bytes| need_bytes > data.len() - end));
    }
}

/// The walk ends, gives no more records than the bytes can hold, and stops at its first error.
pub fn records_check(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    for entry in entries(data) {
        let records = match records(&entry, LIMIT) {
            Ok(records) => records,
            Err(error) => {
                describe(&error);
                continue;
            }
        };
        assert!(records.plain_bytes() <= LIMIT);
        let mut iter = records.iter();
        let mut bytes = 0;
        while let Some(record) = iter.next() {
            match record {
                Ok(record) => {
                    let sized = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
                    bytes += sized(record.key) + sized(record.value);
                    bytes +=
                        record.headers.iter().map(|(name, value)| name.len() + sized(*value)).sum::<usize>();
                }
                Err(error) => {
                    describe(&error);
                    assert!(iter.next().is_none());
                }
            }
        }
        assert!(bytes <= records.plain_bytes());
    }
}

/// A patched batch keeps its payload, and its checksum is as right or as wrong as before.
pub fn patch_check(data: &[u8]) {
    let number = |at: usize| i64::from(data.get(at).copied().unwrap_or(0)) * 0x0101_0101;
    let stamp = ProducerStamp {
        producer_id: ProducerId(number(3) << 20),
        producer_epoch: number(5) as i16,
        base_sequence: number(7) as i32 & i32::MAX,
    };
    for entry in entries(data) {
        let Entry::Batch(batch) = entry else { continue };
        let before = crc32c(&batch.bytes[21..]) ^ batch.header.crc;
        let sent = Bytes::from([&patch(&batch, stamp)[..], &batch.payload()].concat());
        let sent = Batch::read(sent).expect("as long as before");
        assert_eq!(crc32c(&sent.bytes[21..]) ^ sent.header.crc, before);
        assert_eq!((sent.header.base_offset, sent.header.producer_id), (Offset(0), stamp.producer_id));
        assert_eq!(sent.header.attributes, batch.header.attributes & !0x78);
    }
}

/// Transcoding gives dense batches that fit, with every record from the position on, once and in order;
/// and counting agrees with it.
pub fn transcode_check(data: &[u8]) {
    let data = with_right_checksums(data);
    let byte = |at: usize| data.get(at).copied().unwrap_or(0);
    for entry in entries(&data) {
        let how = Transcode {
            from: Offset(entry.base_offset().0.saturating_add(i64::from(byte(16) % 5) - 2)),
            timestamps: if byte(20) & 1 == 0 { TimestampRule::AsAtSource } else { TimestampRule::Append },
            batch_bytes_max: 90 + usize::from(byte(19)) * 20,
            zstd: byte(20) & 2 == 0,
            share: None,
            may_stay: false,
        };
        match transcode(&entry, &how) {
            Ok(pieces) => {
                let mut copied = Vec::new();
                let mut count = 0;
                for (at, piece) in pieces.iter().enumerate() {
                    piece.batch.verify_crc().expect("a right checksum");
                    assert!(piece.batch.bytes.len() <= how.batch_bytes_max);
                    assert!(piece.batch.header.base_offset == Offset(0) && !piece.batch.header.has_gaps());
                    assert!(piece.first_source <= piece.last_source && piece.last_source < piece.next_source);
                    let next = pieces.get(at + 1).map_or(entry.next_offset(), |next| next.first_source);
                    assert_eq!(piece.next_source, next);
                    copied.extend(read(&Entry::Batch(piece.batch.clone()), Offset(0)));
                    count += i64::from(piece.record_count);
                    let after = offset_after(&entry, how.from, count, None).expect("it was walked before");
                    assert!(after > piece.last_source && after <= piece.next_source);
                }
                let expected = read(&entry, how.from);
                assert_eq!(count_from(&entry, how.from, None).expect("it was walked before"), count);
                assert_eq!(copied.len(), expected.len());
                for (copied, expected) in copied.iter().zip(&expected) {
                    assert_eq!(copied.1, expected.1);
                    assert!(copied.0 == expected.0 || how.timestamps == TimestampRule::Append);
                }
                assert!(matches!(
                    offset_after(&entry, how.from, count + 1, None),
                    Err(BatchError::TooFewRecords { .. })
                ));
            }
            Err(error) => describe(&error),
        }
    }
}

type Content = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// Visible time and content of the records at or above `from`.
fn read(entry: &Entry, from: Offset) -> Vec<(i64, Content)> {
    let records = records(entry, DECOMPRESSED_BYTES_MAX).expect("they were read before");
    records
        .iter()
        .map(|record| record.expect("it was read before"))
        .filter(|record| record.offset >= from)
        .map(|record| {
            let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
            let headers = record.headers.iter().map(|(name, value)| (name.to_vec(), owned(*value))).collect();
            (record.timestamp, (owned(record.key), owned(record.value), headers))
        })
        .collect()
}

fn entries(data: &[u8]) -> Vec<Entry> {
    split(Bytes::copy_from_slice(data)).map_while(Result::ok).collect()
}

/// Every error can be told, with its sources.
fn describe(error: &BatchError) {
    let mut error: Option<&dyn std::error::Error> = Some(error);
    while let Some(one) = error {
        assert!(!one.to_string().is_empty());
        error = one.source();
    }
}

/// The same bytes, with checksums set right: behind them lies most of what there is to find.
pub fn with_right_checksums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let mut at = 0;
    while let Some(head) = data.get(at..at + 17) {
        let length = i32::from_be_bytes(head[8..12].try_into().expect("four bytes"));
        let (magic, end) =
            (head[16], at.saturating_add(12).saturating_add(usize::try_from(length).unwrap_or(0)));
        if end <= at + 21 || end > data.len() {
            break;
        }
        let (crc_at, crc) = match magic {
            2 => (at + 17, crc32c(&data[at + 21..end])),
            _ => (at + 12, crc32fast::hash(&data[at + 16..end])),
        };
        data[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
        at = end;
    }
    data
}
