//! Tokens for the tests: always the same bytes, signed with a secret that everyone may know.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The HS256 secret of every test token.
pub const SECRET: &[u8] = b"jotwatch-test-secret-not-a-secret-at-all";

/// The header of an ordinary token.
pub const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// base64url without padding (RFC 7515, section 2).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            (0..3).fold(0, |word, k| word << 8 | chunk.get(k).map_or(0, |&b| usize::from(b)));
        for k in 0..=chunk.len() {
            out.push(char::from(ALPHABET[word >> (18 - 6 * k) & 63]));
        }
    }
    out
}

/// Signs any header and payload with HS256, whatever the header says.
#[must_use]
pub fn sign(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("HMAC takes any key");
    mac.update(input.as_bytes());
    format!("{input}.{}", base64url(&mac.finalize().into_bytes()))
}

/// Ed25519 key `number`: its seed is that byte, 32 times.
fn key(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a seed of 32 bytes")
}

/// Signs a header and payload with Ed25519 key `number`.
#[must_use]
pub fn ed25519(number: u8, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
    format!("{input}.{}", base64url(key(number).sign(input.as_bytes()).as_ref()))
}

/// The public JWK of Ed25519 key `number`, its members as RFC 7638 orders them.
#[must_use]
pub fn ed25519_jwk(number: u8) -> String {
    let x = base64url(key(number).public_key().as_ref());
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
}

/// The thumbprint of Ed25519 key `number` (RFC 7638).
#[must_use]
pub fn thumbprint(number: u8) -> String {
    base64url(&sha256(ed25519_jwk(number).as_bytes()))
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Header and payload with nothing behind the last dot.
#[must_use]
pub fn unsigned(header: &str, payload: &str) -> String {
    format!("{}.{}.", base64url(header.as_bytes()), base64url(payload.as_bytes()))
}

/// The claims of an ordinary token.
#[must_use]
pub fn claims(subject: &str) -> String {
    format!(
        r#"{{"iss":"https://issuer.example","sub":"{subject}","aud":"api","iat":1767322800,"exp":1767326400}}"#
    )
}

/// An ordinary token with nothing wrong about it.
#[must_use]
pub fn good(subject: &str) -> String {
    sign(HEADER, &claims(subject))
}

/// A token that says of itself that it is not signed.
#[must_use]
pub fn alg_none(subject: &str) -> String {
    unsigned(r#"{"alg":"none","typ":"JWT"}"#, &claims(subject))
}

/// An ordinary token of about `len` characters: exact to 2, for a token has no other lengths.
#[must_use]
pub fn sized(subject: &str, len: usize) -> String {
    let plain = good(subject);
    let member = r#","pad":"""#.len();
    let padding = (len.saturating_sub(plain.len()) * 3 / 4).saturating_sub(member);
    let claims = claims(subject);
    let claims = claims.strip_suffix('}').expect("an object");
    sign(HEADER, &format!(r#"{claims},"pad":"{}"}}"#, "x".repeat(padding)))
}

#[cfg(test)]
mod tests {
    use super::{base64url, sized};

    #[test]
    fn encodes_as_rfc_4648_shows() {
        for (bytes, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")]
        {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn makes_tokens_of_a_size() {
        for len in 300..700 {
            assert!(sized("user-1", len).len().abs_diff(len) <= 2);
        }
    }
}
