//! What stands for a token where segments are looked up: in the tables of enforcement.
#![forbid(unsafe_code)]

use std::fmt;

use jotwatch_common::guard::{scan, sip::Secret};
use memchr::{memchr, memrchr};
use smallvec::SmallVec;

use super::FingerprintKey;

/// Characters that a signature has at least to be told by its own bytes.
const MIN_SIGNATURE_CHARS: usize = (scan::MIN_SIGNATURE as usize * 8).div_ceil(6);

/// What a token is denied by: a keyed hash of its signature's bytes, or of the whole of a token that
/// has none. It stays the same whatever is done to the token that leaves the signature as it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey(pub [u64; 2]);

/// What a judged token is let pass by: a keyed hash of every byte of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllowKey(pub [u64; 2]);

macro_rules! shown_as_hex {
    ($key:ident) => {
        /// 32 hexadecimal digits.
        impl fmt::Display for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
            }
        }

        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($key), "({})"), self)
            }
        }
    };
}

shown_as_hex!(TokenKey);
shown_as_hex!(AllowKey);

impl TokenKey {
    /// Reads what [`Display`](fmt::Display) writes, in either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let whole = u128::from_str_radix(text, 16).ok()?;
        Some(Self([(whole >> 64) as u64, whole as u64]))
    }
}

/// Makes deny keys, as the kernel programs make them: see [`scan`]. Their secret is derived from
/// the fingerprints' key and serves nothing else. Nobody without it can tell which token a key
/// stands for, or make two tokens share one.
#[derive(Clone, Copy, Debug)]
pub struct TokenKeys(Secret);

impl TokenKeys {
    /// Deny keys of the installation with this fingerprint key.
    #[must_use]
    pub fn new(key: &FingerprintKey) -> Self {
        let derived = key.fingerprint(b"jotwatch deny key");
        let (low, high) = derived.as_bytes().split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |w, &b| w << 8 | u64::from(b));
        Self(Secret([word(low), word(high)]))
    }

    /// The secret that the kernel programs are given.
    #[must_use]
    pub const fn secret(&self) -> Secret {
        self.0
    }

    /// The deny key of a token: of its signature's bytes, and of the whole of a token without one.
    #[must_use]
    pub fn of(&self, token: &[u8]) -> TokenKey {
        let Some(signature) = plain_signature(token) else {
            return TokenKey(scan::deny_key(self.0, token));
        };
        // The scanner takes bytes one by one, and of such a token only these count: it is given
        // a short one with the same.
        let mut short: SmallVec<[u8; 512]> = SmallVec::from_slice(b"a.a.");
        short.extend_from_slice(signature);
        TokenKey(scan::deny_key(self.0, &short))
    }
}

/// The signature of a token in compact serialisation of which every byte is in its place, and
/// whose signature is long enough to stand for it.
fn plain_signature(token: &[u8]) -> Option<&[u8]> {
    let (before, signature) = token.split_at_checked(memrchr(b'.', token)? + 1)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    // Folded, not searched: the compiler then looks at many bytes at once.
    let all = token.iter().fold(true, |all, &b| all & plain(b));
    let dotted = memchr(b'.', before)? + 1 < before.len();
    (all && dotted && signature.len() >= MIN_SIGNATURE_CHARS).then_some(signature)
}

#[cfg(test)]
mod tests {
    use jotwatch_common::guard::scan;
    use proptest::{collection::vec, prelude::*};

    use super::TokenKeys;
    use crate::{event::samples::TOKEN, token::FingerprintKey};

    #[test]
    fn only_the_signature_counts_and_its_spelling_does_not() {
        let keys = TokenKeys::new(&FingerprintKey::new([1; 16]));
        let of = |token: &str| keys.of(token.as_bytes());
        let due = of(TOKEN);
        // Its 32 bytes leave 2 bits of the last character unused: `o` may be `p`, `q` or `r`.
        let same = format!("{}p", TOKEN.strip_suffix('o').unwrap());
        assert_eq!(of(&same), due);
        assert_eq!(of(&format!("{TOKEN}=")), due);
        let (header, rest) = TOKEN.split_once('.').unwrap();
        let signature = rest.split_once('.').unwrap().1;
        assert_eq!(of(&format!("{header}.e30.{signature}")), due);
        assert_ne!(of(&format!("{}8", TOKEN.strip_suffix('o').unwrap())), due);
        assert_ne!(TokenKeys::new(&FingerprintKey::new([2; 16])).of(TOKEN.as_bytes()), due);
        // Without a signature all of it counts.
        assert_ne!(of("eyJhbGciOiJub25lIn0.e30."), of("eyJhbGciOiJub25lIn0.e2F9."));
        assert_ne!(of("an-opaque-credential-of-some-length"), of("another-opaque-credential"));
    }

    proptest! {
        /// The short way gives what the scanner gives, which the kernel programs have.
        #[test]
        fn the_keys_are_the_scanners(
            parts in vec(prop_oneof![
                "[A-Za-z0-9_-]{0,40}",
                "[A-Za-z0-9_-]{20,24}",
                "[A-Za-z0-9_+/=%:; -]{0,30}",
                ".{0,6}",
            ], 0..6),
        ) {
            let token = parts.join(".");
            let keys = TokenKeys::new(&FingerprintKey::new([1; 16]));
            let scanned = scan::deny_key(keys.secret(), token.as_bytes());
            prop_assert_eq!(keys.of(token.as_bytes()).0, scanned, "{}", token);
        }
    }
}
