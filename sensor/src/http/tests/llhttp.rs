//! llhttp's test cases against [`Connection`].
//!
//! A case is an `http` block with the log that llhttp gives for it, in the mode that its `meta`
//! names. What the log says is compared with what we say:
//!
//! - The messages that llhttp completes: method and target, or status; and their bytes on the wire.
//! - Where llhttp reports an error, we have a finding in that message or behind it; where it
//!   reports none, we have none, and no more and no fewer heads than llhttp. In a lenient mode
//!   llhttp passes what it refuses otherwise: then we may have findings.
//! - A head that the case leaves unfinished is finished, for llhttp refuses it before its end.
//!
//! Every difference stands in [`DIFFERENCES`]; docs/http-conformance.md explains each reason.

use std::{collections::BTreeMap, path::Path};

use super::*;

/// Findings that are no reason for llhttp to refuse a message.
const PASSED: [&str; 2] = ["missing-host", "content-length-repeated"];

/// Cases where we differ, and the reason's name in docs/http-conformance.md.
const DIFFERENCES: &[(&str, &str)] = &[
    ("request_connection: No restart when keep-alive is off (1.0)", "after-close"),
    ("request_connection: CRLF between requests, explicit `close`", "after-close"),
    ("request_connection: CRLF between requests, explicit `close` followed by tab", "after-close"),
    ("response_connection: HTTP/1.1 with keep-alive disabled and 204 status", "after-close"),
    ("request_content-length: Content-Length reset when no body is received", "skip-body"),
    ("response_content-length: Content-Length reset when no body is received", "skip-body"),
    ("request_content-length: Missing CRLF-CRLF before body (lenient)", "bare-cr"),
    ("request_invalid: Headers separated by dummy characters (lenient)", "bare-cr"),
    ("request_transfer-encoding: Chunk header not terminated by CRLF (lenient)", "bare-cr"),
    ("request_invalid: HTTP protocol and ANNOUNCE method", "any-method"),
    ("request_invalid: Invalid method", "any-method"),
    ("request_invalid: Only LFs present (lenient)", "trailers"),
    ("request_lenient-version: Invalid HTTP version (lenient)", "version"),
    ("response_lenient-version: Invalid HTTP version (lenient)", "version"),
    ("response_sample: HTTP version 0.9", "version"),
    ("request_sample: No HTTP version", "version"),
    ("request_method: CONNECT with body", "connect-body"),
    ("request_method: SOURCE request with ICE", "other-protocols"),
    ("request_method: OPTIONS request with RTSP", "other-protocols"),
    ("request_method: ANNOUNCE request with RTSP", "other-protocols"),
    ("response_sample: RTSP response", "other-protocols"),
    ("response_sample: ICE response", "other-protocols"),
    ("request_method: PRI request HTTP2", "preface"),
    ("request_transfer-encoding: No extension after semicolon", "chunk-extensions"),
    ("request_transfer-encoding: Unbalanced chunk extensions quoting", "chunk-extensions"),
    ("response_transfer-encoding: No extension after semicolon", "chunk-extensions"),
    ("response_transfer-encoding: Unbalanced chunk extensions quoting", "chunk-extensions"),
    ("request_uri: Disallow UTF-8 in URI path in strict mode", "target-bytes"),
    ("response_transfer-encoding: `chunked` before other transfer-encoding", "response-coding"),
    (
        "response_transfer-encoding: multiple transfer-encoding where chunked is not the last one",
        "response-coding",
    ),
    (
        "response_transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding",
        "response-coding",
    ),
];

/// One of the messages that llhttp saw.
#[derive(Debug, Default)]
struct Message {
    start: u64,
    method: String,
    target: String,
    status: u16,
    head: bool,
    end: Option<u64>,
}

#[derive(Debug, Default)]
struct Expected {
    messages: Vec<Message>,
    error: bool,
}

/// The text of a block as bytes, by the rules of llhttp's test runner.
fn input(block: &str) -> Vec<u8> {
    let text = block.strip_suffix('\n').unwrap_or(block);
    let text = text.replace("\\\n", "").replace('\n', "\r\n");
    let mut bytes = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        bytes += &rest[..at];
        let escape = &rest[at + 1..];
        let (byte, len) = match escape.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'f', ..] => (0x0c, 1),
            [b'x', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                (u8::from_str_radix(&escape[1..3], 16).unwrap(), 3)
            }
            _ => (b'\\', 0),
        };
        // A character of JavaScript, which sends UTF-8.
        bytes.push(char::from(byte));
        rest = &escape[len..];
    }
    bytes += rest;
    bytes.into_bytes()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn expected(log: &str) -> Expected {
    let mut expected = Expected::default();
    for line in log.lines() {
        let Some((off, what)) = line.strip_prefix("off=").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let off = off.parse().unwrap_or(0);
        let span = |name: &str| {
            let (_, text) = what.split_once(&format!("span[{name}]=\""))?;
            text.strip_suffix('"').map(str::to_owned)
        };
        if what == "message begin" {
            expected.messages.push(Message { start: off, ..Message::default() });
        } else if let Some(error) = what.strip_prefix("error code=") {
            // 21 to 23: paused, for the caller to take over.
            let code: u32 = error.split(' ').next().unwrap().parse().unwrap();
            expected.error = !(21..=23).contains(&code);
        }
        let Some(message) = expected.messages.last_mut() else { continue };
        if let Some(text) = span("method") {
            message.method += &text;
        } else if let Some(text) = span("url") {
            message.target += &text;
        } else if what.starts_with("headers complete") {
            message.head = true;
            if let Some((_, status)) = what.split_once("status=") {
                message.status = status.split(' ').next().unwrap().parse().unwrap();
            }
        } else if what == "message complete" {
            message.end = Some(off);
        }
    }
    expected
}

/// What differs, or nothing.
fn compare(kind: &str, bytes: &[u8], expected: &Expected) -> Option<String> {
    let responses = kind.starts_with("response");
    let messages: Vec<_> = expected
        .messages
        .iter()
        .filter(|m| m.head && !(responses && (100..200).contains(&m.status) && m.status != 101))
        .collect();
    let passes = if responses {
        // Enough requests for all responses.
        vec![c("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8)), s(bytes)]
    } else {
        vec![c(bytes)]
    };
    let mut driver = Driver::new(false);
    for pass in &passes {
        driver.pass(pass);
    }
    if expected.error {
        // llhttp stops at a byte, we at the end of the head, which the case may leave out.
        let unfinished = !driver.rest[usize::from(responses)].is_empty();
        if unfinished {
            driver.pass(&if responses { s("\r\n\r\n") } else { c("\r\n\r\n") });
        }
    }
    let events = driver.finish();
    let mut heads = Vec::new();
    let mut sizes = BTreeMap::new();
    let mut fault_at = None;
    for event in &events {
        let findings = match event {
            HttpEvent::Request { request, .. } if !responses => {
                heads.push(format!("{} {}", lossy(request.method()), lossy(request.target())));
                &request.findings
            }
            HttpEvent::Response { response, .. } if responses => {
                heads.push(response.status.to_string());
                &response.findings
            }
            HttpEvent::Done { id, request_bytes, response_bytes, .. } => {
                sizes.insert(*id, if responses { *response_bytes } else { *request_bytes });
                continue;
            }
            HttpEvent::Malformed { findings, .. } => {
                assert!(!findings.is_empty());
                fault_at.get_or_insert(heads.len());
                continue;
            }
            _ => continue,
        };
        let all = ids(findings);
        if all.trim_start_matches(" !").split(',').any(|id| !id.is_empty() && !PASSED.contains(&id))
        {
            // In the message that was pushed last.
            fault_at = Some(fault_at.unwrap_or(0).max(heads.len()));
        }
    }
    if matches!(events.as_slice(), [HttpEvent::Opaque { .. }]) && expected.error {
        return None;
    }
    let complete: Vec<_> = messages.iter().take_while(|m| m.end.is_some()).collect();
    for (n, message) in complete.iter().enumerate() {
        let ours = heads.get(n).map_or("nothing", String::as_str);
        let theirs = if responses {
            message.status.to_string()
        } else {
            format!("{} {}", message.method, message.target)
        };
        if ours != theirs {
            return Some(format!("message {n}: llhttp {theirs}, we {ours}"));
        }
        let (ours, theirs) = (sizes[&(n as u64)], message.end.unwrap() - message.start);
        if ours != theirs {
            return Some(format!("message {n}: llhttp {theirs} bytes, we {ours}"));
        }
    }
    match (expected.error, fault_at) {
        (true, None) => return Some("llhttp refuses, we have no finding".to_owned()),
        (true, Some(at)) if at < complete.len() => {
            return Some("we have a finding before llhttp refuses".to_owned());
        }
        (false, Some(_)) if !kind.contains("lenient") => {
            return Some(format!("llhttp accepts, we have a finding: {:?}", describe_all(&events)));
        }
        _ => {}
    }
    if !expected.error && heads.len() != messages.len() {
        return Some(format!("llhttp has {} heads, we {}", messages.len(), heads.len()));
    }
    None
}

#[test]
fn every_case_or_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/http/llhttp");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let mut reasons: BTreeMap<_, _> = DIFFERENCES.iter().copied().collect();
    assert_eq!(reasons.len(), DIFFERENCES.len(), "a case is named twice");
    let (mut cases, mut wrong) = (0, String::new());
    let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files {
        let content = std::fs::read_to_string(&file).unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let (mut heading, mut kind, mut block) = (String::new(), String::new(), String::new());
        let mut open: Option<(&str, String)> = None;
        let mut names = BTreeMap::new();
        for line in content.lines() {
            match &mut open {
                Some((fence, text)) => {
                    if line != "```" {
                        *text += line;
                        *text += "\n";
                        continue;
                    }
                    if *fence == "```http" {
                        block = std::mem::take(text);
                    } else {
                        cases += 1;
                        let n = names.entry(heading.clone()).or_insert(0);
                        *n += 1;
                        let times = if *n > 1 { format!(" #{n}") } else { String::new() };
                        let name = format!("{stem}: {heading}{times}");
                        let expected = expected(text);
                        let difference = compare(&kind, &input(&block), &expected);
                        match (difference, reasons.remove(name.as_str())) {
                            (Some(what), None) => wrong += &format!("{name} | {kind} | {what}\n"),
                            (None, Some(_)) => wrong += &format!("{name} | no longer differs\n"),
                            _ => {}
                        }
                    }
                    open = None;
                }
                None => {
                    if let Some(title) = line.strip_prefix('#') {
                        heading = title.trim_start_matches('#').trim().to_owned();
                    } else if let Some((_, meta)) = line.split_once("meta=") {
                        let (_, rest) = meta.split_once("\"type\":").unwrap();
                        kind = rest
                            .trim()
                            .trim_start_matches('"')
                            .split('"')
                            .next()
                            .unwrap()
                            .to_owned();
                    } else if line == "```http" || line == "```log" {
                        open = Some((
                            if line == "```http" { "```http" } else { "```log" },
                            String::new(),
                        ));
                    }
                }
            }
        }
    }
    for name in reasons.keys() {
        wrong += &format!("{name} | is in the table, but not among the cases\n");
    }
    assert_eq!(cases, 251);
    assert!(wrong.is_empty(), "{}\n{wrong}", wrong.lines().count());
    let doc = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http-conformance.md");
    let doc = std::fs::read_to_string(doc).unwrap();
    for (_, reason) in DIFFERENCES {
        assert!(doc.contains(&format!("**{reason}**")), "{reason} is not explained");
    }
}
