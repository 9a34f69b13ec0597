//! Zstandard frames.

use std::io;

use super::{Failure, read_all};

/// zstd's own default, and Kafka's.
const LEVEL: i32 = 3;

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    zstd::stream::copy_encode(plain, out, LEVEL)
}

pub(super) fn decompress(block: &[u8], max_bytes: usize) -> Result<Vec<u8>, Failure> {
    // The library's default bounds the window it allocates at 128 MiB, as Java's binding does.
    read_all(zstd::stream::read::Decoder::with_buffer(block)?, block.len(), max_bytes)
}
