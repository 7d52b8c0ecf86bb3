//! The last line before any output: a credential never leaves the sensor.
//!
//! [`bytes`] and [`text`] replace by [`MARK`] what looks like one in text that is about to be
//! shown (a request target, a user agent, a claim, a detail):
//!
//! - a JSON Web Token (RFC 7515, 7516, 7519): a base64url JSON object of [`HEADER_MIN`] characters
//!   or more, a dot, and what follows up to a character that can't belong to a token. Header and
//!   payload alone (a token that was cut) count when the header has [`CUT_HEADER_MIN`] characters.
//!   Standard base64, padding, an encrypted token's five parts and an SD-JWT's disclosures count.
//! - the value of a query or form parameter that carries a credential: see [`is_credential`].
//! - `Bearer` or `DPoP` and a credential of [`BEARER_MIN`] bytes or more.
//! - the user information of a URL (RFC 3986, section 3.2.1).
//!
//! All of it also where characters are percent-encoded, once or more often. A JSON object in
//! base64url without a dot behind it is no token and stays.
//!
//! Control characters end none of it, line feeds neither: they are in no prose that is shown, and who
//! takes a target as it is may take them, and pass over them, in the middle of a token.
//!
//! In the path of a request target a `/` ends a token, elsewhere it may belong to one. Text is
//! redacted whole before it is cut to a limit, so that no part of a token is left.
#![forbid(unsafe_code)]

#[cfg(test)]
pub(crate) mod debug_tests;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr3_iter, memmem};
use smallvec::SmallVec;

/// What stands in the place of a credential.
pub const MARK: &str = "[redacted]";
/// Characters that a token's header part has at least: `{"alg":""}` takes 14.
pub const HEADER_MIN: usize = 8;
/// Characters that the header part has at least where only two parts are seen, or where it
/// starts in the middle of a word.
pub const CUT_HEADER_MIN: usize = 12;
/// Bytes that a credential behind `Bearer` has at least; shorter ones are prose.
pub const BEARER_MIN: usize = 16;
/// Bytes that an OAuth 2.0 authorization code has at least; a shorter `code` is a country.
pub const CODE_MIN: usize = 16;
/// White space that may stand before the JSON object of a header.
const HEADER_SPACE_MAX: usize = 64;
/// The longest name of a credential parameter, without `-` and `_`.
const NAME_MAX: usize = 20;

/// A half-open range of the text.
type Span = (usize, usize);
type Spans = SmallVec<[Span; 4]>;

/// `text` with every credential replaced by [`MARK`]; borrowed where there is none.
#[must_use]
pub fn bytes(text: &[u8]) -> Cow<'_, [u8]> {
    let spans = match memchr(b'%', text) {
        None => scan(text, |_| 0),
        Some(_) => scan_decoded(text),
    };
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in spans {
        if end <= at {
            continue;
        }
        // A span that begins inside the one before prolongs it.
        if start > at || at == 0 {
            out.extend_from_slice(text.get(at..start).unwrap_or_default());
            out.extend_from_slice(MARK.as_bytes());
        }
        at = end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Cow::Owned(out)
}

/// As [`bytes`], of text that is UTF-8.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    match bytes(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
    }
}

macro_rules! credentials {
    ($($name:literal)*) => {
        /// Whether a parameter of this name carries a credential. `name` is in lower case without
        /// `-` and `_`.
        ///
        /// OAuth 2.0 and OpenID Connect parameters, passwords, API keys, session ids that travel
        /// in the target, and the signatures of pre-signed URLs. `code` is judged by its length
        /// as well.
        #[must_use]
        pub fn is_credential(name: &[u8]) -> bool {
            matches!(name, $($name)|*)
        }

        #[cfg(test)]
        const NAMES: &[&[u8]] = &[$($name),*];
    };
}

credentials! {
    b"token"
    b"accesstoken"
    b"idtoken"
    b"idtokenhint"
    b"refreshtoken"
    b"authtoken"
    b"bearertoken"
    b"sessiontoken"
    b"securitytoken"
    b"xamzsecuritytoken"
    b"jwt"
    b"bearer"
    b"authorization"
    b"assertion"
    b"clientassertion"
    b"samlresponse"
    b"code"
    b"apikey"
    b"xapikey"
    b"password"
    b"passwd"
    b"pwd"
    b"passphrase"
    b"secret"
    b"clientsecret"
    b"sessionid"
    b"jsessionid"
    b"phpsessid"
    b"sig"
    b"signature"
    b"xamzsignature"
    b"xgoogsignature"
}

/// Whether a credential's name ends in these two letters.
fn ends_credential(c: u8, d: u8) -> bool {
    matches!(
        &[c.to_ascii_lowercase(), d.to_ascii_lowercase()],
        b"de"
            | b"en"
            | b"er"
            | b"et"
            | b"ey"
            | b"id"
            | b"ig"
            | b"nt"
            | b"on"
            | b"rd"
            | b"re"
            | b"se"
            | b"wd"
            | b"wt"
    )
}

/// Scans the text with its percent-encoding undone; gives spans of the text as it stands.
fn scan_decoded(text: &[u8]) -> Spans {
    let mut plain = SmallVec::<[u8; 256]>::new();
    // Where each byte of `plain` starts in `text`, and behind the last one the text's length.
    let mut starts = SmallVec::<[usize; 256]>::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let (byte, len) = if byte == b'%' { unit(text, at) } else { (byte, 1) };
        plain.push(byte);
        starts.push(at);
        at += len;
    }
    starts.push(text.len());
    let start = |i: usize| starts.get(i).copied().unwrap_or(text.len());
    let mut spans = scan(&plain, |i| start(i + 1).saturating_sub(start(i)) / 2);
    for (from, to) in &mut spans {
        (*from, *to) = (start(*from), start(*to));
    }
    spans
}

/// The byte that `%` at `at` stands for, however often it was encoded (`%2E`, `%252E`), and how
/// many bytes it takes; the `%` itself where no two hexadecimal digits follow.
fn unit(text: &[u8], at: usize) -> (u8, usize) {
    let rest = text.get(at + 1..).unwrap_or_default();
    let mut levels = 0;
    // `%2525…` is consumed here once: its bytes are not visited again.
    while rest.get(levels * 2..levels * 2 + 2) == Some(b"25") {
        levels += 1;
    }
    let digit = |i: usize| rest.get(i).and_then(|&c| char::from(c).to_digit(16));
    match (digit(levels * 2), digit(levels * 2 + 1)) {
        (Some(high), Some(low)) => ((high * 16 + low) as u8, 3 + levels * 2),
        _ => (b'%', 1 + levels * 2),
    }
}

/// The spans of `b` that hold credentials, ascending by start. `depth` says how often a byte
/// was percent-encoded.
fn scan(b: &[u8], depth: impl Fn(usize) -> usize) -> Spans {
    let mut spans = Spans::new();
    let mut done = 0;
    let mut path = None;
    for at in memchr3_iter(b'=', b'.', b' ', b) {
        if at < done {
            continue;
        }
        let found = match b.get(at) {
            Some(b'=') => credential(b, at, &depth, &mut path),
            Some(b'.') => token(b, at, done, &depth, &mut path),
            _ => bearer(b, at),
        };
        if let Some(span) = found {
            spans.push(span);
            done = span.1;
        }
    }
    if memchr(b'@', b).is_some() {
        user_information(b, &mut spans);
        spans.sort_unstable();
    }
    spans
}

/// Where the path of a request target ends; 0 where the text is not a request target.
fn path_end(b: &[u8], known: &mut Option<usize>) -> usize {
    *known.get_or_insert_with(|| {
        if b.first() == Some(&b'/') || memmem::find(b, b"://").is_some() {
            memchr(b'?', b).unwrap_or(b.len())
        } else {
            0
        }
    })
}

/// The value behind the `=` at `eq` where the name before it is a credential's.
fn credential(
    b: &[u8],
    eq: usize,
    depth: impl Fn(usize) -> usize,
    path: &mut Option<usize>,
) -> Option<Span> {
    let before = b.get(..eq)?;
    // `user[password]=` is how nested form fields are written.
    let before = before.strip_suffix(b"]").unwrap_or(before);
    // Most names end in other letters than those of a credential do.
    let &[c, d] = before.last_chunk()?;
    if !ends_credential(c, d) {
        return None;
    }
    let mut name = [0; NAME_MAX];
    let mut from = NAME_MAX;
    for &c in before.iter().rev().take(2 * NAME_MAX) {
        match c {
            b'-' | b'_' => {}
            c if c.is_ascii_alphanumeric() => {
                from = from.checked_sub(1)?;
                *name.get_mut(from)? = c.to_ascii_lowercase();
            }
            _ => break,
        }
    }
    let name = name.get(from..)?;
    if !is_credential(name) {
        return None;
    }
    let level = depth(eq);
    let in_path = eq < path_end(b, path);
    let value = b.get(eq + 1..)?;
    let len = value
        .iter()
        .enumerate()
        .position(|(i, &c)| {
            // What is encoded more often than the `=` belongs to the value.
            (c == b'&' || c == b' ' || (c == b'?' && in_path)) && depth(eq + 1 + i) <= level
        })
        .unwrap_or(value.len());
    let least = if name == b"code" { CODE_MIN } else { 1 };
    (len >= least).then_some((eq + 1, eq + 1 + len))
}

/// The token whose header part ends at `dot`. Nothing before `floor` is looked at.
fn token(
    b: &[u8],
    dot: usize,
    floor: usize,
    depth: impl Fn(usize) -> usize,
    path: &mut Option<usize>,
) -> Option<Span> {
    let before = b.get(floor..dot)?;
    let padding = before.iter().rev().take_while(|&&c| c == b'=').count();
    let before = before.get(..before.len() - padding)?;
    // Most dots stand behind a digit or a short word.
    let word = before.iter().rev().take_while(|&&c| sextet(c).is_some()).count();
    if word < HEADER_MIN {
        return None;
    }
    let in_path = dot < path_end(b, path);
    // An encoded slash does not part a path.
    let parts = |at: usize, c: u8| in_path && matches!(c, b'/' | b'?') && depth(at) == 0;
    let from = floor + before.len() - word;
    let word = before.get(before.len() - word..)?;
    let slash = word.iter().enumerate().rposition(|(i, &c)| parts(from + i, c));
    let header = header(word.get(slash.map_or(0, |i| i + 1)..)?)?;
    let rest = b.get(dot..)?;
    let len = rest
        .iter()
        .enumerate()
        .position(|(i, &c)| ends_token(c) || parts(dot + i, c))
        .unwrap_or(rest.len());
    let dots = memchr_iter(b'.', rest.get(..len)?).count();
    let is_token = match dots {
        1 => header.len() >= CUT_HEADER_MIN && len > 1,
        _ => true,
    };
    is_token.then(|| (dot - padding - header.len(), dot + len))
}

/// Whether `c` can't belong to a token or to what a lenient decoder would pass over in one.
fn ends_token(c: u8) -> bool {
    matches!(
        c,
        b' ' | b'&'
            | b'"'
            | b'\''
            | b','
            | b';'
            | b'<'
            | b'>'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'|'
            | b'`'
            | b'#'
    )
}

/// The end of `word` that is the base64url of a JSON object, or of its beginning.
fn header(word: &[u8]) -> Option<&[u8]> {
    let mut boundary = true;
    for (i, &c) in word.iter().enumerate() {
        let rest = word.get(i..)?;
        let least = if boundary { HEADER_MIN } else { CUT_HEADER_MIN };
        if rest.len() < least {
            // At a boundary the limit is the lower one: nothing shorter follows that would do.
            if rest.len() < HEADER_MIN {
                return None;
            }
        } else if c == b'e' && opens_object(rest)
            || boundary && matches!(c, b'I' | b'C' | b'D' | b'7') && opens_spaced_object(rest)
        {
            return Some(rest);
        }
        boundary = matches!(c, b'/' | b'+');
    }
    None
}

/// Whether this decodes to `{` and then a quote, white space or `}`.
fn opens_object(b64: &[u8]) -> bool {
    let at = |i: usize| b64.get(i).and_then(|&c| sextet(c));
    match (at(0), at(1), at(2)) {
        (Some(30), Some(second), Some(third)) => {
            second >> 4 == 3
                && matches!(
                    (second & 15) << 4 | third >> 2,
                    b'"' | b'}' | b' ' | b'\t' | b'\n' | b'\r'
                )
        }
        _ => false,
    }
}

/// Whether this decodes to white space, or a byte order mark, and then `{`.
fn opens_spaced_object(b64: &[u8]) -> bool {
    let (mut bits, mut have) = (0_u32, 0);
    for &c in b64.iter().take(HEADER_SPACE_MAX / 3 * 4) {
        let Some(value) = sextet(c) else { return false };
        (bits, have) = (bits << 6 | u32::from(value), have + 6);
        if have >= 8 {
            have -= 8;
            match (bits >> have) as u8 {
                b' ' | b'\t' | b'\n' | b'\r' | 0xef | 0xbb | 0xbf => {}
                byte => return byte == b'{',
            }
        }
    }
    false
}

/// The six bits of a base64 character, of either alphabet (RFC 4648, sections 4 and 5).
fn sextet(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// The credential behind an authentication scheme that ends at the space at `space`.
fn bearer(b: &[u8], space: usize) -> Option<Span> {
    let before = b.get(..space)?;
    let ends_with = |scheme: &[u8]| {
        before
            .len()
            .checked_sub(scheme.len())
            .and_then(|from| before.get(from..))
            .is_some_and(|end| end.eq_ignore_ascii_case(scheme))
    };
    if !ends_with(b"bearer") && !ends_with(b"dpop") {
        return None;
    }
    let behind = b.get(space..)?;
    let from = behind.iter().position(|&c| c != b' ')?;
    let value = behind.get(from..)?;
    let len = value
        .iter()
        .position(|&c| matches!(c, b' ' | b',' | b';' | b'"' | b'\''))
        .unwrap_or(value.len());
    (len >= BEARER_MIN).then_some((space + from, space + from + len))
}

/// Adds the user information of every URL in the text.
fn user_information(b: &[u8], spans: &mut Spans) {
    let mut floor = 0;
    for at in memchr_iter(b'@', b) {
        let before = b.get(floor..at).unwrap_or_default();
        let len =
            before.iter().rev().take_while(|&&c| !matches!(c, b' ' | b'/' | b'?' | b'#')).count();
        let start = at - len;
        if len > 0 && b.get(..start).is_some_and(|b| b.ends_with(b"://")) {
            spans.push((start, at));
        }
        floor = at + 1;
    }
}
