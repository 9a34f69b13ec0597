//! LZ4 frames, of the kind that Kafka's Java client reads and writes.
//!
//! ```text
//! 04 22 4D 18 | FLG | BD | [content size u64] | [dictionary id u32] | HC | { size u32 | block | [sum u32] }… | 0 | [sum u32]
//! ```
//!
//! Numbers are little-endian. The Java client reads independent blocks only and writes them with 64 KiB
//! and no optional field. The frame's own checksums are not looked at: the batch's covers the same
//! bytes, and the header's (HC) is wrong in every v0 message that Java clients before 0.10 wrote
//! (KAFKA-3160), so that one rule serves all formats.
//!
//! Source: LZ4 Frame Format Description 1.6; KIP-57.

use std::io;

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into_with_dict,
    get_maximum_output_size,
};

use super::{Failure, corrupt, take};

const MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
/// Version 1 (bits 6–7), independent blocks (bit 5), and no optional field.
const FLG: u8 = 0x60;
/// Blocks of at most 64 KiB: code 4 in bits 4–6.
const BD: u8 = 0x40;
/// The checksum of `FLG` and `BD`: second byte of their xxh32.
const HC: u8 = 0x82;
const BLOCK_BYTES: usize = 64 << 10;
/// Set in a block's size if the block is stored as it is.
const STORED: u32 = 1 << 31;

const FLG_VERSION: u8 = 0xC0;
const FLG_VERSION_1: u8 = 0x40;
const FLG_INDEPENDENT: u8 = 0x20;
const FLG_BLOCK_SUM: u8 = 0x10;
const FLG_CONTENT_SIZE: u8 = 0x08;
const FLG_DICTIONARY: u8 = 0x01;

/// How far back a block may refer.
const WINDOW_BYTES: usize = 64 << 10;
/// No byte of a block gives more than 255 (a continued match length), besides a first few.
const EXPANSION_MAX: usize = 255;

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[FLG, BD, HC]);
    let mut table = CompressTable::large();
    for chunk in plain.chunks(BLOCK_BYTES) {
        let size_at = out.len();
        let block_at = size_at + 4;
        out.resize(block_at + get_maximum_output_size(chunk.len()), 0);
        let block_bytes =
            compress_into_with_table(chunk, &mut out[block_at..], &mut table).map_err(io::Error::other)?;
        // Sizes up to 64 KiB fit any integer here.
        let size = if block_bytes < chunk.len() {
            out.truncate(block_at + block_bytes);
            block_bytes as u32
        } else {
            out.truncate(block_at);
            out.extend_from_slice(chunk);
            chunk.len() as u32 | STORED
        };
        out[size_at..block_at].copy_from_slice(&size.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

/// Reads one frame, as the Java client does: what follows it is ignored.
pub(super) fn decompress(block: &[u8], max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut rest = block;
    let ends = || corrupt("lz4 frame ends early");
    if *take(&mut rest).ok_or_else(ends)? != MAGIC {
        return Err(corrupt("not an lz4 frame"));
    }
    let [flg, bd] = *take(&mut rest).ok_or_else(ends)?;
    if flg & FLG_VERSION != FLG_VERSION_1 {
        return Err(corrupt("lz4 frame of an unknown version"));
    }
    if flg & FLG_DICTIONARY != 0 {
        return Err(corrupt("lz4 frame needs a dictionary"));
    }
    let block_bytes_max = match (bd >> 4) & 7 {
        code @ 4..=7 => 1 << (8 + 2 * code),
        _ => return Err(corrupt("lz4 frame of an unknown block size")),
    };
    if flg & FLG_CONTENT_SIZE != 0 {
        take::<8>(&mut rest).ok_or_else(ends)?;
    }
    take::<1>(&mut rest).ok_or_else(ends)?;
    let mut out = Vec::new();
    loop {
        let size = u32::from_le_bytes(*take(&mut rest).ok_or_else(ends)?);
        if size == 0 {
            return Ok(out);
        }
        let (block, after) = rest.split_at_checked((size & !STORED) as usize).ok_or_else(ends)?;
        rest = after;
        if flg & FLG_BLOCK_SUM != 0 {
            take::<4>(&mut rest).ok_or_else(ends)?;
        }
        if block.len() > block_bytes_max {
            return Err(corrupt("lz4 block is larger than its frame allows"));
        }
        if size & STORED != 0 {
            out.extend_from_slice(block);
        } else {
            append(block, flg & FLG_INDEPENDENT == 0, block_bytes_max, max_bytes, &mut out)?;
        }
        if out.len() > max_bytes {
            return Err(Failure::TooLarge);
        }
    }
}

/// Appends what one block gives; `linked` ones refer to what came before.
fn append(
    block: &[u8],
    linked: bool,
    block_bytes_max: usize,
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let start = out.len();
    let can_give = block_bytes_max.min(block.len() * EXPANSION_MAX + 64);
    let room = can_give.min(max_bytes - start);
    out.resize(start + room, 0);
    let (before, space) = out.split_at_mut(start);
    let window = if linked { &before[start.saturating_sub(WINDOW_BYTES)..] } else { &[][..] };
    match decompress_into_with_dict(block, space, window) {
        Ok(plain_bytes) => {
            out.truncate(start + plain_bytes);
            Ok(())
        }
        Err(DecompressError::OutputTooSmall { .. }) if room < can_give => Err(Failure::TooLarge),
        Err(error) => Err(corrupt(error)),
    }
}
