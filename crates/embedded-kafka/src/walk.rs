//! Walks the records of a batch as loosely as a broker does.
//!
//! `record-batch` refuses records that are out of place. A broker does not look at offset deltas at all in
//! an uncompressed batch, so what it stores is told here: lengths must add up, nothing more.

/// What a broker looks at in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glimpse {
    pub(crate) timestamp_delta: i64,
    pub(crate) has_key: bool,
}

/// Why the bytes are not the records that the header promises, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalkError(pub(crate) &'static str);

/// Shows each of `count` records to `look`, with its index.
pub(crate) fn walk(
    mut bytes: &[u8],
    count: i32,
    mut look: impl FnMut(i32, Glimpse),
) -> Result<(), WalkError> {
    for index in 0..count {
        if bytes.is_empty() {
            return Err(WalkError("Incorrect declared batch size, premature EOF reached"));
        }
        let length = varint(&mut bytes).ok_or(MALFORMED)?;
        let length = usize::try_from(length).map_err(|_| MALFORMED)?;
        let record = bytes.split_off(..length).ok_or(MALFORMED)?;
        look(index, glimpse(record).ok_or(MALFORMED)?);
    }
    if !bytes.is_empty() {
        return Err(WalkError("Incorrect declared batch size, records still remaining in file"));
    }
    Ok(())
}

const MALFORMED: WalkError = WalkError("Found invalid record structure");

fn glimpse(mut record: &[u8]) -> Option<Glimpse> {
    record.split_off_first()?;
    let timestamp_delta = varint(&mut record)?;
    varint(&mut record)?;
    let has_key = skip_sized(&mut record)?;
    skip_sized(&mut record)?;
    let headers = varint(&mut record)?;
    if headers < 0 {
        return None;
    }
    for _ in 0..headers {
        if !skip_sized(&mut record)? {
            return None;
        }
        skip_sized(&mut record)?;
    }
    record.is_empty().then_some(Glimpse { timestamp_delta, has_key })
}

/// Skips a sized field; tells whether it was there (not null).
fn skip_sized(record: &mut &[u8]) -> Option<bool> {
    let length = varint(record)?;
    if length < 0 {
        return Some(false);
    }
    record.split_off(..usize::try_from(length).ok()?)?;
    Some(true)
}

/// A zig-zag varint of up to ten bytes.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw: u64 = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_claims_more_than_there_is_is_malformed() {
        assert_eq!(walk(&[0x7e, 0], 1, |_, _| ()), Err(MALFORMED));
        assert_eq!(walk(&[0xff; 20], 1, |_, _| ()), Err(MALFORMED));
        assert!(matches!(walk(&[], 1, |_, _| ()), Err(WalkError(_))));
    }

    #[test]
    fn what_a_broker_sees_of_a_record_is_its_deltas_and_whether_it_has_a_key() {
        // length 7: attributes, timestamp delta 3, offset delta 9, null key, empty value, no headers
        let record = [14, 0, 6, 18, 1, 0, 0];
        let mut seen = Vec::new();
        // The length says 7, but 6 bytes follow it.
        assert!(walk(&record, 1, |_, record| seen.push(record)).is_err());
        let record = [12, 0, 6, 18, 1, 0, 0];
        assert_eq!(walk(&record, 1, |_, record| seen.push(record)), Ok(()));
        assert_eq!(seen, [Glimpse { timestamp_delta: 3, has_key: false }]);
    }
}
