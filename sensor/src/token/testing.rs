//! What the tests of the token stage share.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::{
    http::{Body, Request},
    time::Time,
};

/// base64url without padding, of any bytes.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in bytes.as_ref().chunks(3) {
        let word =
            three.iter().fold(0_u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for k in 0..=three.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * k)) as usize & 63]));
        }
    }
    out
}

/// A compact JWS of this header and payload, under a signature of 32 bytes.
pub(crate) fn jws(header: &str, payload: &str) -> String {
    let signature: Vec<u8> = (0..32).map(|k| k * 7 + 1).collect();
    format!("{}.{}.{}", encode(header), encode(payload), encode(signature))
}

/// A token without fault of this subject.
pub(crate) fn good(subject: &str) -> String {
    jws(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &format!(r#"{{"iss":"https://issuer.example","sub":"{subject}","aud":"api"}}"#),
    )
}

fn key(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap()
}

/// The public JWK of Ed25519 key `number`, as its thumbprint is taken (RFC 7638).
pub(crate) fn jwk(number: u8) -> String {
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(key(number).public_key()))
}

/// A compact JWS of this header and payload under Ed25519 key `number`.
pub(crate) fn sign(number: u8, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    format!("{input}.{}", encode(key(number).sign(input.as_bytes())))
}

/// A request from its head's lines, the request line first, and its body.
pub(crate) fn request(lines: &[&str], body: &[u8], complete: bool) -> Request {
    let mut head = Vec::new();
    let mut spans = Vec::new();
    for line in lines {
        spans.push((head.len() as u32, (head.len() + line.len()) as u32));
        head.extend_from_slice(line.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let find = |(start, end): (u32, u32), byte: u8| {
        let line = &head[start as usize..end as usize];
        start + line.iter().position(|b| *b == byte).unwrap() as u32
    };
    let (line, fields) = spans.split_first().unwrap();
    let method = (line.0, find(*line, b' '));
    let target = (method.1 + 1, find((method.1 + 1, line.1), b' '));
    let headers = fields
        .iter()
        .map(|&field| {
            let colon = find(field, b':');
            let value = &head[colon as usize + 1..field.1 as usize];
            let start = colon + 1 + (value.len() - value.trim_ascii_start().len()) as u32;
            let end = start + value.trim_ascii().len() as u32;
            ((field.0, colon), (start, end))
        })
        .collect();
    Request {
        method,
        target,
        minor_version: 1,
        headers,
        shape: Default::default(),
        head,
        body: Body { bytes: body.to_vec(), complete },
        first_byte: Time::EPOCH,
        last_byte: Time::EPOCH,
        findings: Vec::new(),
    }
}

/// A request for `target` with these fields and no body.
pub(crate) fn get(target: &str, fields: &[&str]) -> Request {
    let line = format!("GET {target} HTTP/1.1");
    let lines: Vec<&str> = std::iter::once(&*line).chain(fields.iter().copied()).collect();
    request(&lines, b"", true)
}

/// A request with a body of this type.
pub(crate) fn post(content_type: &str, body: &[u8], complete: bool) -> Request {
    let field = format!("Content-Type: {content_type}");
    request(&["POST / HTTP/1.1", "Host: a", &field], body, complete)
}

/// A file of the shared test data, or `None`, said on stderr, where there is none.
pub(crate) fn data(path: &str) -> Option<std::path::PathBuf> {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = workspace.join("../shared/data").join(path);
    if !path.exists() {
        eprintln!("skipped: no test data at {}", path.display());
        return None;
    }
    Some(path)
}
