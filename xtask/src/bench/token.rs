//! The tokens that the benchmarks send.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The secret that they are signed with.
pub(super) const KEY: &[u8] = b"a key for benchmarks";
/// Characters of a token.
const LENGTH: usize = 600;
/// Characters of an HS256 header and of its signature, and the two dots.
const AROUND: usize = 36 + 43 + 2;

/// A good HS256 token of 600 characters, one for every `number`, valid for an hour.
pub(super) fn token(number: usize) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let claims = |fill: &str| {
        format!(
            r#"{{"iss":"https://bench.test","aud":"bench","sub":"user-{number:08}","iat":{now},"exp":{},"fill":"{fill}"}}"#,
            now + 3_600
        )
    };
    let wanted = (LENGTH - AROUND) * 3 / 4;
    let fill = "x".repeat(wanted.saturating_sub(claims("").len()));
    let input = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims(&fill)]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    // HMAC takes a key of any length, so this never fails.
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap_or_else(|_| unreachable!());
    mac.update(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_have_their_length() {
        for number in [0, 7, 99_999_999] {
            assert_eq!(super::token(number).len(), super::LENGTH);
        }
        assert_ne!(super::token(1), super::token(2));
    }
}
