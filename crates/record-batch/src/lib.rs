//! Record batches as bytes: cut a fetch reply into them, read, patch, transcode, merge.
//!
//! ```text
//! fetch reply ── split ──▶ Entry ── choose ──▶ Skip
//!                                         ├──▶ Patch ───── patch ──────▶ 61 bytes + payload as it is
//!                                         └──▶ Transcode ─ transcode ──▶ new batches ── patch ──▶ …
//! ```
//!
//! The one idea: a batch's header decides what happens to it, and a batch whose records may stay as they
//! are is sent with another header and is never decompressed, nor its payload read. A function here
//! takes bytes, header values and a rule. No I/O, no clock, no topic names; whatever the bytes, nothing
//! panics, and no length read from them is allocated before that many bytes are there (zstd's window apart,
//! 128 MiB at most).

mod builder;
mod checksum;
mod choose;
mod codec;
mod control;
mod error;
mod header;
mod legacy;
mod legacy_builder;
mod merge;
mod partitioner;
mod patch;
mod records;
mod share;
mod split;
mod transcode;
mod varint;

pub use builder::BatchBuilder;
pub use checksum::crc32c;
pub use choose::{Choice, SkipReason, TranscodeReason, choose, choose_legacy};
pub use codec::Codec;
pub use control::{AbortedSet, Marker, control_batch, marker};
pub use error::BatchError;
pub use header::{Batch, HEADER_BYTES, Header};
pub use legacy::{LegacyEntry, RUN_BYTES_MAX};
pub use legacy_builder::MessageSetBuilder;
pub use merge::merge;
pub use partitioner::partition_of;
pub use patch::{ProducerStamp, patch};
pub use records::{Iter, Record, RecordHeader, Records, records};
pub use share::Share;
pub use split::{ENTRY_BYTES_MAX, Entry, Split, split};
pub use transcode::{
    DECOMPRESSED_BYTES_MAX, Piece, Transcode, count_from, offset_after, transcode, transcode_each,
};
