//! A shop that checks its tokens badly, for the demo to watch.
//!
//! `POST /login` issues HS256 tokens, `/orders` wants a token, `/admin/users` one with the
//! role `admin`. Each of its mistakes has been made by real services:
//!
//! - `alg` none in any case is taken as "nothing to verify" (RFC 8725, section 3.1);
//! - so is an empty signature;
//! - a key that the token itself brings verifies it (CVE-2018-0114);
//! - the signing key is a word from a list (RFC 8725, section 3.5);
//! - `crit` and `exp` are not looked at, base64url is decoded leniently, and of two members
//!   of one name the last counts;
//! - tokens are taken from the query, and the last of several `Authorization` fields counts;
//! - `Transfer-Encoding` is ignored, so a body ends where `Content-Length` says.
//!
//! Never run it where anybody but the demo reaches it.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD,
    },
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// The signing key.
pub(crate) const KEY: &[u8] = b"secret";
/// Bytes of a request, head and body.
const MAX_REQUEST: usize = 128 * 1024;
/// How long a connection may be silent.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// How long a token lives, in seconds.
const LIFETIME: u64 = 3_600;

/// Base64url that takes padding, and spare bits that are not zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Serves every connection on a thread of its own, until the process ends.
pub(crate) fn serve(listener: &TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || {
            // A client that sends nonsense or goes away loses its connection, no more.
            connection(stream).ok();
        });
    }
}

/// An HMAC-SHA-256 signature over a token's first two parts.
pub(crate) fn signature(input: &str, key: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length, so this never fails.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    mac.update(input.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn connection(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(IDLE_LIMIT))?;
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        if let httparse::Status::Complete(head) = request.parse(&input)? {
            let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
            let field = |name: &str| {
                let mut named = request.headers.iter().rev();
                let found = named.find(|field| field.name.eq_ignore_ascii_case(name))?;
                std::str::from_utf8(found.value).ok().map(str::trim)
            };
            let length = field("content-length").map_or(Ok(0), str::parse::<usize>)?;
            let end = head.saturating_add(length);
            if let Some(body) = input.get(head..end) {
                let (status, answer) = answer(method, target, field("authorization"), body);
                let answer = answer.to_string();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                    answer.len(),
                );
                stream.write_all(answer.as_bytes())?;
                input.drain(..end);
                continue;
            }
        }
        let mut buffer = [0; 16 * 1024];
        let read = stream.read(&mut buffer)?;
        input.extend_from_slice(&buffer[..read]);
        ensure!(read > 0 && input.len() <= MAX_REQUEST, "closed, or too large");
    }
}

fn answer(
    method: &str,
    target: &str,
    authorization: Option<&str>,
    body: &[u8],
) -> (&'static str, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if (method, path) == ("POST", "/login") {
        return login(body);
    }
    let token = authorization
        .and_then(|value| value.strip_prefix("Bearer "))
        .or_else(|| query.split('&').find_map(|pair| pair.strip_prefix("access_token=")));
    let claims = match token.map(claims) {
        Some(Ok(claims)) => claims,
        Some(Err(error)) => return ("401 Unauthorized", json!({"error": error.to_string()})),
        None => return ("401 Unauthorized", json!({"error": "no token"})),
    };
    match (method, path) {
        ("GET", "/orders") => ("200 OK", json!({"customer": claims["sub"], "orders": [17, 18]})),
        ("GET", "/orders/17") => ("200 OK", json!({"id": 17, "item": "lamp", "price": 40})),
        ("POST", "/orders") => ("201 Created", json!({"id": 19})),
        ("GET", "/admin/users") if claims["role"] == "admin" => (
            "200 OK",
            json!([{"name": "ann", "card": "4111..."}, {"name": "bob", "card": "5500..."}]),
        ),
        ("GET", "/admin/users") => ("403 Forbidden", json!({"error": "not an admin"})),
        _ => ("404 Not Found", json!({"error": "no such thing"})),
    }
}

fn login(body: &[u8]) -> (&'static str, Value) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let user = body["user"].as_str().unwrap_or_default();
    if !["ann", "bob"].contains(&user) || body["password"] != body["user"] {
        return ("401 Unauthorized", json!({"error": "unknown user or password"}));
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let claims = json!({
        "iss": "https://shop.test", "aud": "orders", "sub": user, "role": "customer",
        "iat": now, "exp": now + LIFETIME,
    });
    let input = [json!({"alg": "HS256", "typ": "JWT"}), claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
        .join(".");
    let signature = URL_SAFE_NO_PAD.encode(signature(&input, KEY));
    ("200 OK", json!({"token": format!("{input}.{signature}")}))
}

/// What passes for a token's verification here.
fn claims(token: &str) -> Result<Value> {
    let (input, signed) = token.rsplit_once('.').context("not a token")?;
    let (header, payload) = input.split_once('.').context("not a token")?;
    let header: Value = serde_json::from_slice(&LENIENT.decode(header)?)?;
    let payload = serde_json::from_slice(&LENIENT.decode(payload)?)?;
    let alg = header["alg"].as_str().unwrap_or_default().to_ascii_lowercase();
    if alg == "none" || signed.is_empty() {
        return Ok(payload);
    }
    if alg != "hs256" {
        bail!("unknown algorithm");
    }
    let key = match header["jwk"]["k"].as_str() {
        Some(key) => LENIENT.decode(key)?,
        None => KEY.to_vec(),
    };
    ensure!(LENIENT.decode(signed)? == signature(input, &key), "bad signature");
    Ok(payload)
}
