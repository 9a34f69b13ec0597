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
