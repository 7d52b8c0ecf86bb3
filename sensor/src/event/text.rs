//! Text from the network, made fit to be shown.

use std::fmt::Write as _;

use serde_json::Value;

use super::json;
use crate::redact;

/// Bytes of a claim's string that are shown.
pub const CLAIM_MAX: usize = 256;
/// Claims of one token that are shown.
pub const CLAIMS_MAX: usize = 16;
/// Bytes of a token's claims as JSON; a claim that would go over it is shown as `"…"`.
pub const CLAIMS_BYTES_MAX: usize = 4096;
/// Elements of a claim's array or object that are shown.
const CLAIM_ELEMENTS_MAX: usize = 16;
/// How deep a claim's value is shown.
const CLAIM_DEPTH_MAX: usize = 3;

/// Text that may go out: redacted ([`redact::bytes`]), free of control characters, bounded.
///
/// UTF-8 stands as it is. Bytes that are not, and characters that would act on a terminal or
/// reorder a line, stand as `\xNN`, byte by byte; so does a backslash before an `x`, therefore
/// the bytes can be had back. What is over the limit is replaced by `…[+N]`, N being the bytes
/// left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Shows `bytes` in at most `limit` bytes and the mark behind them.
    #[must_use]
    pub fn new(bytes: &[u8], limit: usize) -> Self {
        // Redacted whole, then cut: no part of a token is left at the end.
        Self(escape(&redact::bytes(bytes), limit))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes that are allocated for it.
    pub(super) const fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// A text's first `limit` bytes or less, ending at a character and not in the middle of an escape,
/// and whether that is all.
pub(super) fn head(text: &str, limit: usize) -> (&str, bool) {
    let mut end = text.floor_char_boundary(limit);
    if end < text.len() {
        let last = text.as_bytes().get(end.saturating_sub(3)..end).unwrap_or_default();
        let escape = last.iter().rposition(|&b| b == b'\\').map_or(0, |at| last.len() - at);
        let from = end - escape;
        if escape > 0 && text.as_bytes().get(from + 1) == Some(&b'x') {
            end = from;
        }
    }
    (text.get(..end).unwrap_or_default(), end == text.len())
}

/// Whether every byte is printable ASCII that needs no escape, neither here nor in JSON.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    // No early exit: the compiler makes vector code of it.
    bytes
        .iter()
        .fold(true, |plain, &b| plain & matches!(b, b' '..=b'~') & (b != b'"') & (b != b'\\'))
}

/// Escapes as [`Text`] says; does not redact.
pub(super) fn escape(bytes: &[u8], limit: usize) -> String {
    if bytes.len() <= limit
        && is_plain(bytes)
        && let Ok(plain) = std::str::from_utf8(bytes)
    {
        return plain.to_owned();
    }
    let mut out = String::with_capacity(bytes.len().min(limit) + 16);
    let mut done = 0;
    'all: for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (i, c) in valid.char_indices() {
            let escaped = match c {
                '\\' => valid.as_bytes().get(i + 1) == Some(&b'x'),
                c => acts(c),
            };
            let len = c.len_utf8();
            if out.len() + if escaped { 4 * len } else { len } > limit {
                break 'all;
            }
            if escaped {
                let mut utf8 = [0; 4];
                hex(&mut out, c.encode_utf8(&mut utf8).as_bytes());
            } else {
                out.push(c);
            }
            done += len;
        }
        for &byte in chunk.invalid() {
            if out.len() + 4 > limit {
                break 'all;
            }
            hex(&mut out, &[byte]);
            done += 1;
        }
    }
    if done < bytes.len() {
        let _ = write!(out, "…[+{}]", bytes.len() - done);
    }
    out
}

fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Whether a character acts on a terminal or on the order of a line: control characters, line
/// and paragraph separators, bidirectional controls (Unicode TR 9), zero-width ones.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{061c}' | '\u{feff}')
}

/// The claims of a token that the config allows to be shown, ready to be written.
///
/// Strings are shown as [`Text`] of at most [`CLAIM_MAX`] bytes; at most [`CLAIMS_MAX`] claims;
/// [`CLAIMS_BYTES_MAX`] overall; what is deeper or wider than the limits is shown as `"…"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The JSON members, without the braces.
    members: String,
    count: usize,
}

impl Claims {
    /// Adds a claim.
    pub fn push(&mut self, name: &str, value: &Value) {
        if self.count == CLAIMS_MAX {
            return;
        }
        self.count += 1;
        if !self.members.is_empty() {
            self.members.push(',');
        }
        string(&mut self.members, name);
        self.members.push(':');
        let before = self.members.len();
        render(&mut self.members, value, CLAIM_DEPTH_MAX);
        if self.members.len() > CLAIMS_BYTES_MAX {
            self.members.truncate(before);
            self.members.push_str("\"…\"");
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that are allocated for them.
    pub(super) const fn capacity(&self) -> usize {
        self.members.capacity()
    }

    /// The JSON members, without the braces.
    pub(super) fn members(&self) -> &str {
        &self.members
    }
}

impl<'a> FromIterator<(&'a str, &'a Value)> for Claims {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a Value)>>(claims: T) -> Self {
        let mut out = Self::default();
        for (name, value) in claims {
            out.push(name, value);
        }
        out
    }
}

fn string(out: &mut String, text: &str) {
    json::push_string(out, Text::new(text.as_bytes(), CLAIM_MAX).as_str());
}

/// A claim's text as events show it.
#[must_use]
pub fn shown_claim(text: &str) -> String {
    Text::new(text.as_bytes(), CLAIM_MAX).as_str().to_owned()
}

fn render(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => {
            let _ = write!(out, "{n}");
        }
        Value::String(s) => string(out, s),
        Value::Array(_) | Value::Object(_) if depth == 0 => out.push_str("\"…\""),
        Value::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                if i == CLAIM_ELEMENTS_MAX {
                    out.push_str("\"…\"");
                    break;
                }
                render(out, element, depth - 1);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (i, (name, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                if i == CLAIM_ELEMENTS_MAX {
                    out.push_str("\"…\":null");
                    break;
                }
                string(out, name);
                out.push(':');
                render(out, member, depth - 1);
            }
            out.push('}');
        }
    }
}
