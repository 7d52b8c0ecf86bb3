//! Public keys as HMAC secrets.
//!
//! A service that lets the token choose the algorithm may verify HS256 with the bytes of its own
//! public key as the secret (RFC 8725, section 2.1; CVE-2015-9235, CVE-2016-10555). Whoever knows
//! the public key can then sign. Which bytes the service would use depends on how it holds its
//! key, so the plausible forms are all tried.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{key::Key, pem, spki::Public};

/// The byte forms of a public key that would serve as an HMAC secret, about 20; none for a secret.
///
/// PEM (SubjectPublicKeyInfo and PKCS#1; with LF, without the last one, with CRLF; the base64 on
/// one line), DER (both), the raw point, the JWK as loaded and in its canonical form (RFC 7638),
/// and the file as loaded, with and without surrounding white space. Built at each call: this is
/// not for the hot path, an HMAC token for a known asymmetric key is the exception.
pub fn confusion_secrets(key: &Key) -> impl Iterator<Item = Vec<u8>> + use<> {
    let mut secrets = Vec::new();
    if let Some(public) = &key.public {
        let forms = [("PUBLIC KEY", Some(public.to_spki())), ("RSA PUBLIC KEY", public.to_pkcs1())];
        for (label, der) in forms {
            let Some(der) = der else { continue };
            let text = pem::encode(label, &der);
            secrets.push(text.trim_end().as_bytes().to_vec());
            let crlf = text.replace('\n', "\r\n");
            secrets.push(crlf.trim_end().as_bytes().to_vec());
            secrets.push(crlf.into_bytes());
            secrets.push(text.into_bytes());
            secrets.push(STANDARD.encode(&der).into_bytes());
            secrets.push(der);
        }
        match public {
            Public::Rsa { n, .. } => secrets.push(n.to_vec()),
            Public::Ec { point, .. } => secrets.push(point.to_vec()),
            Public::Ed25519(x) => secrets.push(x.to_vec()),
        }
        secrets.push(public.to_jwk().into_bytes());
        for loaded in &key.loaded {
            secrets.push(loaded.to_vec());
            secrets.push(loaded.trim_ascii().to_vec());
            secrets.push([loaded.trim_ascii(), b"\n"].concat());
        }
        secrets.sort_unstable();
        secrets.dedup();
    }
    secrets.into_iter()
}
