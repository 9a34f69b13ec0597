//! What to do with a batch: send it patched, transcode it, or skip it.
//!
//! The decision table of protocol-facts §11, as far as the header and the destination's rule decide it.
//! First match wins, so the order of the arms is the order of the table, and each arm is one row.
//! Skips stand before trims: a marker in mid-position is skipped, not transcoded.

use std::fmt;

use model::{Offset, RewriteRule, TimestampRule};

use crate::{BatchError, Codec, Header, LegacyEntry};

/// What to do with a batch, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Send it with a new header: [`patch`](crate::patch).
    Patch,
    /// Write its records into new batches: [`transcode`](crate::transcode).
    Transcode(TranscodeReason),
    /// Send nothing; the position moves past it.
    Skip(SkipReason),
}

/// Why nothing of a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// It ends before the position: already done, and fetched only along with a neighbour.
    BeforePosition,
    /// It holds markers, which clients may not write.
    Control,
    /// It belongs to a transaction that was aborted.
    Aborted,
    /// It came from the destination in the first place.
    Loop,
    /// Compaction has left no record in it, and brokers refuse such batches.
    Empty,
}

impl SkipReason {
    /// Every reason.
    pub const ALL: [SkipReason; 5] = [
        SkipReason::BeforePosition,
        SkipReason::Control,
        SkipReason::Aborted,
        SkipReason::Loop,
        SkipReason::Empty,
    ];

    /// The reason as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::BeforePosition => "before_position",
            SkipReason::Control => "control",
            SkipReason::Aborted => "aborted",
            SkipReason::Loop => "loop",
            SkipReason::Empty => "empty",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a batch cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TranscodeReason {
    /// Message format v0 or v1: brokers take only v2 since 0.11's requests.
    OldFormat,
    /// It starts before the position, and its first records must not be sent.
    StartsBeforePosition,
    /// Compaction has removed records. Refused as it is; with a patched range it would corrupt the
    /// destination's log without an error (validated.md, C10).
    Gaps,
    /// The destination topic takes only smaller batches.
    TooLarge,
    /// The destination's brokers do not read zstd.
    ZstdUnsupported,
    /// The time that consumers of the source see is in the header only, and the records hide another.
    AppendTime,
}

impl TranscodeReason {
    /// Every reason.
    pub const ALL: [TranscodeReason; 6] = [
        TranscodeReason::OldFormat,
        TranscodeReason::StartsBeforePosition,
        TranscodeReason::Gaps,
        TranscodeReason::TooLarge,
        TranscodeReason::ZstdUnsupported,
        TranscodeReason::AppendTime,
    ];

    /// The reason as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            TranscodeReason::OldFormat => "old_format",
            TranscodeReason::StartsBeforePosition => "starts_before_position",
            TranscodeReason::Gaps => "gaps",
            TranscodeReason::TooLarge => "too_large",
            TranscodeReason::ZstdUnsupported => "zstd_unsupported",
            TranscodeReason::AppendTime => "append_time",
        }
    }
}

impl fmt::Display for TranscodeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decides about a v2 batch by its header.
///
/// `position` is the next source offset to copy. `aborted` is what [`AbortedSet::observe`] said of this
/// batch, `looped` whether its producer is one of the opposite flow's.
///
/// [`AbortedSet::observe`]: crate::AbortedSet::observe
///
/// # Errors
/// [`BatchError::Length`] or [`BatchError::Field`] for a header that is corrupt or of a later format
/// (row 3): the partition stops.
pub fn choose(
    header: &Header,
    position: Offset,
    rule: &RewriteRule,
    aborted: bool,
    looped: bool,
) -> Result<Choice, BatchError> {
    header.check()?;
    let codec = header.codec()?;
    Ok(if header.last_offset() < position {
        Choice::Skip(SkipReason::BeforePosition)
    } else if header.is_control() {
        Choice::Skip(SkipReason::Control)
    } else if aborted {
        Choice::Skip(SkipReason::Aborted)
    } else if looped {
        Choice::Skip(SkipReason::Loop)
    } else if header.record_count == 0 {
        Choice::Skip(SkipReason::Empty)
    } else if header.base_offset < position {
        Choice::Transcode(TranscodeReason::StartsBeforePosition)
    } else if header.has_gaps() {
        Choice::Transcode(TranscodeReason::Gaps)
    } else if header.size_bytes() > rule.batch_bytes_max {
        Choice::Transcode(TranscodeReason::TooLarge)
    } else if codec == Codec::Zstd && !rule.zstd {
        Choice::Transcode(TranscodeReason::ZstdUnsupported)
    } else if header.is_log_append_time() && rule.timestamps == TimestampRule::AsAtSource {
        Choice::Transcode(TranscodeReason::AppendTime)
    } else {
        Choice::Patch
    })
}

/// Decides about messages of an older format: they have no producer, no transaction and no marker.
pub fn choose_legacy(entry: &LegacyEntry, position: Offset) -> Choice {
    if entry.last_offset < position {
        Choice::Skip(SkipReason::BeforePosition)
    } else {
        Choice::Transcode(TranscodeReason::OldFormat)
    }
}

#[cfg(test)]
mod tests {
    use model::{LeaderEpoch, ProducerId};

    use super::*;
    use crate::{BatchBuilder, MessageSetBuilder, split};

    const RULE: RewriteRule = RewriteRule {
        timestamps: TimestampRule::AsAtSource,
        batch_bytes_max: 1000,
        zstd: true,
        source_compacted: false,
    };

    /// Offsets 100 to 109, one record each.
    const HEADER: Header = Header {
        base_offset: Offset(100),
        batch_length: 200,
        partition_leader_epoch: LeaderEpoch(3),
        crc: 0,
        attributes: 0,
        last_offset_delta: 9,
        base_timestamp: 0,
        max_timestamp: 9,
        producer_id: ProducerId::NONE,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 10,
    };

    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    struct Case {
        header: Header,
        position: i64,
        rule: RewriteRule,
        aborted: bool,
        looped: bool,
    }

    const PLAIN: Case = Case { header: HEADER, position: 100, rule: RULE, aborted: false, looped: false };

    fn attributes(attributes: i16) -> Case {
        Case { header: Header { attributes, ..HEADER }, ..PLAIN }
    }

    fn check(case: &Case, expected: Choice) {
        let Case { header, position, rule, aborted, looped } = case;
        let choice = choose(header, Offset(*position), rule, *aborted, *looped).unwrap();
        assert_eq!(choice, expected);
    }

    #[test]
    fn each_row_of_the_table_decides_alone() {
        use SkipReason::{Aborted, BeforePosition, Control, Empty, Loop};
        use TranscodeReason::{AppendTime, Gaps, StartsBeforePosition, TooLarge, ZstdUnsupported};
        let counted = |record_count| Case { header: Header { record_count, ..HEADER }, ..PLAIN };
        let skips = [
            (Case { position: 110, ..PLAIN }, BeforePosition),
            (attributes(CONTROL | TRANSACTIONAL), Control),
            (Case { aborted: true, ..attributes(TRANSACTIONAL) }, Aborted),
            (Case { looped: true, ..PLAIN }, Loop),
            (counted(0), Empty),
        ];
        for (case, reason) in skips {
            check(&case, Choice::Skip(reason));
        }
        let small = RewriteRule { batch_bytes_max: 211, ..RULE };
        let old = RewriteRule { zstd: false, ..RULE };
        let transcodes = [
            (Case { position: 101, ..PLAIN }, StartsBeforePosition),
            (Case { position: 109, ..PLAIN }, StartsBeforePosition),
            (counted(9), Gaps),
            (Case { rule: small, ..PLAIN }, TooLarge),
            (Case { rule: old, ..attributes(4) }, ZstdUnsupported),
            (attributes(LOG_APPEND_TIME), AppendTime),
        ];
        for (case, reason) in transcodes {
            check(&case, Choice::Transcode(reason));
        }
        let exact = RewriteRule { batch_bytes_max: 212, ..RULE };
        let append = RewriteRule { timestamps: TimestampRule::Append, ..RULE };
        let patches = [
            PLAIN,
            // Holes between batches are normal on compacted topics.
            Case { position: 50, ..PLAIN },
            Case { rule: exact, ..PLAIN },
            Case { rule: append, ..attributes(LOG_APPEND_TIME) },
            Case { rule: old, ..attributes(3) },
            attributes(TRANSACTIONAL),
            attributes(DELETE_HORIZON),
            attributes(4),
        ];
        for case in patches {
            check(&case, Choice::Patch);
        }
    }

    #[test]
    fn an_earlier_row_wins_over_all_later_ones() {
        // Everything is wrong with this batch at first; then one reason after the other is taken away.
        let mut case = Case {
            header: Header { attributes: CONTROL | LOG_APPEND_TIME | 4, record_count: 0, ..HEADER },
            position: 110,
            rule: RewriteRule { batch_bytes_max: 100, zstd: false, ..RULE },
            aborted: true,
            looped: true,
        };
        check(&case, Choice::Skip(SkipReason::BeforePosition));
        case.position = 105;
        check(&case, Choice::Skip(SkipReason::Control));
        case.header.attributes &= !CONTROL;
        check(&case, Choice::Skip(SkipReason::Aborted));
        case.aborted = false;
        check(&case, Choice::Skip(SkipReason::Loop));
        case.looped = false;
        check(&case, Choice::Skip(SkipReason::Empty));
        case.header.record_count = 5;
        check(&case, Choice::Transcode(TranscodeReason::StartsBeforePosition));
        case.position = 100;
        check(&case, Choice::Transcode(TranscodeReason::Gaps));
        case.header.record_count = 10;
        check(&case, Choice::Transcode(TranscodeReason::TooLarge));
        case.rule.batch_bytes_max = 1000;
        check(&case, Choice::Transcode(TranscodeReason::ZstdUnsupported));
        case.rule.zstd = true;
        check(&case, Choice::Transcode(TranscodeReason::AppendTime));
        case.rule.timestamps = TimestampRule::Append;
        check(&case, Choice::Patch);
    }

    #[test]
    fn a_corrupt_or_unknown_header_is_refused_even_before_the_position() {
        let refused = [
            Header { batch_length: 48, ..HEADER },
            Header { record_count: -1, ..HEADER },
            Header { last_offset_delta: -1, ..HEADER },
            Header { attributes: 5, ..HEADER },
            Header { attributes: 7, ..HEADER },
        ];
        for header in refused {
            assert!(choose(&header, Offset(1000), &RULE, false, false).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_batch_as_built_is_patched() {
        let mut builder = BatchBuilder::new(Codec::Snappy);
        builder.append(0, None, None, &[]);
        let header = Header::read(&builder.build()).unwrap();
        assert_eq!(choose(&header, Offset(0), &RULE, false, false).unwrap(), Choice::Patch);
    }

    #[test]
    fn old_formats_are_transcoded_until_the_position_has_passed_them() {
        let mut set = MessageSetBuilder::new(1, Codec::Gzip).base_offset(Offset(7));
        set.append(0, None, None);
        set.append(0, None, None);
        let Ok(crate::Entry::Legacy(entry)) = split(set.build()).next().unwrap() else {
            panic!("a message set")
        };
        for position in [0, 7, 8] {
            let choice = choose_legacy(&entry, Offset(position));
            assert_eq!(choice, Choice::Transcode(TranscodeReason::OldFormat));
        }
        assert_eq!(choose_legacy(&entry, Offset(9)), Choice::Skip(SkipReason::BeforePosition));
    }
}
