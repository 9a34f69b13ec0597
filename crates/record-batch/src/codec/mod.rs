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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

    use super::*;

    const MANY: usize = 10 << 20;

    /// Text that compresses, then bytes that do not; larger than one block of any framing.
    fn sample() -> Vec<u8> {
        let text = (0..30_000u32).flat_map(|at| format!("line {at}, ").into_bytes());
        let mut noise = 1u32;
        let noise = std::iter::from_fn(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((noise >> 24) as u8)
        });
        text.chain(noise.take(200_000)).collect()
    }

    fn compressed(codec: Codec, plain: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        compress(codec, plain, &mut block).unwrap();
        block
    }

    fn check(codec: Codec, block: &[u8], expected: &[u8]) {
        let plain =
            decompress(codec, block, MANY, Offset(0)).unwrap_or_else(|error| panic!("{codec}: {error:?}"));
        assert!(*plain == *expected, "{codec}: {} bytes, expected {}", plain.len(), expected.len());
    }

    #[test]
    fn each_codec_gives_back_what_it_took() {
        let sample = sample();
        for codec in Codec::ALL {
            for size in [0, 1, 100, 32 << 10, (32 << 10) + 1, 64 << 10, (64 << 10) + 1, sample.len()] {
                let plain = &sample[sample.len() - size..];
                check(codec, &compressed(codec, plain), plain);
                let plain = &sample[..size];
                check(codec, &compressed(codec, plain), plain);
            }
        }
    }

    #[test]
    fn compressing_appends() {
        for codec in Codec::ALL {
            let mut block = b"before".to_vec();
            compress(codec, b"plain plain plain", &mut block).unwrap();
            check(codec, block.strip_prefix(b"before").unwrap(), b"plain plain plain");
        }
    }

    #[test]
    fn nothing_unfolds_beyond_the_limit() {
        let plain = vec![0; 1 << 20];
        for codec in Codec::ALL {
            let block = compressed(codec, &plain);
            assert_eq!(decompress(codec, &block, 1 << 20, Offset(0)).unwrap().len(), 1 << 20);
            for max_bytes in [0, 1, 1000, (1 << 20) - 1] {
                let error = decompress(codec, &block, max_bytes, Offset(0)).unwrap_err();
                assert!(
                    matches!(error, BatchError::DecompressedTooLarge { .. }),
                    "{codec} {max_bytes}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn a_block_cut_anywhere_is_an_error_or_less() {
        let plain: Vec<u8> = sample().split_off(330_000);
        for codec in &Codec::ALL[1..] {
            let block = compressed(*codec, &plain[..3000]);
            for cut in 0..block.len() {
                if let Ok(less) = decompress(*codec, &block[..cut], MANY, Offset(0)) {
                    assert!(less.len() < 3000, "{codec} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_length_alone_allocates_nothing() {
        // One bare snappy block, and one in the framing, that claim 4 GiB.
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        let framed = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06".as_slice(), &claim].concat();
        for block in [&claim[..], &framed] {
            let error = decompress(Codec::Snappy, block, usize::MAX, Offset(0)).unwrap_err();
            assert!(matches!(error, BatchError::Decompress { .. }), "{error:?}");
        }
    }

    #[test]
    fn snappy_reads_a_bare_block_and_joined_streams() {
        let plain = &sample()[..100_000];
        check(Codec::Snappy, &snap::raw::Encoder::new().compress_vec(plain).unwrap(), plain);
        let (one, other) = plain.split_at(40_000);
        check(
            Codec::Snappy,
            &[compressed(Codec::Snappy, one), compressed(Codec::Snappy, other)].concat(),
            plain,
        );
    }

    #[test]
    fn gzip_reads_several_members() {
        let plain = &sample()[..100_000];
        let (one, other) = plain.split_at(40_000);
        check(Codec::Gzip, &[compressed(Codec::Gzip, one), compressed(Codec::Gzip, other)].concat(), plain);
    }

    #[test]
    fn lz4_reads_frames_of_every_kind() {
        let sample = sample();
        for block_mode in [BlockMode::Independent, BlockMode::Linked] {
            for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                for sums in [false, true] {
                    let info = FrameInfo::new()
                        .block_mode(block_mode)
                        .block_size(block_size)
                        .block_checksums(sums)
                        .content_checksum(sums)
                        .content_size(sums.then_some(sample.len() as u64));
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&sample).unwrap();
                    check(Codec::Lz4, &encoder.finish().unwrap(), &sample);
                }
            }
        }
    }

    #[test]
    fn lz4_writes_the_frame_that_kafka_reads() {
        let sample = sample();
        let block = compressed(Codec::Lz4, &sample);
        // Magic, version 1 with independent blocks, 64 KiB, the checksum of these two.
        assert_eq!(block[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
        let mut plain = Vec::new();
        FrameDecoder::new(&block[..]).read_to_end(&mut plain).unwrap();
        assert!(plain == sample);
    }

    #[test]
    fn the_checksum_of_an_lz4_frames_header_is_not_looked_at() {
        let mut block = compressed(Codec::Lz4, b"text");
        block[6] ^= 0xff;
        check(Codec::Lz4, &block, b"text");
    }

    #[test]
    fn bytes_of_another_codec_are_an_error() {
        for codec in &Codec::ALL[1..] {
            for other in &Codec::ALL[1..] {
                // A snappy block starts with any length, so it may happen to read another's magic as one.
                if codec != other {
                    let block = compressed(*other, &sample()[..1000]);
                    let error = decompress(*codec, &block, MANY, Offset(3)).unwrap_err();
                    assert!(
                        error
                            .to_string()
                            .starts_with(&format!("cannot decompress {codec} records at offset 3"))
                    );
                }
            }
        }
    }
}
