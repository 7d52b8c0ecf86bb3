//! Eight bytes at a time, in one word: the byte at the lowest address is the lowest byte.
//!
//! A *flag* is 0x80 in a byte for which something holds, and 0 in the others.

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW7: u64 = 0x7f7f_7f7f_7f7f_7f7f;
/// The flag of every byte.
pub(super) const ALL: u64 = 0x8080_8080_8080_8080;

/// Bytes that equal `byte`.
#[inline(always)]
pub(super) const fn equal(x: u64, byte: u8) -> u64 {
    let x = x ^ (ONES * byte as u64);
    !(((x & LOW7).wrapping_add(LOW7)) | x | LOW7)
}

/// ASCII bytes that are `byte` or greater; `byte` is 1..=0x7f.
#[inline(always)]
const fn at_least(x: u64, byte: u8) -> u64 {
    (x & LOW7).wrapping_add(ONES * (0x80 - byte) as u64) & !x & ALL
}

/// ASCII bytes from `low` to `high`.
#[inline(always)]
const fn within(x: u64, low: u8, high: u8) -> u64 {
    at_least(x, low) & !at_least(x, high + 1)
}

/// Bytes at which a run of a token's bytes may end, or that count for something in it: everything
/// below `0` but `-`, and `:;<=>?@`.
#[inline(always)]
pub(super) const fn special(x: u64) -> u64 {
    let low = !at_least(x, b'0') & !x & ALL;
    (low & !equal(x, b'-')) | within(x, b':', b'@')
}

/// Bytes that are no letter, no digit and none of `-._`.
#[inline(always)]
pub(super) const fn no_word(x: u64) -> u64 {
    let letter = within(x | (ONES * 0x20), b'a', b'z');
    let mark = equal(x, b'-') | equal(x, b'.') | equal(x, b'_');
    !(letter | within(x, b'0', b'9') | mark) & ALL
}

/// The index of the lowest flag; `flags` is not 0. A multiplication, as BPF has no ctz.
#[inline(always)]
pub(super) const fn first(flags: u64) -> u32 {
    let low = flags & flags.wrapping_neg();
    ((((low >> 7).wrapping_mul(0x0008_1018_2028_3038) >> 56) & 0x38) >> 3) as u32
}

/// The lowest `n` bytes of `x`, 0 above; all of them from 8 on.
#[inline(always)]
pub(super) const fn lowest(x: u64, n: u32) -> u64 {
    if n >= 8 { x } else { x & ((1u64 << (n * 8)) - 1) }
}

/// Eight characters of base64, in either alphabet, as 48 bits, the first of them the highest.
#[inline(always)]
pub(super) const fn base64(x: u64) -> Option<u64> {
    let upper = within(x, b'A', b'Z');
    let lower = within(x, b'a', b'z');
    let digit = within(x, b'0', b'9');
    let v62 = equal(x, b'-') | equal(x, b'+');
    let v63 = equal(x, b'_') | equal(x, b'/');
    if upper | lower | digit | v62 | v63 != ALL {
        return None;
    }
    // No sum leaves its byte.
    let (letter, lower, digit) = ((upper | lower) >> 7, lower >> 7, digit >> 7);
    let v = (x & (letter * 0x1f)) - letter
        + lower * 26
        + (x & (digit * 0x0f))
        + digit * 52
        + (v62 >> 7) * 62
        + (v63 >> 7) * 63;
    let v = ((v & 0x003f_003f_003f_003f) << 6) | ((v >> 8) & 0x003f_003f_003f_003f);
    let v = ((v & 0x0000_0fff_0000_0fff) << 12) | ((v >> 16) & 0x0000_0fff_0000_0fff);
    Some(((v & 0x00ff_ffff) << 24) | (v >> 32 & 0x00ff_ffff))
}

/// One character of base64, in either alphabet.
#[inline(always)]
pub(super) const fn base64_digit(byte: u8) -> Option<u64> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' | b'+' => 62,
        b'_' | b'/' => 63,
        _ => return None,
    } as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{base64, base64_digit, equal, first, lowest, no_word, special};

    fn flags(x: u64, f: impl Fn(u8) -> bool) -> u64 {
        u64::from_le_bytes(x.to_le_bytes().map(|b| if f(b) { 0x80 } else { 0 }))
    }

    #[test]
    fn every_byte_in_every_place_is_flagged_as_it_is_one_by_one() {
        for b in 0..=255u8 {
            for place in 0..8 {
                for around in [0u8, 0x7f, 0x80, 0xff, b'A', b'-'] {
                    let mut bytes = [around; 8];
                    bytes[place] = b;
                    let x = u64::from_le_bytes(bytes);
                    assert_eq!(equal(x, b'.'), flags(x, |b| b == b'.'));
                    let wanted = |b: u8| (b < b'0' && b != b'-') || (b':'..=b'@').contains(&b);
                    assert_eq!(special(x), flags(x, wanted), "{b} at {place}");
                    let wanted = |b: u8| !b.is_ascii_alphanumeric() && !b"-._".contains(&b);
                    assert_eq!(no_word(x), flags(x, wanted), "{b} at {place}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn base64_is_decoded_as_digit_by_digit(mut bytes: [u8; 8], plain: bool) {
            const ALPHABET: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/";
            if plain {
                bytes = bytes.map(|b| ALPHABET[usize::from(b) % ALPHABET.len()]);
            }
            let wanted = bytes
                .iter()
                .try_fold(0u64, |acc, &b| Some(acc << 6 | base64_digit(b)?));
            prop_assert_eq!(base64(u64::from_le_bytes(bytes)), wanted);
        }

        #[test]
        fn first_and_lowest(x: u64, n in 0u32..12) {
            let flags = x & super::ALL;
            if flags != 0 {
                prop_assert_eq!(first(flags), flags.trailing_zeros() / 8);
            }
            let mut bytes = x.to_le_bytes();
            for b in bytes.iter_mut().skip(n as usize) {
                *b = 0;
            }
            prop_assert_eq!(lowest(x, n), u64::from_le_bytes(bytes));
        }
    }
}
