//! CRC-32C (Castagnoli), and how it changes when bytes far from the end change.
//!
//! A CRC is the remainder of the bytes, taken as a polynomial over GF(2), by a fixed polynomial P. It is
//! linear in the bytes but for a constant: so the checksums of two equally long messages differ by the
//! remainder of their difference, and a difference followed by n equal bytes is that difference times
//! x^(8n). [`corrected`] multiplies by powers from a table and never looks at those n bytes.
//!
//! Polynomials are kept in the bit order of the checksum itself: the lowest bit is the highest power.

/// P without its x^32, in reflected order.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// What `crc` becomes when `difference` is xored into bytes that `following_bytes` others follow.
///
/// A checksum that was wrong stays wrong, by as much. Costs one pass over `difference` and a few dozen
/// nanoseconds, however many bytes follow.
pub(crate) fn corrected(crc: u32, difference: &[u8], following_bytes: usize) -> u32 {
    // Appending to the checksum !0 is starting from a remainder of 0; and no final inversion.
    let remainder = !crc32c::crc32c_append(!0, difference);
    crc ^ shifted(remainder, following_bytes)
}

/// `remainder` times x^(8·`bytes`), modulo P.
fn shifted(remainder: u32, bytes: usize) -> u32 {
    let mut product = remainder;
    for (place, powers) in POWERS.iter().enumerate() {
        let digit = (bytes >> (8 * place)) & 0xff;
        if digit != 0 {
            product = multiply_fast(product, powers[digit]);
        }
    }
    product
}

/// `FOLDS[rest]` is what the four lowest bits of a checksum, its highest powers, become times x^4.
static FOLDS: [u32; 16] = folds();

const fn folds() -> [u32; 16] {
    let mut folds = [0; 16];
    let mut rest = 0;
    while rest < 16 {
        folds[rest] = multiply(rest as u32, ONE >> 4);
        rest += 1;
    }
    folds
}

/// [`multiply`], four bits at a time: Horner's rule from a's highest powers.
fn multiply_fast(a: u32, b: u32) -> u32 {
    let times_x = |of: u32| of >> 1 ^ POLYNOMIAL & 0u32.wrapping_sub(of & 1);
    let powers = {
        let (first, second) = (times_x(b), times_x(times_x(b)));
        [times_x(second), second, first, b]
    };
    let mut multiples = [0; 16];
    for (place, power) in powers.into_iter().enumerate() {
        let step = 1 << place;
        for at in 0..step {
            multiples[step + at] = multiples[at] ^ power;
        }
    }
    let mut product = 0;
    for place in 0..8 {
        product = product >> 4 ^ FOLDS[product as usize & 15] ^ multiples[(a >> (4 * place)) as usize & 15];
    }
    product
}

/// `POWERS[place][digit]` is x^(8 · digit · 256^place): a count of bytes is looked up one of its own
/// bytes at a time. Four places cover what a batch's length prefix can say.
static POWERS: [[u32; 256]; 4] = powers();

const fn powers() -> [[u32; 256]; 4] {
    let mut powers = [[ONE; 256]; 4];
    // x^8: eight places below x^0.
    let mut step = ONE >> 8;
    let mut place = 0;
    while place < 4 {
        let mut digit = 1;
        while digit < 256 {
            powers[place][digit] = multiply(powers[place][digit - 1], step);
            digit += 1;
        }
        step = multiply(powers[place][255], step);
        place += 1;
    }
    powers
}

/// The product of two polynomials, modulo P.
const fn multiply(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut shifted = b;
    let mut bit = 32;
    // From a's coefficient of x^0, the highest bit, to that of x^31; `shifted` is b·x^k.
    while bit > 0 {
        bit -= 1;
        product ^= shifted & 0u32.wrapping_sub(a >> bit & 1);
        shifted = shifted >> 1 ^ POLYNOMIAL & 0u32.wrapping_sub(shifted & 1);
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        // Check value of CRC-32C in the catalogue of parametrised CRC algorithms; RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    }

    #[test]
    fn shifting_is_appending_zero_bytes() {
        for bytes in [0, 1, 2, 3, 7, 8, 255, 256, 257, 4096, 65_535, 65_536, 1_000_003] {
            let remainder = 0x1234_5678;
            let expected = !crc32c::crc32c_append(!remainder, &vec![0; bytes]);
            assert_eq!(shifted(remainder, bytes), expected, "{bytes} bytes");
        }
    }

    #[test]
    fn both_ways_to_multiply_agree() {
        let mut number = 1u32;
        for _ in 0..1000 {
            let other = number.wrapping_mul(0x9E37_79B1).rotate_left(13);
            assert_eq!(multiply_fast(number, other), multiply(number, other), "{number:#x} {other:#x}");
            number = other ^ number >> 3;
        }
        assert_eq!(multiply_fast(0, ONE), 0);
        assert_eq!(multiply_fast(ONE, 5), 5);
        assert_eq!(multiply_fast(5, ONE), 5);
    }

    #[test]
    fn the_highest_place_of_the_table_is_the_lower_ones_continued() {
        let step = shifted(ONE, 1 << 23);
        assert_eq!(shifted(ONE, 1 << 24), multiply(step, step));
        assert_eq!(shifted(ONE, (1 << 30) + 5), multiply(shifted(ONE, 1 << 30), shifted(ONE, 5)));
    }

    #[test]
    fn a_correction_equals_a_full_pass_and_keeps_an_error() {
        let mut bytes: Vec<u8> = (0..10_000u32).map(|at| (at * 7 % 251) as u8).collect();
        let before = crc32c(&bytes);
        let difference = [0xff, 0, 0x10, 3, 0];
        bytes.iter_mut().skip(100).zip(difference).for_each(|(byte, change)| *byte ^= change);
        let following = bytes.len() - 100 - difference.len();
        assert_eq!(corrected(before, &difference, following), crc32c(&bytes));
        assert_eq!(corrected(before ^ 0x40, &difference, following), crc32c(&bytes) ^ 0x40);
    }
}
