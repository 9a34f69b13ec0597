//! Makes small batches one, where each request costs more than what it carries.

use crate::builder::{PlainRecords, unstamped};
use crate::header::CODEC_MASK;
use crate::patch::kept_attributes;
use crate::{Batch, BatchError, Entry, HEADER_BYTES, Header, Piece, records};

/// `pieces`, which follow one another, have no gaps inside their batches and the same attributes, as one. As they are, where
/// that takes more than `batch_bytes_max` before compression (a destination may store it without), or one of them
/// cannot be read: whoever gets that one alone says what is wrong with it.
pub fn merge(pieces: Vec<Piece>, batch_bytes_max: usize) -> Vec<Piece> {
    match merged(&pieces, batch_bytes_max) {
        Ok(Some(merged)) => vec![merged],
        Ok(None) | Err(_) => pieces,
    }
}

fn merged(pieces: &[Piece], batch_bytes_max: usize) -> Result<Option<Piece>, BatchError> {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(None) };
    let codec = first.batch.header.codec()?;
    let attributes = kept_attributes(first.batch.header.attributes) & !CODEC_MASK;
    let mut plain = PlainRecords::new();
    plain.restart(pieces.iter().map(|piece| piece.batch.bytes.len() - HEADER_BYTES).sum());
    for piece in pieces {
        let entry = Entry::Batch(piece.batch.clone());
        // Damage is never blessed with a new checksum.
        entry.verify_crc()?;
        let records = records(&entry, batch_bytes_max)?;
        for raw in records.walk() {
            let raw = raw?;
            if !plain.push_within(batch_bytes_max, raw.attributes, raw.visible_timestamp, raw.body) {
                return Ok(None);
            }
        }
    }
    let fields = Header { attributes, last_offset_delta: plain.count() - 1, ..unstamped() };
    let (header, bytes) = plain.seal(codec, fields)?;
    // What cannot be compressed grows by a few bytes.
    Ok((bytes.len() <= batch_bytes_max).then(|| Piece {
        batch: Batch { header, bytes },
        first_source: first.first_source,
        last_source: last.last_source,
        next_source: last.next_source,
        record_count: header.record_count,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Codec, split};
    use bytes::Bytes;
    use model::Offset;

    fn piece(codec: Codec, first: i64, values: &[&str]) -> Piece {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset(first));
        for (at, value) in (first..).zip(values) {
            builder.append(1000 + at, Some(b"key"), Some(value.as_bytes()), &[("h", Some(b"1"))]);
        }
        let entry = split(builder.build()).next().unwrap().unwrap();
        let Entry::Batch(batch) = entry else { panic!("built as one") };
        let (last_source, next_source) = (batch.header.last_offset(), batch.header.next_offset());
        let record_count = batch.header.record_count;
        Piece { batch, first_source: Offset(first), last_source, next_source, record_count }
    }

    fn contents(pieces: &[Piece]) -> Vec<(i64, Vec<u8>, usize)> {
        let mut all = Vec::new();
        for piece in pieces {
            for record in &records(&Entry::Batch(piece.batch.clone()), 1 << 20).unwrap() {
                let record = record.unwrap();
                all.push((record.timestamp, record.value.unwrap().to_vec(), record.headers.len()));
            }
        }
        all
    }

    #[test]
    fn small_batches_become_one_of_the_same_records() {
        for codec in Codec::ALL {
            let pieces = vec![piece(codec, 5, &["a", "b"]), piece(codec, 7, &["c"]), piece(codec, 8, &["d"])];
            let merged = merge(pieces.clone(), 1 << 20);
            assert_eq!(merged.len(), 1);
            assert_eq!(contents(&merged), contents(&pieces));
            let Piece { batch, first_source, last_source, next_source, record_count } = &merged[0];
            batch.verify_crc().unwrap();
            assert_eq!((first_source.0, last_source.0, next_source.0, *record_count), (5, 8, 9, 4));
            assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (1005, 1008));
            assert_eq!((batch.header.last_offset_delta, batch.header.codec().unwrap()), (3, codec));
            assert!(!batch.header.has_gaps());
        }
    }

    #[test]
    fn what_would_be_too_large_stays_as_it_is() {
        let pieces = vec![piece(Codec::None, 0, &["aaaaaaaa"]), piece(Codec::None, 1, &["bbbbbbbb"])];
        let max = pieces[0].batch.bytes.len() + 8;
        assert_eq!(merge(pieces.clone(), max), pieces);
        assert_eq!(merge(Vec::new(), max), Vec::new());
        // The destination may store it without compression.
        let zeros = "0".repeat(600);
        let pieces = vec![piece(Codec::Gzip, 0, &[&zeros]), piece(Codec::Gzip, 1, &[&zeros])];
        assert_eq!(merge(pieces.clone(), 1000), pieces);
        assert_eq!(merge(pieces, 2000).len(), 1);
    }

    #[test]
    fn damage_is_not_given_a_new_checksum() {
        let mut damaged = piece(Codec::None, 1, &["bbbb"]);
        let mut bytes = damaged.batch.bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        damaged.batch.bytes = Bytes::from(bytes);
        let pieces = vec![piece(Codec::None, 0, &["a"]), damaged];
        assert_eq!(merge(pieces.clone(), 1 << 20), pieces);
    }
}
