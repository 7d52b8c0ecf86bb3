//! Whether bytes can be the start of a head, and where the next head is when the position in the
//! stream has been lost.

use memchr::{memchr, memmem};

use super::head::{is_token, minor_version};
use crate::capture::OpaqueKind;

/// Bytes of the longest method; the registry's longest, `UPDATEREDIRECTREF`, has 17.
const METHOD_BYTES: usize = 32;
/// Bytes of a line that are kept while a request line is searched. A request whose first line is
/// longer is not found again after a loss.
const LINE_BYTES: usize = 16 * 1024;
/// Bytes that tell the frame header of HTTP/2 and the record header of TLS from text.
pub(super) const BINARY_BYTES: usize = 9;
/// What a client of HTTP/2 with prior knowledge sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// An answer that more bytes may be needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is.
    Yes,
    /// It isn't.
    No,
    /// It can still be.
    Open,
}

/// Whether `bytes` begin, or can go on to begin, with a method and a space. Also true of what
/// only a lenient server takes: white space before the method.
pub(super) fn method_begins(bytes: &[u8]) -> Verdict {
    let text = match bytes {
        [b' ' | b'\t', text @ ..] => text,
        text => text,
    };
    let head = text.get(..=METHOD_BYTES).unwrap_or(text);
    match head.iter().position(|&b| matches!(b, b' ' | b'\t')) {
        Some(n) if is_token(head.get(..n).unwrap_or_default()) => Verdict::Yes,
        Some(_) => Verdict::No,
        None if head.len() > METHOD_BYTES => Verdict::No,
        None if head.is_empty() || is_token(head) => Verdict::Open,
        None => Verdict::No,
    }
}

/// Whether `bytes` begin with HTTP/2's connection preface.
pub(super) fn http2_preface(bytes: &[u8]) -> Verdict {
    if bytes.starts_with(HTTP2_PREFACE) {
        Verdict::Yes
    } else if HTTP2_PREFACE.starts_with(bytes) {
        Verdict::Open
    } else {
        Verdict::No
    }
}

/// Which binary protocol `bytes`, at least [`BINARY_BYTES`] of them, look like.
pub(super) fn binary_protocol(bytes: &[u8]) -> Option<OpaqueKind> {
    match *bytes {
        // RFC 8446, section 5.1: type, version 3.x, length at most 2^14 + 2048 in older versions.
        [20..=23, 3, 0..=4, high, low, ..]
            if (1..=18_432).contains(&u16::from_be_bytes([high, low])) =>
        {
            Some(OpaqueKind::Tls)
        }
        // RFC 9113, section 4.1: length within the initial limit, a known type, a reserved bit.
        [0, high, low, 0..=9, _, 0..=127, _, _, _]
        | [0, high, low, 0..=9, _, 0..=127, _, _, _, ..]
            if u16::from_be_bytes([high, low]) <= 16_384 =>
        {
            Some(OpaqueKind::Http2)
        }
        _ => None,
    }
}

/// Whether the first line of an unfinished head is, or can become, one that ends in a version of
/// HTTP.
pub(super) fn first_line_can_be_request(bytes: &[u8]) -> bool {
    let Some(end) = memchr(b'\n', bytes) else { return true };
    let mut line = bytes.get(..end).unwrap_or_default();
    while let [rest @ .., b'\r' | b' ' | b'\t'] = line {
        line = rest;
    }
    line.len().checked_sub(8).and_then(|at| line.get(at..)).is_some_and(|v| v.starts_with(b"HTTP/"))
}

/// The methods that requests have in practice.
const COMMON: [&[u8]; 9] =
    [b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"];

/// Where a request line begins in `line`, which has no line break: a method, a target without
/// white space and a version of HTTP/1.
///
/// The line may begin with the end of a lost body (JSON seldom ends in a line break). Then only a
/// common method is taken for one.
fn request_line(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (before, version) = line.split_at_checked(line.len().checked_sub(8)?)?;
    minor_version(version)?;
    let before = before.strip_suffix(b" ")?;
    let target = memchr::memrchr(b' ', before)?;
    if before.get(target + 1..)?.iter().any(|&b| b <= b' ' || b == 0x7f)
        || target + 1 == before.len()
    {
        return None;
    }
    let before = before.get(..target)?;
    let is_method = |&b: &u8| matches!(b, b'A'..=b'Z' | b'-' | b'_');
    if !before.is_empty() && before.len() <= METHOD_BYTES && before.iter().all(is_method) {
        return Some(0);
    }
    let method = COMMON.iter().find(|m| before.ends_with(m))?;
    let at = before.len() - method.len();
    // Prose says "GET /x HTTP/1.1" behind a space; the end of a body does not.
    (!matches!(before.get(..at)?.last(), Some(b' ' | b'\t'))).then_some(at)
}

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A head begins behind this many bytes.
    Head(usize),
    /// This many bytes hold none; the rest can't be judged yet.
    Nothing(usize),
}

/// Searches the next request line. `from` bytes have been searched by an earlier call and hold no
/// line break.
pub(super) fn next_request(bytes: &[u8], from: usize) -> Found {
    let (mut start, mut from) = (0, from);
    while let Some(end) = bytes.get(from..).and_then(|rest| memchr(b'\n', rest)).map(|n| from + n) {
        if let Some(at) = request_line(bytes.get(start..end).unwrap_or_default()) {
            return Found::Head(start + at);
        }
        (start, from) = (end + 1, end + 1);
    }
    Found::Nothing(if bytes.len() - start > LINE_BYTES { bytes.len() } else { start })
}

/// Whether `bytes` begin with a complete request line.
pub(super) fn begins_with_request(bytes: &[u8]) -> Verdict {
    match memchr(b'\n', bytes.get(..LINE_BYTES).unwrap_or(bytes)) {
        Some(end) if request_line(bytes.get(..end).unwrap_or_default()) == Some(0) => Verdict::Yes,
        None if bytes.len() < LINE_BYTES && method_begins(bytes) != Verdict::No => Verdict::Open,
        _ => Verdict::No,
    }
}

/// Whether `bytes` begin with a common method and a blank.
pub(super) fn begins_with_common_method(bytes: &[u8]) -> bool {
    COMMON.iter().any(|method| bytes.strip_prefix(*method).is_some_and(|b| b.starts_with(b" ")))
}

/// `HTTP/1.1 200` and what follows a status code.
const STATUS_BYTES: usize = 13;

/// Whether `bytes` begin, or can go on to begin, with a version and a status code.
pub(super) fn begins_with_status(bytes: &[u8]) -> Verdict {
    let fits = bytes.iter().take(STATUS_BYTES).zip(0..).all(|(&b, i)| match i {
        0..=6 => b"HTTP/1.".get(i) == Some(&b),
        7 | 10 | 11 => b.is_ascii_digit(),
        8 => b == b' ',
        9 => matches!(b, b'1'..=b'9'),
        _ => matches!(b, b' ' | b'\r' | b'\n'),
    });
    match fits {
        true if bytes.len() >= STATUS_BYTES => Verdict::Yes,
        true => Verdict::Open,
        false => Verdict::No,
    }
}

/// Searches the next status line, also in the middle of a line.
pub(super) fn next_response(bytes: &[u8]) -> Found {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        let Some(n) = memmem::find(rest, b"HTTP/1.") else { break };
        at += n;
        match begins_with_status(bytes.get(at..).unwrap_or_default()) {
            Verdict::Yes => return Found::Head(at),
            Verdict::Open => return Found::Nothing(at),
            Verdict::No => at += 1,
        }
    }
    // The start of a status line may stand at the end.
    let tail = bytes.len().saturating_sub(STATUS_BYTES - 1).max(at.min(bytes.len()));
    let keep = (tail..bytes.len())
        .find(|&i| begins_with_status(bytes.get(i..).unwrap_or_default()) != Verdict::No);
    Found::Nothing(keep.unwrap_or(bytes.len()))
}
