//! Public keys as HMAC secrets.
//!
//! A service that lets the token choose the algorithm may verify HS256 with the bytes of its own
//! public key as the secret (RFC 8725, section 2.1; CVE-2015-9235, CVE-2016-10555). Whoever knows
//! the public key can then sign. Which bytes the service would use depends on how it holds its
//! key, so the plausible forms are all tried.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::{key::Key, pem, spki::Public};

/// The byte forms of a public key that would serve as an HMAC secret, about 60; none for a secret.
///
/// PEM (SubjectPublicKeyInfo and PKCS#1) in each way in which it is kept in files, environment
/// variables and JSON, DER (both; also in hexadecimal), the raw point or modulus, the JWK as
/// loaded and with its required members in either usual order, alone and in a set, and the file as
/// loaded, with and without surrounding white space. Built at each call: this is not for the hot
/// path, an HMAC token for a known asymmetric key is the exception.
pub fn confusion_secrets(key: &Key) -> impl Iterator<Item = Vec<u8>> + use<> {
    let mut secrets = Vec::new();
    if let Some(public) = &key.public {
        let forms = [("PUBLIC KEY", Some(public.to_spki())), ("RSA PUBLIC KEY", public.to_pkcs1())];
        for (label, der) in forms {
            let Some(der) = der else { continue };
            pem_spellings(label, &der, &mut secrets);
            secrets.push(hex(&der));
            secrets.push(der);
        }
        match public {
            Public::Rsa { n, .. } => {
                secrets.push(n.to_vec());
                secrets.push(URL_SAFE_NO_PAD.encode(n).into_bytes());
            }
            Public::Ec { point, .. } => secrets.push(point.to_vec()),
            Public::Ed25519(x) => secrets.push(x.to_vec()),
        }
        for jwk in [public.to_jwk(), public.to_jwk_type_first()] {
            secrets.push(format!(r#"{{"keys":[{jwk}]}}"#).into_bytes());
            // As Python's json module writes it.
            secrets.push(jwk.replace("\":\"", "\": \"").replace("\",\"", "\", \"").into_bytes());
            secrets.push(jwk.into_bytes());
        }
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

/// The PEM text as tools write it, and as it looks when a tool or a setting broke its lines
/// otherwise: each also without its last line break, and with one more at either end.
fn pem_spellings(label: &str, der: &[u8], secrets: &mut Vec<Vec<u8>>) {
    let text = pem::encode(label, der);
    let text = text.trim_end();
    let base64 = STANDARD.encode(der);
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    // RFC 2045, section 6.8: lines of 76 characters, which older tools write in PEM too.
    let mut long_lines = begin.clone();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at_checked(76).unwrap_or((rest, ""));
        long_lines.push('\n');
        long_lines.push_str(line);
        rest = tail;
    }
    let long_lines = format!("{long_lines}\n{end}");
    let one_line = format!("{begin}\n{base64}\n{end}");
    for text in [text, &long_lines, &one_line] {
        secrets.push(text.as_bytes().to_vec());
        secrets.push(format!("{text}\n").into_bytes());
        secrets.push(format!("\n{text}\n").into_bytes());
        secrets.push(format!("{text}\n\n").into_bytes());
        let crlf = text.replace('\n', "\r\n");
        secrets.push(format!("{crlf}\r\n").into_bytes());
        secrets.push(crlf.into_bytes());
        // In an environment variable or a JSON string that nobody unescaped.
        let escaped = text.replace('\n', "\\n");
        secrets.push(format!("{escaped}\\n").into_bytes());
        secrets.push(escaped.into_bytes());
    }
    secrets.push(text.replace('\n', " ").into_bytes());
    secrets.push(format!("{begin}{base64}{end}").into_bytes());
    // C strings: the length with the NUL that ends it.
    secrets.push(format!("{text}\n\0").into_bytes());
    let body = text.strip_prefix(&*begin).and_then(|text| text.strip_suffix(&*end));
    secrets.push(body.unwrap_or_default().trim().as_bytes().to_vec());
    secrets.push(base64.into_bytes());
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
