//! SipHash-1-3 with 128 bits of output, over whole words: the input is a row of 64-bit words, each
//! as its eight bytes in little-endian order.

/// The secret of the keyed hashes; derived anew by each installation.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Secret(pub [u64; 2]);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A hash on its way.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Sip {
    v: [u64; 4],
    words: u64,
}

impl Sip {
    /// Nothing hashed yet.
    #[inline(always)]
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        let [k0, k1] = secret.0;
        Self {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
            words: 0,
        }
    }

    #[inline(always)]
    const fn round(mut v: [u64; 4]) -> [u64; 4] {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[1]);
        v[0] = v[0].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
        v
    }

    /// Takes one word.
    #[inline(always)]
    pub const fn word(&mut self, word: u64) {
        let mut v = self.v;
        v[3] ^= word;
        v = Self::round(v);
        v[0] ^= word;
        self.v = v;
        self.words = self.words.wrapping_add(1);
    }

    /// The hash of the words so far.
    #[inline(always)]
    #[must_use]
    pub const fn finish(mut self) -> [u64; 2] {
        self.word((self.words << 3) << 56);
        let mut v = self.v;
        v[2] ^= 0xee;
        v = Self::round(Self::round(Self::round(v)));
        let low = v[0] ^ v[1] ^ v[2] ^ v[3];
        v[1] ^= 0xdd;
        v = Self::round(Self::round(Self::round(v)));
        [low, v[0] ^ v[1] ^ v[2] ^ v[3]]
    }
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use siphasher::sip128::{Hasher128 as _, SipHasher13};

    use super::{Secret, Sip};

    #[test]
    fn is_siphash_1_3_of_the_words_bytes() {
        for n in 0..40u64 {
            let secret = Secret([n.wrapping_mul(0x9e37_79b9_7f4a_7c15), !n]);
            let (mut ours, mut theirs) =
                (Sip::new(secret), SipHasher13::new_with_keys(secret.0[0], secret.0[1]));
            for i in 0..n {
                let word = (i + 3).wrapping_mul(0x2545_f491_4f6c_dd1d);
                ours.word(word);
                theirs.write(&word.to_le_bytes());
            }
            let theirs = theirs.finish128();
            assert_eq!(ours.finish(), [theirs.h1, theirs.h2]);
        }
    }
}
