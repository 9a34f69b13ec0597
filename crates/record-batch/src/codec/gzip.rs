//! gzip: one or several members (RFC 1952), as Java's `GZIPInputStream` reads them.

use std::io::{self, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Failure, read_all};

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    // Level 6: zlib's default, and so Java's.
    let mut encoder = GzEncoder::new(out, Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()?;
    Ok(())
}

pub(super) fn decompress(block: &[u8], max_bytes: usize) -> Result<Vec<u8>, Failure> {
    read_all(MultiGzDecoder::new(block), block.len(), max_bytes)
}
