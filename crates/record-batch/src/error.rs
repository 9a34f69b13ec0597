//! What can be wrong with record batches as bytes.

use std::io;

use model::Offset;

use crate::Codec;

/// Why a batch or an older message could not be read or rewritten.
///
/// Everything here is about the bytes: the same bytes give the same error again. Whether they are worth
/// fetching a second time (damage on the way) is for the caller to know.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before what they promise.
    #[error("batch needs {need_bytes} bytes, {have_bytes} left")]
    Truncated {
        /// Bytes that the batch, or its header, takes.
        need_bytes: usize,
        /// Bytes that are there.
        have_bytes: usize,
    },
    /// Bytes follow where one batch was expected to be all.
    #[error("batch takes {size_bytes} bytes, {have_bytes} given")]
    TrailingBytes {
        /// Bytes that the batch takes.
        size_bytes: usize,
        /// Bytes that are there.
        have_bytes: usize,
    },
    /// The length prefix cannot be that of any batch or message.
    #[error("batch at offset {base_offset} claims a length of {length} bytes")]
    Length {
        /// The batch's base offset, as far as it can be trusted.
        base_offset: Offset,
        /// The length prefix as read.
        length: i32,
    },
    /// A format that is not known, or not the one asked for.
    #[error("record format (magic) {magic} is not supported here")]
    Magic {
        /// The magic byte.
        magic: i8,
    },
    /// A header field holds what no broker writes.
    #[error("batch at offset {base_offset} has {field} {value}")]
    Field {
        /// The batch's base offset.
        base_offset: Offset,
        /// The field, by its name in the protocol.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// The checksum is not that of the bytes.
    #[error("batch at offset {base_offset} has checksum {stored:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// The batch's base offset.
        base_offset: Offset,
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The compressed block cannot be decompressed.
    #[error("cannot decompress {codec} records at offset {base_offset}")]
    Decompress {
        /// The codec.
        codec: Codec,
        /// The batch's base offset.
        base_offset: Offset,
        /// What the codec says.
        #[source]
        source: io::Error,
    },
    /// The records cannot be compressed.
    #[error("cannot compress records as {codec}")]
    Compress {
        /// The codec.
        codec: Codec,
        /// What the codec says.
        #[source]
        source: io::Error,
    },
    /// The compressed block grows beyond the limit given.
    #[error("{codec} records at offset {base_offset} take more than {max_bytes} bytes decompressed")]
    DecompressedTooLarge {
        /// The codec.
        codec: Codec,
        /// The batch's base offset.
        base_offset: Offset,
        /// The limit.
        max_bytes: usize,
    },
    /// A record's own bytes make no sense.
    #[error("record {index} of the batch at offset {base_offset}: {problem}")]
    Record {
        /// The batch's base offset.
        base_offset: Offset,
        /// The record's place in the batch, from 0.
        index: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The batch does not hold the records it declares.
    #[error("batch at offset {base_offset} declares {declared} records, {problem}")]
    RecordCount {
        /// The batch's base offset.
        base_offset: Offset,
        /// The header's record count.
        declared: i32,
        /// How the bytes differ from that.
        problem: &'static str,
    },
    /// A record's offset is not above the one before, or outside of the batch's range.
    #[error("record at offset {offset} is out of place in the batch {base_offset}..={last_offset}")]
    OffsetOutOfPlace {
        /// The batch's first offset.
        base_offset: Offset,
        /// The batch's last offset.
        last_offset: Offset,
        /// The record's offset.
        offset: Offset,
    },
    /// One record alone makes a batch larger than the destination takes.
    #[error("record at offset {offset} makes a batch of {bytes} bytes, {max} allowed")]
    RecordTooLarge {
        /// The record's offset at the source.
        offset: Offset,
        /// The size of a batch that holds only this record.
        bytes: usize,
        /// The largest batch allowed.
        max: usize,
    },
    /// More records were counted than the batch holds.
    #[error("batch at offset {base_offset} holds {found} records from offset {from} on, not {wanted}")]
    TooFewRecords {
        /// The batch's base offset.
        base_offset: Offset,
        /// Where counting starts.
        from: Offset,
        /// Records that are there.
        found: i64,
        /// Records asked for.
        wanted: i64,
    },
}
