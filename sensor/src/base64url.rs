//! base64url without padding (RFC 7515, section 2; RFC 4648, section 5), decoded strictly and
//! judged: what a strict decoder refuses is decoded the way lenient ones do and named, so that a
//! token which passes somewhere is read as that service reads it.

use std::{fmt, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose};

/// The engine that uses the processor's vector instructions, where it has such.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Vectors = base64::engine::Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Vectors = general_purpose::GeneralPurpose;

/// Decodes long parts. It takes canonical encodings and no others: neither padding nor spare bits.
static VECTORS: LazyLock<Vectors> = LazyLock::new(|| {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    return Vectors::url_safe(general_purpose::NO_PAD);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return general_purpose::URL_SAFE_NO_PAD;
});

/// Parts of fewer characters than this are decoded by [`GROUP`]: vectors do not pay.
const MIN_FOR_VECTORS: usize = 64;

/// Marks a byte that is no base64url character; outside the 24 bits that four characters give.
const INVALID: u32 = 1 << 31;

/// The values of the alphabet, shifted to the place that the character has in its group of four:
/// decoding a group is four loads and three ORs.
static GROUP: [[u32; 256]; 4] = [table(18), table(12), table(6), table(0)];

#[expect(clippy::indexing_slicing, reason = "runs in the compiler, over the alphabet alone")]
const fn table(shift: u32) -> [u32; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut table = [INVALID; 256];
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = (value as u32) << shift;
        value += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "a u8 is always inside a table of 256")]
fn place<const PLACE: usize>(byte: u8) -> u32 {
    GROUP[PLACE][usize::from(byte)]
}

fn group([a, b, c, d]: [u8; 4]) -> u32 {
    place::<0>(a) | place::<1>(b) | place::<2>(c) | place::<3>(d)
}

/// What makes an encoding differ from the one that RFC 7515 allows for its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Irregularities(u8);

impl Irregularities {
    /// `=` anywhere.
    pub const PADDING: Self = Self(1);
    /// `+` or `/`, of plain base64.
    pub const STANDARD_ALPHABET: Self = Self(1 << 1);
    /// Space, tab, line feed or carriage return.
    pub const WHITE_SPACE: Self = Self(1 << 2);
    /// Any other byte outside the alphabet.
    pub const FOREIGN_BYTE: Self = Self(1 << 3);
    /// The last character has bits that no byte takes, and they are not zero: several encodings
    /// decode to the same bytes.
    pub const SPARE_BITS: Self = Self(1 << 4);
    /// One character more than a multiple of four: no bytes encode to this length.
    pub const LENGTH: Self = Self(1 << 5);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::PADDING, "padding"),
        (Self::STANDARD_ALPHABET, "plain base64 alphabet"),
        (Self::WHITE_SPACE, "white space"),
        (Self::FOREIGN_BYTE, "byte outside the alphabet"),
        (Self::SPARE_BITS, "non-zero spare bits"),
        (Self::LENGTH, "impossible length"),
    ];

    /// Whether the encoding is the canonical one.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `other` is among them.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The names, with a comma between them.
impl fmt::Display for Irregularities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (one, name) in Self::NAMES {
            if self.contains(one) {
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// Bytes that `chars` canonical characters decode to.
#[must_use]
pub const fn decoded_len(chars: usize) -> usize {
    chars / 4 * 3 + (chars % 4 * 3) / 4
}

/// Appends what `input` decodes to, and says how it is not canonical.
///
/// Where it is not, bytes outside the alphabet are passed over, `+` and `/` count as `-` and `_`,
/// and spare bits and a lone last character are dropped, as lenient decoders do. The work is
/// linear in `input`; `out` grows by at most [`decoded_len`] of its length.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> Irregularities {
    let start = out.len();
    if decode_strict(input, out) {
        return Irregularities::default();
    }
    out.truncate(start);
    decode_lenient(input, out)
}

/// False where `input` is not canonical; `out` then holds rubbish behind its old end.
fn decode_strict(input: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + decoded_len(input.len()), 0);
    let decoded = out.get_mut(start..).unwrap_or_default();
    if input.len() >= MIN_FOR_VECTORS {
        return VECTORS.decode_slice(input, decoded) == Ok(decoded.len());
    }

    let (eights, rest) = input.as_chunks::<8>();
    let (sixes, decoded) = decoded.split_at_mut(eights.len() * 6);
    let mut seen = 0;
    for (&[a, b, c, d, e, f, g, h], six) in eights.iter().zip(sixes.as_chunks_mut::<6>().0) {
        let (high, low) = (group([a, b, c, d]), group([e, f, g, h]));
        seen |= high | low;
        let [_, _, bytes @ ..] = (u64::from(high) << 24 | u64::from(low)).to_be_bytes();
        *six = bytes;
    }

    let (fours, tail) = rest.as_chunks::<4>();
    let (threes, decoded) = decoded.split_at_mut(fours.len() * 3);
    for (&four, three) in fours.iter().zip(threes.as_chunks_mut::<3>().0) {
        let word = group(four);
        seen |= word;
        let [_, bytes @ ..] = word.to_be_bytes();
        *three = bytes;
    }
    match (tail, decoded) {
        ([], []) => {}
        (&[a, b], [x]) => {
            let word = group([a, b, b'A', b'A']);
            // Four of twelve bits are spare; a spare bit counts as invalid.
            seen |= word | if word & 0xffff != 0 { INVALID } else { 0 };
            *x = word.to_be_bytes()[1];
        }
        (&[a, b, c], [x, y]) => {
            let word = group([a, b, c, b'A']);
            seen |= word | if word & 0xff != 0 { INVALID } else { 0 };
            [_, *x, *y, _] = word.to_be_bytes();
        }
        _ => return false,
    }
    seen & INVALID == 0
}

fn decode_lenient(input: &[u8], out: &mut Vec<u8>) -> Irregularities {
    let mut found = Irregularities::default();
    let mut word = 0_u32;
    let mut bits = 0;
    for &byte in input {
        let byte = match byte {
            b'+' | b'/' => {
                found.add(Irregularities::STANDARD_ALPHABET);
                if byte == b'+' { b'-' } else { b'_' }
            }
            byte => byte,
        };
        let value = place::<3>(byte);
        if value == INVALID {
            found.add(match byte {
                b'=' => Irregularities::PADDING,
                b' ' | b'\t' | b'\n' | b'\r' => Irregularities::WHITE_SPACE,
                _ => Irregularities::FOREIGN_BYTE,
            });
            continue;
        }
        word = word << 6 | value;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    if bits == 6 {
        found.add(Irregularities::LENGTH);
    } else if word != 0 {
        found.add(Irregularities::SPARE_BITS);
    }
    found
}

/// Whether the beginning of `encoded` decodes to a JSON object's: `{` behind white space.
///
/// Looks at no more than the first 64 characters, and at none behind one that no decoder reads.
#[must_use]
pub(crate) fn begins_json_object(encoded: &[u8]) -> bool {
    /// White space in front of a JOSE header is legal and nobody writes 48 bytes of it.
    const MAX_LOOK: usize = 64;
    let mut word = 0_u32;
    let mut bits = 0;
    for &byte in encoded.iter().take(MAX_LOOK) {
        let value = match byte {
            b'+' => 62,
            b'/' => 63,
            b' ' | b'\t' => continue,
            byte => place::<3>(byte),
        };
        if value == INVALID {
            return false;
        }
        word = (word << 6 | value) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            match (word >> bits) as u8 {
                b'{' => return true,
                b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => return false,
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{Irregularities as I, begins_json_object, decode, decoded_len};

    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    fn encode(bytes: &[u8]) -> Vec<u8> {
        let bits: Vec<u8> =
            bytes.iter().flat_map(|b| (0..8).rev().map(move |k| b >> k & 1)).collect();
        bits.chunks(6)
            .map(|six| {
                ALPHABET[(0..6).fold(0, |v, k| v << 1 | usize::from(*six.get(k).unwrap_or(&0)))]
            })
            .collect()
    }

    /// Bit by bit, one list after the other: slow and plain.
    fn oracle(input: &[u8]) -> (Vec<u8>, bool) {
        let kept: Vec<usize> = input
            .iter()
            .map(|b| match b {
                b'+' => b'-',
                b'/' => b'_',
                b => *b,
            })
            .filter_map(|b| ALPHABET.iter().position(|a| *a == b))
            .collect();
        let bits: Vec<usize> =
            kept.iter().flat_map(|v| (0..6).rev().map(move |k| v >> k & 1)).collect();
        let bytes: Vec<u8> = bits
            .chunks_exact(8)
            .map(|eight| eight.iter().fold(0, |v, bit| v << 1 | *bit as u8))
            .collect();
        // Canonical is what encodes to the very same characters again.
        let canonical = encode(&bytes) == input;
        (bytes, canonical)
    }

    #[test]
    fn the_examples_of_rfc_7515_and_rfc_4648() {
        for (text, bytes) in [
            (&b""[..], &b""[..]),
            (b"Zg", b"f"),
            (b"Zm8", b"fo"),
            (b"Zm9v", b"foo"),
            (b"Zm9vYg", b"foob"),
            (b"Zm9vYmE", b"fooba"),
            (b"Zm9vYmFy", b"foobar"),
            // RFC 7515, appendix C.
            (b"A-z_4ME", &[3, 236, 255, 224, 193]),
        ] {
            let mut out = vec![7];
            assert_eq!(decode(text, &mut out), I::default());
            assert_eq!(&out[1..], bytes);
            assert_eq!(out[0], 7);
        }
    }

    #[test]
    fn each_irregularity_is_named_and_still_decodes() {
        for (text, expected, bytes) in [
            (&b"Zm8="[..], I::PADDING, &b"fo"[..]),
            (b"A+z/4ME", I::STANDARD_ALPHABET, &[3, 236, 255, 224, 193]),
            (b"Zm\n9v", I::WHITE_SPACE, b"foo"),
            (b"Zm9v!", I::FOREIGN_BYTE, b"foo"),
            (b"Zm9", I::SPARE_BITS, b"fo"),
            (b"Zh", I::SPARE_BITS, b"f"),
            (b"Zm9vY", I::LENGTH, b"foo"),
            (b"Z", I::LENGTH, b""),
        ] {
            let mut out = Vec::new();
            assert_eq!(decode(text, &mut out), expected);
            assert_eq!(out, bytes);
        }
        let mut out = Vec::new();
        let all = decode(b"Z h+=!Z", &mut out);
        assert_eq!(
            all.to_string(),
            "padding, plain base64 alphabet, white space, byte outside the alphabet"
        );
    }

    #[test]
    fn a_json_object_is_known_by_its_first_bytes() {
        for header in ["{", "{\"alg\"", " {", "\n{", "\r\n\t {", "{}", "{ }"] {
            assert!(begins_json_object(&encode(format!("{header}      ").as_bytes())), "{header}");
        }
        for other in ["", "[", "x{", "\"{", "\u{b}{"] {
            assert!(!begins_json_object(&encode(format!("{other}      ").as_bytes())), "{other}");
        }
        assert!(!begins_json_object(b"e"));
        assert!(!begins_json_object(b"e%y"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_again(bytes in vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            prop_assert_eq!(decode(&encode(&bytes), &mut out), I::default());
            prop_assert_eq!(decoded_len(encode(&bytes).len()), bytes.len());
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn agrees_with_a_bit_by_bit_decoder(
            input in vec(select(b"ABCabcwxyz0189-_AAAA+/= \n!%\x00\xff".to_vec()), 0..40),
        ) {
            let mut out = Vec::new();
            let found = decode(&input, &mut out);
            let (bytes, canonical) = oracle(&input);
            prop_assert_eq!(out, bytes);
            prop_assert_eq!(found.is_empty(), canonical);
        }

        #[test]
        fn one_wrong_byte_of_a_long_part_is_seen_wherever_it_stands(
            bytes in vec(any::<u8>(), 40..200), at in any::<prop::sample::Index>(), wrong in any::<u8>(),
        ) {
            let mut input = encode(&bytes);
            let at = at.index(input.len());
            input[at] = wrong;
            let mut out = Vec::new();
            let found = decode(&input, &mut out);
            let (bytes, canonical) = oracle(&input);
            prop_assert_eq!(out, bytes);
            prop_assert_eq!(found.is_empty(), canonical);
        }

        #[test]
        fn any_bytes_agree_with_a_bit_by_bit_decoder(input in vec(any::<u8>(), 0..40)) {
            let mut out = Vec::new();
            let found = decode(&input, &mut out);
            let (bytes, canonical) = oracle(&input);
            prop_assert_eq!(out, bytes);
            prop_assert_eq!(found.is_empty(), canonical);
        }
    }
}
