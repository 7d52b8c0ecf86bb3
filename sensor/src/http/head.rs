//! One complete head: its parts, and what is wrong with it.
//!
//! A head that follows RFC 9112 is read by httparse. Every other head is read line by line as
//! lenient servers do, and each departure is a finding. Both ways give the same parts for a
//! correct head.

use std::mem::MaybeUninit;

use jotwatch_common::is_tchar;
use memchr::memchr;

use super::{
    Events, Limits, Request,
    document::Coding,
    fields::{Fields, Framing, trim},
    message::{FieldSpans, Span},
    shapes,
};
use crate::{
    finding::{Finding, FindingId, Severity},
    time::Time,
};

/// Header fields that the fast way has room for; heads with more are read line by line.
const FAST_HEADERS: usize = 64;

/// A request as its head gives it.
pub(super) struct RequestHead {
    pub(super) request: Box<Request>,
    pub(super) framing: Framing,
    pub(super) expects_continue: bool,
    pub(super) upgrade: bool,
}

/// A response as its head gives it.
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// What coding is on the body.
    pub(super) coding: Coding,
    pub(super) framing: Framing,
    pub(super) findings: Vec<Finding>,
}

/// The length of the head that `bytes` begins with, through its empty line; lines end in LF or
/// CRLF. `from` bytes have been searched by an earlier call.
pub(super) fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    // The LF that ends the last line may be among the last two bytes searched before.
    let mut at = from.saturating_sub(2);
    loop {
        at += memchr(b'\n', bytes.get(at..)?)? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// The parts of a head that was read line by line.
struct Parts {
    method: Span,
    target: Span,
    status: u16,
    minor_version: u8,
    headers: FieldSpans,
    fields: Fields,
    findings: Vec<Finding>,
    /// Line breaks before continued lines, which RFC 9112, section 5.2 has replaced by spaces.
    folds: Vec<Span>,
}

fn span(start: usize, len: usize) -> Span {
    let start = u32::try_from(start).unwrap_or(u32::MAX);
    (start, start.saturating_add(u32::try_from(len).unwrap_or(u32::MAX)))
}

/// Where `part`, a piece of `whole`, lies in it.
fn span_of(whole: &[u8], part: &[u8]) -> Span {
    span((part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize), part.len())
}

/// Reads the request head that `bytes` begin with, if all of it is there, and within the limit,
/// and follows RFC 9112: it ends where [`find_end`] finds its end, as no other line of such a head
/// is empty. `None` says nothing about it. `shape` names the fields of the connection's last one.
pub(super) fn whole_request(
    bytes: &[u8],
    at: Time,
    limits: &Limits,
    shape: &mut u16,
    out: &mut Events,
) -> Option<RequestHead> {
    let mut request = out.blank();
    if let Some(known) = out.shapes.read(*shape, bytes, limits.head_bytes, &mut request) {
        (request.first_byte, request.last_byte) = (at, at);
        let shapes::Known { expects_continue, upgrade } = known;
        return Some(RequestHead {
            request,
            framing: Framing::Unframed,
            expects_continue,
            upgrade,
        });
    }
    match fast_request(bytes, &mut request) {
        Some((fields, len)) if len <= limits.head_bytes => {
            request.head.extend_from_slice(bytes.get(..len).unwrap_or_default());
            let mut read = judged(request, &fields, false, (at, at));
            if let Some(kept) = out.shapes.note(&mut read) {
                *shape = kept;
            }
            Some(read)
        }
        _ => {
            out.recycle(request);
            None
        }
    }
}

/// As [`whole_request`], of a response; gives its length, too.
pub(super) fn whole_response(bytes: &[u8], limits: &Limits) -> Option<(ResponseHead, usize)> {
    fast_response(bytes).filter(|&(_, len)| len <= limits.head_bytes)
}

/// Reads a request's head into `request`, a blank one. `truncated`: it goes on behind `head`.
///
/// # Errors
///
/// What is wrong, where no request can be made of it.
pub(super) fn request(
    head: &[u8],
    truncated: bool,
    times: (Time, Time),
    limits: &Limits,
    mut request: Box<Request>,
) -> Result<RequestHead, Vec<Finding>> {
    if !truncated
        && let Some((fields, len)) = fast_request(head, &mut request)
        && len == head.len()
    {
        request.head.extend_from_slice(head);
        return Ok(judged(request, &fields, false, times));
    }
    let parts = lines(head, true, truncated, limits)?;
    request.head.extend_from_slice(head);
    for (start, end) in parts.folds {
        if let Some(fold) = request.head.get_mut(start as usize..end as usize) {
            fold.fill(b' ');
        }
    }
    request.method = parts.method;
    request.target = parts.target;
    request.minor_version = parts.minor_version;
    request.headers = parts.headers;
    request.findings = parts.findings;
    Ok(judged(request, &parts.fields, truncated, times))
}

/// Adds what the fields say to a request that was read.
fn judged(
    mut request: Box<Request>,
    fields: &Fields,
    truncated: bool,
    (first_byte, last_byte): (Time, Time),
) -> RequestHead {
    let version = request.minor_version;
    let framing = fields.framing(true, version, &mut request.findings);
    if !truncated {
        fields.judge_request(version, &mut request.findings);
    }
    (request.first_byte, request.last_byte) = (first_byte, last_byte);
    RequestHead {
        request,
        framing: if truncated { Framing::Unreliable } else { framing },
        expects_continue: fields.expects_continue,
        upgrade: fields.upgrade,
    }
}

/// Reads a response's head; `truncated` as in [`request`].
///
/// # Errors
///
/// What is wrong, where no status can be had.
pub(super) fn response(
    head: &[u8],
    truncated: bool,
    limits: &Limits,
) -> Result<ResponseHead, Vec<Finding>> {
    if !truncated
        && let Some((response, len)) = fast_response(head)
        && len == head.len()
    {
        return Ok(response);
    }
    let parts = lines(head, false, truncated, limits)?;
    let mut head = response_of(parts.status, parts.minor_version, &parts.fields, parts.findings);
    if truncated {
        head.framing = Framing::Unreliable;
    }
    Ok(head)
}

fn response_of(
    status: u16,
    minor_version: u8,
    fields: &Fields,
    mut findings: Vec<Finding>,
) -> ResponseHead {
    let framing = fields.framing(false, minor_version, &mut findings);
    // The service's own slips: worth knowing, but nobody's attack on it.
    for finding in &mut findings {
        finding.severity = finding.severity.min(Severity::Low);
    }
    ResponseHead { status, coding: fields.coding, framing, findings }
}

/// What the fields that httparse found say; `each` is handed where they lie. `None` where a line
/// ends in a bare LF, which httparse lets pass.
fn fast_fields(
    head: &[u8],
    found: &[httparse::Header<'_>],
    mut each: impl FnMut(Span, Span),
) -> Option<Fields> {
    let mut fields = Fields::default();
    for header in found {
        let name = span_of(head, header.name.as_bytes());
        let start = name.0 as usize;
        if head.get(start.checked_sub(2)?..start) != Some(b"\r\n") {
            return None;
        }
        // An empty value is not always a piece of the head.
        let value = if header.value.is_empty() {
            (name.1 + 1, name.1 + 1)
        } else {
            span_of(head, header.value)
        };
        each(name, value);
        fields.see(header.name.as_bytes(), header.value);
    }
    head.ends_with(b"\r\n\r\n").then_some(fields)
}

/// Reads the head that `bytes` begin with into `request`, but for the bytes themselves; gives what
/// its fields say, and its length.
fn fast_request(bytes: &[u8], request: &mut Request) -> Option<(Fields, usize)> {
    let mut room = [const { MaybeUninit::uninit() }; FAST_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(len)) = parsed.parse_with_uninit_headers(bytes, &mut room)
    else {
        return None;
    };
    let head = bytes.get(..len)?;
    request.method = span_of(head, parsed.method?.as_bytes());
    request.target = span_of(head, parsed.path?.as_bytes());
    request.minor_version = parsed.version?;
    request.headers.clear();
    request.headers.reserve_exact(parsed.headers.len());
    let fields =
        fast_fields(head, parsed.headers, |name, value| request.headers.push((name, value)))?;
    Some((fields, len))
}

/// Reads the head that `bytes` begin with; gives its length, too.
fn fast_response(bytes: &[u8]) -> Option<(ResponseHead, usize)> {
    let mut room = [const { MaybeUninit::uninit() }; FAST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let Ok(httparse::Status::Complete(len)) =
        config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut room)
    else {
        return None;
    };
    let fields = fast_fields(bytes.get(..len)?, parsed.headers, |_, _| {})?;
    let status = parsed.code.filter(|&code| code >= 100)?;
    Some((response_of(status, parsed.version?, &fields, Vec::new()), len))
}

/// Findings of one head, each id once.
struct Notes(Vec<Finding>);

impl Notes {
    fn add(&mut self, id: FindingId, detail: &'static str) {
        if !self.0.iter().any(|f| f.id == id) {
            self.0.push(Finding::new(id, detail));
        }
    }
}

/// Whether `bytes` is a token of RFC 9110, section 5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

/// What RFC 9112, section 3 lets a lenient server take for the space in a request line.
const fn is_line_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

fn trim_line(mut bytes: &[u8]) -> &[u8] {
    while let [b, rest @ ..] = bytes
        && is_line_space(*b)
    {
        bytes = rest;
    }
    while let [rest @ .., b] = bytes
        && is_line_space(*b)
    {
        bytes = rest;
    }
    bytes
}

/// The minor version of `HTTP/1.x`.
pub(super) fn minor_version(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => Some(minor - b'0'),
        _ => None,
    }
}

/// Reads any head line by line.
fn lines(
    head: &[u8],
    is_request: bool,
    truncated: bool,
    limits: &Limits,
) -> Result<Parts, Vec<Finding>> {
    let malformed =
        if is_request { FindingId::HttpMalformedRequest } else { FindingId::HttpMalformedResponse };
    let mut notes = Notes(Vec::new());
    if truncated {
        notes.add(FindingId::HttpHeadTooLarge, "the head is longer than the limit");
    }
    if memchr(0, head).is_some() {
        notes.add(FindingId::HttpNul, "the head holds a NUL byte");
    }

    let mut rest = head;
    let Some(first) = next_line(&mut rest, &mut notes) else {
        notes.add(malformed, "the first line is not complete");
        return Err(notes.0);
    };
    let mut parts = Parts {
        method: (0, 0),
        target: (0, 0),
        status: 0,
        minor_version: 0,
        headers: FieldSpans::new(),
        fields: Fields::default(),
        findings: Vec::new(),
        folds: Vec::new(),
    };
    let read = if is_request {
        request_line(head, first, &mut parts, &mut notes)
    } else {
        status_line(first, &mut parts, &mut notes)
    };
    if let Err(why) = read {
        notes.add(malformed, why);
        return Err(notes.0);
    }

    // Whether the line before is among the fields.
    let mut kept = true;
    while let Some(line) = next_line(&mut rest, &mut notes) {
        if line.is_empty() {
            break;
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            notes.add(
                FindingId::HttpObsFold,
                "a line of the header section starts with white space",
            );
            if !kept {
                continue;
            }
            if let Some((_, value)) = parts.headers.last_mut() {
                let text = trim(line);
                if !text.is_empty() {
                    let (start, end) = span_of(head, text);
                    parts.folds.push((value.1, start));
                    // A value that was empty so far begins with the text, not with the fold.
                    *value = if value.0 == value.1 { (start, end) } else { (value.0, end) };
                }
                continue;
            }
        }
        let Some(colon) = memchr(b':', line) else {
            notes.add(malformed, "a header line has no colon");
            continue;
        };
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, b""));
        let value = trim(value.get(1..).unwrap_or_default());
        let trimmed = trim(name);
        if matches!(name.last(), Some(b' ' | b'\t')) {
            notes.add(
                FindingId::HttpSpaceBeforeColon,
                "white space stands between a field name and its colon",
            );
        }
        if trimmed.is_empty() {
            notes.add(malformed, "a field name is empty");
            continue;
        }
        if !is_token(trimmed) {
            notes.add(malformed, "a field name holds a character that names may not have");
        }
        if value.iter().any(|&b| b < b' ' && !matches!(b, b'\t' | b'\r' | 0) || b == 0x7f) {
            notes.add(malformed, "a field value holds a control character");
        }
        kept = true;
        if parts.headers.len() >= limits.headers {
            notes.add(
                FindingId::HttpTooManyHeaders,
                "the head has more header fields than the limit",
            );
            // Behind it, too, what frames the body counts, and credentials as far as there is room.
            if !is_credential(trimmed) || parts.headers.len() >= 2 * limits.headers {
                parts.fields.see(trimmed, value);
                kept = false;
                continue;
            }
        }
        let name = span_of(head, trimmed);
        let value = if value.is_empty() {
            span(name.0 as usize + line.len(), 0)
        } else {
            span_of(head, value)
        };
        parts.headers.push((name, value));
    }

    // Only now are values whole that continue on a second line.
    for &((name_start, name_end), (value_start, value_end)) in &parts.headers {
        let name = head.get(name_start as usize..name_end as usize).unwrap_or_default();
        let value = head.get(value_start as usize..value_end as usize).unwrap_or_default();
        parts.fields.see(name, value);
    }
    parts.findings = notes.0;
    Ok(parts)
}

/// Whether a field carries credentials whatever the configuration names.
fn is_credential(name: &[u8]) -> bool {
    let names = ["authorization", "cookie", "dpop", "sec-websocket-protocol"];
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Takes the next complete line off `rest`, without its line break.
fn next_line<'a>(rest: &mut &'a [u8], notes: &mut Notes) -> Option<&'a [u8]> {
    let end = memchr(b'\n', rest)?;
    let (line, behind) = rest.split_at_checked(end)?;
    *rest = behind.get(1..).unwrap_or_default();
    let line = match line {
        [line @ .., b'\r'] => line,
        line => {
            notes
                .add(FindingId::HttpBareLf, "a line ends in a line feed without a carriage return");
            line
        }
    };
    if memchr(b'\r', line).is_some() {
        notes.add(FindingId::HttpBareCr, "a carriage return stands alone within a line");
    }
    Some(line)
}

fn request_line(
    head: &[u8],
    line: &[u8],
    parts: &mut Parts,
    notes: &mut Notes,
) -> Result<(), &'static str> {
    let text = trim_line(line);
    let behind_method =
        text.iter().position(|&b| is_line_space(b)).ok_or("the request line has no target")?;
    let before_version =
        text.iter().rposition(|&b| is_line_space(b)).ok_or("the request line has no version")?;
    let method = text.get(..behind_method).unwrap_or_default();
    let version = text.get(before_version + 1..).unwrap_or_default();
    let mut target = text.get(behind_method + 1..before_version).unwrap_or_default();
    let exact = text.len() == line.len()
        && text.get(behind_method) == Some(&b' ')
        && text.get(before_version) == Some(&b' ')
        && !target.iter().any(|&b| is_line_space(b));
    target = trim_line(target);
    if !is_token(method) {
        return Err("the method is not a token");
    }
    if target.is_empty() {
        return Err("the request line has no target");
    }
    parts.minor_version =
        minor_version(version).ok_or("the request line does not end in a version HTTP/1.x")?;
    if parts.minor_version > 1 {
        notes.add(FindingId::HttpMalformedRequest, "the version is neither HTTP/1.0 nor HTTP/1.1");
    }
    if !exact {
        notes.add(FindingId::HttpMalformedRequest, "the request line has surplus white space");
    }
    if target.iter().any(|&b| (1..b' ').contains(&b) && !is_line_space(b) || b == 0x7f) {
        notes.add(FindingId::HttpMalformedRequest, "the target holds a control character");
    }
    parts.method = span_of(head, method);
    parts.target = span_of(head, target);
    Ok(())
}

fn status_line(line: &[u8], parts: &mut Parts, notes: &mut Notes) -> Result<(), &'static str> {
    let (version, rest) = line.split_at_checked(8).ok_or("the status line is too short")?;
    parts.minor_version =
        minor_version(version).ok_or("the status line does not begin with HTTP/1.x")?;
    let code = trim(rest);
    if code.len() == rest.len() {
        return Err("no space follows the version");
    }
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = code else {
        return Err("the status code is not a number of three digits");
    };
    if !matches!(reason.first(), None | Some(b' ' | b'\t')) {
        return Err("the status code is not followed by a space");
    }
    parts.status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    if !rest.starts_with(b" ") || rest.len() - code.len() > 1 && !reason.is_empty() {
        notes.add(FindingId::HttpMalformedResponse, "the status line has surplus white space");
    }
    if parts.minor_version > 1 {
        notes.add(FindingId::HttpMalformedResponse, "the version is neither HTTP/1.0 nor HTTP/1.1");
    }
    if reason.iter().any(|&b| b < b' ' && !matches!(b, b'\t' | b'\r' | 0) || b == 0x7f) {
        notes.add(FindingId::HttpMalformedResponse, "the reason holds a control character");
    }
    Ok(())
}

#[cfg(any(test, fuzzing))]
pub(crate) mod tests_only {
    //! Both ways to read a head, for comparison.
    #![allow(clippy::indexing_slicing, reason = "what differs shall fail")]

    use super::{FieldSpans, Limits, Request, Span, fast_request, fast_response, lines};

    type Read = (Vec<u8>, Vec<u8>, u8, Vec<(Vec<u8>, Vec<u8>)>);

    fn read(head: &[u8], line: [Span; 2], version: u8, headers: &FieldSpans) -> Read {
        let get = |(a, b): Span| head[a as usize..b as usize].to_vec();
        let headers = headers.iter().map(|&(n, v)| (get(n), get(v))).collect();
        (get(line[0]), get(line[1]), version, headers)
    }

    pub(crate) fn fast(head: &[u8]) -> Option<Read> {
        let mut request = Request::blank();
        let (_, len) = fast_request(head, &mut request)?;
        assert_eq!(len, head.len());
        let line = [request.method, request.target];
        Some(read(head, line, request.minor_version, &request.headers))
    }

    /// Where the request's and the response's head end that `bytes` begin with, read at once.
    pub(crate) fn ends(bytes: &[u8]) -> [Option<usize>; 2] {
        let request = fast_request(bytes, &mut Request::blank()).map(|(_, len)| len);
        [request, fast_response(bytes).map(|(_, len)| len)]
    }

    pub(crate) fn slow(head: &[u8]) -> Option<Read> {
        let parts = lines(head, true, false, &Limits::default()).ok()?;
        assert!(parts.findings.is_empty());
        Some(read(head, [parts.method, parts.target], parts.minor_version, &parts.headers))
    }
}
