//! What stands for a token on the denylist.
#![forbid(unsafe_code)]

use jotwatch_common::guard::{scan, sip::Secret};

use super::tables::TokenKey;
use crate::token::FingerprintKey;

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
        TokenKey(scan::deny_key(self.0, token))
    }
}

#[cfg(test)]
mod tests {
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
}
