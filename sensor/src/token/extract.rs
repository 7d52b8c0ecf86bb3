//! Where a request carries tokens.
//!
//! What looks like a JWT has three (JWS) or five (JWE) parts between dots, the first of which
//! begins a JSON object in base64url. In places that exist for tokens alone (`Authorization`, the
//! `DPoP` header, header fields from the config) a value that comes near to one counts as one
//! too, so that a broken token is a finding; any other credential there is opaque.

use std::{borrow::Cow, fmt};

use memchr::memmem;
use smallvec::SmallVec;

use super::{decode::Kind, show_name};
use crate::{
    base64url::{self, begins_json_object},
    http::Request,
    json::{self, Problem, Value},
};

/// Tokens of one request; more are counted and not judged.
pub const MAX_CANDIDATES: usize = 16;
/// Cookies of one request that are looked at.
pub const MAX_COOKIES: usize = 256;
/// Parameters of one query or form that are looked at.
pub const MAX_PARAMETERS: usize = 256;
/// Members of an `Authorization` or `Sec-WebSocket-Protocol` list that are looked at.
pub const MAX_LIST: usize = 32;

/// A name that is most often one of a few.
pub type Name = Cow<'static, str>;

/// Where in a request a token stands. Names are made safe to print and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// The `Authorization` field.
    Authorization,
    /// The `DPoP` field: a proof of possession, not an access token (RFC 9449).
    Dpop,
    /// The `Sec-WebSocket-Protocol` field.
    WebSocketProtocol,
    /// A field that the config names, in lower case.
    Header(Name),
    /// A cookie.
    Cookie(Name),
    /// A parameter of the request target's query.
    Query(Name),
    /// A parameter of a form.
    Form(Name),
    /// A member of an object, at any depth, in a JSON body.
    Json(Name),
    /// The body as a whole.
    Body,
}

/// The stable name in events: `authorization`, `cookie:NAME`, `query:access_token`.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Authorization => return f.write_str("authorization"),
            Self::Dpop => return f.write_str("dpop"),
            Self::WebSocketProtocol => return f.write_str("websocket-protocol"),
            Self::Body => return f.write_str("body"),
            Self::Header(name) => ("header", name),
            Self::Cookie(name) => ("cookie", name),
            Self::Query(name) => ("query", name),
            Self::Form(name) => ("form", name),
            Self::Json(name) => ("json", name),
        };
        write!(f, "{kind}:{name}")
    }
}

/// The authentication scheme in front of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `Bearer` (RFC 6750).
    Bearer,
    /// `DPoP` (RFC 9449).
    Dpop,
    /// `Token`, of several frameworks.
    Token,
    /// `JWT`, of several frameworks.
    Jwt,
    /// One that is not known, in front of what looks like a JWT.
    Other,
    /// None.
    Bare,
}

impl Scheme {
    /// The stable name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Dpop => "dpop",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Other => "other",
            Self::Bare => "bare",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        // As nearly everybody writes it.
        if word == b"Bearer" {
            return Some(Self::Bearer);
        }
        [Self::Bearer, Self::Dpop, Self::Token, Self::Jwt]
            .into_iter()
            .find(|scheme| word.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
    }
}

/// What may be a token. `Debug` shows its length only.
pub struct Candidate<'a> {
    /// Where it stands.
    pub location: Location,
    /// What stands in front of it.
    pub scheme: Scheme,
    /// What it looks like, as far as that had to be found out: else [`kind`](Self::kind) does.
    told: Option<Kind>,
    /// The token as the service gets to see it: percent-encoding and JSON escapes resolved.
    pub bytes: Cow<'a, [u8]>,
}

impl Candidate<'_> {
    /// What it looks like.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.told.unwrap_or_else(|| dedicated_kind(&self.bytes).unwrap_or(Kind::Opaque))
    }

    /// Whether [`kind`](Self::kind) is yet to be found out, from the bytes alone.
    #[must_use]
    pub fn is_to_be_read(&self) -> bool {
        self.told.is_none()
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("location", &self.location)
            .field("scheme", &self.scheme)
            .field("kind", &self.kind())
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// What a request carries.
#[derive(Debug, Default)]
pub struct Extracted<'a> {
    /// In the order of the head, then of the body.
    pub candidates: SmallVec<[Candidate<'a>; 2]>,
    /// Tokens that a body's captured beginning cuts off: seen, not judged.
    pub incomplete: u32,
    /// Tokens, cookies or parameters beyond a limit: not judged.
    pub over_limit: u32,
}

/// Finds the tokens of a request. `extra_headers` are names of further fields that carry tokens,
/// in lower case. Linear in the request.
#[must_use]
pub fn extract<'a>(request: &'a Request, extra_headers: &[Box<str>]) -> Extracted<'a> {
    let mut found = Extracted::default();
    let target = request.target();
    if let Some(at) = memchr::memchr(b'?', target) {
        let query = target.get(at + 1..).unwrap_or_default();
        let query = split(query, b'#').next().unwrap_or_default();
        found.parameters(query, &QUERY, Location::Query, true);
    }
    let mut content_type: &[u8] = b"";
    let mut bearer = request.bearer();
    for header in request.headers() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name.as_bytes());
        // The lengths tell most names apart without reading them.
        match header.name.len() {
            13 if is("authorization") => match bearer.take() {
                Some(token) => found.push(Location::Authorization, Scheme::Bearer, None, token),
                None => found.authorization(header.value, || Location::Authorization),
            },
            4 if is("dpop") => {
                let kind = dedicated_kind(header.value).unwrap_or(Kind::Jws);
                found.push(Location::Dpop, Scheme::Bare, kind, header.value);
            }
            6 if is("cookie") => found.cookies(header.value),
            12 if is("content-type") => content_type = header.value,
            22 if is("sec-websocket-protocol") => found.websocket(header.value),
            _ if extra_headers.is_empty() => {}
            _ => {
                if let Some(name) = extra_headers.iter().find(|name| is(name)) {
                    let name = show_name(name.as_bytes());
                    found.authorization(header.value, || Location::Header(name.clone()));
                }
            }
        }
    }
    if !request.body.bytes.is_empty() {
        found.body(&request.body.bytes, request.body.complete, content_type);
    }
    found
}

/// Which values of a parameter or member count as tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    /// What looks like a JWT.
    Jwt,
    /// Any: the parameter is a bearer token by RFC 6750, sections 2.2 and 2.3.
    Any,
}

const QUERY: [(&str, Accept); 4] = [
    ("access_token", Accept::Any),
    ("token", Accept::Jwt),
    ("jwt", Accept::Jwt),
    ("id_token", Accept::Jwt),
];

/// Of RFC 6749, 6750, 7009, 7521, 8693 and OpenID Connect.
const FORM: [(&str, Accept); 11] = [
    ("access_token", Accept::Any),
    ("token", Accept::Jwt),
    ("jwt", Accept::Jwt),
    ("id_token", Accept::Jwt),
    ("id_token_hint", Accept::Jwt),
    ("refresh_token", Accept::Jwt),
    ("assertion", Accept::Jwt),
    ("client_assertion", Accept::Jwt),
    ("logout_token", Accept::Jwt),
    ("subject_token", Accept::Jwt),
    ("actor_token", Accept::Jwt),
];

/// The same in JSON, with the spelling of JavaScript.
const JSON: [&str; 14] = [
    "access_token",
    "token",
    "jwt",
    "id_token",
    "id_token_hint",
    "refresh_token",
    "assertion",
    "client_assertion",
    "logout_token",
    "subject_token",
    "actor_token",
    "accessToken",
    "idToken",
    "refreshToken",
];

impl<'a> Extracted<'a> {
    fn push(
        &mut self,
        location: Location,
        scheme: Scheme,
        kind: impl Into<Option<Kind>>,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) {
        if self.candidates.len() < MAX_CANDIDATES {
            let (told, bytes) = (kind.into(), bytes.into());
            self.candidates.push(Candidate { location, scheme, told, bytes });
        } else {
            self.over_limit += 1;
        }
    }

    /// A list of credentials (RFC 9110, section 11.4, and what several fields combine to).
    fn authorization(&mut self, value: &'a [u8], location: impl Fn() -> Location) {
        // Most often neither a list nor JSON: one pass tells.
        let single = memchr::memchr2(b',', b'{', value).is_none();
        if !single && let Some((scheme, object)) = json_credentials(value) {
            self.push(location(), scheme, Kind::JwsJson, object);
            return;
        }
        if single {
            self.credentials(value, 0, &location);
            return;
        }
        for (k, item) in split(value, b',').enumerate() {
            if k == MAX_LIST {
                self.over_limit += 1;
                return;
            }
            self.credentials(item, k, &location);
        }
    }

    /// Item `k` of a list of credentials.
    fn credentials(&mut self, item: &'a [u8], k: usize, location: &impl Fn() -> Location) {
        let item = item.trim_ascii();
        let space = memchr::memchr2(b' ', b'\t', item).unwrap_or(item.len());
        let (word, rest) = item.split_at_checked(space).unwrap_or_default();
        let rest = rest.trim_ascii_start();
        if rest.is_empty() {
            // Behind the first, words of a list are parameters of a foreign scheme.
            let kind = match dedicated_kind(word) {
                None if k == 0 && !is_scheme(word) && !word.is_empty() => Some(Kind::Opaque),
                kind => kind,
            };
            if let Some(kind) = kind {
                self.push(location(), Scheme::Bare, kind, word);
            }
            return;
        }
        match Scheme::of(word) {
            Some(scheme) => {
                let token = if scheme == Scheme::Token { unwrap_token(rest) } else { rest };
                self.push(location(), scheme, None, token);
            }
            None => {
                if let Some(kind) = jwt_kind(rest) {
                    self.push(location(), Scheme::Other, kind, rest);
                }
            }
        }
    }

    fn websocket(&mut self, value: &'a [u8]) {
        /// The convention of Kubernetes' API server.
        const KUBERNETES: &[u8] = b"base64url.bearer.authorization.k8s.io.";
        let mut before: &[u8] = b"";
        for (k, item) in split(value, b',').enumerate() {
            if k == MAX_LIST {
                self.over_limit += 1;
                return;
            }
            let item = item.trim_ascii();
            if let Some(encoded) = item.strip_prefix(KUBERNETES) {
                let mut token = Vec::new();
                base64url::decode(encoded, &mut token);
                let kind = dedicated_kind(&token).unwrap_or(Kind::Opaque);
                self.push(Location::WebSocketProtocol, Scheme::Bearer, kind, token);
            } else {
                // `bearer, TOKEN`: the name of a protocol that says what the next item is.
                let scheme = Scheme::of(before);
                let announced = scheme.is_some() || before.eq_ignore_ascii_case(b"access_token");
                let kind = if announced {
                    Some(dedicated_kind(item).unwrap_or(Kind::Opaque))
                } else {
                    jwt_kind(item)
                };
                if let (Some(kind), false) = (kind, item.is_empty()) {
                    let scheme = scheme.unwrap_or(Scheme::Bare);
                    self.push(Location::WebSocketProtocol, scheme, kind, item);
                }
            }
            before = item;
        }
    }

    fn cookies(&mut self, value: &'a [u8]) {
        for (k, pair) in split(value, b';').enumerate() {
            if k == MAX_COOKIES {
                self.over_limit += 1;
                return;
            }
            let Some(at) = memchr::memchr(b'=', pair) else { continue };
            let (name, value) = pair.split_at_checked(at).unwrap_or_default();
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let value = unquote(value);
            // Some frameworks keep the whole credentials in a cookie.
            let (scheme, value) = match value.split_at_checked(6) {
                Some((word, rest)) if word.eq_ignore_ascii_case(b"bearer") => {
                    let rest = rest.strip_prefix(b"%20").unwrap_or(rest);
                    (Scheme::Bearer, rest.trim_ascii_start())
                }
                _ => (Scheme::Bare, value),
            };
            if let Some(kind) = jwt_kind(value) {
                self.push(Location::Cookie(show_name(name.trim_ascii())), scheme, kind, value);
            }
        }
    }

    /// The parameters of a query or form; `complete` where its end is its end.
    fn parameters(
        &mut self,
        pairs: &'a [u8],
        names: &[(&'static str, Accept)],
        location: impl Fn(Name) -> Location,
        complete: bool,
    ) {
        let mut pairs = split(pairs, b'&').enumerate().peekable();
        while let Some((k, pair)) = pairs.next() {
            if k == MAX_PARAMETERS {
                self.over_limit += 1;
                return;
            }
            let Some(at) = memchr::memchr(b'=', pair) else { continue };
            let (name, value) = pair.split_at_checked(at).unwrap_or_default();
            // No name that counts is longer when every byte of it is percent-encoded.
            if name.len() > 64 {
                continue;
            }
            let name = percent_decode(name);
            let Some(&(name, accept)) = names.iter().find(|(n, _)| n.as_bytes() == &*name) else {
                continue;
            };
            if !complete && pairs.peek().is_none() {
                self.incomplete += 1;
                return;
            }
            let value = percent_decode(value.get(1..).unwrap_or_default());
            let kind = match accept {
                Accept::Jwt => jwt_kind(&value),
                Accept::Any => Some(dedicated_kind(&value).unwrap_or(Kind::Opaque)),
            };
            if let (Some(kind), false) = (kind, value.is_empty()) {
                self.push(location(name.into()), Scheme::Bare, kind, value);
            }
        }
    }

    fn body(&mut self, body: &'a [u8], complete: bool, content_type: &[u8]) {
        let media_type = split(content_type, b';').next().unwrap_or_default();
        let media_type = media_type.trim_ascii();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let subtype_ends_jwt = media_type.last_chunk::<4>().is_some_and(|end| {
            end.eq_ignore_ascii_case(b"+jwt") || end.eq_ignore_ascii_case(b"/jwt")
        });
        if is("application/x-www-form-urlencoded") {
            self.parameters(body, &FORM, Location::Form, complete);
        } else if subtype_ends_jwt || is("application/jose") {
            // RFC 7519, section 10.3.1; RFC 7515, section 9.2.2; RFC 8935, section 2.
            let token = body.trim_ascii();
            if complete {
                let kind = dedicated_kind(token).unwrap_or(Kind::Opaque);
                self.push(Location::Body, Scheme::Bare, kind, token);
            } else {
                self.incomplete += 1;
            }
        } else if matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
            // Many services read JSON whatever the field says.
            self.json(body, complete);
        }
    }

    fn json(&mut self, body: &'a [u8], complete: bool) {
        // Words that every member which is looked for holds, also when letters are escaped.
        const WORDS: [&[u8]; 5] = [b"oken", b"jwt", b"ssertion", b"ignature", b"\\u00"];
        if !WORDS.iter().any(|word| memmem::find(body, word).is_some()) {
            return;
        }
        let (nodes, end) = json::scan(body);
        let root = Value::new(body, &nodes, 0);
        if end.is_ok() && complete && is_jws_json(root) {
            self.push(Location::Body, Scheme::Bare, Kind::JwsJson, body.trim_ascii());
        }
        for (name, value) in json::string_members(body, &nodes) {
            let Some(name) = json::name_among(name, &JSON) else { continue };
            let Some(value) = value.as_str() else { continue };
            if let Some(kind) = jwt_kind(value.as_bytes()) {
                let value = value.into_owned().into_bytes();
                self.push(Location::Json(name.into()), Scheme::Bare, kind, value);
            }
        }
        let cut = end.is_err_and(|error| error.problem == Problem::Incomplete) && !complete;
        let last = nodes.len().saturating_sub(1) as u32;
        if cut && json::name_among(Value::new(body, &nodes, last), &JSON).is_some() {
            self.incomplete += 1;
        }
    }
}

/// The kind of what looks like a JWT.
fn jwt_kind(value: &[u8]) -> Option<Kind> {
    if !begins_json_object(value) {
        return None;
    }
    match dots(value) {
        2 => Some(Kind::Jws),
        4 => Some(Kind::Jwe),
        _ => None,
    }
}

/// Dots in `value`, up to five. From both ends first: what lies between the first and the last one
/// is most of a token.
fn dots(value: &[u8]) -> usize {
    let Some(first) = memchr::memchr(b'.', value) else { return 0 };
    let last = memchr::memrchr(b'.', value).unwrap_or(first);
    match value.get(first + 1..last) {
        Some(between) => 2 + memchr::memchr_iter(b'.', between).take(3).count(),
        None => 1,
    }
}

/// The kind of what is a JWT, or was meant to be one, where only tokens stand.
fn dedicated_kind(value: &[u8]) -> Option<Kind> {
    /// First parts of common opaque tokens with dots: SendGrid, Google, Doppler, HashiCorp Vault,
    /// Mapbox (public, secret, temporary), PASETO.
    const FOREIGN: [&[u8]; 13] = [
        b"SG", b"ya29", b"dp", b"hvs", b"hvb", b"hvr", b"pk", b"sk", b"tk", b"v1", b"v2", b"v3",
        b"v4",
    ];
    let dots = dots(value);
    if dots < 2 && !begins_json_object(value) {
        return None;
    }
    // The longest of them has four letters.
    let first = split(value.get(..5).unwrap_or(value), b'.').next().unwrap_or_default();
    if first.len() < 5 && FOREIGN.contains(&first) {
        return None;
    }
    Some(if dots == 4 { Kind::Jwe } else { Kind::Jws })
}

/// A JWS in JSON serialisation, alone or behind a scheme for tokens. Its commas part no list.
fn json_credentials(value: &[u8]) -> Option<(Scheme, &[u8])> {
    let (before, object) = value.split_at_checked(memchr::memchr(b'{', value)?)?;
    let scheme = match before.trim_ascii() {
        b"" => Scheme::Bare,
        word => Scheme::of(word)?,
    };
    let (nodes, end) = json::scan(object);
    (end.is_ok() && is_jws_json(Value::new(object, &nodes, 0))).then_some((scheme, object))
}

/// Names of schemes that may stand alone, without credentials.
fn is_scheme(word: &[u8]) -> bool {
    Scheme::of(word).is_some()
        || ["basic", "digest", "negotiate", "ntlm", "kerberos"]
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// The token in `token="TOKEN"`, as Rails reads the scheme `Token`.
fn unwrap_token(credentials: &[u8]) -> &[u8] {
    credentials.strip_prefix(b"token=").map_or(credentials, unquote)
}

/// The pieces between the bytes `at`, as `slice::split` gives them, but not byte by byte.
fn split(text: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr(at, text);
        rest = end.and_then(|end| text.get(end + 1..));
        text.get(..end.unwrap_or(text.len()))
    })
}

fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}

/// Whether a JSON body is a JWS: `payload` alone beside `signature` is common in webhooks.
fn is_jws_json(root: Value<'_>) -> bool {
    fn text<'v>(value: Value<'v>, name: &str) -> Option<Cow<'v, str>> {
        value.get(name).and_then(Value::as_str)
    }
    let signed = |value: Value<'_>| {
        text(value, "signature").is_some()
            && (text(value, "protected").is_some_and(|p| begins_json_object(p.as_bytes()))
                || value.get("header").is_some_and(|h| h.get("alg").is_some()))
    };
    text(root, "payload").is_some()
        && match root.get("signatures") {
            Some(list) => list.elements().next().is_some_and(signed),
            None => signed(root),
        }
}

/// Resolves percent-encoding and `+` as forms have it (WHATWG URL, section 5.1). A `%` that no
/// two hexadecimal digits follow stands for itself.
fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr2(b'%', b'+', text) else { return Cow::Borrowed(text) };
    let (plain, mut rest) = text.split_at_checked(first).unwrap_or_default();
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(plain);
    let digit = |d: u8| char::from(d).to_digit(16).map(|v| v as u8);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        out.push(match (byte, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => byte,
            },
            _ => byte,
        });
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
