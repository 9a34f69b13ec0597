//! Compression of a batch's records as one block.
//!
//! Decompression is bounded by a limit that the caller states, grows only with what really comes out,
//! and takes every form that some client has ever written and brokers pass on. Compression writes the
//! form that Kafka's Java client writes, since that is the one every consumer is known to read.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use model::Offset;

use crate::BatchError;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy blocks in the framing of the xerial Java library, or one bare block.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard frame (Kafka 2.1+, KIP-110).
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their codes.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with `code`, as in the attributes' bits 0–2.
    pub(crate) fn from_code(code: i16) -> Option<Codec> {
        usize::try_from(code).ok().and_then(|code| Codec::ALL.get(code).copied())
    }

    /// The code in the attributes.
    pub(crate) fn code(self) -> i16 {
        self as i16
    }

    /// The name that Kafka's `compression.type` gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Appends `plain`, compressed, to `out`.
pub(crate) fn compress(codec: Codec, plain: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    match codec {
        Codec::None => {
            out.extend_from_slice(plain);
            Ok(())
        }
        Codec::Gzip => gzip::compress(plain, out),
        Codec::Snappy => snappy::compress(plain, out),
        Codec::Lz4 => lz4::compress(plain, out),
        Codec::Zstd => zstd::compress(plain, out),
    }
    .map_err(|source| BatchError::Compress { codec, source })
}

/// The plain bytes of `block`, at most `max_bytes`; `base_offset` is for the error.
///
/// `max_bytes` bounds uncompressed blocks too, so that a limit means the same for every codec.
pub(crate) fn decompress(
    codec: Codec,
    block: &[u8],
    max_bytes: usize,
    base_offset: Offset,
) -> Result<Cow<'_, [u8]>, BatchError> {
    let plain = match codec {
        Codec::None if block.len() > max_bytes => Err(Failure::TooLarge),
        Codec::None => return Ok(Cow::Borrowed(block)),
        Codec::Gzip => gzip::decompress(block, max_bytes),
        Codec::Snappy => snappy::decompress(block, max_bytes),
        Codec::Lz4 => lz4::decompress(block, max_bytes),
        Codec::Zstd => zstd::decompress(block, max_bytes),
    };
    match plain {
        Ok(plain) => Ok(Cow::Owned(plain)),
        Err(Failure::Corrupt(source)) => Err(BatchError::Decompress { codec, base_offset, source }),
        Err(Failure::TooLarge) => Err(BatchError::DecompressedTooLarge { codec, base_offset, max_bytes }),
    }
}

/// Why a block cannot be decompressed.
#[derive(Debug)]
enum Failure {
    Corrupt(io::Error),
    TooLarge,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Corrupt(error)
    }
}

/// A block that breaks the rules of its codec.
fn corrupt(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::Corrupt(io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// All that `plain` gives, if that is at most `max_bytes`. `block_bytes` is the compressed size, for a
/// first guess.
fn read_all(plain: impl Read, block_bytes: usize, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(block_bytes.saturating_mul(4).min(max_bytes));
    plain.take((max_bytes as u64).saturating_add(1)).read_to_end(&mut out)?;
    if out.len() > max_bytes { Err(Failure::TooLarge) } else { Ok(out) }
}

/// Takes `N` bytes off the front.
fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(head)
}
