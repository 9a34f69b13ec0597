//! Snappy blocks in the framing of the xerial Java library, or one bare block.
//!
//! ```text
//! 82 "SNAPPY" 00 | version i32 | lowest compatible version i32 | { length i32 | block }…
//! ```
//!
//! The Java client writes this framing with blocks of 32 KiB; some other clients write one block
//! without any. Streams that were concatenated have the header in mid-stream, where the length would be.

use std::io;

use super::{Failure, corrupt, take};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Block size of Kafka's `SnappyCompression`.
const BLOCK_BYTES: usize = 32 << 10;
/// No element of a snappy block gives more than 64 bytes, and none takes less than one.
const EXPANSION_MAX: usize = 64;

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    for chunk in plain.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + snap::raw::max_compress_len(chunk.len()), 0);
        let block_bytes = encoder.compress(chunk, &mut out[block_at..])?;
        out.truncate(block_at + block_bytes);
        // A block of 32 KiB grows by a sixth at most.
        out[length_at..block_at].copy_from_slice(&(block_bytes as u32).to_be_bytes());
    }
    Ok(())
}

pub(super) fn decompress(block: &[u8], max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let Some(mut rest) = block.strip_prefix(&MAGIC) else {
        append(block, max_bytes, &mut out)?;
        return Ok(out);
    };
    take::<8>(&mut rest).ok_or_else(|| corrupt("snappy stream ends inside its header"))?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(&MAGIC) {
            rest = after;
            take::<8>(&mut rest).ok_or_else(|| corrupt("snappy stream ends inside its header"))?;
            continue;
        }
        let length = take(&mut rest).ok_or_else(|| corrupt("snappy stream ends inside a length"))?;
        let (chunk, after) = usize::try_from(i32::from_be_bytes(*length))
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or_else(|| corrupt("snappy stream ends inside a block"))?;
        append(chunk, max_bytes, &mut out)?;
        rest = after;
    }
    Ok(out)
}

/// Appends what one bare block gives.
fn append(block: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let plain_bytes = snap::raw::decompress_len(block).map_err(corrupt)?;
    if plain_bytes > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(corrupt("snappy block claims more than it can hold"));
    }
    let start = out.len();
    if plain_bytes > max_bytes.saturating_sub(start) {
        return Err(Failure::TooLarge);
    }
    out.resize(start + plain_bytes, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(corrupt)?;
    Ok(())
}
