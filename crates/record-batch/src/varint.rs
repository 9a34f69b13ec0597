//! Zig-zag varints, as in Protocol Buffers: seven bits a byte, lowest first, the sign in bit 0.

/// The most bytes that a number takes.
const BYTES_MAX: usize = 5;
const LONG_BYTES_MAX: usize = 10;

/// Takes a 32-bit number off the front; `None` if the bytes end inside it, or it does not end.
pub(crate) fn read(rest: &mut &[u8]) -> Option<i32> {
    let raw = read_raw(rest, BYTES_MAX)? as u32;
    Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Takes a 64-bit number off the front; `None` if the bytes end inside it, or it does not end.
pub(crate) fn read_long(rest: &mut &[u8]) -> Option<i64> {
    let raw = read_raw(rest, LONG_BYTES_MAX)?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// Bits beyond the number's size are dropped, as the Java client does.
fn read_raw(rest: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let mut raw = 0;
    for (at, byte) in rest.iter().take(bytes_max).enumerate() {
        raw |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *rest = &rest[at + 1..];
            return Some(raw);
        }
    }
    None
}

/// Appends a number. A 32-bit one has the same bytes as a 32-bit or a 64-bit varint.
pub(crate) fn write(number: i64, out: &mut Vec<u8>) {
    let mut raw = zigzag(number);
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// How many bytes [`write`] appends.
pub(crate) fn size(number: i64) -> usize {
    let bits = 64 - zigzag(number).leading_zeros() as usize;
    bits.max(1).div_ceil(7)
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_take_the_size_foretold() {
        for number in [0, -1, 1, 63, -64, 64, -65, 8191, 8192, i64::from(i32::MAX), i64::from(i32::MIN)] {
            let mut bytes = Vec::new();
            write(number, &mut bytes);
            assert_eq!(bytes.len(), size(number), "{number}");
            assert_eq!(read(&mut &bytes[..]).map(i64::from), Some(number));
            assert_eq!(read_long(&mut &bytes[..]), Some(number));
        }
        for number in [i64::MAX, i64::MIN, 1 << 40, -(1 << 40)] {
            let mut bytes = Vec::new();
            write(number, &mut bytes);
            assert_eq!(bytes.len(), size(number), "{number}");
            assert_eq!(read_long(&mut &bytes[..]), Some(number));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        // Protocol Buffers, "Encoding", signed integers.
        for (number, expected) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-2, &[3]), (150, &[0xac, 0x02])] {
            let mut bytes = Vec::new();
            write(number, &mut bytes);
            assert_eq!(bytes, expected, "{number}");
        }
    }

    #[test]
    fn a_number_that_does_not_end_is_none() {
        assert_eq!(read(&mut &[0x80; 4][..]), None);
        assert_eq!(read(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]), None);
        assert_eq!(read_long(&mut &[0xff; 11][..]), None);
        assert_eq!(read(&mut &[][..]), None);
    }
}
