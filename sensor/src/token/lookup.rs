//! The hash that known tokens are looked up by.
//!
//! NH, the universal hash of UMAC (RFC 4418, section 5.2.2; Black and others, "UMAC: Fast and Secure
//! Message Authentication", 1999), with words of 64 bits and two passes over one key: whoever does not
//! know the key finds two tokens of one hash with a chance of 2⁻¹²⁸ a pair, whatever he sends. Unlike
//! SipHash it gives away its key once its values are seen: they are never shown, saved or sent.

use super::FingerprintKey;

/// Bytes of a pair of words.
const PAIR: usize = 16;

/// Pairs that are added in one step.
const STEP: usize = 4;

/// Longer tokens are looked up by their fingerprints: they are rare, and the key is as long as the
/// longest that it is for.
const MAX_LEN: usize = 2048;

/// What a token is looked up by.
pub(super) type LookupHash = [u128; 2];

/// The key of the hash.
pub(super) struct LookupKey {
    /// For each pair of a token, for its length, and one more for the second pass.
    pairs: Vec<[u64; 2]>,
}

impl LookupKey {
    /// One that follows from the fingerprints' key.
    pub(super) fn new(key: &FingerprintKey) -> Self {
        let pair = |number: usize| {
            let bytes = *key.fingerprint(format!("look-up {number}").as_bytes()).as_bytes();
            words(&bytes)
        };
        Self { pairs: (0..MAX_LEN / PAIR + 2).map(pair).collect() }
    }

    /// The hash of a token; `None` of one that is too long.
    pub(super) fn hash(&self, token: &[u8]) -> Option<LookupHash> {
        if token.len() > MAX_LEN {
            return None;
        }
        let mut keys = self.pairs.as_slice();
        let mut sums = [0_u128; 2];
        add(&mut sums, [token.len() as u64, 0], keys.first_chunk::<2>()?);
        keys = keys.get(1..)?;
        let (steps, mut rest) = token.as_chunks::<{ STEP * PAIR }>();
        // Several pairs a step, so that their keys are checked to be there once.
        for step in steps {
            let of_step = keys.first_chunk::<{ STEP + 1 }>()?;
            let (pairs, _) = step.as_chunks::<PAIR>();
            for (pair, two) in pairs.iter().zip(of_step.array_windows::<2>()) {
                add(&mut sums, words(pair), two);
            }
            keys = keys.get(STEP..)?;
        }
        while !rest.is_empty() {
            let (pair, behind) = rest.split_at(rest.len().min(PAIR));
            let mut last = [0; PAIR];
            for (to, from) in last.iter_mut().zip(pair) {
                *to = *from;
            }
            add(&mut sums, words(&last), keys.first_chunk::<2>()?);
            (rest, keys) = (behind, keys.get(1..)?);
        }
        Some(sums)
    }
}

/// Adds a pair to the sums of both passes, each under its own key.
#[inline]
fn add(sums: &mut [u128; 2], [a, b]: [u64; 2], keys: &[[u64; 2]; 2]) {
    for (sum, key) in sums.iter_mut().zip(keys) {
        let product = u128::from(a.wrapping_add(key[0])) * u128::from(b.wrapping_add(key[1]));
        *sum = sum.wrapping_add(product);
    }
}

/// Two words, little-endian.
fn words(bytes: &[u8; PAIR]) -> [u64; 2] {
    let both = u128::from_le_bytes(*bytes);
    [both as u64, (both >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn equal_tokens_alone_have_equal_hashes() {
        let key = LookupKey::new(&FingerprintKey::new([7; 16]));
        let other = LookupKey::new(&FingerprintKey::new([8; 16]));
        let mut seen = HashSet::new();
        let longest: Vec<u8> = (0..MAX_LEN).map(|at| (at * 31 % 251) as u8).collect();
        for len in 0..=MAX_LEN {
            let token = &longest[..len];
            assert!(seen.insert(key.hash(token).unwrap()), "{len}");
            assert_ne!(key.hash(token), other.hash(token));
        }
        // Each bit counts, and so does what a shorter one is filled up with.
        for len in [1, 15, 16, 17, 600] {
            for bit in 0..8 * len {
                let mut token = longest[..len].to_vec();
                token[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(key.hash(&token).unwrap()), "{len} {bit}");
            }
            let mut token = longest[..len].to_vec();
            token.push(0);
            assert!(seen.insert(key.hash(&token).unwrap()), "{len}");
        }
        assert_eq!(key.hash(&[b'a'; MAX_LEN + 1]), None);
    }

    /// Against the sum as the paper has it.
    #[test]
    fn both_passes_are_sums_of_products() {
        let key = LookupKey::new(&FingerprintKey::new([9; 16]));
        let token = b"0123456789abcdefABCDEFGH";
        let word = |at: usize| {
            let mut bytes = [0; 8];
            token.iter().skip(8 * at).take(8).zip(&mut bytes).for_each(|(from, to)| *to = *from);
            u64::from_le_bytes(bytes)
        };
        let message = [token.len() as u64, 0, word(0), word(1), word(2), word(3)];
        let key_words: Vec<u64> = key.pairs.iter().flatten().copied().collect();
        let pass = |from: usize| {
            (0..message.len()).step_by(2).fold(0_u128, |sum, at| {
                let part = |at: usize| {
                    (u128::from(message[at]) + u128::from(key_words[from + at]))
                        & u128::from(u64::MAX)
                };
                sum.wrapping_add(part(at) * part(at + 1))
            })
        };
        assert_eq!(key.hash(token), Some([pass(0), pass(2)]));
    }
}
