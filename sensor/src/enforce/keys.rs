//! What stands for a token on the denylist.
#![forbid(unsafe_code)]

use siphasher::sip128::SipHasher24;

use super::tables::TokenKey;
use crate::token::{DecodeOptions, FingerprintKey, decode};

/// Makes deny keys: SipHash-2-4 with 128 bits of output over a signature's decoded bytes, under a
/// key that is derived from the fingerprints' and serves nothing else. Nobody without it can tell
/// which token a key stands for, or make two tokens share one.
#[derive(Clone)]
pub struct TokenKeys([u8; 16]);

impl TokenKeys {
    /// Deny keys of the installation with this fingerprint key.
    #[must_use]
    pub fn new(key: &FingerprintKey) -> Self {
        Self(*key.fingerprint(b"jotwatch deny key").as_bytes())
    }

    /// The deny key of a signature's decoded bytes; none of an empty signature, which all unsigned
    /// tokens share.
    #[must_use]
    pub fn of_signature(&self, signature: &[u8]) -> Option<TokenKey> {
        if signature.is_empty() {
            return None;
        }
        let hash = SipHasher24::new_with_key(&self.0).hash(signature);
        Some(TokenKey([hash.h1, hash.h2]))
    }

    /// The deny key of a whole token.
    #[must_use]
    pub fn of_token(&self, token: &[u8]) -> Option<TokenKey> {
        let options = DecodeOptions { claims: false, ..DecodeOptions::default() };
        let decoded = decode(token, &options);
        let signature = decoded.signatures().next()?;
        self.of_signature(signature.bytes())
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::TokenKeys;
    use crate::{event::samples::TOKEN, token::FingerprintKey};

    #[test]
    fn only_the_signature_counts_and_its_spelling_does_not() {
        let keys = TokenKeys::new(&FingerprintKey::new([1; 16]));
        let of = |token: &str| keys.of_token(token.as_bytes());
        let due = of(TOKEN).unwrap();
        // Its 32 bytes leave 2 bits of the last character unused: `o` may be `p`, `q` or `r`.
        let same = format!("{}p", TOKEN.strip_suffix('o').unwrap());
        assert_eq!(of(&same), Some(due));
        assert_eq!(of(&format!("{TOKEN}=")), Some(due));
        let (header, rest) = TOKEN.split_once('.').unwrap();
        let signature = rest.split_once('.').unwrap().1;
        assert_eq!(of(&format!("{header}.e30.{signature}")), Some(due));
        assert_ne!(of(&format!("{}8", TOKEN.strip_suffix('o').unwrap())), Some(due));
        assert_ne!(
            TokenKeys::new(&FingerprintKey::new([2; 16])).of_token(TOKEN.as_bytes()),
            Some(due)
        );
        for none in ["eyJhbGciOiJub25lIn0.e30.", "no token", ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
