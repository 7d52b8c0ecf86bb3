//! JSON Web Tokens for tests: good ones, and the forgeries that a service must refuse.
//!
//! Everything is made from the bytes given, nothing is checked: a test wants to say exactly
//! what goes over the wire.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The secret of the tokens of the capture cases: everyone may know it.
pub const SECRET: &[u8] = b"jotwatch-test-secret-not-a-secret-at-all";

/// The header of an ordinary HS256 token.
pub const HS256_HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Base64url without padding (RFC 7515, section 2).
#[must_use]
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with these bytes as header and payload, signed with HMAC-SHA-256 (RFC 7518,
/// section 3.2) whatever the header says.
#[must_use]
pub fn sign(header: &str, payload: &str, key: &[u8]) -> String {
    let input = format!("{}.{}", base64url(header), base64url(payload));
    // HMAC takes a key of any length, so this never fails.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    mac.update(input.as_bytes());
    format!("{input}.{}", base64url(mac.finalize().into_bytes()))
}

/// Ed25519 key `number`: its seed is that byte, 32 times.
fn key(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a seed of 32 bytes")
}

/// Signs a header and payload with Ed25519 key `number`.
#[must_use]
pub fn ed25519(number: u8, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", base64url(header), base64url(payload));
    format!("{input}.{}", base64url(key(number).sign(input.as_bytes())))
}

/// The public JWK of Ed25519 key `number`, its members as RFC 7638 orders them.
#[must_use]
pub fn ed25519_jwk(number: u8) -> String {
    let x = base64url(key(number).public_key());
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
}

/// The thumbprint of Ed25519 key `number` (RFC 7638).
#[must_use]
pub fn thumbprint(number: u8) -> String {
    base64url(sha256(ed25519_jwk(number).as_bytes()))
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// An ordinary HS256 token.
#[must_use]
pub fn hs256(claims: &Value, key: &[u8]) -> String {
    sign(HS256_HEADER, &claims.to_string(), key)
}

/// An unsigned token (RFC 7519, section 6) whose header names `alg`, so `none`, `None`, ...
#[must_use]
pub fn unsigned(alg: &str, claims: &Value) -> String {
    let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
    bare(&header, &claims.to_string())
}

/// Header and payload with nothing behind the last dot.
#[must_use]
pub fn bare(header: &str, payload: &str) -> String {
    format!("{}.{}.", base64url(header), base64url(payload))
}

/// `token` without its signature, the header unchanged.
#[must_use]
pub fn strip_signature(token: &str) -> String {
    let end = token.rfind('.').map_or(token.len(), |dot| dot + 1);
    token[..end].to_owned()
}

/// `token` with other claims under the old signature.
#[must_use]
pub fn swap_payload(token: &str, claims: &Value) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    let payload = base64url(claims.to_string());
    if let Some(part) = parts.get_mut(1) {
        *part = &payload;
    }
    parts.join(".")
}

/// The claims of a capture case's ordinary token.
#[must_use]
pub fn claims(subject: &str) -> String {
    format!(
        r#"{{"iss":"https://issuer.example","sub":"{subject}","aud":"api","iat":1767322800,"exp":1767326400}}"#
    )
}

/// A capture case's ordinary token: always the same bytes, and nothing wrong about it.
#[must_use]
pub fn good(subject: &str) -> String {
    sign(HS256_HEADER, &claims(subject), SECRET)
}

/// The same, which says of itself that it is not signed.
#[must_use]
pub fn alg_none(subject: &str) -> String {
    bare(r#"{"alg":"none","typ":"JWT"}"#, &claims(subject))
}

/// An ordinary token of about `len` characters: exact to 2, for a token has no other lengths.
#[must_use]
pub fn sized(subject: &str, len: usize) -> String {
    let plain = good(subject);
    let member = r#","pad":"""#.len();
    let padding = (len.saturating_sub(plain.len()) * 3 / 4).saturating_sub(member);
    let claims = claims(subject);
    let claims = claims.strip_suffix('}').expect("an object");
    sign(HS256_HEADER, &format!(r#"{claims},"pad":"{}"}}"#, "x".repeat(padding)), SECRET)
}

/// Seconds since the Unix epoch, `offset` seconds from now, for `exp`, `nbf` and `iat`.
#[must_use]
pub fn seconds_from_now(offset: i64) -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX).saturating_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_like_the_example_of_rfc_7515() {
        // RFC 7515, appendix A.1.
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let token = sign(
            "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}",
            "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}",
            &key,
        );
        assert!(token.ends_with(".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "{token}");
    }

    #[test]
    fn makes_tokens_of_a_size() {
        for len in 300..700 {
            assert!(sized("user-1", len).len().abs_diff(len) <= 2);
        }
    }

    #[test]
    fn forgeries_keep_what_they_do_not_change() {
        let token = hs256(&serde_json::json!({"sub": "ann"}), b"key");
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("not three parts: {token}");
        };
        assert_eq!(strip_signature(&token), format!("{header}.{payload}."));
        let swapped = swap_payload(&token, &serde_json::json!({"sub": "eve"}));
        assert!(swapped.starts_with(header) && swapped.ends_with(signature));
        assert!(!swapped.contains(payload));
    }
}
